"""Time the pattern operator's two products against the bare matrix products inside them.

    python benchmarks/products.py [rows features gates]

The bare products, X U^T (n, m) and R^T X (m, d), are what no implementation can avoid; the rest is masks and tiles.
Medians of 9 runs in one process, float32; what counts are the ratios.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch

from convexnn.linear.operator import PatternOperator
from convexnn.patterns.activation_patterns import sample_patterns


def milliseconds(work: Callable[[], object], runs: int = 9) -> float:
    """Return the median time of `work` after one warm-up."""
    work()
    times = []
    for _ in range(runs):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return 1e3 * median(times)


def main(n: int = 5000, d: int = 100, m: int = 500) -> None:
    """Print one row a form of the masks."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    patterns = sample_patterns(X, m)
    weights = torch.tensor(rng.standard_normal((m, d)), dtype=torch.float32)
    rows, hidden = torch.tensor(X, dtype=torch.float32), torch.randn((n, m))
    residual = torch.randn((n, 1))
    bare = milliseconds(lambda: rows @ weights.T), milliseconds(lambda: hidden.T @ rows)
    print(f"n={n}, d={d}, {len(patterns)} gates, {torch.get_num_threads()} threads")
    print(f"bare products: {bare[0]:.1f} ms and {bare[1]:.1f} ms")
    for name, limit in {
        "kept as numbers": 4 * n * m,
        "kept as bytes": n * m,
        "kept as bits": n * m // 4,
        "recomputed": 0,
    }.items():
        forward, adjoint = timed(PatternOperator(X, patterns, memory_limit=limit), weights, residual)
        ratio = (forward + adjoint) / sum(bare)
        print(
            f"masks {name:15}: forward {forward:.1f} ms, adjoint {adjoint:.1f} ms, {ratio:.1f} times the bare products"
        )


def timed(operator: PatternOperator, weights: torch.Tensor, residual: torch.Tensor) -> tuple[float, float]:
    """Return the milliseconds of the forward and the adjoint product."""
    return milliseconds(lambda: operator.forward(weights)), milliseconds(lambda: operator.adjoint(residual))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
