"""Recovery where the planted gates are in the dictionary: what `recovery.py fixed` runs.

X is Gaussian, n=300 and d=20, with 50 dense Gaussian gates, 1,000 columns; s planted weights N(0, 1) at random columns;
the budget is s. What a case changes is written in it:

* ``AR(0.9)``: neighbouring features correlate by 0.9.
* ``decoys``: 25 planted gates of 4 features each, the weights on their columns; beside each 9 gates on the same
  features at an angle of 0.3 rad, 1,000 columns in all; only equal masks are merged. ``decoys, merged``: masks that
  differ on at most 2 % of the rows count as one, the planted gates come first. ``decoys at 0.1``: the angle.
* ``n=600``: d=30, 150 gates, 4,500 columns.
* ``noise``: Gaussian, as a share of the signal's standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convexnn as cx
from convexnn.checks import Floats


@dataclass(frozen=True)
class Case:
    """How a program is planted; see above."""

    weights: int
    n: int = 300
    d: int = 20
    gates: int = 50
    correlation: float = 0.0
    noise: float = 0.0
    angle: float | None = None
    merge_within: float = 0.0


# Planted gates of the decoys, features of each, and decoys of each.
PLANTED, ORDER, DECOYS = 25, 4, 9

CASES = {f"s={s}": Case(s) for s in (6, 12, 24, 40, 60, 80, 100, 110, 120, 130)} | {
    "AR(0.9), s=24": Case(24, correlation=0.9),
    "decoys, s=24": Case(24, angle=0.3),
    "decoys, merged, s=24": Case(24, angle=0.3, merge_within=0.02),
    "decoys at 0.1, s=24": Case(24, angle=0.1),
    "n=600, s=60": Case(60, n=600, d=30, gates=150),
    "n=600, s=120": Case(120, n=600, d=30, gates=150),
    "noise 1 %, s=24": Case(24, noise=0.01),
    "noise 10 %, s=24": Case(24, noise=0.1),
}

SOLVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "auto": ("auto", {}),
    "htp": ("htp", {}),
    "cosamp": ("cosamp", {}),
    "niht": ("niht", {}),
    "iht": ("iht", {}),
    "niht-plain": ("niht", {"whiten": False}),
    "cosamp-plain": ("cosamp", {"whiten": False}),
}


def run(case: str, solver: str, seed: int) -> dict[str, Any]:
    """Return the figures of one run."""
    program, support, weights = planted(CASES[case], seed)
    name, options = SOLVERS[solver]
    began = perf_counter()
    solution = cx.solve(program, name, **options)
    seconds = perf_counter() - began
    found = np.array_equal(solution.support, support) and np.allclose(solution.values, weights, rtol=1e-5)
    decibels = -10.0 * np.log10(max(solution.objective / program.zero_loss, 1e-40))
    return {
        "exact": bool(found and decibels > 100.0),
        "share": len(np.intersect1d(solution.support, support)) / len(support),
        "decibels": float(decibels),
        "seconds": seconds,
        "status": solution.status.name,
    }


def planted(case: Case, seed: int) -> tuple[cx.ConvexProgram, NDArray[np.int64], Floats]:
    """Return the program, the planted flat indices, ascending, and their weights."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((case.n, case.d))
    for feature in range(1, case.d if case.correlation else 0):
        share = np.sqrt(1.0 - case.correlation**2)
        X[:, feature] = case.correlation * X[:, feature - 1] + share * X[:, feature]
    patterns, columns = _dense_gates(X, case, rng) if case.angle is None else _decoys(X, case, rng)
    support = np.sort(rng.choice(columns, case.weights, replace=False))
    weights = rng.standard_normal(case.weights)
    gates, features = support // case.d, support % case.d
    signal = (X[:, features] * patterns.masks(X)[:, gates]) @ weights
    target = signal + case.noise * signal.std() * rng.standard_normal(case.n)
    return cx.ConvexProgram(X, target, patterns, budget=case.weights), support, weights


def _dense_gates(X: Floats, case: Case, rng: np.random.Generator) -> tuple[cx.ActivationPatterns, NDArray[np.int64]]:
    patterns = cx.sample_patterns(X, case.gates, seed=rng)
    return patterns, np.arange(patterns.features.size)


def _decoys(X: Floats, case: Case, rng: np.random.Generator) -> tuple[cx.ActivationPatterns, NDArray[np.int64]]:
    """Return planted gates, each with decoys beside it, and the columns of the planted ones."""
    assert case.angle is not None
    true, decoys = np.zeros((PLANTED, case.d)), np.zeros((PLANTED, DECOYS, case.d))
    for gate in range(PLANTED):
        features = rng.choice(case.d, ORDER, replace=False)
        centre = rng.standard_normal(ORDER)
        centre /= np.linalg.norm(centre)
        aside = rng.standard_normal((DECOYS, ORDER))
        aside -= np.outer(aside @ centre, centre)
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        true[gate, features] = centre
        decoys[gate][:, features] = np.cos(case.angle) * centre + np.sin(case.angle) * aside
    generators = np.concatenate([true, decoys.reshape(-1, case.d)])
    patterns = cx.sample_patterns(X, generators=generators, merge_within=case.merge_within)
    kept = (patterns.generators[:, None] == true).all(axis=2).any(axis=1)
    return patterns, np.flatnonzero(patterns.features & kept[:, None])
