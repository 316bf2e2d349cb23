"""Columns as features: numbers as they are, yes and no as 1 and 0, text as a feature for each value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convexnn.checks import Bools, Floats
from convexnn.cli.tables.cells import common_unit, flag, in_one_line, is_date, looks_numeric, plain_numbers
from convexnn.cli.tables.numbers import read_numbers
from convexnn.cli.tables.raw_table import RawTable, shown
from convexnn.tables import counting

# Most values of a column of text.
MOST_VALUES = 50


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: one feature.

    Attributes
    ----------
    name : str
        The column's name.
    fill : float, optional
        The median, for missing cells.
    sign : str
        The sign that was taken off.
    """

    kind: ClassVar[str] = "number"
    name: str
    fill: float | None = None
    sign: str = ""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return (self.name,)

    def encode(self, table: RawTable, position: int, present: Bools, unknown: str = "fail") -> Floats:
        """Return the features (n, 1); what is not present is filled."""
        numbers = read_numbers(table, position, present)
        # A currency sign may be left out; percent may not.
        same = (self.sign == "%") == (numbers.sign == "%") and (not numbers.sign or self.sign in ("", numbers.sign))
        if present.any() and not same:
            wanted = f"with {self.sign}" if self.sign else "without %"
            words = f"; expected numbers {wanted}, as the model was fitted to"
            raise table.refusal(int(np.argmax(present)), position, words)
        return np.where(present, numbers.values, np.nan if self.fill is None else self.fill)[:, None]


@dataclass(frozen=True)
class FlagColumn:
    """A column of True and False, or yes and no: one feature, 1 or 0; `fill` is the more frequent."""

    kind: ClassVar[str] = "flag"
    name: str
    fill: float | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return (self.name,)

    def encode(self, table: RawTable, position: int, present: Bools, unknown: str = "fail") -> Floats:
        """Return the features (n, 1); what is not present is filled."""
        values = np.full((len(present), 1), np.nan if self.fill is None else self.fill)
        for row, cell in enumerate(table.column(position)):
            if present[row]:
                value = flag(cell)
                if value is None:
                    raise table.refusal(row, position, "; expected True or False, or yes or no, as in the model's data")
                values[row] = value
        return values


@dataclass(frozen=True)
class CategoryColumn:
    """A column of text: a feature for each of its `values`, 1 where the cell is that; `fill` is the most frequent."""

    kind: ClassVar[str] = "category"
    name: str
    values: tuple[str, ...]
    fill: str | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features: ``column=value``."""
        return tuple(f"{self.name}={in_one_line(value)}" for value in self.values)

    def encode(self, table: RawTable, position: int, present: Bools, unknown: str = "fail") -> Floats:
        """Return the features (n, number of values); a value that is not known is an error, or all zeros."""
        places = {value: i for i, value in enumerate(self.values)}
        encoded = np.zeros((len(present), len(places)))
        for row, cell in enumerate(table.column(position)):
            value = cell if present[row] else self.fill
            if value in places:
                encoded[row, places[value]] = 1.0
            elif unknown == "fail" and value is not None:
                words = (
                    f", which the model does not know; expected one of: {shown([repr(value) for value in self.values])}"
                )
                raise table.refusal(row, position, f"{words} (--unknown zero sets all of them to 0)")
        return encoded


Column = NumberColumn | FlagColumn | CategoryColumn


def column_kind(cells: Sequence[str]) -> str:
    """Return what a column of cells with values is: number, flag, date or category, by most of its cells."""
    if plain_numbers(cells) is not None:
        return "number"
    counts = Counter(cells)
    if 2 * sum(count for cell, count in counts.items() if looks_numeric(cell)) >= len(cells):
        return "number"
    if all(flag(cell) is not None for cell in counts):
        return "flag"
    dates = sum(count for cell, count in counts.items() if is_date(cell))
    return "date" if 2 * dates > len(cells) else "category"


def learn_column(table: RawTable, position: int, present: Bools, text: bool = False) -> tuple[Column, str]:
    """Return how a column with at least one value becomes features, and a word about it where that is not plain.

    With `text` numbers, dates and flags are labels too.
    """
    cells = [cell for cell, there in zip(table.column(position), present, strict=True) if there]
    name = table.names[position]
    kind = "category" if text else column_kind(cells)
    refuse_strange(table, position, present)
    if kind == "date":
        raise refused_dates(table, position, present)
    if kind == "number":
        return _learn_numbers(table, position, present)
    if kind == "flag":
        share = np.mean([flag(cell) for cell in cells])
        return FlagColumn(name, float(share > 0.5)), f"column {name!r} is yes or no: 1 or 0"
    counts = Counter(cells)
    if len(counts) > MOST_VALUES:
        row = int(np.argmax(present))
        words = f", and {len(counts) - 1:,} other values that are no numbers; expected at most {MOST_VALUES} in all"
        united = not text and (cells[0][:1].isdigit() or common_unit(cells) is not None)
        unit = "a unit behind numbers? keep the numbers alone; or " if united else ""
        raise table.refusal(row, position, f"{words} ({unit}leave the column out: --drop {name!r})")
    column = CategoryColumn(name, tuple(sorted(counts)), min(counts, key=lambda cell: (-counts[cell], cell)))
    said = f"column {name!r} is text: {counting(len(counts), 'feature')}, such as {column.features[0]!r}"
    return column, said + ("" if text else unit_remark(cells))


def unit_remark(cells: Sequence[str]) -> str:
    """Return what is to be said of labels that are numbers with a unit beside them; nothing of others."""
    unit = common_unit(cells) if len(set(cells)) > 1 else None
    return "" if unit is None else f" (numbers with the unit {unit!r}? keep the numbers alone)"


# What is in columns that are neither numbers nor text, and what to do about it.
STRANGE = {
    "times": "write them as numbers, such as seconds",
    "lists": "write each entry as a column of its own",
    "records": "write each field as a column of its own",
    "bytes": "decode them to text",
}


def refuse_strange(table: RawTable, position: int, present: Bools) -> None:
    """Raise where a column of a file that is no text is neither of numbers nor of text: its text is no label."""
    kind = table.strange.get(position)
    if kind is not None:
        hint = f"{STRANGE[kind]}, or leave the column out: --drop {table.names[position]!r}"
        row = int(np.argmax(present))
        raise table.refusal(row, position, f"; expected numbers or labels, not {kind} ({hint})")


def refused_dates(table: RawTable, position: int, present: Bools) -> ValueError:
    """Return the error about a column of dates."""
    name = table.names[position]
    hint = f"write dates as numbers, such as days or a month, or leave the column out: --drop {name!r}"
    return table.refusal(int(np.argmax(present)), position, f"; expected numbers or labels, not dates ({hint})")


def _code(table: RawTable, position: int, present: Bools) -> str | None:
    """Return a whole number with zeros before it, such as a postal code, if a column has one."""
    cells = zip(table.column(position), present, strict=True)
    return next((cell for cell, there in cells if there and len(cell) > 1 and cell[0] == "0" and cell.isdigit()), None)


def _learn_numbers(table: RawTable, position: int, present: Bools) -> tuple[NumberColumn, str]:
    numbers = read_numbers(table, position, present)
    values = np.sort(numbers.values[present])
    # Halved first: the sum of two large numbers may be none.
    median = 0.5 * values[(len(values) - 1) // 2] + 0.5 * values[len(values) // 2]
    name = table.names[position]
    said = ""
    if numbers.example is not None:
        cell, value = numbers.example
        said = f"column {name!r} is read as numbers: {cell!r} as {value:.15g}"
    elif (code := _code(table, position, present)) is not None:
        said = f"column {name!r} is read as numbers: {code!r} as {float(code):.15g} (codes? --text {name!r})"
    return NumberColumn(name, float(median), numbers.sign), said
