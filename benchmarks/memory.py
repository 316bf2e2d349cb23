"""Measure the memory of sampling, merging and hard thresholding, for one number of gates after another.

    python benchmarks/memory.py [100 1000 10000] [--rows 20000 --features 100 --budget 1000 --iterations 4]
                                [--memory-limit BYTES --merge-within 0.01 --warm 1 --solver niht --plain 1]

Each case has a process of its own and planted weights. Figures are resident memory above that after imports and data,
in MB (10^6 bytes), after the allocator gave back what it held: the peak of sampling and merging, of the solve, of the
printed solution, and of all. Warm: after a small solve, so that the pages of the libraries that a first call touches do
not count. Plain: without whitening. Linux alone: the peak of a stretch is read from /proc.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize  # noqa: F401  (imports are no part of the memory of a run)
import torch  # noqa: F401

import convexnn as cx
import convexnn.solvers.thresholding.niht
from convexnn.checks import Floats
from convexnn.patterns.activation_patterns import masks
from convexnn.studies.harness.resources import peak, reset_peak

STAGES = ("sampling", "solve", "print", "peak")
OPTIONS = {
    "rows": 20_000,
    "features": 100,
    "budget": 1000,
    "iterations": 4,
    "memory_limit": None,
    "merge_within": 0.0,
    "warm": 0,
    "solver": "niht",
    "plain": 0,
}


def within(work: Callable[[], Any], base: float) -> tuple[Any, float]:
    """Return the result of `work` and the peak of resident memory within it above `base`, in MB."""
    reset_peak()
    result = work()
    return result, peak() - base


def planted(n: int, d: int, weights: int, seed: int) -> tuple[Floats, Floats]:
    """Return Gaussian rows (n, d) and the sum of `weights` columns D_j x_i over 100 Gaussian gates of their own."""
    rng = np.random.default_rng(seed)
    X, gates = rng.standard_normal((n, d)), rng.standard_normal((100, d))
    truth = np.zeros((100, d))
    truth.flat[rng.choice(truth.size, weights, replace=False)] = rng.standard_normal(weights)
    target = np.empty(n)
    for start in range(0, n, 1000):
        rows = X[start : start + 1000]
        target[start : start + 1000] = ((rows @ truth.T) * masks(rows, gates)).sum(axis=1)
    return X, target


def solved(
    X: Floats, y: Floats, patterns: cx.ActivationPatterns, budget: int, asked: Namespace, limits: dict[str, int]
) -> cx.Solution:
    """Return the solution by hard thresholding, the program made anew."""
    program = cx.ConvexProgram(X, y, patterns, budget=budget)
    whiten = False if asked.plain else "auto"
    return cx.solve(program, asked.solver, max_iterations=asked.iterations, whiten=whiten, **limits)


def case(m: int, asked: Namespace) -> dict[str, Any]:
    """Return the figures of one run with `m` gates, in this process."""
    X, y = planted(asked.rows, asked.features, min(asked.budget, 100 * asked.features), seed=0)
    if asked.warm:
        few, values = planted(200, asked.features, 10, seed=1)
        solved(few, values, cx.sample_patterns(few, 20), 10, asked, {})
    limits = {} if asked.memory_limit is None else {"memory_limit": asked.memory_limit}
    base, began = reset_peak(), perf_counter()
    patterns, sampling = within(lambda: cx.sample_patterns(X, m, seed=1, merge_within=asked.merge_within), base)

    solution, solve = within(lambda: solved(X, y, patterns, asked.budget, asked, limits), base)
    _, printed = within(lambda: str(solution), base)
    figures = dict(zip(STAGES, (sampling, solve, printed, max(sampling, solve, printed)), strict=True))
    estimate = 0.0 if solution.memory is None else solution.memory / 1e6
    return {**figures, "estimate": estimate, "seconds": perf_counter() - began}


def fresh(m: int, asked: Namespace) -> dict[str, Any]:
    """Return the figures of one run with `m` gates, in a process of its own."""
    passed = [
        f"--{name.replace('_', '-')}={getattr(asked, name)}" for name in OPTIONS if getattr(asked, name) is not None
    ]
    command = [sys.executable, __file__, str(m), "--here", *passed]
    figures: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return figures


def main() -> None:
    """Print one row a number of gates."""
    parser = common.option_parser(__doc__)
    parser.add_argument("gates", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--here", action="store_true", help="run in this process and print JSON")
    for name, default in OPTIONS.items():
        kind = int if default is None else type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    asked = parser.parse_args()
    if asked.here:
        print(json.dumps(case(asked.gates[0], asked)))
        return
    print(f"n={asked.rows}, d={asked.features}, budget {asked.budget}; MB above imports and data")
    print(f"{'gates':>6} {'estimate':>9} " + " ".join(f"{name:>9}" for name in STAGES) + "   of first   seconds")
    first = None
    for m in asked.gates:
        row = fresh(m, asked)
        first = first or row["peak"]
        figures = " ".join(f"{row[name]:9.0f}" for name in ("estimate", *STAGES))
        print(f"{m:6} {figures} {row['peak'] / first:10.3f} {row['seconds']:9.1f}", flush=True)


if __name__ == "__main__":
    main()
