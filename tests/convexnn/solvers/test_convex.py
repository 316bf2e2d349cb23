"""Solvers of convex programs against cvxpy, scikit-learn, closed forms, and identities."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Lasso, LogisticRegression

import convexnn as cx
from convexnn.program.neurons import NeuronOperator
from convexnn.program.penalties import PENALTIES
from convexnn.solvers.common.certificate import DualCandidate, lower_bound, violation
from convexnn.solvers.common.descent import Progress
from convexnn.solvers.registry import able_solvers
from tests.helpers import zoo

X, Y = zoo.data(40, 5)

PENALISED = [name for name in PENALTIES if name != "none"]

GATED, CONES = zoo.cases(cone=False), zoo.cases(cone=True)


def convex(penalty: str, kind: str = "gaussian", strength: float = 0.02) -> cx.ConvexProgram:
    return cx.ConvexProgram(X, Y, zoo.patterns(X, kind), penalty=penalty, strength=strength)


@cache
def reference(case: zoo.Case) -> cx.Solution:
    """Return cvxpy's solution, once for all solvers that are held against it."""
    return cx.solve(case.program(), "cvxpy")


def runs(cases: list[zoo.Case]) -> list[Any]:
    """Return every case with every solver of our own that can do it.

    Where the interior point method can do a cone program, admm, slow on cones, is held to one penalty of each form.
    """
    pairs = [(case, name) for case in cases for name in able_solvers(case.program()) if name != "cvxpy"]
    second = [
        (case, name) for case, name in pairs if case.cone and (case, "interior_point") in pairs and name == "admm"
    ]
    spared = {pair for pair in second if pair[0].penalty in ("l1", "ridge") and pair[0].kind != "sparse"}
    return [pytest.param(case, name, id=f"{case}-{name}") for case, name in pairs if (case, name) not in spared]


def check(case: zoo.Case, solution: cx.Solution) -> None:
    """Hold a solution against cvxpy's and against the definition of its program."""
    program, scale = solution.program, solution.program.zero_loss
    assert solution.status is cx.Status.CONVERGED
    assert abs(solution.objective - reference(case).objective) <= 1e-6 * scale
    if case.penalty == "none":
        assert solution.gap is None
        assert solution.residual is not None
        assert solution.residual <= 1e-6
    else:
        assert solution.gap is not None
        assert 0.0 <= solution.gap <= 1e-6 * scale
    assert solution.objective == pytest.approx(by_definition(solution), rel=1e-9, abs=1e-12 * scale)
    owned = program.patterns.features
    assert not np.moveaxis(solution.weights.reshape(*owned.shape, -1), 2, 0)[:, ~owned].any()


def by_definition(solution: cx.Solution) -> float:
    """Return the objective by the formulas of the program, with dense arrays alone."""
    program = solution.program
    parts = [part.reshape(*program.patterns.features.shape, -1) for part in (solution.pair or (solution.weights,))]
    prediction = solution.predict(program.X).reshape(program.targets.shape)
    norms = {
        "group_l1": sum(np.linalg.norm(part, axis=1).sum() for part in parts),
        "feature_l1": np.linalg.norm(np.concatenate(parts, axis=2), axis=(0, 2)).sum(),
        "l1": sum(np.abs(part).sum() for part in parts),
        "ridge": sum(np.square(part).sum() for part in parts) / 2,
        "none": 0.0,
    }
    assert program.penalty is not None
    return plain_loss(program, prediction) + (program.strength or 0.0) * float(norms[program.penalty.name])


def plain_loss(program: cx.ConvexProgram, prediction: Any) -> float:
    if program.loss.name == "squared":
        return float(np.square(prediction - program.targets).sum() / (2 * len(prediction)))
    if program.loss.name == "logistic":
        return float(np.log1p(np.exp(-program.targets * prediction)).mean())
    shares = np.exp(prediction) / np.exp(prediction).sum(axis=1, keepdims=True)
    return float(-np.log((shares * program.targets).sum(axis=1)).mean())


def test_the_zoo_has_more_than_forty_programs() -> None:
    assert len(set(GATED)) > 40
    assert len(set(CONES)) > 40


@pytest.mark.parametrize(("case", "solver"), runs(GATED))
def test_gated_programs_agree_with_cvxpy_to_a_millionth(case: zoo.Case, solver: str) -> None:
    check(case, cx.solve(case.program(), solver))


@pytest.mark.parametrize(("case", "solver"), runs(CONES))
def test_cone_programs_agree_with_cvxpy_inside_the_cones(case: zoo.Case, solver: str) -> None:
    solution = cx.solve(case.program(), solver)
    check(case, solution)
    assert solution.violation <= 1e-7
    neurons = solution.program.neurons(np.stack(solution.parts))
    linear = solution.program.rows @ neurons.T
    sides = np.tile(np.where(solution.program.patterns.masks(solution.program.X), 1.0, -1.0), (1, 2))
    assert (linear * np.tile(sides, (1, linear.shape[1] // sides.shape[1]))).min() >= -1e-7 * np.abs(linear).max()
    mapping = solution.map()
    assert mapping.relative_error < 1e-6
    # A neuron with a bias alone, below zero, is no neuron.
    assert mapping.network.n_neurons <= np.count_nonzero(neurons.any(axis=1))


@pytest.mark.parametrize(("loss", "outputs"), zoo.LOSS_OUTPUTS)
def test_gates_that_own_some_features_and_a_bias_are_certified_in_cones(loss: str, outputs: int) -> None:
    case = zoo.Case(loss, outputs, "l1", "sparse", True, True)
    check(case, cx.solve(case.program(), "interior_point"))


@pytest.mark.parametrize("kind", zoo.KINDS)
@pytest.mark.parametrize("penalty", PENALISED)
def test_cvxpy_proves_its_own_optimum(penalty: str, kind: str) -> None:
    program = convex(penalty, kind)
    solution = cx.solve(program, "cvxpy")
    A = zoo.dense_matrix(X, program.patterns)
    prediction = A @ solution.weights.ravel()
    assert solution.objective == pytest.approx(program.objective(prediction, solution.weights), rel=1e-12)
    assert solution.gap is not None
    assert 0.0 <= solution.gap <= 1e-6 * (Y @ Y) / (2 * len(Y))
    assert not solution.weights[~program.patterns.features].any()


def test_the_l1_program_is_scikit_learns_lasso() -> None:
    program = convex("l1")
    A = zoo.dense_matrix(X, program.patterns)
    lasso = Lasso(alpha=0.02, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(A, Y)
    expected = program.objective(A @ lasso.coef_, lasso.coef_.reshape(program.patterns.features.shape))
    assert cx.solve(program, "cvxpy").objective == pytest.approx(expected, rel=1e-6)


def test_the_ridge_program_has_its_closed_form() -> None:
    program = convex("ridge")
    A = zoo.dense_matrix(X, program.patterns)
    expected = np.linalg.solve(A.T @ A / len(Y) + 0.02 * np.eye(A.shape[1]), A.T @ Y / len(Y))
    assert np.allclose(cx.solve(program, "cvxpy").weights.ravel(), expected, atol=1e-6)


def test_a_strong_l1_penalty_leaves_nothing() -> None:
    A = zoo.dense_matrix(X, zoo.patterns(X))
    solution = cx.solve(convex("l1", strength=1.01 * np.abs(A.T @ Y).max() / len(Y)), "cvxpy")
    assert np.abs(solution.values).max(initial=0.0) < 1e-5
    assert solution.objective == pytest.approx(Y @ Y / (2 * len(Y)))


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e4, 1e8])
@pytest.mark.parametrize("penalty", PENALISED)
def test_cvxpy_is_as_good_in_any_units(penalty: str, scale: float) -> None:
    # y times scale and the strength with it: the same problem, weights times scale.
    strength = 0.02 * scale ** (2 - PENALTIES[penalty].degree)
    program = cx.ConvexProgram(X, scale * Y, zoo.patterns(X), penalty=penalty, strength=strength)
    solution = cx.solve(program, "cvxpy")
    assert solution.status is cx.Status.CONVERGED
    assert solution.gap is not None
    assert solution.gap <= 1e-6 * program.loss.value(0 * program.y, program.y)
    assert solution.objective == pytest.approx(scale**2 * cx.solve(convex(penalty), "cvxpy").objective, rel=1e-6)


def test_scs_agrees_with_clarabel_and_says_how_well() -> None:
    program = convex("group_l1")
    solution = cx.solve(program, "cvxpy", engine="SCS")
    assert solution.objective == pytest.approx(cx.solve(program, "cvxpy").objective, rel=1e-3)
    assert solution.gap is not None
    near = solution.gap <= 1e-6 * program.loss.value(0 * Y, Y)
    assert solution.status is (cx.Status.CONVERGED if near else cx.Status.INACCURATE)


def test_an_engine_without_a_point_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import cvxpy

    def fail(self: cvxpy.Problem, *given: Any) -> None:
        raise cvxpy.error.SolverError("it broke")

    monkeypatch.setattr(cvxpy.Problem, "unpack_results", fail)
    with pytest.raises(RuntimeError, match="cvxpy with CLARABEL failed: it broke"):
        cx.solve(convex("l1"), "cvxpy")


@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize(
    ("solver", "cone"), [("fista", False), ("admm", False), ("admm", True), ("interior_point", True)]
)
def test_the_device_changes_nothing(solver: str, cone: bool, loss: str, device: str) -> None:
    case = zoo.Case(loss, 3 if loss == "softmax" else 1, "group_l1", "gaussian", True, cone)
    program = case.program()
    there, here = (cx.solve(program, solver, device=where) for where in (device, "cpu"))
    assert there.objective == pytest.approx(here.objective, rel=1e-6)
    check(case, there)


def test_the_logistic_ridge_program_is_scikit_learns() -> None:
    program = cx.ConvexProgram(X, Y > 0, zoo.patterns(X), loss="logistic", penalty="ridge", strength=0.05)
    A = zoo.dense_matrix(X, program.patterns)
    model = LogisticRegression(C=1 / (0.05 * len(Y)), fit_intercept=False, tol=1e-10, max_iter=10_000).fit(A, Y > 0)
    weights = model.coef_.reshape(program.patterns.features.shape)
    expected = program.objective(A @ model.coef_[0], weights)
    for solver in ("fista", "admm", "cvxpy"):
        assert cx.solve(program, solver).objective == pytest.approx(expected, abs=1e-6)


ITERATIVE = ["fista", "admm", "interior_point"]


def medium(solver: str) -> cx.ConvexProgram:
    """Return a program that takes each solver more than a few iterations."""
    rows, values = zoo.data(80, 6)
    cone = solver == "interior_point"
    penalty = "group_l1" if cone else "l1"
    return cx.ConvexProgram(rows, values, zoo.patterns(rows, count=30), penalty=penalty, strength=1e-3, cone=cone)


@pytest.mark.parametrize("solver", ITERATIVE)
class TestLimits:
    def test_one_iteration_gives_a_certified_point(self, solver: str) -> None:
        solution = cx.solve(medium(solver), solver, max_iterations=1)
        assert solution.status is cx.Status.MAX_ITERATIONS
        assert solution.iterations == len(solution.history) == 1
        assert solution.gap is not None
        best = cx.solve(medium(solver), solver).objective
        assert solution.objective - solution.gap <= best <= solution.objective
        assert solution.violation <= 1e-7

    def test_no_time_returns_the_start(self, solver: str) -> None:
        solution = cx.solve(medium(solver), solver, time_limit=0.0)
        assert solution.status is cx.Status.TIME_LIMIT
        assert np.isfinite(solution.objective)

    def test_an_interruption_returns_the_best_so_far(self, solver: str) -> None:
        seen: list[Progress] = []

        def interrupt(progress: Progress) -> None:
            seen.append(progress)
            if progress.iteration == 6:
                raise KeyboardInterrupt

        solution = cx.solve(medium(solver), solver, callback=interrupt)
        assert solution.status is cx.Status.INTERRUPTED
        assert len(seen) == solution.iterations == 6
        assert solution.objective <= seen[-1].best * (1 + 1e-5)
        assert solution.gap is not None

    def test_a_looser_tolerance_takes_fewer_iterations_and_is_kept(self, solver: str) -> None:
        loose, tight = (cx.solve(medium(solver), solver, tolerance=t) for t in (1e-2, 1e-8))
        assert loose.iterations < tight.iterations
        for solution, tolerance in ((loose, 1e-2), (tight, 1e-8)):
            assert solution.status is cx.Status.CONVERGED
            assert solution.gap is not None
            assert solution.gap <= tolerance * solution.program.zero_loss


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("cone", [False, True])
@pytest.mark.parametrize("penalty", ["group_l1", "ridge"])
def test_every_solver_is_as_good_in_any_units(penalty: str, cone: bool, scale: float) -> None:
    case = zoo.Case("squared", 1, penalty, "gaussian", True, cone)
    program, expected = case.program(scale), scale**2 * reference(case).objective
    for solver in able_solvers(program):
        solution = cx.solve(program, solver)
        assert solution.status is cx.Status.CONVERGED
        assert abs(solution.objective - expected) <= 1e-6 * program.zero_loss


@pytest.mark.parametrize("case", [GATED[0], CONES[0], CONES[-1]], ids=str)
def test_neurons_and_parts_are_two_views_of_the_same_weights(case: zoo.Case) -> None:
    program = case.program()
    neurons = np.random.default_rng(0).standard_normal(program.neurons_shape)
    assert np.array_equal(program.neurons(program.parts(neurons)), neurons)
    parts = program.parts(neurons * program.owned)
    weights = parts[0] - parts[1] if case.cone else parts[0]
    operator = NeuronOperator(program)
    forward = operator.forward(operator.tensor(neurons)).numpy()
    A = zoo.dense_matrix(program.rows, program.patterns)
    assert np.allclose(forward, A @ weights.reshape(A.shape[1], -1))
    residual = np.random.default_rng(1).standard_normal(forward.shape)
    adjoint = operator.adjoint(operator.tensor(residual)).numpy()
    assert (adjoint * neurons).sum() == pytest.approx((forward * residual).sum())


@pytest.mark.parametrize("kind", ["gaussian", "sparse", "single"])
def test_the_gram_matrix_of_the_rows_is_that_of_the_dense_operator(kind: str) -> None:
    program = convex("l1", kind)
    A = zoo.dense_matrix(X, program.patterns)
    assert np.allclose(NeuronOperator(program).patterns.row_gram().numpy(), A @ A.T)


def test_fista_makes_one_product_with_each_of_a_and_its_adjoint(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"forward": 0, "adjoint": 0}
    for name in counts:
        plain = getattr(NeuronOperator, name)

        def counted(self: NeuronOperator, values: Any, name: str = name, plain: Any = plain) -> Any:
            counts[name] += 1
            return plain(self, values)

        monkeypatch.setattr(NeuronOperator, name, counted)
    solution = cx.solve(medium("fista"), "fista", dtype="float64")
    assert solution.iterations > 100
    # The rest: the start, the certificate, and the steps that turned out too long.
    assert counts["adjoint"] <= solution.iterations + 8
    assert counts["forward"] <= 1.25 * solution.iterations


@pytest.mark.parametrize("cone", [False, True])
@pytest.mark.parametrize("penalty", PENALISED)
def test_a_bound_is_below_the_optimum_for_any_theta(penalty: str, cone: bool) -> None:
    case = zoo.Case("squared", 1, penalty, "gaussian", True, cone)
    program, best = case.program(), reference(case).objective
    operator, rng = NeuronOperator(program), np.random.default_rng(0)
    for scale in (1e-3, 1e-2, 1.0):
        theta = scale * rng.standard_normal(program.targets.shape)
        assert lower_bound(program, operator, DualCandidate(theta)) <= best * (1 + 1e-9)


def test_the_gap_of_a_cone_program_needs_the_cone() -> None:
    # Scaling theta by the plain norm, as if there were no cone, leaves most of the objective.
    program = zoo.Case("squared", 1, "group_l1", "gaussian", False, True).program()
    solution = cx.solve(program, "interior_point")
    operator = NeuronOperator(program)
    theta = -program.loss.gradient(solution.predict(program.X)[:, None], program.targets)
    plain = program.lower_bound(theta, operator.adjoint(operator.tensor(theta)).numpy())
    assert solution.gap is not None
    assert solution.gap < 1e-6 * program.zero_loss
    assert solution.objective - plain > 0.1 * solution.objective


def test_the_violation_is_that_of_the_worst_row() -> None:
    program = zoo.Case("squared", 1, "group_l1", "gaussian", False, True).program()
    neurons = np.tile(program.patterns.generators, (2, 1))
    assert violation(program, neurons) == 0.0
    assert violation(program, -neurons) == 1.0


def test_gates_without_an_interior_are_left_to_admm() -> None:
    # Rows x and -x on the boundary of a gate: every point of its cone is orthogonal to x.
    rows = np.array([[1.0, -1.0], [-1.0, 1.0], [0.5, 1.0], [-0.3, 2.0], [0.2, -1.0]])
    target = np.array([0.3, -0.2, 1.0, 1.5, 0.1])
    gates = cx.sample_patterns(rows, generators=[[1.0, 1.0], [1.0, 0.3]])
    program = cx.ConvexProgram(rows, target, gates, penalty="group_l1", strength=0.05, cone=True)
    with pytest.raises(ValueError, match="the cone of gate 0 has no interior, or is too thin for"):
        cx.solve(program, "interior_point")
    solution = cx.solve(program)
    assert solution.solver == "admm"
    assert solution.objective == pytest.approx(cx.solve(program, "cvxpy").objective, abs=1e-6)


def test_a_solution_reads_well() -> None:
    text = str(cx.solve(zoo.Case("squared", 2, "group_l1", "gaussian", True, True).program()))
    assert text.startswith(
        "interior_point: squared loss + 0.02 * group_l1, 80 weights in ReLU cones\n  objective 0.7246"
    )
    assert "exact mapping: sparse ReLU network 4-" in text
    unpenalised = str(cx.solve(convex_without_penalty(), "admm"))
    assert "squared loss, no penalty, 40 weights" in unpenalised
    assert "(KKT residual" in unpenalised


def convex_without_penalty() -> cx.ConvexProgram:
    return cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="none")


def test_parts_belong_to_cone_programs() -> None:
    with pytest.raises(ValueError, match="parts u and v belong to programs with cone=True"):
        _ = cx.solve(convex("l1")).parts


@pytest.mark.parametrize("solver", ["fista", "admm"])
def test_a_warm_start_at_the_optimum_ends_at_once(solver: str) -> None:
    program = medium(solver)
    cold = cx.solve(program, solver, tolerance=1e-8)
    for start in (cold, cold.weights):
        warm = cx.solve(program, solver, start=start)
        assert warm.status is cx.Status.CONVERGED
        assert warm.iterations <= max(5, cold.iterations // 5)


def test_printing_does_not_wait_for_a_long_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convexnn.solution.QUICK", 0)
    solution = cx.solve(convex("group_l1"))
    assert "not mapped to a network yet: see map()" in str(solution)
    solution.map()
    assert "exact mapping: sparse ReLU network" in str(solution)
