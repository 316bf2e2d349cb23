"""Time what is built on the two bare matrix products against these products: the pattern operator, thresholding steps.

    python benchmarks/products.py operator [--rows 5000] [--features 100] [--gates 500] [--repeats 9]
    python benchmarks/products.py thresholding [--rows 5000] [--features 100] [--gates 500] [--repeats 9] [--budget 100]

The bare products, X U^T (n, m) and R^T X (m, d), are what no implementation can avoid; the rest is masks and tiles.
`operator`: the products of all forms of the masks. `thresholding`: one iteration of each method, on plain rows first,
then on whitened ones with the time to set them up, on as many rows as the limits allow. Medians in one process,
float32; what counts are the ratios.
"""

from __future__ import annotations

import os

# Two threads, where `common` would say one, which wait instead of spinning.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import common

# isort: split
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch

import convexnn as cx
from convexnn.linear.operator import PatternOperator
from convexnn.solvers.thresholding.cosamp import cosamp_step
from convexnn.solvers.thresholding.dictionary import Dictionary, open_dictionary
from convexnn.solvers.thresholding.htp import htp_step
from convexnn.solvers.thresholding.iht import iht_step
from convexnn.solvers.thresholding.niht import niht_step
from convexnn.solvers.thresholding.phases import Step
from convexnn.solvers.thresholding.sparse_iterate import SparseIterate, first_iterate
from convexnn.solvers.thresholding.whitening import affordable_rows

STEPS: dict[str, Step] = {"iht": iht_step, "niht": niht_step, "htp": htp_step, "cosamp": cosamp_step}


def time_operator(n: int, d: int, m: int, repeats: int) -> None:
    """Print one row a form of the masks."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    patterns = cx.sample_patterns(X, m)
    weights = torch.tensor(rng.standard_normal((m, d)), dtype=torch.float32)
    rows, hidden = torch.tensor(X, dtype=torch.float32), torch.randn((n, m))
    residual = torch.randn((n, 1))
    bare = [1e3 * common.median_seconds(work, repeats) for work in (lambda: rows @ weights.T, lambda: hidden.T @ rows)]
    print(f"n={n}, d={d}, {len(patterns)} gates, {torch.get_num_threads()} threads")
    print(f"bare products: {bare[0]:.1f} ms and {bare[1]:.1f} ms")
    limits = {"kept as numbers": 4 * n * m, "kept as bytes": n * m, "kept as bits": n * m // 4, "recomputed": 0}
    for name, limit in limits.items():
        operator = PatternOperator(X, patterns, memory_limit=limit)
        forward, adjoint = _operator_milliseconds(operator, weights, residual, repeats)
        ratio = (forward + adjoint) / sum(bare)
        print(
            f"masks {name:15}: forward {forward:.1f} ms, adjoint {adjoint:.1f} ms, {ratio:.1f} times the bare products"
        )


def _operator_milliseconds(
    operator: PatternOperator, weights: torch.Tensor, residual: torch.Tensor, repeats: int
) -> tuple[float, float]:
    """Return the times of the forward and the adjoint product."""
    calls = (lambda: operator.forward(weights), lambda: operator.adjoint(residual))
    forward, adjoint = (1e3 * common.median_seconds(call, repeats) for call in calls)
    return forward, adjoint


def time_thresholding(n: int, d: int, m: int, repeats: int, budget: int) -> None:
    """Print the times of a step of each method, on plain and on whitened rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    patterns = cx.sample_patterns(X, m)
    target = np.maximum(X @ rng.standard_normal((d, 10)), 0.0) @ rng.standard_normal(10)
    program = cx.ConvexProgram(X, target, patterns, budget=budget)
    print(f"n={n}, d={d}, {len(patterns)} gates, budget {budget}, {torch.get_num_threads()} threads")
    dictionary = open_dictionary(program, device="cpu", dtype="float32", memory_limit=1 << 30)
    _time_steps("plain rows", dictionary, repeats)
    count = affordable_rows(n, int(patterns.features.sum()), 1 << 30)
    part = None if count == n else np.sort(rng.choice(n, count, replace=False))
    began = perf_counter()
    whitened = open_dictionary(program, device="cpu", dtype="float32", memory_limit=1 << 30, rows=part).whitened(0.01)
    print(f"set-up of {count} whitened rows: {perf_counter() - began:.2f} s")
    _time_steps("whitened rows", whitened, repeats)


def _time_steps(title: str, dictionary: Dictionary, repeats: int) -> None:
    start = first_iterate(dictionary)
    products = _bare_products(dictionary)
    print(f"{title}, {len(dictionary.targets)} of them")
    for name, step in STEPS.items():
        # One product in turn with one step: a machine that is busy with others slows down both.
        bare, taken = [], []
        now = step(dictionary, start)
        for _ in range(repeats):
            bare.append(1e3 * common.seconds_of(products))
            taken.append(1e3 * common.seconds_of(lambda step=step, now=now: step(dictionary, now)))  # type: ignore[misc]
            now = _next(step, dictionary, now)
        ratio = median(taken) / median(bare)
        print(f"  {name:7} {median(taken):7.1f} ms, {ratio:4.2f} times the two bare products, {median(bare):.1f} ms")


def _next(step: Step, dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    after = step(dictionary, now)
    return now if after.final else after


def _bare_products(dictionary: Dictionary) -> Callable[[], object]:
    n, m = len(dictionary.targets), dictionary.operator.in_shape[0]
    X, weights, hidden = dictionary.operator.X, torch.randn(dictionary.operator.in_shape), torch.randn(n, m)
    return lambda: (X @ weights.T, hidden.T @ X)


def main() -> None:
    """Read the command line and print the times."""
    parser = common.option_parser(__doc__)
    parser.add_argument("what", choices=["operator", "thresholding"])
    for option, value in {"rows": 5000, "features": 100, "gates": 500, "repeats": 9, "budget": 100}.items():
        parser.add_argument(f"--{option}", type=int, default=value)
    given = parser.parse_args()
    sizes = (given.rows, given.features, given.gates, given.repeats)
    if given.what == "operator":
        time_operator(*sizes)
    else:
        time_thresholding(*sizes, given.budget)


if __name__ == "__main__":
    main()
