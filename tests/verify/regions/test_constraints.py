"""Linear constraints on regions: exact membership, sound bounds, points inside, verdicts against enumeration."""

from __future__ import annotations

import pickle
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
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
from verify import Holding, Status, Verdict
from verify.bounds.margins import margins_of
from verify.milp.input_variables import input_variables
from verify.regions.box import Constrained, EmptyError
from verify.regions.halfspaces import halfspaces

KINDS = ["box", "linf", "l1", "l2"]


def uncut(kind: str, center: Floats, radius: float, clip: Any = None) -> verify.Box:
    """Return a box or a ball without constraints."""
    if kind == "box":
        return verify.Box(center - radius, center + radius)
    return {"linf": verify.LinfBall, "l1": verify.L1Ball, "l2": verify.L2Ball}[kind](center, radius, clip)


def drawn(data: Any, kind: str, entries: Any, size: int = 3) -> verify.Box:
    """Return a region cut by up to four constraints that its center meets, some with no room."""
    center = data.draw(npst.arrays(float, size, elements=entries))
    region = uncut(kind, center, data.draw(st.sampled_from([0.0, 1e-9, 0.3, 2.0, 1e4])))
    rows = data.draw(npst.arrays(float, (data.draw(st.integers(1, 4)), size), elements=entries))
    room = data.draw(npst.arrays(float, len(rows), elements=st.sampled_from([1e-15, 1e-6, 0.1, 1.0, 1e3])))
    size_at = np.abs(rows) @ np.abs(region.center) + 1e-300
    return region.where(rows, rows @ region.center + room * size_at)


def exactly_held(region: verify.Box, x: Floats) -> bool:
    cut = region.constraints
    sums = [
        sum((Fraction(a) * Fraction(b) for a, b in zip(row, x, strict=True)), Fraction(0)) for row in cut.rows.toarray()
    ]
    return all(total <= Fraction(side) for total, side in zip(sums, cut.upper, strict=True))


def cuts_of(region: Any) -> tuple[Floats, Floats]:
    """Return A, b with A x <= b for all of a region but its box; around an L2 ball of two inputs a polygon."""
    cut, base = region.constraints, region.base
    rows, sides = [cut.rows.toarray()], [cut.upper]
    if isinstance(base, verify.L1Ball | verify.L2Ball):
        normals, levels = halfspaces_around(base)
        rows, sides = [*rows, normals], [*sides, levels]
    return np.concatenate(rows), np.concatenate(sides)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(st.data())
def test_points_are_inside_and_membership_is_exact(kind: str, data: Any) -> None:
    region = drawn(data, kind, data.draw(st.sampled_from([WILD, MILD])))
    for x in rim_points(data, region):
        assert region.contains(x)
        for other in (x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf), x + 1e-9):
            assert region.contains(other) == (region.base.contains(other) and exactly_held(region, other))


def test_a_rim_is_inside_to_the_last_bit() -> None:
    region = verify.Box([0, 0], [1, 1]).where([[0.1, 0.2]], [0.1 * 0.5 + 0.2 * 0.25])
    x = np.array([0.5, 0.25])
    assert region.contains(x) == exactly_held(region, x)
    tenth = verify.Box([0], [1]).where([[10.0]], [1.0])
    assert not tenth.contains(np.array([0.1]))  # the float 0.1 is above a tenth
    assert tenth.contains(np.array([np.nextafter(0.1, 0.0)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entries", [WILD, MILD], ids=["wild", "mild"])
@settings(max_examples=30)
@given(st.data())
def test_bounds_hold_in_exact_arithmetic(kind: str, entries: Any, data: Any) -> None:
    network, region = drawn_network(data, [3, 3, 2], entries), drawn(data, kind, entries)
    points = [zoo.exact_outputs(network, x) for x in rim_points(data, region)]
    for found in (
        verify.bound(network, region, "interval"),
        crown_alone(network, region),
        verify.bound(network, region),
    ):
        for exact in points:
            assert_encloses(found, exact)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(st.data())
def test_any_multipliers_give_a_bound(kind: str, data: Any) -> None:
    region = drawn(data, kind, data.draw(st.sampled_from([WILD, MILD])))
    rows = data.draw(npst.arrays(float, (5, 3), elements=WILD))
    sizes = st.sampled_from([-1.0, 0.0, 1e-300, 1e-3, 1.0, 1e5, 1e300, np.inf])
    held = data.draw(npst.arrays(float, (5, len(region.constraints)), elements=sizes))
    with np.errstate(all="ignore"):
        tops = region.support(rows, held), region.support(rows), region.support(rows, region.multipliers(rows))
    for x in rim_points(data, region):
        for top in tops:
            for row, side in zip(rows, top, strict=True):
                exact = sum((Fraction(a) * Fraction(b) for a, b in zip(row, x, strict=True)), Fraction(0))
                assert side == np.inf or exact <= Fraction(side)


@pytest.mark.parametrize("kind", ["box", "linf", "l1"])
@pytest.mark.parametrize(("size", "count"), [(2, 1), (4, 3), (10, 5), (40, 8)])
def test_bounds_are_near_those_of_linear_programs(kind: str, size: int, count: int) -> None:
    rng = np.random.default_rng(size)
    center, rows = rng.uniform(-1, 1, size), rng.standard_normal((30, size))
    cut = rng.standard_normal((count, size)) * (rng.random((count, size)) < 0.8)
    upper = cut @ center + rng.uniform(0.05, 0.5, count) * np.linalg.norm(cut, axis=1)
    region = uncut(kind, center, 1.0, (-1.2, 1.2)).where(cut, upper)
    top, peaks = region.support(rows), region.peaks(rows)
    limits = np.column_stack([region.lower, region.upper, -(region.lower - center), region.upper - center])
    for row, bound, peak in zip(rows, top, peaks, strict=True):
        if kind == "l1":
            both = np.concatenate([row, -row])
            A = np.vstack([np.hstack([cut, -cut]), np.ones((1, 2 * size))])
            sides = [(0.0, high) for high in limits[:, 3]] + [(0.0, low) for low in limits[:, 2]]
            program = linprog(-both, A_ub=A, b_ub=np.append(upper - cut @ center, 1.0), bounds=sides)
            best = -program.fun + row @ center
        else:
            best = -linprog(-row, A_ub=cut, b_ub=upper, bounds=limits[:, :2]).fun
        width = float(region.base.support(row[None])[0] - row @ center)
        assert best - 1e-9 <= bound <= best + 0.06 * width
        assert best - 0.1 * width <= row @ peak <= best + 1e-9
        assert region.contains(peak)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200, 1e300])
def test_rows_of_any_size_are_bounded(scale: float) -> None:
    region = verify.Box([0, 0], [1, 1]).where([[1, 1]], [1])
    rows = np.array([[1.0, 1e-3], [1.0, -1.0], [2.0, 1.0]])
    assert region.support(rows) == pytest.approx([1.0, 1.0, 2.0], abs=1e-3)
    assert region.support(rows * scale) == pytest.approx(region.support(rows) * scale, rel=1e-3)


def region_for(kind: str, size: int, rng: np.random.Generator) -> verify.Box:
    """Return a region with constraints: of boxes some that cut the center off, all through or near the center."""
    region = uncut(kind, rng.uniform(0, 1, size), float(rng.choice([0.1, 0.5, 1.0])), (-0.5, 1.5))
    rows = rng.standard_normal((int(rng.integers(1, 4)), size)) * (rng.random(size) < 0.9)
    room = rng.uniform(-0.3 if kind == "box" else 0.01, 0.7, len(rows))
    try:
        return region.where(rows, rows @ region.center + room * (np.abs(rows) @ (region.upper - region.lower)) / 2)
    except EmptyError:
        return region_for(kind, size, rng)


def judge(network: cx.SparseReLUNetwork, region: verify.Box, backend: str, seed: int) -> list[bool]:
    """Hold a verdict and an extreme against enumeration; return whether each was decided, where it is not near 0."""
    slack = 1e-3 if isinstance(region.base, verify.L2Ball) else 1e-6
    cuts, decided = cuts_of(region), []
    objective = np.random.default_rng(seed).standard_normal(network.n_outputs)
    for sense, sign in ((verify.maximize, 1.0), (verify.minimize, -1.0)):
        best = zoo.enumerated_maximum(network, region.lower, region.upper, sign * objective, cuts)
        found = sense(network, region, objective, backend=backend, time_limit=60)
        room = slack * (1.0 + abs(best))
        assert sign * found.value <= best + room
        assert sign * found.bound >= best - room
        assert region.contains(found.witness)
        decided.append(found.status is Status.OPTIMAL)
    answer = verify.find_adversarial(network, region, backend=backend, seed=seed, time_limit=60)
    if answer.label is None:
        return decided
    rows = margins_of(network, answer.label).rows.toarray()
    best = max(zoo.enumerated_maximum(network, region.lower, region.upper, row, cuts) for row in rows)
    if answer.status is Verdict.COUNTEREXAMPLE:
        assert best > -slack
        assert answer.witness is not None
        assert region.contains(answer.witness)
        assert exactly_held(region, answer.witness)
    if answer.status is Verdict.ROBUST:
        assert best < slack
    if abs(best) > 1e-3:
        decided.append(answer.status is not Verdict.UNKNOWN)
    return decided


@pytest.fixture
def _short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ascent, branch and bound and the portfolio do not decide at once is left to the engines."""
    monkeypatch.setattr("verify.points.ascent.STARTS", 8)
    monkeypatch.setattr("verify.points.ascent.STEPS", 15)
    monkeypatch.setattr("verify.questions.resources.BRANCHING_SHARES", {"auto": 0.002, "branching": 0.01})
    monkeypatch.setattr("verify.questions.extremes.SEARCH_SHARE", 0.001)


@pytest.mark.usefixtures("_short_searches")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(26))
def test_no_verdict_or_extreme_is_wrong(kind: str, seed: int) -> None:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    size = 2 if kind == "l2" else 3
    shape = [(size, 1), (size, 4, 1), (size, 5, 3), (size, 3, 3, 2)][seed % 4]
    network = zoo.network(shape, seed=seed, density=rng.choice([0.5, 1.0]), bias=bool(seed % 3))
    assert all(judge(network, region_for(kind, size, rng), "auto", seed))


@pytest.mark.usefixtures("_short_searches")
@pytest.mark.parametrize("backend", ["branching", *zoo.ENGINES])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_no_backend_is_wrong(kind: str, seed: int, backend: str) -> None:
    rng = np.random.default_rng([seed, KINDS.index(kind), 1])
    size = 2 if kind == "l2" else 3
    network = zoo.network((size, 4, 3, 2), seed=seed, bias=bool(seed % 2))
    decided = judge(network, region_for(kind, size, rng), backend, seed)
    assert backend == "branching" or all(decided)


@settings(max_examples=30)
@given(st.sampled_from(["box", "l1", "l2"]), st.data())
def test_the_rows_of_a_milp_hold_at_every_point(kind: str, data: Any) -> None:
    region = drawn(data, kind, data.draw(st.sampled_from([WILD, MILD])))
    variables = input_variables(region, np.array([0]))
    if not variables.count or not isinstance(region, Constrained):
        return
    assert set(region.constraints.mentioned) <= set(variables.used.tolist())
    count, rows = len(region.constraints), variables.rows.toarray()
    for x in rim_points(data, region):
        x = np.where(np.isin(np.arange(3), variables.used), x, region.center)
        if not region.contains(x):
            continue
        moves = [
            Fraction(s) * (Fraction(x[i]) - Fraction(variables.base[i]))
            for i, s in zip(variables.moved, variables.signs, strict=True)
        ]
        if kind != "box":
            moves = [max(move, Fraction(0)) for move in moves]
        for row, side in zip(rows[-count:], variables.row_upper[-count:], strict=True):
            assert sum((Fraction(a) * v for a, v in zip(row, moves, strict=False)), Fraction(0)) <= Fraction(side)


def test_inputs_that_the_network_does_not_read_may_be_constrained() -> None:
    network = cx.SparseReLUNetwork([([[1.0, 0.0]], None), ([[1.0]], None)])
    region = verify.Box([-1, 0], [1, 1]).where([[1, 1], [0, -1]], [1, -0.75])  # x0 <= 1 - x1 <= 0.25
    for backend in ("auto", "branching", "scipy"):
        found = verify.maximize(network, region, backend=backend)
        assert found.value == pytest.approx(0.25, abs=1e-6)
        assert found.status is Status.OPTIMAL
        assert region.contains(found.witness)
    assert verify.encode(network, region).inputs.used.tolist() == [0, 1]


def test_a_redundant_constraint_changes_nothing() -> None:
    network, box = zoo.network((3, 5, 2), seed=3), verify.Box([-1, -1, -1], [1, 1, 1])
    region = box.where([[1, 1, 1], [0, 0, 0]], [100, 0])
    rows = np.random.default_rng(0).standard_normal((9, 3))
    assert region.center.tolist() == box.center.tolist()
    assert region.support(rows).tolist() == box.support(rows).tolist()
    assert not region.is_flat  # type: ignore[attr-defined]
    assert verify.maximize(network, region, 0).value == pytest.approx(verify.maximize(network, box, 0).value)


def test_no_rows_leave_the_region_as_it_is() -> None:
    ball = verify.L1Ball([0.5, 0.5], 0.3)
    assert ball.where(np.zeros((0, 2)), []) is ball
    assert ball.where(sp.csr_matrix((0, 2)), []) is ball


def test_a_single_point_is_a_region() -> None:
    region = verify.Box([0, 0], [1, 1]).where([[1, 1]], [0])
    assert region.center.tolist() == [0, 0]
    assert region.project(np.ones(2)).tolist() == [0, 0]
    network = zoo.network((2, 4, 1), seed=0)
    value = network.predict(np.zeros((1, 2)))[0]
    found = verify.maximize(network, region, backend="highspy")
    assert found.value == value
    assert found.bound >= value
    assert "without interior" in str(region)


def test_an_equality_of_inputs_has_witnesses() -> None:
    region = verify.Box([0, 0], [1, 1]).where([[1, -1], [-1, 1]], [0, 0])
    network = cx.SparseReLUNetwork([([[1.0, 1.0]], [-1.5])])
    answer = verify.find_adversarial(network, region)
    assert answer.status is Verdict.COUNTEREXAMPLE
    assert answer.witness is not None
    assert answer.witness[0] == answer.witness[1]


def test_a_region_without_points_of_floats_has_proofs_and_no_witness() -> None:
    row = np.array([1.0, 0.3])
    region = verify.Box([0, 0], [1, 1]).where([row, -row], [0.7, -0.7])
    assert region.is_hollow
    assert not region.contains(region.center)
    robust = cx.SparseReLUNetwork([([[1.0, 1.0]], [1.0])])
    assert verify.find_adversarial(robust, region).status is Verdict.ROBUST
    turning = cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], None), ([[1.0, -1.0]], [0.1])])
    answer = verify.find_adversarial(turning, region, label=1)
    assert answer.status is Verdict.UNKNOWN
    assert "no interior" in answer.reason
    best = verify.maximize(turning, region)
    assert best.status is not Status.OPTIMAL
    assert best.value == -np.inf
    assert "no interior" in best.reason
    assert best.bound >= 0.8 - 1e-6


@pytest.mark.parametrize(
    ("row", "width", "share"), [(1e100, 1e99, 0.0), (1e-170, 1.0, 0.25), (1e-200, 1e-50, 0.25), (1e100, 1e-100, 0.25)]
)
@pytest.mark.parametrize("kind", [verify.LinfBall, verify.L1Ball, verify.L2Ball])
def test_squares_of_rows_need_not_be_float64_numbers(row: float, width: float, share: float, kind: Any) -> None:
    region = kind(np.zeros(3), width).where([[row, row, 0.0]], [share * row * width])
    assert not region.doubt
    assert region.depth > 0.01
    bound = float(region.support(np.array([[1.0, 1.0, 0.0]]))[0])
    assert share * width <= bound <= (share + 0.05) * width
    box = verify.Box(np.zeros(3), np.full(3, width)).where([[row, 0.0, 0.0]], [share * row * width])
    assert not box.is_hollow


def test_an_overflowing_network_climbs_within_constraints() -> None:
    network = cx.SparseReLUNetwork([([[1e200, -1e200], [1e200, 1e200]], None), ([[1e200, 1e200]], None)])
    region = verify.Box([-1, -1], [1, 1]).where([[1, 1]], [0.5])
    assert verify.maximize(network, region, time_limit=2.0).status is not Status.OPTIMAL


def test_an_empty_region_is_refused_with_a_proof() -> None:
    box = verify.Box([0, 0], [1, 1])
    for rows, upper in (([[1, 1]], [-1e-6]), ([[1, -1], [-1, 1]], [-0.5, 0.49]), ([[0, 0]], [-1])):
        with pytest.raises(EmptyError, match="no input of the box meets all constraints"):
            box.where(rows, upper)


def test_a_center_that_is_cut_off_moves_in_a_box_and_is_refused_in_a_ball() -> None:
    region = verify.Box([0, 0], [1, 1]).where([[1, 1]], [0.5])
    assert region.contains(region.center)
    assert region.contains(region.center + 0.01)
    for kind in (verify.LinfBall, verify.L1Ball, verify.L2Ball):
        with pytest.raises(ValueError, match=r"x, the center of the ball, violates constraint 1 by 0\.1"):
            kind([0.5, 0.5], 0.2).where([[0, 1], [1, 0]], [1, 0.4])
    assert verify.L1Ball([0.5, 0.5], 0.2).where([[1, 0]], [0.5]).center.tolist() == [0.5, 0.5]


def test_a_region_with_constraints_can_be_pickled() -> None:
    for region in (verify.Box([0, 0], [1, 1]), verify.L1Ball([0, 0], 1)):
        again = pickle.loads(pickle.dumps(region.where([[1, 1]], [0.5])))
        assert again.support(np.eye(2)).tolist() == region.where([[1, 1]], [0.5]).support(np.eye(2)).tolist()


def test_constraints_on_fixed_inputs_are_constants() -> None:
    region = verify.Box([0, 0.5], [1, 0.5]).where([[0, 1]], [0.5])
    assert region.support(np.eye(2)) == pytest.approx([1, 0.5])
    assert region.peaks(np.array([[1.0, 1.0]])).tolist() == [[1, 0.5]]
    with pytest.raises(EmptyError):
        verify.Box([0, 0.5], [1, 0.5]).where([[0, 1]], [0.4])


def test_constraints_add_up() -> None:
    region = verify.Box([0, 0], [1, 1]).where([[1, 0]], [0.5]).where(sp.csr_matrix([[0.0, 1.0]]), [0.25])
    assert len(region.constraints) == 2
    assert not region.contains(np.array([0.6, 0.1]))
    assert not region.contains(np.array([0.1, 0.3]))
    assert str(region) == "box over 2 inputs, widths 1 to 1, where 2 linear constraints hold"


@pytest.mark.parametrize(
    ("rows", "upper", "error", "words"),
    [
        ([[1, 2, 3]], [1], ValueError, "rows has shape (1, 3); expected a matrix of shape (m, 2)"),
        ([1, 2], [1], ValueError, "rows has shape (2,); expected a matrix of shape (m, 2)"),
        (sp.csr_matrix([[1, 2, 3]]), [1], ValueError, "rows has shape (1, 3); expected a matrix of shape (m, 2)"),
        ([[1, np.nan]], [1], ValueError, "rows holds nan at index (0, 1)"),
        (sp.csr_matrix([[1, np.inf]]), [1], ValueError, "rows holds inf"),
        ([[1, 2]], [1, 2], ValueError, "upper has shape (2,); expected a vector of shape (1,), one entry per"),
        ([[1, 2]], [np.inf], ValueError, "upper holds inf at index (0,)"),
        ([[1e200, 2]], [1], ValueError, "rows has an entry of size 1e+200; expected at most 1e+100"),
        ([["a", "b"]], [1], TypeError, "rows cannot be read as real numbers"),
    ],
)
def test_bad_input_is_one_clear_line(rows: Any, upper: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)) as caught:
        verify.Box([0, 0], [1, 1]).where(rows, upper)
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(npst.arrays(float, (3, 3), elements=WILD), npst.arrays(float, (4, 3), elements=WILD))
def test_strict_constraints_are_exact(rows: Floats, points: Floats) -> None:
    cut = halfspaces(rows, rows @ points[0], 3)
    for x in points:
        sums = [sum((Fraction(a) * Fraction(b) for a, b in zip(row, x, strict=True)), Fraction(0)) for row in rows]
        below = [total < Fraction(side) for total, side in zip(sums, cut.upper, strict=True)]
        level = [total <= Fraction(side) for total, side in zip(sums, cut.upper, strict=True)]
        assert cut.satisfied_by(x[None])[0] == all(level)
        assert cut.strictly_satisfied_by(x, np.array([True, False, True])) == (below[0] and level[1] and below[2])


VNNLIB = """(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real)
(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))
"""


@pytest.mark.parametrize("backend", ["auto", "branching", *zoo.ENGINES])
@pytest.mark.parametrize(("level", "held"), [(0.7, False), (0.8, True)])
def test_a_property_may_constrain_several_inputs(backend: str, level: float, held: bool, tmp_path: Path) -> None:
    path = tmp_path / "sum.vnnlib"
    path.write_text(f"{VNNLIB} (assert (<= (+ X_0 (* 2 X_1)) 0.75)) (assert (>= Y_0 {level}))")
    network = cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], None), ([[1.0, 1.0]], None)])
    found = verify.check_vnnlib(network, path, backend=backend)
    assert found.status is (Holding.HOLDS if held else Holding.VIOLATED)
    if found.witness is not None:
        (case,) = verify.read_property(path).cases
        assert case.contains(found.witness)


def test_strict_and_contradicting_constraints_of_a_property() -> None:
    strict = verify.parse_property(f"{VNNLIB} (assert (< (+ X_0 X_1) 1)) (assert (>= Y_0 0))")
    (case,) = strict.cases
    assert case.contains(np.array([0.25, 0.5]))
    assert not case.contains(np.array([0.5, 0.5]))
    network = cx.SparseReLUNetwork([([[1.0, 1.0]], [-1.0])])
    assert verify.check_vnnlib(network, strict, time_limit=2).status is Holding.UNKNOWN  # the maximum is not reached
    empty = verify.parse_property(f"{VNNLIB} (assert (< (+ X_0 X_1) -1)) (assert (>= Y_0 0))")
    assert verify.check_vnnlib(network, empty).status is Holding.HOLDS


def test_alternatives_with_other_constraints_are_other_cases() -> None:
    text = "(assert (or (and (<= (+ X_0 X_1) 1) (>= Y_0 5)) (and (>= (- X_0 X_1) 0) (>= Y_0 5))))"
    first, second = verify.parse_property(VNNLIB + text).cases
    assert (first.cut.rows.toarray().tolist(), first.cut.upper.tolist()) == ([[1, 1]], [1])
    assert (second.cut.rows.toarray().tolist(), second.cut.upper.tolist()) == ([[-1, 1]], [0])


def test_accuracy_is_certified_over_constrained_balls() -> None:
    network = cx.SparseReLUNetwork([([[1.0, 1.0]], [0.01])])
    rows = np.array([[0.1, 0.0], [0.4, 0.4]])
    around = lambda x: verify.LinfBall(x, 0.2).where([[-1, -1]], [0.0])  # noqa: E731
    assert verify.evaluate(network, rows, [1, 1], around).certified_accuracy == 1.0
    free = verify.evaluate(network, rows, [1, 1], lambda x: verify.LinfBall(x, 0.2))
    assert free.certified_accuracy == 0.5


@pytest.mark.parametrize("kind", [verify.LinfBall, verify.L1Ball, verify.L2Ball])
def test_the_smallest_radius_is_that_within_the_constraints(kind: Any) -> None:
    network = cx.SparseReLUNetwork([([[-1.0, 0.0]], [0.5])])  # class +1 where x0 < 0.5
    free = verify.min_radius(network, kind([0.0, 0.0], 2.0))
    assert free.upper == pytest.approx(0.5, rel=2e-3)
    # x1 >= 4 x0: the nearest such input is (0.5, 2), none within 2 in the sum of both or of squares.
    found = verify.min_radius(network, kind([0.0, 0.0], 3.0).where([[4, -1]], [0]))
    expected = {"LinfBall": 2.0, "L1Ball": 2.5, "L2Ball": np.hypot(0.5, 2.0)}[kind.__name__]
    assert found.upper == pytest.approx(expected, rel=5e-3)
    assert found.lower <= expected


def test_the_range_of_outputs_narrows() -> None:
    network, box = zoo.network((3, 5, 2), seed=1), verify.Box([-1, -1, -1], [1, 1, 1])
    wide, narrow = verify.output_range(network, box), verify.output_range(network, box.where([[1, 1, 1]], [-1]))
    assert (narrow.lower >= wide.lower - 1e-6).all()
    assert (narrow.upper <= wide.upper + 1e-6).all()


def test_an_embedding_holds_the_constraints() -> None:
    import cvxpy as cp

    network = zoo.network((2, 4, 1), seed=5)
    region = verify.Box([-1, -1], [1, 1]).where([[1, 1], [1, -1]], [0.2, 0.5])
    x = cp.Variable(2)
    inside = verify.embed(network, x, region=region)
    problem = cp.Problem(cp.Maximize(inside.outputs[0]), inside.constraints)
    problem.solve(solver="HIGHS")
    assert problem.value == pytest.approx(verify.maximize(network, region).value, abs=1e-5)
    with pytest.raises(ValueError, match="expected a Box or LinfBall"):
        verify.embed(network, x, region=verify.L1Ball([0, 0], 1).where([[1, 1]], [1]))


def test_a_replayed_witness_is_inside_too() -> None:
    network = cx.SparseReLUNetwork([([[1.0, 1.0]], [-0.9999])])
    region = verify.Box([0, 0], [0.9, 0.9]).where([[3.0, 7.0]], [5.0 + 1e-9]).where([[7.0, 3.0]], [5.0 + 1e-9])
    model = lambda x: np.array([x[0] + x[1] - np.float32(0.9999)])  # noqa: E731
    answer = verify.find_adversarial(network, region, label=-1, model=model)
    assert answer.status is Verdict.COUNTEREXAMPLE
    assert answer.witness is not None
    assert region.contains(answer.witness)
    assert (answer.witness == answer.witness.astype(np.float32)).all()
