"""Data files: numbers under a header, or without one, and which column is the target."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats, as_file
from convexnn.tables import counting

# A line of a file: its number from 1, as editors count, and its cells.
Line = tuple[int, list[str]]

# Columns that an error lists.
MANY = 40

# A line that is no part of any file.
END = "end"

# A number with a decimal comma, or two numbers with a semicolon that was taken for text.
_COMMA = re.compile(r"[-+]?\d+(,\d+|;[-+]?\d+)")


@dataclass(frozen=True, eq=False)
class DataFile:
    """A table of rows with a target.

    Attributes
    ----------
    X : ndarray (n, d)
        The features.
    y : ndarray (n,)
        The target: numbers, or labels as text.
    features : tuple of str
        Names of the columns of X.
    target : str
        Name of the target's column.
    """

    X: Floats
    y: NDArray[Any]
    features: tuple[str, ...]
    target: str


def read_data(path: Path, target: str | None = None, drop: Iterable[str] = ()) -> DataFile:
    """Return the table of a text file with commas, semicolons, tabs or blanks between the cells.

    Parameters
    ----------
    path : Path
        The file; UTF-8, with or without a header. Blank lines and lines that begin with # are skipped.
    target : str, optional
        The target's column: its name in the header, or its index from 0, or from -1 backwards. Default: the last of
        those that are not left out.
    drop : iterable of str, optional
        Columns to leave out, named as the target; what they hold does not matter.

    Raises
    ------
    ValueError
        The file is not such a table, or has no such column, or two of that name; a cell is empty, or a feature is not
        a number. Lines are counted from 1, as editors do, and columns named by the header, else by their index from 0.

    Notes
    -----
    The first row is a header where none of its cells is a number, or where one is none and the cell below it is one.
    Columns of a file without a header are named by their index.
    """
    lines = _lines(as_file(path, "data file"))
    header = _has_header([cells for _, cells in lines])
    names = _names(lines, header)
    dropped = {_column(names, name, "drop") for name in drop}
    kept = [i for i in range(len(names)) if i not in dropped]
    body = lines[header:]
    if len(body) < 2 or len(kept) < 2:
        size = f"{counting(len(body), 'row')} of {counting(len(kept), 'column')}"
        raise ValueError(f"data file {path} has {size}; expected at least 2 of each")
    _refuse_empty(lines, names, kept, path, header)
    chosen = kept[-1] if target is None else _column(names, target, "target")
    if chosen in dropped:
        raise ValueError(f"target is {target!r}, which drop leaves out; expected one of the columns that stay")
    features = [i for i in kept if i != chosen]
    X = np.column_stack([_numbers(body, i, names[i], path) for i in features])
    return DataFile(X, _target(body, chosen, names[chosen], path), tuple(names[i] for i in features), names[chosen])


def read_features(path: Path, features: Sequence[str]) -> Floats:
    """Return the columns of the names `features` of a file as :func:`read_data` reads it, (n, number of them).

    Other columns do not matter; a file without a header has them by their index. Errors are those of read_data.
    """
    lines = _lines(as_file(path, "data file"))
    header = _has_header([cells for _, cells in lines])
    names = _names(lines, header)
    missing = [name for name in features if name not in names]
    if missing:
        shown = ", ".join(map(repr, missing[:MANY])) + (", ..." if len(missing) > MANY else "")
        kind = "" if header else ", and no header"
        raise ValueError(f"data file {path} has no column {shown}{kind}; expected the features of the model")
    columns = [_column(names, name, "a feature") for name in features]
    body = lines[header:]
    _refuse_empty(lines, names, columns, path, header)
    return np.column_stack([_numbers(body, i, names[i], path) for i in columns])


def _names(lines: Sequence[Line], header: bool) -> list[str]:
    """Return the columns' names: the header's, or their index from 0."""
    return [cell if header and cell else str(i) for i, cell in enumerate(lines[0][1])]


def _lines(path: Path) -> list[Line]:
    """Return the lines that are neither blank nor comments; every one must have as many cells as the first."""
    try:
        # Not by splitlines(), to which a form feed or U+2028 within a cell would end the row.
        text = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"data file {path} is not UTF-8 text ({error.reason}); expected a table of text") from None
    kept = [(number, line) for number, line in enumerate(text, 1) if line.strip() and not line.lstrip().startswith("#")]
    if not kept:
        raise ValueError(f"data file {path} is empty; expected rows of numbers")
    lines = _split(kept, path)
    width = len(lines[0][1])
    for number, cells in lines:
        if len(cells) != width:
            hint = " (decimal commas? write decimals with a point)" if len(cells) > width else ""
            raise ValueError(
                f"data file {path} has {counting(len(cells), 'cell')} in line {number}; expected {width}{hint}"
            )
    return lines


def _split(lines: Sequence[tuple[int, str]], path: Path) -> list[Line]:
    """Return the cells of each line, split at the mark that the first has most of, or at blanks."""
    first = lines[0][1]
    mark = max(",;\t", key=first.count)
    if mark not in first:
        return [(number, line.split()) for number, line in lines]
    # A last line of our own: where it is no row by itself, a quote was not closed, and took the rows behind it.
    reader = csv.reader(chain((line for _, line in lines), [END]), delimiter=mark)
    split: list[Line] = []
    begin = 0
    try:
        for cells in reader:
            if reader.line_num > len(lines):
                break
            split.append((lines[reader.line_num - 1][0], [cell.strip() for cell in cells]))
            begin = reader.line_num
    except csv.Error:
        limit = f"a cell of more than {csv.field_size_limit():,} characters"
        raise _unread(path, limit, lines[begin][0]) from None
    if begin < len(lines):
        raise _unread(path, "a quote that is not closed", lines[begin][0])
    return split


def _unread(path: Path, what: str, number: int) -> ValueError:
    return ValueError(f"data file {path} has {what} in line {number}; expected numbers and short labels")


def _has_header(rows: list[list[str]]) -> bool:
    first = [_is_number(cell) for cell in rows[0]]
    if not any(first) or len(rows) == 1:
        return not any(first)
    # An empty cell is a gap in the numbers, or in a header that the others give away.
    return any(
        cell and not _is_number(cell) and _is_number(below) for cell, below in zip(rows[0], rows[1], strict=True)
    )


def _column(names: Sequence[str], given: str, what: str) -> int:
    """Return the position of a column by its name or index; `what` asks for it."""
    if names.count(given) > 1:
        raise ValueError(f"{what} is {given!r}, the name of {names.count(given)} columns; expected an index from 0")
    if given in names:
        return names.index(given)
    try:
        return range(len(names))[int(given)]
    except (ValueError, IndexError):
        shown = ", ".join(names[:MANY]) + (", ..." if len(names) > MANY else "")
        raise ValueError(
            f"{what} is {given!r}; expected an index from 0 to {len(names) - 1}, or one of: {shown}"
        ) from None


def _refuse_empty(lines: Sequence[Line], names: Sequence[str], kept: Sequence[int], path: Path, header: bool) -> None:
    for number, cells in lines:
        for i in kept:
            if not cells[i]:
                index = header and i == 0 and not lines[0][1][0]
                hint = " (written with its index? leave that out: --drop 0)" if index else ""
                raise ValueError(f"data file {path} has an empty cell in line {number}, column {names[i]!r}{hint}")


def _numbers(body: Sequence[Line], column: int, name: str, path: Path) -> Floats:
    """Return a feature; the error names the first cell that is no number."""
    for number, cells in body:
        if not _is_number(cells[column]):
            raise ValueError(
                f"data file {path} holds {cells[column]!r} in line {number}, column {name!r}; expected a finite number"
                f"{_hint(cells[column], name)}"
            )
    return np.array([cells[column] for _, cells in body], dtype=np.float64)


def _target(body: Sequence[Line], column: int, name: str, path: Path) -> NDArray[Any]:
    """Return the target: numbers where all cells are, else labels, none of which is a number with a comma."""
    values = [cells[column] for _, cells in body]
    if all(map(_is_number, values)):
        return np.array(values, dtype=np.float64)
    for number, cells in body:
        if _COMMA.fullmatch(cells[column]):
            raise ValueError(
                f"data file {path} holds {cells[column]!r} in line {number}, column {name!r}; expected a number or a "
                f"label{_hint(cells[column], name)}"
            )
    return np.array(values)


def _hint(cell: str, name: str) -> str:
    """Return what to do about a cell that is no number."""
    if _COMMA.fullmatch(cell):
        return " (write decimals with a point)"
    try:
        float(cell)
    except ValueError:
        return f" (a column of text? leave it out: --drop {name!r})"
    return ""


def _is_number(cell: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False
