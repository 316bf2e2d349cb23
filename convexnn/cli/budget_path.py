"""The command `budget-path`: scores against the number of weights, so that a budget is picked by looking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convexnn.checks import require
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import CUT_SHORT
from convexnn.cli.common.printing import print_json, print_plain, print_remark
from convexnn.cli.files.data_file import DataFile
from convexnn.cli.files.writable import writable
from convexnn.cli.fit import estimator_and_target, monotonic_signs, read_table
from convexnn.files import replacing

if TYPE_CHECKING:
    from convexnn.estimators.budget_path import BudgetPath, BudgetStep


def budget_path(
    data: Annotated[Path, typer.Argument(help="Rows of numbers as text, with or without a header.")],
    target: shared.TargetColumn = None,
    drop: shared.DroppedColumns = None,
    missing: shared.Missing = "fail",
    separator: shared.Separator = None,
    comment: shared.Comment = None,
    decimal: shared.Decimal = ".",
    text: shared.TextColumns = None,
    task: Annotated[str, typer.Option(help="auto, classify or regress, as of `convexnn fit`.")] = "auto",
    budgets: Annotated[
        str | None, typer.Option(help="Budgets with commas between. (default: 8, from the data's size)")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    test_share: Annotated[
        float | None, typer.Option(help="Or the share of the rows that is held out once, above 0 and below 1.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Most neurons of a hidden layer. (default: from the budget)")
    ] = None,
    depth: Annotated[int, typer.Option(help="Hidden layers.")] = 1,
    monotonic: shared.Monotonic = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of each fit. (default: none)")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split and of the search.")] = 0,
    jobs: shared.Jobs = 1,
    dask: shared.Dask = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the scores in this file (.png, .svg or .pdf).")] = None,
    points: Annotated[
        float, typer.Option(min=0.0, help="Hundredths of the score that the smallest budget may give away.")
    ] = 1.0,
    save: Annotated[
        Path | None, typer.Option(help="Write the model of that smallest budget to this .npz file.")
    ] = None,
    as_json: shared.JsonInsteadOfTables = False,
) -> None:
    """Fit a table at several budgets and score each on rows that it has not seen.

    Example: convexnn budget-path data.csv --budgets 10,20,40,80 --plot path.png

    Exit code 0: every budget was fitted; 4: interrupted, the budgets done by then are shown; 2: bad input.
    """
    from convexnn.estimators.budget_path import budget_path as run

    for file in (plot, save):
        if file is not None:
            writable(file, [data])
    if plot is not None:
        require("matplotlib", "matplotlib", "--plot").use("agg")
    reading = {"missing": missing, "separator": separator, "comment": comment, "decimal": decimal, "text": text or []}
    table = read_table(data, target, drop, task, reading)
    options: dict[str, Any] = {"width": width, "depth": depth, "time_limit": time_limit, "random_state": seed}
    options |= {"monotonic_cst": monotonic_signs(monotonic, table.features)}
    model, y = estimator_and_target(table, task, options)
    chosen = None if budgets is None else _whole_numbers(budgets)
    with workers(jobs, dask) as n_jobs:
        path = run(model, table.X, y, chosen, cv=folds if test_share is None else test_share, n_jobs=n_jobs)
    if as_json:
        print_json(_record(path, points))
    else:
        print_plain(str(path))
    if len(path):
        _write(path, points, plot, save, table)
    if not path.complete:
        print_remark("cut short by Ctrl-C or SIGTERM: these are the budgets done by then")
        raise typer.Exit(CUT_SHORT)


def _whole_numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError(f"budgets is {text!r}; expected whole numbers with commas between")
    return list(map(int, words))


def _write(path: BudgetPath, points: float, plot: Path | None, save: Path | None, table: DataFile) -> None:
    """Write the picture and the model of the smallest budget within some points."""
    if plot is not None:
        axes = path.plot(points=points)
        with replacing(plot) as file:
            axes.figure.savefig(file, format=plot.suffix.lstrip(".") or "png")
    if save is not None:
        import numpy as np

        estimator = path.smallest_within(points).estimator
        estimator.feature_names_in_ = np.array(table.features, dtype=object)
        estimator.columns_ = table.encoding.to_record()
        estimator.save(save)


def _record(path: BudgetPath, points: float) -> dict[str, Any]:
    return {
        "scoring": path.scoring,
        "complete": path.complete,
        "best": path.best.budget if len(path) else None,
        "smallest_within": path.smallest_within(points).budget if len(path) else None,
        "budgets": [_step_record(step) for step in path.steps],
    }


def _step_record(step: BudgetStep) -> dict[str, Any]:
    told = step.to_dict()
    network = told.pop("network")
    return {**told, "nonzeros": network["nonzeros"], "neurons": network["neurons"]}
