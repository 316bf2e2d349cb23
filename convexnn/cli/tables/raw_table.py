"""A table before its columns are understood: names, rows of text, and where each row stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from convexnn.checks import Bools, as_file, as_known
from convexnn.cli.tables.cells import finite, flag, in_one_line, is_missing, looks_numeric, pointed
from convexnn.cli.tables.content import table_text
from convexnn.cli.tables.parquet import parquet_table
from convexnn.cli.tables.rows import Row, table_rows

# What may stand before the decimals.
DECIMALS = (".", ",")

# Cells 0, 1, 2, ... from which on a first row is a header: 0, 1 may well be data.
FEWEST_COUNTED = 3

# Digits of a number that may be a name: a year, a count.
MOST_DIGITS = 9

# Columns that an error lists.
MANY = 40


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table of text.

    Attributes
    ----------
    path : Path
        Its file.
    names : tuple of str
        The columns' names: the header's, or their index from 0.
    rows : list of (int, list of str)
        Where each row stands in the file, from 1, and its cells.
    mark : str
        What stands between two cells; empty in files that are no text.
    header : tuple of str
        The header as it stands, empty where there is none.
    header_line : int
        Where it stands.
    renamed : tuple of (str, str)
        Names that stand in the header before, and those that their columns have instead.
    strange : dict of int to str
        Columns of neither numbers nor text, in files that are no text, and what is in them: "times", "lists".
    left_out : tuple of str
        Names of the index of a Parquet file, which is no column.
    """

    path: Path
    names: tuple[str, ...]
    rows: Sequence[Row]
    mark: str = ""
    header: tuple[str, ...] = ()
    header_line: int = 1
    renamed: tuple[tuple[str, str], ...] = ()
    strange: Mapping[int, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """Remarks on what the first row was taken for, where it counts, and on columns of one name."""
        said = self.renamed_remarks()
        if self.left_out:
            said.append(f"index {shown(self.left_out)} is left out; write frame.reset_index() for columns of it")
        if self.mark and not self.header and _counts_up(self.rows[0][1]):
            said.append(
                f"line {self.rows[0][0]} is taken for data, not for a header: columns are named by their index from 0"
            )
        return said + self.header_remarks

    def renamed_remarks(self, names: Collection[str] | None = None) -> list[str]:
        """Remarks on columns that have another's name; with `names` those alone that have one of them and a new one."""
        told = [pair for pair in self.renamed if names is None or (pair[0] in names and pair[1] not in names)]
        return [f"another column of the name {before!r} is {name!r} here" for before, name in told]

    @property
    def header_remarks(self) -> list[str]:
        """A remark where the header might have been data."""
        if not _counts_columns(self.header):
            return []
        return [f"line {self.header_line} is taken for a header, which counts the columns, not for data"]

    def column(self, position: int) -> list[str]:
        """Return the cells of a column."""
        return [cells[position] for _, cells in self.rows]

    def position(self, given: str, what: str) -> int:
        """Return the position of a column by its name or index; `what` asks for it."""
        if (count := self.header.count(given)) > 1:
            others = shown([repr(name) for before, name in self.renamed if before == given])
            raise ValueError(
                f"{what} is {given!r}, the name of {count} columns; expected an index from 0, or for the "
                f"others {others}"
            )
        if given in self.names:
            return self.names.index(given)
        try:
            return range(len(self.names))[int(given)]
        except (ValueError, IndexError):
            ends = f"an index from 0 to {len(self.names) - 1}"
            none = " (the file has no header)" if self.mark and not self.header else ""
            raise ValueError(f"{what} is {given!r}; expected {ends}, or one of: {shown(self.names)}{none}") from None

    def where(self, kept: Bools) -> RawTable:
        """Return the table of some of the rows."""
        return replace(self, rows=[row for row, keep in zip(self.rows, kept, strict=True) if keep])

    def place(self, row: int, position: int) -> str:
        """Return a cell and where it stands, for errors."""
        number, cells = self.rows[row]
        unit = "line" if self.mark else "row"
        return f"{cells[position]!r} in {unit} {number}, column {self.names[position]!r}"

    def refusal(self, row: int, position: int, words: str) -> ValueError:
        """Return the error about a cell; `words` go on behind its place."""
        return ValueError(f"data file {self.path} holds {self.place(row, position)}{words}")


def read_table(path: Path, separator: str | None = None, comment: str | None = None, decimal: str = ".") -> RawTable:
    """Return the table of a file: text with marks between the cells, packed by gzip or not, or Parquet.

    The first row is a header where none of its cells is a number, or where one is none and the cell below it is one, or
    where it counts three columns or more, as pandas does where they have no names: 0, 1, 2, behind the empty name of an
    index or not.
    With the `decimal` "," numbers are rewritten with a point. Of several columns of one name those after the first are
    told apart by a number: a, a.1, a.2.
    """
    as_known(decimal, "decimal", DECIMALS)
    if str(path) == "-":
        raise ValueError("data file is '-'; expected the path of a file, /dev/stdin for a pipe")
    path = as_file(path, "data file")
    if path.suffix.casefold() in (".parquet", ".pq"):
        packed = parquet_table(path, decimal)
        return RawTable(path, packed.names, packed.rows, strange=packed.strange, left_out=packed.index)
    rows, mark = table_rows(table_text(path), path, separator, comment)
    if not _has_header([cells for _, cells in rows[:2]]):
        table = RawTable(path, tuple(map(str, range(len(rows[0][1])))), rows, mark)
        return table if decimal == "." else _pointed(table)
    line, header = rows[0]
    names = _names(header)
    stated = tuple(in_one_line(cell) for cell in header)
    renamed = tuple((cell, name) for cell, name in zip(stated, names, strict=True) if cell and cell != name)
    table = RawTable(path, names, rows[1:], mark, stated, line, renamed)
    return table if decimal == "." else _pointed(table)


def shown(names: Sequence[str]) -> str:
    """Return names for an error, the first of many."""
    return ", ".join(names[:MANY]) + (", ..." if len(names) > MANY else "")


def _names(header: Sequence[str]) -> tuple[str, ...]:
    """Return different names for the columns under a header, without line breaks."""
    names: list[str] = []
    taken = {in_one_line(cell) for cell in header}
    for place, cell in enumerate(header):
        name = in_one_line(cell) or (str(place) if str(place) not in taken else f"unnamed.{place}")
        if name in names:
            name = next(new for count in range(1, len(header) + 1) if (new := f"{name}.{count}") not in taken)
            taken.add(name)
        names.append(name)
    return tuple(names)


def _pointed(table: RawTable) -> RawTable:
    """Return a table whose numbers have decimal commas, with points; a number with a decimal point is refused."""
    for row, (_, cells) in enumerate(table.rows):
        for position, cell in enumerate(cells):
            if "." in cell and finite(cell) is not None and pointed(cell) == cell:
                words = "; expected a decimal comma, as --decimal , says"
                raise table.refusal(row, position, words)
    return replace(table, rows=[(line, list(map(pointed, cells))) for line, cells in table.rows])


def _counts_columns(first: Sequence[str]) -> bool:
    """Whether a row is 0, 1, 2 and so on: what pandas writes above columns without names."""
    cells = first[1:] if first and not first[0] else first
    return len(cells) >= FEWEST_COUNTED and list(cells) == list(map(str, range(len(cells))))


def _counts_up(first: Sequence[str]) -> bool:
    """Whether a row is three whole numbers or more, each one more than the last: years, perhaps, as a header."""
    if len(first) < FEWEST_COUNTED or not all(map(_is_short_count, first)):
        return False
    numbers = list(map(int, first))
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _is_short_count(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) <= MOST_DIGITS


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    if len(rows) > 1 and _counts_columns(rows[0]):
        return True
    first, second = rows[0], rows[-1] if len(rows) > 1 else [""] * len(rows[0])
    numbers = any(map(looks_numeric, first))
    return any(_is_name(cell, below, numbers) for cell, below in zip(first, second, strict=True))


def _is_name(cell: str, below: str, numbers: bool) -> bool:
    """Whether a cell of the first row gives it away as a header; `numbers`: the row holds some."""
    if looks_numeric(cell) or is_missing(cell):
        return False
    return looks_numeric(below) or not (numbers or flag(cell) is not None)
