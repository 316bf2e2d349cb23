"""Columns of numbers: signs and commas between thousands taken off, and every cell that does not fit named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from convexnn.checks import Bools, Floats
from convexnn.cli.tables.cells import (
    NO_VALUE,
    NumberCell,
    is_date,
    is_written_elsewhere,
    looks_numeric,
    number_cell,
    plain_numbers,
    pointed,
)
from convexnn.cli.tables.raw_table import RawTable

_UNCLEAR = (
    " (a decimal comma, or between thousands?); write decimals with a point, and thousands without a comma, or say "
    "--decimal ,"
)


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of a column.

    Attributes
    ----------
    values : ndarray (n,)
        The numbers, NaN where there is none.
    sign : str
        The sign that was taken off: of a currency, or of percent; of a few cells or of all.
    example : tuple of (str, float), optional
        A cell from which something was taken off, and its number.
    """

    values: Floats
    sign: str = ""
    example: tuple[str, float] | None = None


def read_numbers(table: RawTable, position: int, present: Bools, *, even: bool = False, hint: str = "") -> Numbers:
    """Return the numbers of a column, where cells are `present`.

    Parameters
    ----------
    table : RawTable
        The table.
    position : int
        The column.
    present : ndarray (n,) of bool
        Which cells have a value.
    even : bool, default False
        Whether a currency sign must be on every cell or on none, as a percent sign must anyhow.
    hint : str
        What to do about text among the numbers, where there is more to say.

    Raises
    ------
    ValueError
        A cell is no finite number; or signs differ; or commas may be decimal ones.
    """
    cells = table.column(position)
    values = np.full(len(cells), np.nan)
    plain = plain_numbers(cell for cell, there in zip(cells, present, strict=True) if there)
    if plain is not None:
        values[present] = plain
        return Numbers(values)
    forms = {cell: number_cell(cell) for cell in {cells[row] for row in np.flatnonzero(present)}}
    known: dict[str, NumberCell] = {}
    for row in map(int, np.flatnonzero(present)):
        form = forms[cells[row]]
        if form is None:
            raise table.refusal(row, position, f"; expected a finite number{_hint(table, row, position, hint)}")
        known[cells[row]] = form
        values[row] = form.value
    _refuse_unclear_commas(table, position, known)
    sign = _sign(table, position, Counter(known[cells[row]].sign for row in np.flatnonzero(present)), known, even)
    changed = next((cell for cell, form in known.items() if form.sign or form.grouped), None)
    return Numbers(values, sign, None if changed is None else (changed, known[changed].value))


def _hint(table: RawTable, row: int, position: int, hint: str) -> str:
    """Return what to do about a cell that is no number."""
    cell = table.rows[row][1][position]
    if pointed(cell) != cell and "," in cell and table.mark != ",":
        return f" (a decimal comma? --decimal , reads it as {pointed(cell)})"
    if is_written_elsewhere(cell):
        return " (write decimals with a point, and nothing between thousands)"
    if looks_numeric(cell):
        return ""
    if not hint and cell.casefold() in NO_VALUE:
        return " (no value? leave the cell empty, and say --missing drop or --missing median)"
    what = "a date" if is_date(cell) else "text"
    name = table.names[position]
    return hint or f" ({what} among numbers: correct the cell, or leave the column out: --drop {name!r})"


def _refuse_unclear_commas(table: RawTable, position: int, known: dict[str, NumberCell]) -> None:
    """Refuse 1,234 where semicolons part the cells, unless one such as 1,234.5 shows that it is a thousand."""
    grouped = [cell for cell, form in known.items() if form.grouped]
    if table.mark == ";" and grouped and not any("." in cell or cell.count(",") > 1 for cell in grouped):
        raise table.refusal(_first(table, position, grouped[0]), position, _UNCLEAR)


def _sign(table: RawTable, position: int, counts: Counter[str], known: dict[str, NumberCell], even: bool) -> str:
    """Return the one sign of a column; the error names a cell with the rarer one."""
    signs = [sign for sign, _ in counts.most_common()]
    marked = [sign for sign in signs if sign]
    if len(signs) > 1 and (even or len(marked) > 1 or "%" in marked):
        odd, other = (next(c for c, form in known.items() if form.sign == sign) for sign in (signs[-1], signs[0]))
        there = table.place(_first(table, position, other), position)
        words = f", and {there}; expected one sign, or none, in the whole column"
        raise table.refusal(_first(table, position, odd), position, words)
    return marked[0] if marked else ""


def _first(table: RawTable, position: int, cell: str) -> int:
    return table.column(position).index(cell)
