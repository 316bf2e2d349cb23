"""Dual bounds: any multipliers whatever give a bound that holds in exact arithmetic, an engine's a tight one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify.backends.registry import BACKENDS
from verify.bounds.duals import box_peak, dual_bounds, milp_bound
from verify.milp.model import Milp
from verify.milp.scaling import scale

COEFFICIENTS = st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-1e6, 1e6, allow_subnormal=True))
MULTIPLIERS = st.one_of(st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e300, -1e-300]), st.floats(-1e9, 1e9))
WITH_DUALS = [name for name in BACKENDS if name not in ("gscip", "scip")]


def relaxed(milp: Milp) -> Milp:
    return replace(milp, integer=np.zeros_like(milp.integer))


def solve(matrix: list[list[Fraction]], sides: list[Fraction]) -> list[Fraction] | None:
    """Return the exact solution of a square system; None where it has not exactly one."""
    rows = [[*row, side] for row, side in zip(matrix, sides, strict=True)]
    for place in range(len(rows)):
        pivot = next((index for index in range(place, len(rows)) if rows[index][place]), None)
        if pivot is None:
            return None
        rows[place], rows[pivot] = rows[pivot], rows[place]
        rows[place] = [entry / rows[place][place] for entry in rows[place]]
        for index in range(len(rows)):
            if index != place:
                factor = rows[index][place]
                rows[index] = [a - factor * b for a, b in zip(rows[index], rows[place], strict=True)]
    return [row[-1] for row in rows]


def exact_maximum(cost: Floats, A: Floats, low: Floats, high: Floats, lower: Floats, upper: Floats) -> Fraction | None:
    """Return the exact optimum of max cost . v, low <= A v <= high, lower <= v <= upper, by all its corners."""
    size = len(cost)
    matrix = [[Fraction(float(entry)) for entry in row] for row in np.concatenate([A, np.eye(size)])]
    ends = list(zip([*low, *lower], [*high, *upper], strict=True))
    planes = [
        (row, Fraction(float(end)))
        for row, both in zip(matrix, ends, strict=True)
        for end in set(both)
        if np.isfinite(end)
    ]
    best: Fraction | None = None
    for chosen in combinations(planes, size):
        point = solve([row for row, _ in chosen], [side for _, side in chosen])
        if point is None:
            continue
        values = [sum((a * b for a, b in zip(row, point, strict=True)), Fraction(0)) for row in matrix]
        if all(a <= value <= b for value, (a, b) in zip(values, ends, strict=True)):
            worth = sum((Fraction(float(a)) * b for a, b in zip(cost, point, strict=True)), Fraction(0))
            best = worth if best is None else max(best, worth)
    return best


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_multipliers_bound_the_exact_optimum(data: Any) -> None:
    size, count = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    A = data.draw(npst.arrays(float, (count, size), elements=COEFFICIENTS))
    cost = data.draw(npst.arrays(float, size, elements=COEFFICIENTS))
    lower = data.draw(npst.arrays(float, size, elements=st.floats(-1e3, 1e3)))
    upper = lower + data.draw(npst.arrays(float, size, elements=st.floats(0, 1e3)))
    inside = A @ (lower / 2 + upper / 2)
    rooms = data.draw(npst.arrays(float, (2, count), elements=st.sampled_from([0.0, 0.5, 1e3, np.inf])))
    low, high = inside - rooms[0], inside + rooms[1]
    truth = exact_maximum(cost, A, low, high, lower, upper)
    duals = data.draw(npst.arrays(float, (4, count), elements=MULTIPLIERS))
    reach = np.maximum(np.abs(lower), np.abs(upper))
    bounds = dual_bounds(
        np.tile(cost, (4, 1)), sp.csr_matrix(A), (low, high), duals, reach, lambda rows: box_peak(rows, lower, upper)
    )
    assert not np.isnan(bounds).any()
    if truth is not None:
        assert all(bound == np.inf or Fraction(float(bound)) >= truth for bound in bounds)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["box", "L1", "L2"]), st.data())
def test_any_multipliers_bound_the_network_in_exact_arithmetic(seed: int, kind: str, data: Any) -> None:
    network = zoo.network((3, 4, 4, 1), seed=seed)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.5, 0.5, 3)
    balls = {"box": verify.LinfBall, "L1": verify.L1Ball, "L2": verify.L2Ball}
    region = balls[kind](x, data.draw(st.sampled_from([0.0, 0.3, 1.0])), clip=(-1, 1))
    encoding = verify.encode(network, region)
    outcome = BACKENDS["scipy"].maximise(relaxed(encoding.milp), 10.0)
    assert outcome.duals is not None
    noise = data.draw(npst.arrays(float, len(outcome.duals), elements=MULTIPLIERS))
    points = np.concatenate([region.project(rng.uniform(-1, 1, (5, 3))), region.peaks(rng.standard_normal((5, 3)))])
    truth = max(zoo.exact_outputs(network, point)[-1][0] for point in points)
    for duals in (outcome.duals, noise, outcome.duals + 1e-3 * np.nan_to_num(noise), -outcome.duals):
        for inputs in (None, encoding.inputs):
            bound = milp_bound(encoding.milp, duals, inputs)
            assert bound == np.inf or Fraction(bound) >= truth


@pytest.mark.parametrize("name", WITH_DUALS)
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_an_engines_multipliers_prove_its_optimum(name: str, size: float) -> None:
    engine = BACKENDS[name]
    if not engine.installed:
        pytest.skip(f"{engine.package} is not installed")
    x = np.linspace(-0.3, 0.3, 4)
    for seed, region in enumerate([verify.LinfBall(x, 0.7), verify.L1Ball(x, 0.9, clip=(-1, 1))]):
        (weight, bias), *rest = zoo.network((4, 8, 8, 1), seed=seed).layers
        network = cx.SparseReLUNetwork([(size * weight, size * bias), *rest])
        encoding = verify.encode(network, region)
        outcome = engine.maximise(relaxed(encoding.milp), 10.0)
        assert outcome.duals is not None, outcome.detail
        for inputs in (None, encoding.inputs):
            bound = milp_bound(encoding.milp, outcome.duals, inputs)
            assert bound == pytest.approx(outcome.bound, rel=1e-6)


def test_over_an_l2_ball_the_multipliers_of_its_box_prove_more_than_the_box() -> None:
    encoding = verify.encode(zoo.network((4, 8, 8, 1), seed=0), verify.L2Ball(np.zeros(4), 0.8))
    outcome = BACKENDS["scipy"].maximise(relaxed(encoding.milp), 10.0)
    assert outcome.duals is not None
    assert milp_bound(encoding.milp, outcome.duals, encoding.inputs) < outcome.bound - 0.1


def test_a_model_without_rows_needs_no_multipliers() -> None:
    encoding = verify.encode(zoo.network((4, 2), seed=0), verify.Box([-1.0] * 4, [1.0] * 4), [1.0, -1.0])
    outcome = BACKENDS["scipy"].maximise(encoding.milp, 10.0)
    assert outcome.duals is not None
    assert outcome.duals.shape == (0,)
    assert milp_bound(encoding.milp, outcome.duals) == pytest.approx(outcome.bound, rel=1e-12)


def test_integers_have_no_multipliers_and_too_few_prove_nothing() -> None:
    encoding = verify.encode(zoo.network((4, 8, 8, 1), seed=0), verify.Box([-1.0] * 4, [1.0] * 4))
    assert BACKENDS["scipy"].maximise(encoding.milp, 10.0).duals is None
    assert milp_bound(encoding.milp, np.zeros(1)) == np.inf
    assert scale(encoding.milp).duals(None) is None
