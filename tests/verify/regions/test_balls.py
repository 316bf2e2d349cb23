"""L1 and L2 balls: exact membership, exact first layers, sound bounds, nearest points, verdicts against enumeration."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.optimize import linprog

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from tests.helpers.sound_bounds import (
    MILD,
    WILD,
    assert_encloses,
    crown_alone,
    drawn_network,
    halfspaces_around,
    rim_points,
)
from verify import Verdict
from verify.backends.registry import BACKENDS
from verify.bounds.margins import margins_of
from verify.encoding import outer_approximation
from verify.milp.engine_result import EngineStatus
from verify.regions.balls import NormBall, sum_above

KINDS = [verify.L1Ball, verify.L2Ball]


def exact_norm_holds(ball: NormBall, x: Floats) -> bool:
    moves = [abs(Fraction(a) - Fraction(b)) for a, b in zip(x, ball.center, strict=True)]
    if isinstance(ball, verify.L1Ball):
        return sum(moves, Fraction(0)) <= Fraction(ball.radius)
    return sum((move**2 for move in moves), Fraction(0)) <= Fraction(ball.radius) ** 2


def drawn_ball(data: Any, kind: type[NormBall], size: int, entries: Any) -> NormBall:
    """Return a ball around a random center, clipped near it, at it, or not at all."""
    center = data.draw(npst.arrays(float, size, elements=entries))
    radius = data.draw(st.sampled_from([0.0, 1e-13, 0.3, 2.0, 1e4]))
    sides = st.sampled_from([0.0, 1e-9, 0.2, 1.0, 1e9])
    below, above = (data.draw(npst.arrays(float, size, elements=sides)) for _ in range(2))
    clip = data.draw(st.sampled_from([None, (center - below, center + above)]))
    return kind(center, radius, clip)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80)
@given(st.data())
def test_membership_is_exact(kind: type[NormBall], data: Any) -> None:
    ball = drawn_ball(data, kind, 3, data.draw(st.sampled_from([WILD, MILD])))
    for x in rim_points(data, ball):
        assert ball.contains(x)
        for other in (x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf), x * (1.0 + 1e-9)):
            inside = bool((other >= ball.lower).all() and (other <= ball.upper).all())
            assert ball.contains(other) == (inside and exact_norm_holds(ball, other))


@pytest.mark.parametrize("kind", KINDS)
def test_the_rim_is_inside_to_the_last_bit(kind: type[NormBall]) -> None:
    ball = kind([0.0, 0.0], 5.0)
    rim = np.array([3.0, 4.0]) if kind is verify.L2Ball else np.array([1.0, 4.0])
    assert ball.contains(rim)
    assert not ball.contains(np.nextafter(rim, np.inf))
    assert not kind([1.0], 1e-17).contains(np.array([np.nextafter(1.0, 2.0)]))
    assert kind([1.0], 0.0).contains(np.array([1.0]))


@settings(max_examples=200)
@given(WILD, WILD)
def test_sums_are_rounded_up_by_less_than_a_unit(left: float, right: float) -> None:
    total = float(sum_above(np.array([left]), right)[0])
    assert Fraction(np.nextafter(total, -np.inf)) < Fraction(left) + Fraction(right) <= Fraction(total)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entries", [WILD, MILD], ids=["wild", "mild"])
@settings(max_examples=60)
@given(st.data())
def test_bounds_hold_in_exact_arithmetic(kind: type[NormBall], entries: Any, data: Any) -> None:
    network, ball = drawn_network(data, [3, 3, 2], entries), drawn_ball(data, kind, 3, entries)
    points = [zoo.exact_outputs(network, x) for x in rim_points(data, ball)]
    for found in (verify.bound(network, ball, "interval"), crown_alone(network, ball), verify.bound(network, ball)):
        for exact in points:
            assert_encloses(found, exact)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", [None, (-0.25, 1.0), (-2.0, 2.0)])
@pytest.mark.parametrize("radius", [0.0, 0.1, 0.7, 2.0, 50.0])
def test_the_first_layer_is_exact(kind: type[NormBall], clip: Any, radius: float) -> None:
    rng = np.random.default_rng(0)
    center, rows = rng.uniform(-0.25, 1.0, 7), rng.standard_normal((20, 7)) * (rng.random((20, 7)) < 0.8)
    ball = kind(center, radius, clip)
    top = ball.support(rows)
    # What is reached at the best point found is a lower bound: together they enclose the maximum.
    reached = (rows * ball.step(np.tile(center, (20, 1)), rows, 0.5)).sum(axis=1)
    assert (top >= reached).all()
    assert top == pytest.approx(reached, abs=1e-9)
    network = cx.SparseReLUNetwork([(rows, None)])
    assert (verify.bound(network, ball)[0].upper <= top + 1e-12).all()
    if clip and kind is verify.L1Ball:
        signs, level = halfspaces_around(ball)
        limits = np.column_stack([ball.lower, ball.upper])
        best = [-linprog(-row, A_ub=signs, b_ub=level, bounds=limits).fun for row in rows]
        assert top == pytest.approx(np.array(best), abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200, 1e300])
def test_rows_of_any_size_are_bounded(kind: type[NormBall], scale: float) -> None:
    ball, rows = kind([0.5, 0.5], 0.25, (0, 1)), np.array([[1.0, 1e-3], [1.0, -1.0], [1e-170, 1.0]])
    expected = ball.support(rows) * scale
    assert ball.support(rows * scale) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(st.data())
def test_projection_is_to_the_nearest_point(kind: type[NormBall], data: Any) -> None:
    ball = drawn_ball(data, kind, 4, MILD)
    far = ball.center + data.draw(npst.arrays(float, 4, elements=MILD))
    near = ball.project(far)
    assert ball.contains(near)
    # No point y of a convex set has (y - near) . (far - near) > 0.
    for y in rim_points(data, ball):
        assert (y - near) @ (far - near) <= 1e-8
    assert np.array_equal(ball.project(np.stack([far, far])), np.stack([near, near]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_ball_that_holds_its_box_is_the_box(kind: type[NormBall]) -> None:
    network, center = zoo.network((3, 5, 4, 2), seed=1), np.array([0.2, 0.5, 1.0])
    for one, other in zip(
        verify.bound(network, kind(center, 9.0, (0, 1))),
        verify.bound(network, verify.Box([0.0] * 3, [1.0] * 3)),
        strict=True,
    ):
        assert np.allclose(one.upper, other.upper, rtol=1e-12)
        assert np.allclose(one.lower, other.lower, rtol=1e-12)


def check_verdicts(
    kind: type[NormBall], shape: tuple[int, ...], seed: int, backend: str, decided: float, slack: float
) -> None:
    """Hold verdicts over balls against enumeration: right where a margin is beyond `decided`, bounds up to `slack`."""
    rng = np.random.default_rng(seed)
    network = zoo.network(shape, seed=seed, density=rng.choice([0.5, 1.0]), bias=bool(seed % 2))
    center = np.round(rng.uniform(0, 1, shape[0]))
    for radius, clip in ((0.2, (0, 1)), (0.9, (-0.3, 1.4)), (0.5, None)):
        ball = kind(center, radius, clip)
        answer = verify.find_adversarial(network, ball, backend=backend, seed=seed)
        if answer.label is None:
            continue
        rows, around = margins_of(network, answer.label).rows.toarray(), halfspaces_around(ball)
        best = max(zoo.enumerated_maximum(network, ball.lower, ball.upper, row, around) for row in rows)
        if abs(best) > decided:
            assert answer.status is (Verdict.COUNTEREXAMPLE if best > 0 else Verdict.ROBUST), str(answer)
        assert answer.value <= best + 1e-6
        assert answer.bound >= best - slack
        assert answer.witness is None or exact_norm_holds(ball, answer.witness)


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("shape", [(2, 1), (2, 4, 1), (3, 5, 3), (2, 3, 3, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_no_verdict_over_an_l1_ball_is_wrong(shape: tuple[int, ...], seed: int, backend: str) -> None:
    check_verdicts(verify.L1Ball, shape, seed, backend, decided=1e-4, slack=1e-6)


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("shape", [(2, 1), (2, 4, 1), (2, 3, 3, 2)])
@pytest.mark.parametrize("seed", range(6))
def test_no_verdict_over_an_l2_ball_is_wrong(shape: tuple[int, ...], seed: int, backend: str) -> None:
    # The polygon around the disc is 1e-5 of its radius away.
    check_verdicts(verify.L2Ball, shape, seed, backend, decided=1e-3, slack=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_milp_over_an_l1_ball_has_the_enumerated_maximum(seed: int) -> None:
    network = zoo.network((3, 4, 3, 1), seed=seed)
    ball = verify.L1Ball([0.0, 1.0, 0.4], 0.8, (0, 1))
    encoding = verify.encode(network, ball)
    # One side for each of the first two inputs, two for the third.
    assert encoding.inputs.count == 4
    best = zoo.enumerated_maximum(network, ball.lower, ball.upper, np.ones(1), halfspaces_around(ball))
    outcome = BACKENDS["highs"].maximise(encoding.milp, 10.0)
    assert outcome.bound == pytest.approx(best, abs=1e-5)
    assert outcome.values is not None
    assert network.predict(encoding.point(outcome.values)[None])[0] == pytest.approx(best, abs=1e-5)
    for x in ball.project(np.random.default_rng(seed).uniform(0, 1, (20, 3))):
        values = encoding.complete(x)
        products = encoding.milp.rows @ values
        assert (products <= encoding.milp.row_upper + 1e-9).all()
        assert (products >= encoding.milp.row_lower - 1e-9).all()
        assert np.allclose(encoding.point(values), x, atol=1e-12)


def test_they_read_well() -> None:
    assert str(verify.L1Ball([0.0, 1.0], 0.5)) == "L1 ball of radius 0.5 over 2 inputs"
    assert str(verify.L2Ball([0.0], 2.0)) == "L2 ball of radius 2 over 1 input"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0.5], -1.0), "radius is -1"),
        (([2.0], 1.0, (0, 1)), "x is 2 at index 0, outside clip [0, 1]"),
        (([np.nextafter(1.0, 2.0)], 1.0, (0, 1)), "x is 1.0000000000000002 at index 0, outside clip [0, 1]"),
        (([0.5, 0.5], 0.1, (0.6, 0.4)), "clip is [0.6, 0.4] at index 0; expected a lower end of at most the upper one"),
        (([0.5], 0.1, (np.nan, 0.4)), "clip is [nan, 0.4] at index 0; expected a lower end of at most the upper one"),
        (([], 1.0), "x is empty"),
        (([0.0], 1e200), "the region reaches to 1e+200"),
    ],
)
def test_bad_input_is_one_clear_line(kind: type[NormBall], arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        kind(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("seed", range(5))
def test_cuts_end_at_the_maximum_over_an_l2_ball(seed: int, backend: str) -> None:
    network = zoo.network((2, 4, 3, 1), seed=seed)
    for center, clip in (([0.0, 0.4], (0, 1)), ([0.3, -0.4], None)):
        ball = verify.L2Ball(center, 0.8, clip)
        encoding = verify.encode(network, ball)
        outcome = outer_approximation.maximise(BACKENDS[backend], encoding, lambda: 10.0, lambda point: False)
        best = zoo.enumerated_maximum(network, ball.lower, ball.upper, np.ones(1), halfspaces_around(ball))
        if outcome.bound >= -outcome.allowance:
            assert outcome.bound == pytest.approx(best, abs=1e-3)
            assert outcome.values is not None
            assert network.predict(encoding.point(outcome.values)[None])[0] == pytest.approx(best, abs=1e-3)
        assert outcome.bound >= best - 1e-3


def test_a_time_limit_ends_the_cuts() -> None:
    encoding = verify.encode(zoo.network((2, 4, 3, 1), seed=1), verify.L2Ball([0.0, 0.4], 0.8))
    outcome = outer_approximation.maximise(BACKENDS["scipy"], encoding, lambda: 0.0, lambda point: False)
    assert (outcome.status, outcome.bound) == (EngineStatus.LIMIT, np.inf)


def test_a_region_is_shown_by_what_it_is() -> None:
    assert repr(verify.LinfBall([0.0, 1.0], 0.1)) == "<L-inf ball of radius 0.1 over 2 inputs>"
    assert repr(verify.Box([0.0], [1.0])).startswith("<box over 1 input")
    with pytest.raises(TypeError, match=r"such as verify.LinfBall\(x, radius\) or verify.Box\(lower, upper\)"):
        verify.maximize(zoo.network((2, 3, 1), seed=0), np.zeros(2), 0.1)  # type: ignore[arg-type]
