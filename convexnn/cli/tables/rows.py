"""Rows of a text: which mark stands between the cells, what is a comment, and where each row begins."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from convexnn.tables import counting

# A row: its line from 1, as editors count, and its cells.
Row = tuple[int, list[str]]

# Marks between cells that are found by themselves; where there are as many of two, the first.
MARKS = ",;\t|"

# Errors of a spreadsheet, with which a row may begin.
_EXCEL = ("#N/A", "#NA", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!")

# Other words for a mark.
_SPOKEN = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "blank": " ", "space": " "}

_QUOTED = re.compile(r'"(?:[^"]|"")*"?')
_NAMED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_WORD = re.compile(r'"((?:[^"]|"")*)"(?!\S)|(\S+)')


def table_rows(
    text: str, path: Path, separator: str | None = None, comment: str | None = None
) -> tuple[list[Row], str]:
    """Return the rows of a text, each with as many cells as the first, and the mark between their cells.

    Blank lines are left out. Lines that begin with `comment` are too; "": no line is a comment; None: a row that begins
    with # is an error, unless it is the first. A blank as a mark stands for any number of blanks.
    """
    given = None if separator is None else _as_separator(separator)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    named = _NAMED.fullmatch(lines[0].strip())
    source = _Source(lines, int(named is not None), comment, path)
    mark = given or (named[1] if named else _guessed(source.first_rows()))
    rows = list(_in_words(source) if mark == " " else _in_cells(source, mark))
    if not rows:
        raise ValueError(f"data file {path} is empty; expected rows of numbers")
    rows = _without_ends(rows)
    _refuse_ragged(rows, path, lines[rows[0][0] - 1])
    return rows, mark


class _Source:
    """The lines of a file as a reader takes them; `begins` says whether the next one begins a row."""

    def __init__(self, lines: list[str], begin: int, comment: str | None, path: Path) -> None:
        self.lines, self.number, self.comment, self.path = lines, begin, comment, path
        self.begins, self.first, self.rows = True, begin, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self.number < len(self.lines):
            line = self.lines[self.number]
            self.number += 1
            if self.begins and self._is_left_out(line):
                continue
            if self.begins:
                self.begins, self.first, self.rows = False, self.number, self.rows + 1
            return line + "\n"
        if not self.begins:
            raise _unread(self.path, "a quote that is not closed", self.first)
        raise StopIteration

    def first_rows(self, count: int = 2) -> list[str]:
        """Return the text of the first rows that are neither blank nor comments, and stay before them."""
        rows, at = list[str](), self.number
        while at < len(self.lines) and len(rows) < count:
            end = at + 1
            if not self._is_left_out(self.lines[at]):
                end = self._row_end(at)
                rows.append("\n".join(self.lines[at:end]))
            at = end
        return rows

    def _row_end(self, begin: int) -> int:
        """Return the line behind a row: behind the one in which its last quote closes, or its first if that is none."""
        quotes = 0
        for line in range(begin, len(self.lines)):
            quotes += self.lines[line].count('"')
            if quotes % 2 == 0:
                return line + 1
        return begin + 1

    def _is_left_out(self, line: str) -> bool:
        text = line.strip()
        if not text or (self.comment and text.startswith(self.comment)):
            return True
        if self.comment is None and self.rows and text.startswith("#") and not text.startswith(_EXCEL):
            raise ValueError(
                f"data file {self.path} has a row that begins with # in line {self.number}; --comment '#' leaves such "
                "lines out, --comment '' reads them"
            )
        return False


def _in_cells(source: _Source, mark: str) -> Iterator[Row]:
    reader = csv.reader(source, delimiter=mark, skipinitialspace=True)
    try:
        for cells in reader:
            yield source.first, [cell.strip() for cell in cells]
            source.begins = True
    except csv.Error:
        limit = f"a cell of more than {csv.field_size_limit():,} characters"
        raise _unread(source.path, limit, source.first) from None


def _in_words(source: _Source) -> Iterator[Row]:
    for line in source:
        found = _WORD.findall(line) if '"' in line else [("", word) for word in line.split()]
        yield source.first, [word or quoted.replace('""', '"').strip() for quoted, word in found]
        source.begins = True


def _guessed(rows: list[str]) -> str:
    """Return the mark that the first of two rows has most of outside of quotes, or a blank.

    A mark that the second row has none of was part of a name; of two as frequent ones, that which it has as often.
    """
    bare = [_QUOTED.sub("", row) for row in rows]
    first = {mark: bare[0].count(mark) for mark in MARKS if mark in bare[0]} if bare else {}
    second = {mark: bare[-1].count(mark) for mark in first}
    return max(first, key=lambda mark: (second[mark] > 0, first[mark], first[mark] == second[mark]), default=" ")


def _as_separator(given: str) -> str:
    mark = _SPOKEN.get(given.casefold(), given)
    if len(mark) != 1 or mark in '"\r\n':
        raise ValueError(f"separator is {given!r}; expected one character, such as ';', or one of: tab, blank")
    return mark


def _without_ends(rows: list[Row]) -> list[Row]:
    """Return rows without a mark at their ends, where all have one, the first or not."""
    width, ends = len(rows[0][1]), all(not cells[-1] for _, cells in rows[1:])
    if len(rows) < 2 or width < 2 or not ends:
        return rows
    if not rows[0][1][-1] and all(len(cells) == width for _, cells in rows):
        return [(line, cells[:-1]) for line, cells in rows]
    if all(len(cells) == width + 1 for _, cells in rows[1:]):
        return [rows[0], *((line, cells[:-1]) for line, cells in rows[1:])]
    return rows


def _refuse_ragged(rows: list[Row], path: Path, first_line: str) -> None:
    width = len(rows[0][1])
    for number, cells in rows:
        if len(cells) != width:
            hint = ""
            if first_line.lstrip().startswith("#"):
                hint = " (is the first line a comment? --comment '#' leaves such lines out)"
            elif len(cells) == width + 1 and all(len(cells) == width + 1 for _, cells in rows[1:]):
                hint = (
                    " (in all rows one more: row names, as R writes them? leave them out, or name them in the header; "
                    "or decimal commas? write decimals with a point)"
                )
            elif len(cells) > width:
                hint = " (decimal commas? write decimals with a point; thousands separators? put quotes around them)"
            raise ValueError(
                f"data file {path} has {counting(len(cells), 'cell')} in line {number}; expected {width}{hint}"
            )


def _unread(path: Path, what: str, number: int) -> ValueError:
    return ValueError(f"data file {path} has {what} in line {number}; expected numbers and short labels")
