"""Programs at the corners: no weights, odd units, columns of zeros, starts that are no good, optima out of reach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

import convexnn as cx
from convexnn.program.losses import LOSSES
from convexnn.solvers import registry
from convexnn.solvers.convex import newton_system
from convexnn.solvers.registry import able_solvers
from tests.helpers import zoo

X, Y = zoo.data(40, 4)


@pytest.mark.parametrize("cone", [False, True])
@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
@pytest.mark.parametrize("penalty", ["group_l1", "feature_l1", "l1"])
def test_a_strong_penalty_leaves_the_zero_network(penalty: str, loss: str, cone: bool) -> None:
    target = zoo.target(loss, 3 if loss == "softmax" else 1, X, Y)
    gates = zoo.patterns(X)
    program = cx.ConvexProgram(X, target, gates, loss=loss, penalty=penalty, strength=20.0, cone=cone)
    for solver in able_solvers(program):
        solution = cx.solve(program, solver)
        assert solution.status is cx.Status.CONVERGED
        assert solution.nnz == 0
        assert solution.violation == 0.0
        assert not solution.predict(X).any()
        assert solution.to_network().nnz == 0
        assert "0 nonzeros in 0 gates" in str(solution)


def test_a_feature_in_small_units_is_not_left_unfitted() -> None:
    # Nothing penalised: the units of a feature change its weights, and nothing else.
    rows = np.random.default_rng(0).standard_normal((60, 3))
    gates = cx.sample_patterns(rows, 3, seed=0)
    target = np.maximum(rows[:, 0], 0) + 2 * rows[:, 1]
    for unit in (1e-6, 1e-4):
        scale = np.array([1.0, unit, 1.0])
        scaled = cx.sample_patterns(rows * scale, generators=gates.generators / scale)
        program = cx.ConvexProgram(rows * scale, target, scaled, penalty="none")
        best = cx.solve(cx.ConvexProgram(rows, target, gates, penalty="none"), "cvxpy").objective
        for solver in ("admm", "fista"):
            solution = cx.solve(program, solver, max_iterations=300)
            if solution.status is cx.Status.CONVERGED:
                assert solution.objective <= best + 1e-6 * program.zero_loss


@pytest.mark.parametrize("penalty", ["group_l1", "l1", "ridge", "none"])
@pytest.mark.parametrize("kind", ["single", "gaussian"])
def test_columns_of_zeros_in_a_cone_program(kind: str, penalty: str) -> None:
    rows = X.copy()
    rows[:, 0] = 0.0
    gates = cx.sample_patterns(rows, None if kind == "single" else 6, kind=kind)
    strength = None if penalty == "none" else 0.01
    program = cx.ConvexProgram(rows, Y, gates, penalty=penalty, strength=strength, cone=True)
    solution = cx.solve(program)
    assert solution.status is cx.Status.CONVERGED
    assert abs(solution.objective - cx.solve(program, "cvxpy").objective) <= 1e-6 * program.zero_loss


@pytest.mark.parametrize("seed", range(12))
def test_small_logistic_cone_programs_are_certified(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((20, 1 + seed % 3))
    labels = rows[:, 0] + 0.5 * rng.standard_normal(20) > 0
    gates = cx.sample_patterns(rows, kind="single")
    penalty = ("l1", "group_l1")[seed % 2]
    program = cx.ConvexProgram(rows, labels, gates, loss="logistic", penalty=penalty, strength=1e-3, cone=True)
    solution = cx.solve(program)
    assert solution.status is cx.Status.CONVERGED
    assert abs(solution.objective - cx.solve(program, "cvxpy").objective) <= 1e-6


@pytest.mark.parametrize(("seed", "strength"), [*((seed, 1e-3) for seed in range(20)), (3, 1e-4), (16, 1e-4)])
def test_bounds_from_single_precision_are_bounds(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((25, 3))
    labels = np.argmax(rows @ rng.standard_normal((3, 3)) + 0.3 * rng.standard_normal((25, 3)), axis=1)
    gates = cx.sample_patterns(rows, 5)
    program = cx.ConvexProgram(rows, labels, gates, loss="softmax", penalty="l1", strength=strength)
    mixed, exact = cx.solve(program, "fista"), cx.solve(program, "cvxpy")
    assert mixed.gap is not None
    assert mixed.objective - mixed.gap <= exact.objective + 1e-12


@pytest.mark.parametrize("loss", LOSSES)
def test_theta_is_moved_into_the_domain(loss: str) -> None:
    rng, room = np.random.default_rng(0), LOSSES[loss]
    target = {"squared": Y[:, None], "logistic": np.sign(Y)[:, None]}.get(loss, np.eye(3)[rng.integers(0, 3, 40)])
    theta = -room.gradient(rng.standard_normal(target.shape), target)
    assert np.allclose(room.into_domain(theta, target), theta, atol=1e-15)
    moved = room.into_domain(1.5 * theta + 1e-3 * rng.standard_normal(theta.shape), target)
    assert np.isfinite(room.dual(moved, target))


def test_a_start_that_overflows_is_said_to() -> None:
    program = cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="l1", strength=0.01)
    solution = cx.solve(program, "fista", start=np.full((8, 4), 1e200))
    assert solution.objective <= program.zero_loss
    assert solution.gap is not None
    assert solution.objective - solution.gap <= cx.solve(program).objective


@pytest.mark.parametrize("units", [1e-8, 1e-30, 1e30])
@pytest.mark.parametrize("penalty", ["l1", "group_l1"])
def test_fista_in_units_that_single_precision_cannot_hold(penalty: str, units: float) -> None:
    gates = cx.sample_patterns(X * units, generators=zoo.patterns(X).generators)
    near = cx.solve(cx.ConvexProgram(X, Y, zoo.patterns(X), penalty=penalty, strength=0.02))
    far = cx.solve(cx.ConvexProgram(X * units, units * Y, gates, penalty=penalty, strength=0.02 * units**2), "fista")
    assert far.status is cx.Status.CONVERGED
    assert far.objective / units**2 == pytest.approx(near.objective, abs=2e-6 * near.program.zero_loss)


def test_auto_returns_the_better_of_two_answers() -> None:
    rng = np.random.default_rng(0)
    rows = 1e-4 * rng.standard_normal((30, 3))
    target = 1e4 * (np.maximum(rows[:, 0], 0) - 0.5 * np.maximum(rows[:, 1], 0))
    gates = cx.sample_patterns(rows, 6, seed=0, bias=True)
    program = cx.ConvexProgram(rows, target, gates, penalty="group_l1", strength=1e-6, cone=True)
    alone = cx.solve(program, "interior_point")
    both = cx.solve(program, time_limit=5.0)
    assert both.gap is not None
    assert alone.gap is not None
    assert both.gap <= alone.gap * (1 + 1e-9)
    assert both.violation <= 1e-7


@pytest.mark.parametrize("solver", ["admm", "fista", "interior_point"])
def test_no_answer_is_worse_than_zero_weights(solver: str) -> None:
    cone = solver == "interior_point"
    program = cx.ConvexProgram(X, Y > 0, zoo.patterns(X), loss="logistic", penalty="l1", strength=0.3, cone=cone)
    for iterations in (1, 2, 4):
        assert cx.solve(program, solver, max_iterations=iterations).objective <= program.zero_loss


def test_a_warm_start_at_the_optimum_is_not_lost() -> None:
    program = cx.ConvexProgram(X, Y > 0, zoo.patterns(X), loss="logistic", penalty="l1", strength=0.01)
    best = cx.solve(program, "fista", tolerance=1e-8)
    again = cx.solve(program, "admm", start=best, max_iterations=2)
    assert again.objective <= best.objective + 1e-9


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda p: cx.solve(p, "admm", start=np.zeros((8, 5))),
            ValueError,
            "start has shape (8, 5); expected (8, 4)",
        ),
        (lambda p: cx.solve(p, "cvxpy", tolerance=-1), ValueError, "tolerance is -1"),
        (lambda p: cx.solve(p, "cvxpy", tolerance=float("nan")), ValueError, "tolerance is nan"),
        (
            lambda p: cx.ConvexProgram(X, Y, p.patterns, penalty="l1", strength=1e300),
            ValueError,
            "strength is 1e+300; expected a number between 1e-140 and 1e140",
        ),
        (
            lambda p: cx.ConvexProgram(X, Y, p.patterns, budget=1, bias=cast(bool, 0)),
            TypeError,
            "bias is 0; expected True or False",
        ),
    ],
)
def test_bad_input_is_one_clear_line(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call(cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="l1", strength=0.01))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("penalty", ["group_l1", "ridge", "none"])
@pytest.mark.parametrize(("offset", "scale"), [(1e2, 1.0), (1e4, 1.0), (0.0, 1e-6), (0.0, 1e6)])
def test_offsets_and_units_cost_the_interior_point_nothing(penalty: str, offset: float, scale: float) -> None:
    rng = np.random.default_rng(7)
    points = rng.standard_normal((60, 3))
    y = np.maximum(points[:, 0] - points[:, 1], 0.0) - points[:, 2] + 0.1 * rng.standard_normal(60)
    rows = scale * (points + offset)
    patterns = cx.sample_patterns(rows, 6, seed=0, bias=True)
    strength = None if penalty == "none" else 1.0
    program = cx.ConvexProgram(rows, y, patterns, penalty=penalty, strength=strength, cone=True)
    if strength is not None:
        share = 0.05 * cx.strength_max(program) if penalty == "group_l1" else 1e-3 * scale**2
        program = program.with_strength(share)
    solution = cx.solve(program, solver="interior_point")
    assert solution.status is cx.Status.CONVERGED
    assert solution.iterations <= 100


def far_from_zero(offset: float) -> cx.ConvexProgram:
    rng = np.random.default_rng(1)
    points = rng.standard_normal((150, 4))
    y = np.maximum(points[:, 0] - points[:, 1], 0.0) - np.maximum(points[:, 2], 0.0) + 0.1 * rng.standard_normal(150)
    patterns = cx.sample_patterns(points + offset, 15, seed=1, bias=True)
    program = cx.ConvexProgram(points + offset, y - y.mean(), patterns, penalty="l1", strength=1.0, cone=True)
    return program.with_strength(0.02 * cx.strength_max(program))


@pytest.mark.parametrize("offset", [1e2, 1e3])
def test_data_far_from_zero_do_not_stop_the_interior_point(offset: float) -> None:
    # With three rounds of refinement from the factors, it ended INACCURATE, and after all its iterations.
    assert cx.solve(far_from_zero(offset), solver="interior_point").status is cx.Status.CONVERGED


def test_where_the_interior_point_fails_the_reference_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newton_system, "REFINEMENTS", 0)
    program = far_from_zero(1e2)
    assert cx.solve(program, solver="interior_point").status is not cx.Status.CONVERGED
    solution = cx.solve(program)
    assert solution.solver.startswith("cvxpy")
    assert solution.status is cx.Status.CONVERGED


def test_solvers_that_follow_one_another_have_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    program = cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="group_l1", strength=0.01)
    answer, limits = cx.solve(program, max_iterations=1), list[float]()

    def run(program: cx.ConvexProgram, name: str, options: dict[str, Any]) -> cx.Solution:
        limits.append(options["time_limit"])
        return replace(answer, status=cx.Status.INACCURATE)

    monkeypatch.setattr(registry, "_run", run)
    # A clock that moves by a second a run.
    monkeypatch.setattr(registry, "perf_counter", lambda: float(len(limits)))
    cx.solve(program, time_limit=10.0)
    assert limits == [10.0, 9.0, 8.0, 7.0]


def test_cvxpy_has_half_of_the_time_where_it_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = X + 100.0
    gates = cx.sample_patterns(rows, 4, seed=0, bias=True)
    program = cx.ConvexProgram(rows, Y, gates, penalty="feature_l1", strength=0.1, cone=True)
    answer, asked = cx.solve(program, "admm", max_iterations=1), list[tuple[str, float]]()

    def run(program: cx.ConvexProgram, name: str, options: dict[str, Any]) -> cx.Solution:
        asked.append((name, options["time_limit"]))
        return replace(answer, status=cx.Status.TIME_LIMIT)

    monkeypatch.setattr(registry, "_run", run)
    monkeypatch.setattr(registry, "perf_counter", lambda: 5.0 * len(asked))
    assert cx.solve(program, time_limit=10.0).status is cx.Status.TIME_LIMIT
    assert asked == [("cvxpy", 5.0), ("admm", 5.0)]
