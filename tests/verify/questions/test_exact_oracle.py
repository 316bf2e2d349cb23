"""Questions about networks of one input, held against the kinks of the function, which fractions give exactly.

`benchmarks/oracle.py` asks thousands, of up to four inputs, and holds them against z3.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers.zoo import exact_outputs
from verify import Holding, Nearness, Status, Verdict

Values = list[list[Fraction]]

# Kinds of regions of one input around a center, each with its ends.
REGIONS = (verify.LinfBall, verify.L1Ball, verify.L2Ball)


def drawn(seed: int) -> cx.SparseReLUNetwork:
    """Return a network of one input and two outputs, of few bits and one to six layers, one of them of any scale."""
    rng = np.random.default_rng(seed)
    sizes = [1, *rng.integers(1, 4, int(rng.integers(0, 6))).tolist(), 2]
    scaled, scale = int(rng.integers(len(sizes) - 1)), float(rng.choice([2.0**-27, 1.0, 1.0, 2.0**20]))
    layers, size = [], 1.0
    for index, (before, after) in enumerate(pairwise(sizes)):
        own = scale if index == scaled else 1.0
        size *= own
        layers.append((own * rng.integers(-3, 4, (after, before)) / 2.0, size * rng.integers(-2, 3, after) / 4.0))
    return cx.SparseReLUNetwork(layers)


def at(network: cx.SparseReLUNetwork, x: Fraction) -> Values:
    """Return the pre-activations of every layer at any rational input."""
    hidden, layers = [x], []
    for weight, bias in network.layers:
        rows = zip(weight.toarray().tolist(), bias.tolist(), strict=True)
        layers.append(
            [sum((Fraction(a) * b for a, b in zip(row, hidden, strict=True)), Fraction(c)) for row, c in rows]
        )
        hidden = [max(value, Fraction(0)) for value in layers[-1]]
    return layers


def kinks(network: cx.SparseReLUNetwork, low: Fraction, high: Fraction) -> list[Fraction]:
    """Return the ends of an interval and all inputs in between where a neuron switches, layer by layer."""
    points = [low, high]
    for depth in range(len(network.layers) - 1):
        values = [at(network, x)[depth] for x in points]
        found = set(points)
        for (x, before), (y, after) in pairwise(list(zip(points, values, strict=True))):
            found |= {x + (y - x) * a / (a - b) for a, b in zip(before, after, strict=True) if a * b < 0}
        points = sorted(found)
    return points


class Case:
    """A network over a region, the outputs at its kinks, and what is true of their linear functions."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([7, seed])
        self.network, kind = drawn(seed), REGIONS[seed % 3]
        self.center, self.radius = float(rng.integers(-4, 5)) / 4.0, float(rng.choice([0.0, 0.25, 0.3, 1.0]))
        self.region = kind([self.center], self.radius)
        # The L-inf ball is the box between rounded ends.
        exact = Fraction(self.center) - Fraction(self.radius), Fraction(self.center) + Fraction(self.radius)
        box = Fraction(float(self.region.lower[0])), Fraction(float(self.region.upper[0]))
        self.ends = box if kind is verify.LinfBall else exact

    def largest(self, row: Any, ends: tuple[Fraction, Fraction] | None = None) -> Fraction:
        low, high = ends or self.ends
        weights = [Fraction(float(value)) for value in row]
        values = (at(self.network, x)[-1] for x in kinks(self.network, low, high))
        return max(sum((a * b for a, b in zip(weights, value, strict=True)), Fraction(0)) for value in values)

    def reached(self, row: Any, x: Floats | None) -> Fraction:
        assert x is not None
        assert self.ends[0] <= Fraction(float(x[0])) <= self.ends[1]
        outputs = exact_outputs(self.network, x)[-1]
        return sum((Fraction(float(a)) * b for a, b in zip(row, outputs, strict=True)), Fraction(0))


# Seconds for each question: what is not decided by then is held against the truth all the same.
SEEDS, LIMIT = range(10), 1.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("backend", ["auto", "scipy"])
def test_attacks(seed: int, backend: str) -> None:
    case = Case(seed)
    margin = [-1.0, 1.0]
    answer = verify.find_adversarial(case.network, case.region, 0, backend=backend, time_limit=LIMIT)
    truth = case.largest(margin)
    if answer.status is Verdict.COUNTEREXAMPLE:
        assert case.reached(margin, answer.witness) > 0
    elif answer.status is Verdict.MISCLASSIFIED:
        assert case.reached(margin, case.region.center) > 0
    elif answer.status is Verdict.ROBUST:
        assert truth <= 0
    else:
        assert answer.reason


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("backend", ["auto", "scipy"])
def test_extremes(seed: int, backend: str) -> None:
    case = Case(seed)
    row = np.random.default_rng(seed).integers(-2, 3, 2).astype(float)
    for find, sign in ((verify.maximize, 1.0), (verify.minimize, -1.0)):
        found = find(case.network, case.region, row, backend=backend, time_limit=LIMIT)
        truth = case.largest(sign * row)
        assert Fraction(sign * found.bound) >= truth - Fraction(found.allowance)
        if found.status is Status.OPTIMAL:
            assert abs(Fraction(sign * found.value) - truth) <= found.tolerance + found.allowance
        case.reached(row, found.witness)


@pytest.mark.parametrize("seed", SEEDS)
def test_radii(seed: int) -> None:
    case = Case(seed)
    found = verify.min_radius(case.network, case.region, 0, time_limit=LIMIT)
    if found.lower > 0.0:
        reach = Fraction(found.lower) * Fraction(1 - 1e-12)
        ends = Fraction(case.center) - reach, Fraction(case.center) + reach
        assert case.largest([-1.0, 1.0], ends) <= 0
    if found.witness is not None:
        assert case.reached([-1.0, 1.0], found.witness) > 0
        assert abs(Fraction(float(found.witness[0])) - Fraction(case.center)) <= Fraction(found.upper)
    if found.status in (Nearness.UNKNOWN, Nearness.LIMIT):
        assert found.reason


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strict", [False, True])
def test_properties_whose_level_is_the_maximum(seed: int, strict: bool) -> None:
    case = Case(3 * seed)  # an L-inf ball
    truth = case.largest([1.0, -1.0])
    level = float(truth)
    text = f"""
        (declare-const X_0 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
        (assert (>= X_0 {float(case.region.lower[0])!r})) (assert (<= X_0 {float(case.region.upper[0])!r}))
        (assert ({">" if strict else ">="} (- Y_0 Y_1) {level!r}))"""
    found = verify.check_vnnlib(case.network, verify.parse_property(text), time_limit=LIMIT)
    met = truth > Fraction(level) if strict else truth >= Fraction(level)
    assert found.status is not (Holding.HOLDS if met else Holding.VIOLATED)
    if found.status is Holding.VIOLATED:
        value = case.reached([1.0, -1.0], found.witness)
        assert value > Fraction(level) if strict else value >= Fraction(level)


@pytest.mark.parametrize("seed", SEEDS)
def test_differences(seed: int) -> None:
    case, other = Case(seed), drawn(seed)
    copy = cx.SparseReLUNetwork(
        [(weight.multiply(np.abs(weight.toarray()) != 1.0), bias) for weight, bias in other.layers]
    )
    found = verify.difference(case.network, copy, case.region)
    for x in kinks(case.network, *case.ends) + kinks(copy, *case.ends):
        moved = [a - b for a, b in zip(at(case.network, x)[-1], at(copy, x)[-1], strict=True)]
        ends = zip(found.lower, moved, found.upper, strict=True)
        assert all(Fraction(float(low)) <= value <= Fraction(float(high)) for low, value, high in ends)
