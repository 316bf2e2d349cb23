"""One iteration of each thresholding method against the two matrix products that none can avoid.

What `recovery.py step` runs: Gaussian X and gates, the bare products X U^T (n, m) and R^T X (m, d) in the same run, in
float32; plain rows first, then whitened ones with the time to set them up, on as many rows as the limits allow.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch

import convexnn as cx
from convexnn.solvers.thresholding.cosamp import cosamp_step
from convexnn.solvers.thresholding.dictionary import Dictionary, open_dictionary
from convexnn.solvers.thresholding.htp import htp_step
from convexnn.solvers.thresholding.iht import iht_step
from convexnn.solvers.thresholding.niht import niht_step
from convexnn.solvers.thresholding.phases import Step
from convexnn.solvers.thresholding.sparse_iterate import SparseIterate, first_iterate
from convexnn.solvers.thresholding.whitening import affordable_rows

STEPS: dict[str, Step] = {"iht": iht_step, "niht": niht_step, "htp": htp_step, "cosamp": cosamp_step}


def main(rows: int, features: int, gates: int, budget: int, runs: int) -> None:
    """Print the times."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, features))
    patterns = cx.sample_patterns(X, gates)
    target = np.maximum(X @ rng.standard_normal((features, 10)), 0.0) @ rng.standard_normal(10)
    program = cx.ConvexProgram(X, target, patterns, budget=budget)
    print(f"n={rows}, d={features}, {len(patterns)} gates, budget {budget}, {torch.get_num_threads()} threads")
    dictionary = open_dictionary(program, device="cpu", dtype="float32", memory_limit=1 << 30)
    _steps("plain rows", dictionary, runs)
    count = affordable_rows(rows, int(patterns.features.sum()), 1 << 30)
    part = None if count == rows else np.sort(rng.choice(rows, count, replace=False))
    began = perf_counter()
    whitened = open_dictionary(program, device="cpu", dtype="float32", memory_limit=1 << 30, rows=part).whitened(0.01)
    print(f"set-up of {count} whitened rows: {perf_counter() - began:.2f} s")
    _steps("whitened rows", whitened, runs)


def _steps(title: str, dictionary: Dictionary, runs: int) -> None:
    start = first_iterate(dictionary)
    products = _products(dictionary)
    print(f"{title}, {len(dictionary.targets)} of them")
    for name, step in STEPS.items():
        # One product in turn with one step: a machine that is busy with others slows down both.
        bare, taken = [], []
        now = step(dictionary, start)
        for _ in range(runs):
            bare.append(_milliseconds(products))
            taken.append(_milliseconds(lambda step=step, now=now: step(dictionary, now)))  # type: ignore[misc]
            now = _next(step, dictionary, now)
        ratio = median(taken) / median(bare)
        print(f"  {name:7} {median(taken):7.1f} ms, {ratio:4.2f} times the two bare products, {median(bare):.1f} ms")


def _next(step: Step, dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    after = step(dictionary, now)
    return now if after.final else after


def _products(dictionary: Dictionary) -> Callable[[], object]:
    n, m = len(dictionary.targets), dictionary.operator.in_shape[0]
    X, weights, hidden = dictionary.operator.X, torch.randn(dictionary.operator.in_shape), torch.randn(n, m)
    return lambda: (X @ weights.T, hidden.T @ X)


def _milliseconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return 1e3 * (perf_counter() - began)
