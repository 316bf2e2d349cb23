"""Recovery where the gates are not known: what `recovery.py unknown` runs.

X is Gaussian, y = sum_j +-relu(x . w_j), s weights N(0, 1) at random places of m neurons. A case is "m, s" (all output
weights +1, the generator of the paper), "signed m, s" (random signs), "noise m, s" (1 % of the signal's standard
deviation added to y; insignificant weights dropped) or "largest" (m = s = 1000, n = 50,000). Elsewhere n = 5000 and
d = 100. The solver is told the budget s and the width m, not the signs. It has 60 seconds ("100, 100" and "100, 200",
signed or not, and "largest": 600), and starts anew until they are over or the network is exact; with noise it has the
default number of starts.

Exact: a fit above 100 dB, and the planted weights found up to the order of neurons; planted neurons of one direction
are one, and where the function agrees above 100 dB on fresh rows too, neurons that cannot be told apart count as
found. Share: of the planted weights found to 0.1 % of their neuron's largest. With noise, exact means an error on fresh
noiseless rows within 1.2 times that of least squares from the planted network (its support, its gates), and the
decibels are 20 log10 of that ratio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

import convexnn as cx
from convexnn.checks import Floats
from convexnn.mapping.refit import refit
from convexnn.program.losses import loss_named

GRID = [(m, s) for m in (5, 20, 100) for s in (10, 50, 100, 200)]
HARD = ((100, 100), (100, 200))
NOISE = 0.01


@dataclass(frozen=True)
class Case:
    """What is planted, and the seconds that a run has."""

    m: int
    s: int
    n: int = 5000
    d: int = 100
    signed: bool = False
    noisy: bool = False

    @property
    def seconds(self) -> float:
        """The time limit: the hard cells, and the largest, report the time to exactness up to ten minutes."""
        return 600.0 if (self.m, self.s) in (*HARD, (1000, 1000)) and not self.noisy else 60.0


CASES = {
    **{f"{m}, {s}": Case(m, s) for m, s in GRID},
    **{f"signed {m}, {s}": Case(m, s, signed=True) for m, s in GRID},
    **{f"noise {m}, {s}": Case(m, s, noisy=True) for m, s in GRID if (m, s) not in HARD},
    "largest": Case(1000, 1000, n=50_000),
}

SOLVERS = ("recover",)


@dataclass(frozen=True, eq=False)
class Planted:
    """Weights (p, d) and signs (p,) of the live neurons."""

    weights: Floats
    signs: Floats

    def output(self, X: Floats) -> Floats:
        """Return the noiseless target, (n,)."""
        result: Floats = np.maximum(X @ self.weights.T, 0.0) @ self.signs
        return result


def plant(case: Case, rng: np.random.Generator) -> Planted:
    """Return a planted network: s places of the m d weights at random."""
    weights = np.zeros(case.m * case.d)
    weights[rng.choice(weights.size, case.s, replace=False)] = rng.standard_normal(case.s)
    matrix = weights.reshape(case.m, case.d)
    live = matrix.any(axis=1)
    signs = rng.choice([-1.0, 1.0], case.m) if case.signed else np.ones(case.m)
    return Planted(matrix[live], signs[live])


def run(case: str, solver: str, seed: int) -> dict[str, Any]:
    """Plant, recover, compare."""
    what = CASES[case]
    rng = np.random.default_rng([seed, *what_key(case)])
    planted = plant(what, rng)
    X, fresh = rng.standard_normal((what.n, what.d)), rng.standard_normal((5000, what.d))
    clean = planted.output(X)
    y = clean + NOISE * clean.std() * rng.standard_normal(what.n) if what.noisy else clean
    starts = 3 if what.noisy else 1000
    found = cx.recover(
        X, y, what.s, what.m, seed=seed, n_restarts=starts, time_limit=what.seconds, significant=what.noisy
    )
    network = found.to_network()
    error = np.sqrt(np.mean((network.predict(fresh) - planted.output(fresh)) ** 2))
    share = share_found(planted, network)
    if what.noisy:
        fitted = refit(X, y, planted.weights, planted.signs, loss_named("squared"))
        oracle = Planted(fitted, planted.signs)
        ratio = error / np.sqrt(np.mean((oracle.output(fresh) - planted.output(fresh)) ** 2))
        exact, decibels = bool(ratio <= 1.2), 20.0 * np.log10(ratio)
    else:
        peak = np.abs(clean).max()
        decibels = 20.0 * np.log10(peak / max(np.sqrt(2.0 * found.mapping_loss), 1e-300))
        agrees = 20.0 * np.log10(peak / max(error, 1e-300)) > 100.0
        exact = bool(decibels > 100.0 and (share == 1.0 or agrees))
    result = {"exact": exact, "share": share, "decibels": float(decibels)}
    return result | {"seconds": found.seconds, "status": found.status.name}


def what_key(case: str) -> list[int]:
    """Return numbers that tell a case from the others, for its seeds."""
    words, numbers = re.findall("[a-z]+", case), re.findall("[0-9]+", case)
    return [len("".join(words)), *map(int, numbers)]


def share_found(planted: Planted, network: cx.SparseReLUNetwork) -> float:
    """Return the share of planted weights that a found neuron has to 0.1 % of the neuron's largest."""
    (hidden, _), (heads, _) = network.layers
    found = hidden.toarray() * np.abs(heads.toarray()[0])[:, None]
    sides = np.sign(heads.toarray()[0])
    merged = merge(planted)
    hits = 0
    for weights, sign in zip(merged.weights, merged.signs, strict=True):
        same = found[sides == sign]
        if not len(same):
            continue
        nearest = same[np.linalg.norm(same - weights, axis=1).argmin()]
        places = weights != 0.0
        hits += int((np.abs(nearest - weights)[places] <= 1e-3 * np.abs(weights).max()).sum())
    return hits / max(1, int(np.count_nonzero(merged.weights)))


def merge(planted: Planted) -> Planted:
    """Return the planted network with neurons of one direction made one."""
    units = planted.weights / np.linalg.norm(planted.weights, axis=1, keepdims=True)
    groups: dict[bytes, Floats] = {}
    for unit, weights, sign in zip(np.round(units, 9) + 0.0, planted.weights, planted.signs, strict=True):
        key = unit.tobytes()
        groups[key] = groups.get(key, np.zeros_like(weights)) + sign * weights
    rows, signs = list[Floats](), list[float]()
    for key, total in groups.items():
        side = np.sign(total @ np.frombuffer(key))
        if side != 0.0:
            rows.append(side * total)
            signs.append(float(side))
    return Planted(np.array(rows), np.array(signs))
