"""Maxima by cones: homogeneous networks over L2 balls around zero, against cells, the plain search and sampling."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.optimize import nnls

import verify
from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify import Status
from verify.questions.extremes import functions_of
from verify.questions.inquiry import Inquiry
from verify.questions.resources import resources_of
from verify.splitting import cones
from verify.splitting.cones import conic_function


def network(d: int, m: int, seed: int, constant: float = 0.0) -> tuple[SparseReLUNetwork, Floats, Floats]:
    """Return a network of one hidden layer without biases there, its hidden weights and those after."""
    rng = np.random.default_rng(seed)
    hidden, out = rng.standard_normal((m, d)), rng.standard_normal(m)
    return SparseReLUNetwork([(hidden, None), (out[None], np.array([constant]))]), hidden, out


def largest_of_all_cells(hidden: Floats, out: Floats, radius: float) -> float:
    """Return the largest sum over the ball: over all sign patterns the longest projection of the slope (Moreau)."""
    best = 0.0
    for signs in product((1.0, -1.0), repeat=len(hidden)):
        sides = np.array(signs)
        slope = (out * (sides > 0.0)) @ hidden
        best = max(best, nnls((hidden * sides[:, None]).T, -slope)[1])
    return radius * best


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_extreme_is_that_of_all_cells(d: int, seed: int, sign: float) -> None:
    rng = np.random.default_rng(seed)
    radius, constant = float(10.0 ** rng.uniform(-3, 3)), float(rng.choice([0.0, 0.3, -20.0]))
    net, hidden, out = network(d, 8 if d < 3 else 10, seed, constant)
    region, ask = verify.L2Ball(np.zeros(d), radius), verify.maximize if sign > 0.0 else verify.minimize
    answer = ask(net, region, time_limit=20.0 if d < 4 else 3.0)
    truth = constant + sign * largest_of_all_cells(hidden, sign * out, radius)
    leeway = 1e-9 * (abs(truth) + radius)
    # Flat maxima with more inputs can take longer.
    assert answer.status is Status.OPTIMAL or (d >= 4 and answer.status is Status.LIMIT), str(answer)
    assert sign * (answer.bound - truth) >= -leeway, str(answer)
    assert sign * (answer.value - truth) <= leeway, str(answer)
    if answer.status is Status.OPTIMAL:
        assert answer.value == pytest.approx(truth, rel=2e-6, abs=answer.tolerance)
    assert region.contains(answer.witness)
    assert net.predict(answer.witness[None]).ravel()[0] == pytest.approx(answer.value, rel=1e-9, abs=1e-12)


def inquiry(net: SparseReLUNetwork, region: verify.Box, rows: Floats) -> Inquiry:
    """Return an inquiry about linear functions of the outputs."""
    return Inquiry(functions_of(net, rows), region, resources_of(5.0, "auto", 0, None))


def test_bounds_by_cones_alone_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but cones, few of them: the bound holds though it is far from the value."""
    monkeypatch.setattr(cones, "MOST_CONES", 50)
    for seed in range(20):
        net, hidden, out = network(3, 10, seed, 0.1)
        asked = inquiry(net, verify.L2Ball(np.zeros(3), 2.0), np.ones((1, 1)))
        asked.climb([0])
        before = float(asked.upper[0])
        cones.cut_into_cones(asked, 0, lambda asked=asked: asked.reached[0] * (1.0 + 1e-7))  # type: ignore[misc]
        truth = 0.1 + largest_of_all_cells(hidden, out, 2.0)
        assert truth - 1e-9 <= asked.upper[0] <= before
        assert asked.reached[0] <= truth + 1e-9


def test_several_outputs_are_one_function() -> None:
    rng = np.random.default_rng(4)
    hidden, last, row = rng.standard_normal((10, 3)), rng.standard_normal((4, 10)), rng.standard_normal(4)
    net = SparseReLUNetwork([(hidden, None), (last, np.array([1.0, 2.0, 3.0, 4.0]))])
    answer = verify.maximize(net, verify.L2Ball(np.zeros(3), 0.5), row)
    constant = float(row @ np.array([1.0, 2.0, 3.0, 4.0]))
    truth = constant + largest_of_all_cells(hidden, row @ last, 0.5)
    assert answer.status is Status.OPTIMAL
    assert answer.value == pytest.approx(truth, rel=2e-6)
    assert any(event.source == "cones" for event in answer.trace)


@pytest.mark.parametrize(
    "region",
    [
        verify.L2Ball([0.0, 0.1], 1.0),
        verify.L2Ball([0.0, 0.0], 1.0, clip=(-0.5, 1.0)),
        verify.L2Ball([0.0, 0.0], 0.0),
        verify.LinfBall([0.0, 0.0], 1.0),
        verify.L1Ball([0.0, 0.0], 1.0),
        verify.L2Ball([0.0, 0.0], 1.0).where([[1.0, 1.0]], [0.5]),
    ],
    ids=["elsewhere", "clipped", "a point", "a box", "L1", "a part"],
)
def test_other_regions_are_left_alone(region: verify.Box) -> None:
    assert conic_function(inquiry(network(2, 5, 0)[0], region, np.ones((1, 1))), 0) is None


def test_other_networks_are_left_alone() -> None:
    ball, one = verify.L2Ball([0.0, 0.0], 1.0), np.ones((1, 1))
    hidden, out = np.eye(2), np.ones((1, 2))
    biased = SparseReLUNetwork([(hidden, np.array([0.0, 0.1])), (out, None)])
    deep = SparseReLUNetwork([(hidden, None), (hidden, None), (out, None)])
    linear = SparseReLUNetwork([(out, None)])
    for net in (biased, deep, linear, SparseReLUNetwork([(1e-200 * hidden, None), (out, None)])):
        assert conic_function(inquiry(net, ball, one), 0) is None
    assert conic_function(inquiry(network(6, 5, 0)[0], verify.L2Ball(np.zeros(6), 1.0), one), 0) is None
    assert conic_function(inquiry(network(2, 5, 0)[0], ball, one), 0) is not None


def test_bounds_are_taken_back_and_forth_outward() -> None:
    function = cones.ConicFunction(np.eye(2), np.ones(2), 0.3, 7.0, 1e-12)
    for value in (0.31, 1.0, 1e6):
        unit = function.per_unit(value)
        assert function.at_most(unit) <= value * (1.0 + 1e-12)
        exact = Fraction(unit) * Fraction(7) + Fraction(0.3)
        assert Fraction(function.at_most(unit)) >= exact + Fraction(1e-12)


def test_weights_that_underflow_are_paid_for() -> None:
    # 1e-200 times 1e-125 is 0 in floating point, and 1e-251 of the function.
    rows = np.array([[1e74, 0.0], [1e-200, 1e-200], [-1e-200, 0.0]])
    net = SparseReLUNetwork([(rows, None), (np.array([[1e-125, 1e130, 1e130]]), None)])
    function = conic_function(inquiry(net, verify.L2Ball(np.zeros(2), 1.0), np.array([[1e-200]])), 0)
    assert function is not None
    truth = Fraction(1e-200) * (Fraction(1e-125) * Fraction(1e74) + Fraction(1e130) * Fraction(1e-200))
    assert Fraction(function.at_most(float(np.maximum(rows[:, 0], 0.0) @ function.theta))) >= truth


@pytest.mark.parametrize("scale", [1e60, 1e90])
def test_huge_weights_overflow_nowhere(scale: float) -> None:
    net, hidden, out = network(2, 8, 3)
    net = SparseReLUNetwork([(scale * hidden, None), (scale * out[None], None)])
    answer = verify.maximize(net, verify.L2Ball(np.zeros(2), 1.0), time_limit=2.0)
    truth = scale * scale * largest_of_all_cells(hidden, out, 1.0)
    assert answer.value <= truth * (1.0 + 1e-9)
    assert answer.bound >= truth * (1.0 - 1e-9)
