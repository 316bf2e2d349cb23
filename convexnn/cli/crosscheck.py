"""The command `crosscheck`: one program by every solver, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

import convexnn as cx
from convexnn.checks import Floats, as_known, as_nonnegative
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import INTERRUPTED
from convexnn.cli.common.printing import print_json, print_plain, print_remark
from convexnn.cli.files.data_file import read_data
from convexnn.cli.files.writable import writable_if_given
from convexnn.comparison.crosscheck import asked_solvers
from convexnn.comparison.solver_result import SolverResult

# Share of the largest strength that is taken where none is given.
DEFAULT_SHARE = 0.02

# Patterns drawn where the number is not given.
N_PATTERNS = 50

# Kinds of gates that need neither the shape of an image nor gates of one's own.
KINDS = ("gaussian", "sparse", "single", "enumerate")


def crosscheck(
    data: Annotated[
        Path | None,
        typer.Argument(help="A table: CSV, packed by gzip or not, or Parquet; default: a small problem made up."),
    ] = None,
    target: shared.TargetColumn = None,
    drop: shared.DroppedColumns = None,
    missing: shared.Missing = "fail",
    separator: shared.Separator = None,
    comment: shared.Comment = None,
    decimal: shared.Decimal = ".",
    text: shared.TextColumns = None,
    loss: Annotated[
        str | None, typer.Option(help="squared, logistic or softmax. (default: squared for numbers, else by labels)")
    ] = None,
    penalty: Annotated[
        str | None, typer.Option(help="group_l1, feature_l1, l1, ridge or none. (default: group_l1)")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="Factor of the penalty. (default: 2 % of the one that leaves no weights)")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Most nonzero weights, instead of a penalty.")] = None,
    budget_per_neuron: Annotated[
        int | None, typer.Option(help="Most of them in one neuron; goes with --budget.")
    ] = None,
    patterns: Annotated[
        int | None, typer.Option(min=1, help="Activation patterns drawn. (default: 50, where the kind draws)")
    ] = None,
    kind: Annotated[str, typer.Option(help=f"Kind of gates: {', '.join(KINDS)}.")] = "gaussian",
    order: Annotated[
        int | None,
        typer.Option(help="Features of a gate, with kind sparse or enumerate. (default: sparse 2, else all)"),
    ] = None,
    merge_within: Annotated[
        float, typer.Option(help="Share of the rows in which two patterns may differ and count as one.")
    ] = 0.0,
    cone: Annotated[bool, typer.Option("--cone", help="The ReLU program instead of the gated one.")] = False,
    bias: Annotated[bool, typer.Option("--bias", help="Gates and weights see a column of ones.")] = False,
    standardize: Annotated[
        bool, typer.Option("--standardize", help="Scale every feature to mean 0 and deviation 1.")
    ] = False,
    solvers: Annotated[str | None, typer.Option(help="Names with commas between. (default: all that can)")] = None,
    tolerance: Annotated[float, typer.Option(help="Goal of the gap, as a share of the loss at zero.")] = 1e-6,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds of each solver. (default: exact and stable_iht 60, others none)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the patterns, and of the problem made up.")] = 0,
    jobs: shared.Jobs = 1,
    dask: shared.Dask = None,
    as_json: shared.JsonInsteadOfTables = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.")] = False,
    to_csv: Annotated[Path | None, typer.Option("--csv", help="Write every figure to this file.")] = None,
) -> None:
    """Solve one program by every solver that can, and hold the answers against each other.

    Example: convexnn crosscheck data.csv --penalty group_l1 --cone

    Exit code 0: the solvers that converged agree to max(1e-5, 10 * tolerance) of the loss at zero weights (budgets:
    none lies below what another proved); 1: they do not, or none converged; 2: bad input; 130: interrupted.
    """
    if sum((as_json, markdown, latex)) > 1:
        raise ValueError("more than one of --json, --markdown and --latex given; expected at most one")
    as_nonnegative(tolerance, "tolerance")
    as_nonnegative(0.0 if time_limit is None else time_limit, "time_limit")
    csv_file = writable_if_given(to_csv, [data])
    reading: dict[str, Any] = {
        "missing": missing,
        "separator": separator,
        "comment": comment,
        "decimal": decimal,
        "text": text or [],
    }
    given, y = _features_and_target(data, target, drop or [], loss, seed, reading)
    X = _standardized(given) if standardize else given
    program = _program(
        X,
        y,
        _patterns(X, kind, patterns, order=order, bias=bias, merge_within=merge_within, seed=seed),
        strength=strength,
        loss=loss or _loss_for(y),
        penalty=penalty or ("group_l1" if budget is None else None),
        budget=budget,
        budget_per_neuron=budget_per_neuron,
        cone=cone,
    )
    names = asked_solvers(program, None if solvers is None else [name.strip() for name in solvers.split(",")])
    progress = Console(stderr=True)
    print_remark(str(program), progress)
    limits: dict[str, Any] = {"tolerance": tolerance, "time_limit": time_limit}
    with workers(jobs, dask) as n_jobs:
        found = cx.crosscheck(
            program, names, **limits, n_jobs=n_jobs, callback=lambda row: _print_progress(progress, row)
        )
    if csv_file is not None:
        found.to_csv(csv_file)
    _print_crosscheck(found, "json" if as_json else "markdown" if markdown else "latex" if latex else "text")
    raise typer.Exit(INTERRUPTED if found.interrupted else int(not found.agree()))


def _features_and_target(
    data: Path | None, target: str | None, drop: list[str], loss: str | None, seed: int, reading: dict[str, Any]
) -> tuple[Floats, NDArray[Any]]:
    """Return features and target: of a file, or those of a network of two neurons with a little noise."""
    if data is not None:
        labels = loss in ("logistic", "softmax")
        table = read_data(data, target, drop, **reading, labels=labels, labels_by="--loss softmax")
        for remark in table.remarks:
            print_remark(remark)
        return table.X, table.y
    if target is not None:
        raise ValueError(f"target is {target!r} without data; expected a data file")
    if drop:
        raise ValueError(f"drop is {drop[0]!r} without data; expected a data file")
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 10))
    y = np.maximum(X[:, 0] - X[:, 1], 0.0) - np.maximum(X[:, 2], 0.0) + 0.05 * rng.standard_normal(200)
    classes = {"logistic": 2, "softmax": 3}.get(loss or "", 0)
    return X, np.digitize(y, np.quantile(y, np.arange(1, classes) / classes)) if classes else y


def _standardized(X: Floats) -> Floats:
    """Return columns of mean 0 and deviation 1; those that are constant but for rounding become 0."""
    from convexnn.estimators.scaling import Scaling

    scaling = Scaling.of(X)
    return np.where(scaling.varies, (X - scaling.centres) / scaling.deviations, 0.0)


def _patterns(X: Floats, kind: str, count: int | None, **options: Any) -> cx.ActivationPatterns:
    as_known(kind, "kind", KINDS)
    number = N_PATTERNS if count is None and kind in ("gaussian", "sparse") else count
    return cx.sample_patterns(X, number, kind=kind, **options)


def _loss_for(y: NDArray[Any]) -> str:
    """Return the loss for a target: squared for numbers, logistic for two labels, softmax for more."""
    if y.dtype.kind == "f":
        return "squared"
    return "logistic" if len(np.unique(y)) == 2 else "softmax"


def _program(
    X: Floats,
    y: NDArray[Any],
    patterns: cx.ActivationPatterns,
    *,
    strength: float | None,
    penalty: str | None,
    **asked: Any,
) -> cx.ConvexProgram:
    """Return the program; without a strength, for the penalties that have a largest one, with a share of that."""
    ask = strength is None and penalty in ("group_l1", "feature_l1", "l1")
    try:
        program = cx.ConvexProgram(X, y, patterns, penalty=penalty, strength=1.0 if ask else strength, **asked)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return program.with_strength(DEFAULT_SHARE * cx.strength_max(program)) if ask else program


def _print_progress(progress: Console, row: SolverResult) -> None:
    """Say on the way that a solver is through."""
    done = "done" if row.seconds is None else f"{row.seconds:.1f} s"
    progress.print(f"{row.solver}: {done}", style="dim", highlight=False)


def _print_crosscheck(found: cx.Crosscheck, form: str) -> None:
    if form == "json":
        print_json(found.to_dict())
        return
    text = str(found) if form == "text" else found.to_markdown() if form == "markdown" else found.to_latex()
    print_plain(text)
