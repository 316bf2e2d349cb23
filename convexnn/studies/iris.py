"""Hard thresholding on Iris (arXiv 2404.18414) beside the optimum over all supports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np

import convexnn as cx
from convexnn.checks import Floats
from convexnn.datasets import iris
from convexnn.studies.harness.pictures import curves
from convexnn.studies.harness.study import Row, Run, Scale, Study
from convexnn.studies.harness.table import numbers, select
from convexnn.tables import Table

# Weights of the layer: 4 features and a bias for each of 3 classes; budgets up to all of them.
WEIGHTS = 15
BUDGETS = range(1, WEIGHTS + 1)

RIDGE = 1e-2

# Plain steps end at a gradient of this size on the support; with a ridge all conditions hold to the second.
PLAIN_TOLERANCE, TOLERANCE = 1e-3, 1e-8

# A loss within this share of the optimum counts as found.
NEAR = 0.01

STARTS, ITERATIONS, TEST_ROWS = 10, 50_000, 30

# Parts of the study; `plain` twice, by the constant that its step rests on.
OPTIMUM, PLAIN, RESTARTS, ACCURACY = "optimum", "plain", "restarts", "accuracy"
STEPS = ("safe", "monte_carlo")

# What one seed of the command line stands for: starts of plain steps, and starts with a ridge (and splits). No seed of
# the command line shares any of them with the next.
COUNTS = {"quick": (2, 5), "default": (7, 34), "full": (34, 100)}
APART = 1000

PROTOCOL = f"""
The paper fits a softmax layer of {WEIGHTS} weights (4 standardised features, biases counted) to Iris under every budget
s by hard thresholding, x <- H_s(x - step gradient), with a step of 1/L_2s, the constant drawn by Monte Carlo, from one
random sparse start, and reports accuracies. It does not say how far from the best network of s weights the end is; here
all supports are fitted (`enumerated_optimum`, at most 6,435 convex programs), and everything stands beside that.

Setosa is separable: without a ridge no weights are best, and the infimum over a support is that of ever longer weights.
*Plain* is the published iteration without a ridge, to a gradient of {PLAIN_TOLERANCE:g} on the support or
{ITERATIONS:,} iterations, its step from the safe bound of L_2s and from the Monte Carlo one, which is below it.
*Restarts* is `solve` with a ridge of {RIDGE:g}: {STARTS} starts, fits on settled supports, swaps. *Stable* counts runs
that end HT-stable, which is what the paper's theorem promises. *Accuracy* is that with the ridge on {TEST_ROWS} rows
after a fit to the other 120, random stratified splits; s = {WEIGHTS} is the dense layer.
"""


def runs(scale: Scale) -> list[Run]:
    """Return a run for each optimum, and one a start or split that does all budgets."""
    plain, ridge = COUNTS[scale.size]
    first = [
        {"part": OPTIMUM, "ridge": strength, "step": None, "seed": None, "s": s}
        for strength in (0.0, RIDGE)
        for s in BUDGETS
    ]
    kinds: list[tuple[str, float, str | None, int]] = [(PLAIN, 0.0, step, plain) for step in STEPS]
    kinds += [(part, RIDGE, None, ridge) for part in (RESTARTS, ACCURACY)]
    return first + [
        {"part": part, "ridge": strength, "step": step, "seed": APART * seed + number, "s": WEIGHTS}
        for part, strength, step, count in kinds
        for seed in scale.seeds
        for number in range(count)
    ]


def answer(run: Run) -> list[dict[str, Any]] | dict[str, Any]:
    """Answer one run: an optimum with its constants, or a row for every budget."""
    if run["part"] == OPTIMUM:
        return optimum(run)
    one = {PLAIN: plain, RESTARTS: restarts, ACCURACY: accuracy}[run["part"]]
    return [{"s": s} | one(run, s) for s in BUDGETS]


def program(X: Floats, y: Any, budget: int, strength: float) -> cx.ConvexProgram:
    """Return the softmax layer with a budget, with a ridge or without."""
    penalty: dict[str, Any] = {"penalty": "ridge", "strength": strength} if strength else {}
    return cx.ConvexProgram(X, y, cx.theory.linear_patterns(X), loss="softmax", budget=budget, **penalty)


def layer(budget: int, strength: float) -> cx.ConvexProgram:
    """Return the program on all 150 rows, each feature of mean 0 and variance 1."""
    split = iris(scaled=False)
    X, y = np.vstack([split.X_train, split.X_test]), np.concatenate([split.y_train, split.y_test])
    return program((X - X.mean(axis=0)) / X.std(axis=0), y, budget, strength)


def optimum(run: Run) -> dict[str, Any]:
    """Return the lowest loss of all supports (or the infimum), and the constants that a step rests on."""
    whole = layer(run["s"], run["ridge"])
    return {
        "loss": cx.theory.enumerated_optimum(whole).objective,
        "smoothness_safe": cx.theory.restricted_smoothness(whole).value,
        "smoothness_monte_carlo": cx.theory.restricted_smoothness(whole, method="monte_carlo").value,
    }


def plain(run: Run, budget: int) -> dict[str, Any]:
    """Return where the published iteration ends."""
    whole = layer(budget, 0.0)
    length = cx.theory.step_size(whole, method=run["step"])
    found = cx.solve(
        whole,
        "stable_iht",
        seed=run["seed"],
        max_iterations=ITERATIONS,
        step=length,
        n_starts=1,
        polish=False,
        swaps=False,
        tolerance=PLAIN_TOLERANCE,
    )
    stable = cx.theory.ht_stability(whole, found, length, PLAIN_TOLERANCE).stable
    return {"loss": found.objective, "stable": int(stable)}


def restarts(run: Run, budget: int) -> dict[str, Any]:
    """Return where `solve` ends with a ridge."""
    whole = layer(budget, run["ridge"])
    found = cx.solve(whole, n_starts=STARTS, seed=run["seed"])
    return {
        "loss": found.objective,
        "stable": int(cx.theory.ht_stability(whole, found, tolerance=TOLERANCE).stable),
    }


def accuracy(run: Run, budget: int) -> dict[str, Any]:
    """Return the accuracy on the rows that a split leaves out."""
    split = iris(test_share=TEST_ROWS / 150, seed=run["seed"])
    found = cx.solve(program(split.X_train, split.y_train, budget, run["ridge"]), n_starts=STARTS, seed=run["seed"])
    scores = found.predict(split.X_test)
    return {"accuracy": float(np.mean(scores.argmax(axis=1) == split.y_test))}


def figures(rows: list[Row], folder: Path) -> list[Path]:
    """Draw loss over budget without a ridge and with one, beside the optimum, and accuracy over budget."""
    named = [{**row, "line": line(row)} for row in rows]
    labels = ("nonzero weights of 15", "mean loss")
    pictures = [
        curves(
            [row for row in select(named, ridge=strength) if row["loss"]],
            folder / f"loss_{name}.png",
            "s",
            "loss",
            labels=labels,
            title=f"Iris, {title}: mean and spread over starts",
            group="line",
            logarithmic="y",
        )
        for strength, name, title in ((0.0, "plain", "no ridge"), (RIDGE, "ridge", f"a ridge of {RIDGE:g}"))
    ]
    own = select(named, part=ACCURACY)
    dense = numbers(select(own, s=WEIGHTS), "accuracy")
    lines = {"dense": 100.0 * fmean(dense)} if dense else {}
    labels = ("nonzero weights of 15", "test accuracy, %")
    path = folder / "accuracy.png"
    return [*pictures, curves(own, path, "s", "accuracy", labels=labels, group="line", factor=100.0, lines=lines)]


def line(row: Row) -> str:
    """Return what a row's curve is called."""
    if row["part"] == OPTIMUM:
        return "infimum over all supports" if float(row["ridge"]) == 0.0 else "optimum over all supports"
    if row["part"] == PLAIN:
        return f"plain steps, {row['step'].replace('_', ' ')} constant"
    return "restarts, fits, swaps" if row["part"] == RESTARTS else f"ridge {row['ridge']}"


def tables(rows: list[Row]) -> str:
    """Return the losses without a ridge, and losses and accuracies with one, a line a budget."""
    parts = ["## No ridge: plain steps and the infimum", bare(rows).to_markdown()]
    parts += [f"## A ridge of {RIDGE:g}: the optimum, and accuracy", ridged(rows).to_markdown()]
    return "\n\n".join(parts)


def bare(rows: Sequence[Row]) -> Table:
    """Return a line a budget: constants, infimum, and for both steps stable runs and losses."""
    header = ["s", "L_2s, Monte Carlo", "L_2s, safe", "infimum"]
    header += [f"{step.replace('_', ' ')} step: {what}" for step in STEPS for what in ("stable", "best", "median")]
    body = []
    for s in BUDGETS:
        best = select(rows, part=OPTIMUM, ridge=0.0, s=s)
        cells = [_only(best, f"smoothness_{step}", 3) for step in reversed(STEPS)] + [_only(best, "loss", 5)]
        for step in STEPS:
            here = select(rows, part=PLAIN, step=step, s=s)
            losses = numbers(here, "loss")
            cells += [_of(here, "stable"), *(f"{of(losses):.4f}" if losses else "" for of in (min, median))]
        body.append((str(s), *cells))
    return Table.of(header, body)


def ridged(rows: Sequence[Row]) -> Table:
    """Return a line a budget: optimum, runs that are stable and near it, the worst one, accuracy beside dense."""
    header = ("s", "optimum", "stable", f"within {NEAR:.0%}", "worst / optimum", "accuracy", "less dense, in points")
    dense = numbers(select(rows, part=ACCURACY, s=WEIGHTS), "accuracy")
    body = []
    for s in BUDGETS:
        best = select(rows, part=OPTIMUM, ridge=RIDGE, s=s)
        here, level = select(rows, part=RESTARTS, s=s), fmean(numbers(best, "loss") or [np.nan])
        shares = [value / level for value in numbers(here, "loss")]
        near = f"{sum(share <= 1.0 + NEAR for share in shares)}/{len(shares)}"
        own = numbers(select(rows, part=ACCURACY, s=s), "accuracy")
        cells = [_only(best, "loss", 5), _of(here, "stable"), near, f"{max(shares, default=np.nan):.6f}"]
        body.append((str(s), *cells, *_beside(own, dense)))
    return Table.of(header, body)


def _beside(own: Sequence[float], dense: Sequence[float]) -> list[str]:
    """Return the mean accuracy, and the mean difference to dense on the same splits with its standard error."""
    if not own or len(own) != len(dense):
        return ["", ""]
    apart = [100.0 * (one - other) for one, other in zip(own, dense, strict=True)]
    error = f" ± {stdev(apart) / len(apart) ** 0.5:.2f}" if len(apart) > 1 else ""
    return [f"{100.0 * fmean(own):.2f} %", f"{fmean(apart):+.2f}{error}"]


def _only(rows: Sequence[Row], name: str, digits: int) -> str:
    return f"{fmean(numbers(rows, name)):.{digits}f}" if rows else ""


def _of(rows: Sequence[Row], name: str) -> str:
    return f"{sum(map(int, numbers(rows, name)))}/{len(rows)}"


def cost(run: Run) -> float:
    """Return a guess of the seconds of a run."""
    middle = max(0.0, 1.0 - abs(run["s"] - 7.5) / 7.5)
    return {OPTIMUM: 0.1 + (15.0 if run["ridge"] == 0.0 else 3.5) * middle, PLAIN: 10.0}.get(run["part"], 1.5)


IRIS = Study(
    name="iris",
    title="Iris: hard thresholding and the optimum over all supports",
    protocol=PROTOCOL,
    keys=("part", "ridge", "step", "seed", "s"),
    fields=("loss", "stable", "accuracy", "smoothness_safe", "smoothness_monte_carlo"),
    runs=runs,
    answer=answer,
    figures=figures,
    tables=tables,
    cost=cost,
)
