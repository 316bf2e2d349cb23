"""An intercept that nothing penalises: against cvxpy, against the closed form, and through to the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.solvers.registry import able_solvers
from tests.helpers import zoo

X, Y = zoo.data(60, 4)
PENALTIES = {"group_l1": 0.02, "feature_l1": 0.02, "l1": 0.01, "ridge": 0.05, "none": None}


def program(penalty: str, cone: bool = False, outputs: int = 1, shift: float = 7.0, **options: Any) -> cx.ConvexProgram:
    y = zoo.target("squared", outputs, X, Y) + shift
    options = {"intercept": True, "penalty": penalty, "strength": PENALTIES[penalty], "cone": cone, **options}
    return cx.ConvexProgram(X, y, cx.sample_patterns(X, 8), **options)


def stated(solution: cx.Solution) -> float:
    """Return the objective of a solution by its formulas, with its own intercept."""
    asked = solution.program
    missed = solution.predict(asked.X) - asked.y
    parts = asked.neurons(np.stack(solution.pair or (solution.weights,)))
    assert asked.penalty is not None
    penalty = (asked.strength or 0.0) * asked.penalty.value(parts)
    return float(np.square(missed).sum()) / (2 * len(asked.y)) + penalty


CASES = [
    pytest.param(penalty, cone, outputs, solver, id=f"{penalty}-{'cone' if cone else 'gated'}-{outputs}-{solver}")
    for penalty in PENALTIES
    for cone in (False, True)
    for outputs in (1, 2)
    for solver in able_solvers(program(penalty, cone, outputs))
    if solver != "cvxpy" and not (cone and outputs == 2)
]


@pytest.mark.parametrize(("penalty", "cone", "outputs", "solver"), CASES)
def test_it_agrees_with_cvxpy(penalty: str, cone: bool, outputs: int, solver: str) -> None:
    asked = program(penalty, cone, outputs)
    solution, reference = cx.solve(asked, solver), cx.solve(asked, "cvxpy")
    assert solution.status is cx.Status.CONVERGED
    assert solution.objective == pytest.approx(reference.objective, abs=2e-6 * asked.zero_loss)
    assert solution.objective == pytest.approx(stated(solution), rel=1e-9)
    assert asked.zero_loss == pytest.approx(float(np.var(asked.y, axis=0).sum()) / 2)
    if penalty != "none":
        assert solution.gap is not None
        assert solution.gap <= 1e-6 * asked.zero_loss
        assert solution.dual is not None
        assert np.abs(solution.dual.sum(axis=0)).max() <= 1e-12 * np.abs(solution.dual).sum()


def test_a_constant_added_to_the_target_moves_the_intercept_alone() -> None:
    near, far = (cx.solve(program("group_l1", shift=shift), tolerance=1e-9) for shift in (0.0, 1000.0))
    np.testing.assert_allclose(far.weights, near.weights, atol=1e-6)
    assert float(far.intercept) == pytest.approx(float(near.intercept) + 1000.0, abs=1e-6)
    assert float(cx.solve(program("group_l1", intercept=False)).intercept) == 0.0


def test_the_ridge_program_has_its_closed_form() -> None:
    asked = program("ridge")
    A = zoo.dense_matrix(X, asked.patterns)
    A, y = A - A.mean(axis=0), asked.y - asked.y.mean()
    weights = np.linalg.solve(A.T @ A / len(y) + 0.05 * np.eye(A.shape[1]), A.T @ y / len(y))
    np.testing.assert_allclose(cx.solve(asked, tolerance=1e-12).weights.ravel(), weights, atol=1e-5)


@pytest.mark.parametrize(("cone", "outputs"), [(False, 1), (False, 2), (True, 1)])
def test_the_network_has_it_as_the_bias_of_its_outputs(cone: bool, outputs: int) -> None:
    solution = cx.solve(program("group_l1", cone, outputs))
    network = solution.to_network()
    np.testing.assert_allclose(network.layers[-1][1], np.atleast_1d(solution.intercept))
    np.testing.assert_allclose(network.predict(X), solution.predict(X), atol=1e-8)
    assert solution.mapping_loss == pytest.approx(float(np.square(network.predict(X) - solution.program.y).sum()) / 120)


def test_a_bound_needs_a_dual_point_of_sum_zero() -> None:
    asked = program("group_l1")
    assert asked.loss.dual(np.full((60, 1), 1e-3), asked.targets) == -float("inf")
    theta = asked.loss.into_domain(np.random.default_rng(0).standard_normal((60, 1)), asked.targets)
    assert np.isfinite(asked.loss.dual(theta, asked.targets))


def test_from_strength_max_on_the_intercept_alone_is_left() -> None:
    asked = program("group_l1")
    solution = cx.solve(asked.with_strength(1.01 * cx.strength_max(asked)))
    assert solution.nnz == 0
    assert float(solution.intercept) == pytest.approx(float(asked.y.mean()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 5}, "intercept is True with a budget"),
        ({"intercept": 1, "penalty": "none"}, "intercept"),
    ],
)
def test_where_it_is_not_known_is_said(options: dict[str, Any], words: str) -> None:
    y = np.where(Y > 0.0, 1.0, 0.0)
    with pytest.raises((ValueError, TypeError)) as caught:
        cx.ConvexProgram(X, y, cx.sample_patterns(X, 4), **{"intercept": True, **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("solver", ["admm", "fista", "working_set", "interior_point"])
def test_a_target_that_hardly_varies_beside_its_mean(solver: str) -> None:
    cone = solver == "interior_point"
    y = 100.0 + 1e-3 * zoo.target("squared", 1, X, Y)
    patterns = cx.sample_patterns(X, 8)
    asked = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=2e-5, cone=cone, intercept=True)
    solution = cx.solve(asked, solver, max_iterations=200, time_limit=5)
    assert solution.status is cx.Status.CONVERGED
    assert solution.gap is not None
    assert solution.gap <= 1e-6 * asked.zero_loss
