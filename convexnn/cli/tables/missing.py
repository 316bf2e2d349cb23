"""Missing cells: where they are, and the rows that stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convexnn.checks import Bools
from convexnn.cli.tables.cells import is_missing
from convexnn.cli.tables.raw_table import MANY, RawTable
from convexnn.tables import counting

# What may be done about missing cells.
WAYS = ("fail", "drop", "median")


def present_cells(table: RawTable, positions: Sequence[int]) -> Bools:
    """Return which cells of some columns have a value, (n, number of columns)."""
    columns = [table.column(position) for position in positions]
    gone = [{cell for cell in set(column) if is_missing(cell)} for column in columns]
    present = np.ones((len(table.rows), len(columns)), dtype=np.bool_)
    for i, (column, missing) in enumerate(zip(columns, gone, strict=True)):
        if missing:
            present[:, i] = [cell not in missing for cell in column]
    return present


def refuse_missing(table: RawTable, positions: Sequence[int], present: Bools) -> None:
    """Raise an error that says how many cells are missing, in which columns, and where the first is."""
    counts = (~present).sum(axis=0)
    if not counts.any():
        return
    columns = [f"{table.names[p]!r} ({count:,})" for p, count in zip(positions, counts, strict=True) if count]
    more = f" and {len(columns) - MANY} more" if len(columns) > MANY else ""
    row = int(np.argmin(present.all(axis=1)))
    first = table.place(row, positions[int(np.argmin(present[row]))])
    raise ValueError(
        f"data file {table.path} has {counting(int(counts.sum()), 'missing cell')}, in "
        f"{'column' if len(columns) == 1 else 'columns'} {', '.join(columns[:MANY])}{more}; the first is {first}; "
        "--missing drop leaves such rows out, --missing median fills features"
    )


def refuse_empty_columns(table: RawTable, positions: Sequence[int], present: Bools) -> None:
    """Raise an error that names the first column without any value."""
    for position, column in zip(positions, present.T, strict=True):
        if not column.any():
            raise ValueError(
                f"data file {table.path} has no value in column {table.names[position]!r}: all of its "
                f"{counting(len(column), 'cell')} are missing (leave the column out: --drop {table.names[position]!r})"
            )


def rows_kept(table: RawTable, present: Bools, missing: str, target: int | None) -> tuple[Bools, str]:
    """Return which rows stay and a word about the others; `target` is its column in `present`.

    Of rows that lack a feature, "median" leaves none out.
    """
    needed = present if missing == "drop" else present[:, [] if missing == "fail" or target is None else [target]]
    kept = np.asarray(needed.all(axis=1), dtype=np.bool_)
    if kept.all():
        return kept, ""
    what = "without a target" if missing == "median" else "with missing cells"
    first = f"{'line' if table.mark else 'row'} {table.rows[int(np.argmin(kept))][0]}"
    return kept, f"{counting(int((~kept).sum()), 'row')} of {len(kept):,} left out, {what}: the first is {first}"
