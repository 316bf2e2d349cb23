"""Peak memory of training at one budget, as the network grows: ours against magnitude pruning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import convexnn as cx
from convexnn.baselines import prune_iteratively
from convexnn.checks import Floats
from convexnn.datasets import planted
from convexnn.studies.harness.pictures import curves
from convexnn.studies.harness.resources import one_thread, peak_above, reset_peak
from convexnn.studies.harness.study import Row, Run, Scale, Study
from convexnn.studies.harness.summary import averaged, pivot
from convexnn.studies.harness.table import distinct, numbers, select
from convexnn.tables import Table

WIDTHS = {"quick": (50, 500, 2000), "default": (50, 100, 200, 500, 1000, 2000), "full": (50, 100, 200, 500, 1000, 2000)}
ROWS = {"quick": 5000, "default": 5000, "full": 50_000}
FEATURES, BUDGET = 500, 200

# Seconds of `recover`, and iterations and passes of the others: what they hold does not grow with more.
LIMIT, ITERATIONS, PASSES = 20.0, 10, 1

# Share of the weights that a round prunes: the first rounds, of dense networks, are those that count.
PRUNE = 0.5

TITLES = {
    "recover": "recover",
    "niht": "niht, m fixed gates",
    "fit_network": "fit_network",
    "imp-full": "IMP, all rows a step",
    "imp-batches": "IMP, 250 rows a step",
}

PROTOCOL = f"""
A planted network of 50 neurons and {BUDGET} weights, {FEATURES} features, is fitted by networks of m neurons with
{BUDGET} weights left. Each run has a process of its own, in which the same method has solved a small problem before, so
that pages of libraries do not count; the figure is the peak of resident memory above what is resident once imports,
data and that are there. Steps are few ({ITERATIONS} iterations of `niht` on plain rows, {PASSES} pass a round of the
others): what these hold does not depend on their number; `recover` has {LIMIT:.0f} seconds. The paper states memory in
proportion to s for hard thresholding and to m d for pruning, and has no figures. *IMP, all rows a step* is the released
baseline. `fit_network` trains dense layers, with a mask, as pruning does: it is not a method of little memory.
"""


def runs(scale: Scale) -> list[Run]:
    """Return a run for every seed, method and width."""
    return [
        {"n": ROWS[scale.size], "m": m, "s": BUDGET, "seed": seed, "method": method}
        for seed in scale.seeds
        for method in TITLES
        for m in WIDTHS[scale.size]
    ]


def answer(run: Run) -> dict[str, Any]:
    """Measure a run in a fresh process."""
    path = os.pathsep.join(place for place in sys.path if place)
    done = subprocess.run(
        [sys.executable, "-m", "convexnn.studies.memory", json.dumps(run)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode:
        raise OSError(f"the process of the run {run} ended with exit code {done.returncode} (is there enough memory?)")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure_here(run: Run) -> dict[str, Any]:
    """Measure a run in this process."""
    train = METHODS[run["method"]]
    with one_thread():
        data = planted(50, run["s"], n=run["n"], d=FEATURES, seed=run["seed"])
        small = planted(2, 4, n=100, d=FEATURES, seed=1)
        train(small.X, small.y, 4, 5, run["seed"])
        base, began = reset_peak(), perf_counter()
        train(data.X, data.y, run["s"], run["m"], run["seed"])
        return {"seconds": perf_counter() - began, "peak_mb": peak_above(base)}


def by_recover(X: Floats, y: Floats, budget: int, width: int, seed: int) -> object:
    """Search for the network."""
    return cx.recover(X, y, budget, width, seed=seed, n_restarts=1, time_limit=LIMIT)


def by_fixed_gates(X: Floats, y: Floats, budget: int, width: int, seed: int) -> object:
    """Solve the cardinality program over random gates, on plain rows as the paper does."""
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, width, seed=seed), budget=budget)
    return cx.solve(program, "niht", max_iterations=ITERATIONS, whiten=False)


def by_training(X: Floats, y: Floats, budget: int, width: int, seed: int) -> object:
    """Train all layers with a budget that falls."""
    return cx.fit_network(X, y, budget, width, epochs=PASSES, patience=0, seed=seed)


def by_pruning(X: Floats, y: Floats, budget: int, width: int, seed: int, batch: int | None) -> object:
    """Prune by magnitude in rounds."""
    return prune_iteratively(
        X, y, [budget], width=width, epochs_a_round=PASSES, prune=PRUNE, batch_size=batch, weights="hidden", seed=seed
    )


def by_full_pruning(X: Floats, y: Floats, budget: int, width: int, seed: int) -> object:
    """Prune, each step on all rows."""
    return by_pruning(X, y, budget, width, seed, None)


def by_batched_pruning(X: Floats, y: Floats, budget: int, width: int, seed: int) -> object:
    """Prune, each step on 250 rows."""
    return by_pruning(X, y, budget, width, seed, 250)


METHODS: Mapping[str, Callable[[Floats, Floats, int, int, int], object]] = {
    "recover": by_recover,
    "niht": by_fixed_gates,
    "fit_network": by_training,
    "imp-full": by_full_pruning,
    "imp-batches": by_batched_pruning,
}


def figures(rows: list[Row], folder: Path) -> list[Path]:
    """Draw peak memory against neurons."""
    labels = ("neurons m", "peak memory above the data, MB")
    return [curves(rows, folder / "memory.png", "m", "peak_mb", labels=labels, titles=TITLES, logarithmic="xy")]


def tables(rows: list[Row]) -> str:
    """Return peak memory and its growth, then seconds."""
    table = pivot(rows, ("m",), "method", averaged("peak_mb", 0), TITLES)
    parts = [f"## Peak memory in MB, {BUDGET} weights", _with_growth(table, rows).to_markdown()]
    parts += ["## Seconds", pivot(rows, ("m",), "method", averaged("seconds"), TITLES).to_markdown()]
    return "\n\n".join(parts)


def _with_growth(table: Table, rows: Sequence[Row]) -> Table:
    """Return the table with a last line: how many times the first line's memory the last line's is."""
    widths = distinct(rows, "m")
    line = ["growth"]
    for method in distinct(rows, "method"):
        ends = [numbers(select(rows, m=m, method=method), "peak_mb") for m in (widths[0], widths[-1])]
        line.append(f"{sum(ends[1]) / len(ends[1]) / (sum(ends[0]) / len(ends[0])):.1f} times" if all(ends) else "")
    return Table.of(table.header, [*table.rows, tuple(line)])


def cost(run: Run) -> float:
    """Return a guess of the seconds of a run."""
    return {"recover": LIMIT, "imp-full": run["m"] / 50.0}.get(run["method"], 4.0 + run["m"] / 200.0)


MEMORY = Study(
    name="memory",
    title="Peak memory of training as the network grows",
    protocol=PROTOCOL,
    keys=("n", "m", "s", "seed", "method"),
    fields=(),
    runs=runs,
    answer=answer,
    figures=figures,
    tables=tables,
    cost=cost,
)

if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_here(json.loads(sys.argv[1]))) + "\n")
