"""The page of a study: what was asked, how it was run, and what came out, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from math import inf
from pathlib import Path
from statistics import fmean, stdev

from convexnn.studies.harness.study import Row, Study
from convexnn.studies.harness.table import RUN_ID, distinct, numbers, select
from convexnn.tables import Table

# What a cell is made of: the rows of one index and one column.
Cell = Callable[[list[Row]], str]


def mean_and_spread(values: Sequence[float], digits: int = 1) -> str:
    """Return ``mean ± standard deviation`` (of a sample); the mean alone of one value; nothing of none."""
    if not values:
        return ""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def averaged(name: str, digits: int = 1, most: float = inf) -> Cell:
    """Return the cell of a column's mean and spread, larger values counted as `most`."""
    return lambda rows: mean_and_spread([min(most, value) for value in numbers(rows, name)], digits)


def pivot(
    rows: Sequence[Row],
    index: Sequence[str],
    column: str,
    cell: Cell,
    titles: Mapping[str, str] | None = None,
) -> Table:
    """Return a table with a line for each value of the `index` columns and a column for each value of another one.

    Parameters
    ----------
    rows : sequence of dict
        Values come in the order of their first appearance.
    index : sequence of str
        Names of the columns that tell lines apart; they stand first.
    column : str
        Name of the column whose values head the others, such as ``method``.
    cell : callable
        From the rows of a line and a column to text, as :func:`averaged` gives.
    titles : mapping, optional
        What stands above a column in place of the value.
    """
    heads = distinct(rows, column)
    lines = list(dict.fromkeys(tuple(row[name] for name in index) for row in rows))
    body = []
    for line in lines:
        here = select(rows, **dict(zip(index, line, strict=True)))
        body.append((*line, *(cell(select(here, **{column: head})) for head in heads)))
    return Table.of((*index, *((titles or {}).get(head, head) for head in heads)), body)


def with_recorded(table: Table, recorded: Callable[[tuple[str, ...]], str]) -> Table:
    """Return a table with a column more, from a line's cells to what is recorded for the published solver."""
    return Table.of((*table.header, "published solver, as recorded"), [(*row, recorded(row)) for row in table.rows])


def page(study: Study, rows: Sequence[Row], pictures: Iterable[Path], command: str) -> str:
    """Return the page: title, command, what was run and for how long, protocol, tables, pictures, details (folded)."""
    details = study.details(list(rows))
    parts = [
        f"# {study.title}",
        f"    {command}",
        cost_summary(rows),
        study.protocol,
        study.tables(list(rows)),
        *(f"![{path.stem}]({path.name})" for path in pictures),
        f"<details><summary>Every cell</summary>\n\n{details}\n\n</details>" if details else "",
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def cost_summary(rows: Sequence[Row]) -> str:
    """Return what the rows took and what ran them, in a sentence or two."""
    if not rows:
        return "No runs."
    seeds = sorted({int(row["seed"]) for row in rows if row.get("seed")})
    of = f" of {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(_stretches(seeds))}" if seeds else ""
    ran = "; ".join(distinct(rows, "versions"))
    runs = dict[str, float]()
    for row in rows:
        # Rows of one run state the seconds of all of it, or those until each of them was there.
        runs[row[RUN_ID]] = max(runs.get(row[RUN_ID], 0.0), float(row["seconds"]))
    return f"{len(runs)} runs{of}, one thread each, {sum(runs.values()):,.0f} seconds in all; {len(rows)} rows; {ran}."


def _stretches(values: Sequence[int]) -> list[str]:
    """Return sorted whole numbers as text, three or more that follow each other as ``first to last``."""
    # Less its place in the order, a number is that of its neighbours in a stretch.
    groups = groupby(enumerate(values), key=lambda pair: pair[1] - pair[0])
    return [text for _, pairs in groups for text in _stretch([value for _, value in pairs])]


def _stretch(group: Sequence[int]) -> list[str]:
    return [f"{group[0]} to {group[-1]}"] if len(group) > 2 else [str(value) for value in group]
