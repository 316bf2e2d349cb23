"""An intercept of labels that nothing penalises: against cvxpy, its proximal map, its dual, to the network."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

import convexnn as cx
from convexnn.checks import Floats
from convexnn.program.intercepts import LabelInterceptLoss, with_intercept
from convexnn.program.losses import Loss, loss_named
from convexnn.program.neurons import NeuronOperator, to_numpy
from convexnn.program.penalties import penalty_named
from convexnn.solvers.convex.centred import CentredOperator
from convexnn.solvers.registry import able_solvers
from tests.helpers import zoo

# Offsets at which some gates, or all, are active on all rows, and the solvers that are fast there.
WELL = [
    ("squared", 10.0, "admm"),
    ("squared", 100.0, "admm"),
    ("squared", 100.0, "fista"),
    ("logistic", 10.0, "admm"),
    ("logistic", 100.0, "admm"),
    ("logistic", 100.0, "fista"),
    ("softmax", 100.0, "fista"),
]

X, Y = zoo.data(60, 4)
LABELS = {
    "logistic": (np.quantile(Y, 0.85) < Y).astype(int),
    "softmax": np.digitize(Y, np.quantile(Y, [0.6, 0.9])),
}
PENALTIES = {"group_l1": 0.02, "feature_l1": 0.02, "l1": 0.01, "ridge": 0.05}


def program(loss: str, penalty: str = "group_l1", cone: bool = False) -> cx.ConvexProgram:
    strength = PENALTIES[penalty]
    patterns = cx.sample_patterns(X, 8)
    return cx.ConvexProgram(
        X, LABELS[loss], patterns, loss=loss, penalty=penalty, strength=strength, cone=cone, intercept=True
    )


CASES = [
    pytest.param(loss, penalty, cone, solver, id=f"{loss}-{penalty}-{'cone' if cone else 'gated'}-{solver}")
    for loss in LABELS
    for penalty in PENALTIES
    for cone in (False, True)
    for solver in able_solvers(program(loss, penalty, cone))
    # The splitting takes thousands of iterations for the softmax.
    if solver != "cvxpy" and (loss, solver) not in [("softmax", "admm")]
]


@pytest.mark.parametrize(("loss", "penalty", "cone", "solver"), CASES)
def test_it_agrees_with_cvxpy(loss: str, penalty: str, cone: bool, solver: str) -> None:
    asked = program(loss, penalty, cone)
    solution, reference = cx.solve(asked, solver), cx.solve(asked, "cvxpy")
    assert solution.status is cx.Status.CONVERGED
    assert solution.objective == pytest.approx(reference.objective, abs=2e-6 * asked.zero_loss)
    assert solution.gap is not None
    assert solution.gap <= 1e-6 * asked.zero_loss
    # The stated loss at the model with its intercept, and the penalty of the weights alone.
    parts = asked.neurons(np.stack(solution.pair or (solution.weights,)))
    penalised = PENALTIES[penalty] * penalty_named(penalty).value(parts)
    stated = loss_named(loss).value(solution.predict(X), asked.y)
    assert solution.objective == pytest.approx(stated + penalised, rel=1e-9)
    assert solution.dual is not None
    assert np.abs(solution.dual.sum(axis=0)).max() <= 1e-12


@pytest.mark.parametrize("loss", LABELS)
def test_without_weights_the_shares_are_those_of_the_classes(loss: str) -> None:
    asked = program(loss)
    solution = cx.solve(asked.with_strength(1.01 * cx.strength_max(asked)))
    shares = np.bincount(LABELS[loss]) / len(X)
    assert solution.nnz == 0
    assert asked.zero_loss == pytest.approx(-float((shares * np.log(shares)).sum()))
    logits = np.append(0.0, solution.intercept) if loss == "logistic" else solution.intercept
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), shares, atol=1e-12)


def numbers(loss: str) -> tuple[Loss, Floats, Floats]:
    """Return the loss, a target and predictions."""
    target = program(loss).targets
    return with_intercept(loss), target, 3.0 * np.random.default_rng(0).standard_normal(target.shape)


@pytest.mark.parametrize("loss", LABELS)
@pytest.mark.parametrize("weight", [0.01, 0.25, 4.0])
def test_the_proximal_map_is_a_minimum(loss: str, weight: float) -> None:
    measure, target, point = numbers(loss)
    found = measure.prox(point, target, weight)
    slope = len(target) * measure.gradient(found, target) + weight * (found - point)
    assert np.abs(slope).max() < 1e-6


@pytest.mark.parametrize("loss", LABELS)
def test_the_intercept_is_the_best_and_the_gradient_that_of_the_value(loss: str) -> None:
    measure, target, point = numbers(loss)
    stated = loss_named(loss)
    best = minimize(lambda b: stated.value(point + b, target), np.zeros(target.shape[1]), tol=1e-12)
    assert measure.value(point, target) == pytest.approx(best.fun, abs=1e-10)
    along = np.random.default_rng(1).standard_normal(point.shape)
    moved = [measure.value(point + step * along, target) for step in (1e-5, -1e-5)]
    slope = float((measure.gradient(point, target) * along).sum())
    assert (moved[0] - moved[1]) / 2e-5 == pytest.approx(slope, abs=1e-8)
    assert measure.value(point + 7.0, target) == pytest.approx(measure.value(point, target), rel=1e-12)


@pytest.mark.parametrize("loss", LABELS)
def test_a_dual_point_of_less_precision_is_moved_into_the_domain(loss: str) -> None:
    measure, target, point = numbers(loss)
    exact = -measure.gradient(10.0 * point, target)
    rough = exact.astype(np.float32).astype(np.float64) + 1e-7 / len(target)
    assert measure.dual(rough, target) == -float("inf")
    moved = measure.into_domain(rough, target)
    assert measure.dual(moved, target) == pytest.approx(measure.dual(exact, target), abs=1e-4)
    # Fenchel and Young: a dual point bounds the loss at every prediction.
    assert measure.value(point, target) >= measure.dual(moved, target) + float((-moved * point).sum())


@pytest.mark.parametrize("cone", [False, True])
@pytest.mark.parametrize("loss", LABELS)
def test_the_network_has_it_as_the_bias_of_its_outputs(loss: str, cone: bool) -> None:
    solution = cx.solve(program(loss, cone=cone))
    network = solution.to_network()
    np.testing.assert_allclose(network.predict(X), solution.predict(X), atol=1e-8)
    assert solution.mapping_loss == pytest.approx(loss_named(loss).value(network.predict(X), solution.program.y))


@pytest.mark.parametrize(("loss", "outputs"), [("logistic", 1), ("softmax", 3)])
@pytest.mark.parametrize("far", [-3e3, 1e5])
def test_predictions_far_from_zero_move_the_intercept_alone(loss: str, outputs: int, far: float) -> None:
    rng = np.random.default_rng(0)
    target = np.eye(3)[rng.integers(3, size=50)] if loss == "softmax" else np.sign(rng.standard_normal((50, 1)))
    prediction, asked = rng.standard_normal((50, outputs)), LabelInterceptLoss(loss_named(loss))
    shifts = far * np.linspace(1.0, 2.0, outputs)
    near, there = asked.intercept(prediction, target), asked.intercept(prediction + shifts, target)
    expected = near - shifts + (shifts.mean() if loss == "softmax" else 0.0)
    np.testing.assert_allclose(there, expected, atol=1e-9 * abs(far))
    assert asked.value(prediction + shifts, target) == pytest.approx(asked.value(prediction, target), rel=1e-9)


@pytest.mark.parametrize(("loss", "outputs"), [("logistic", 1), ("softmax", 3)])
@pytest.mark.parametrize("apart", [1e2, 1e4, 1e8])
@pytest.mark.parametrize("far", [1, 25])
def test_predictions_far_from_each_other_have_the_best_intercept(
    loss: str, outputs: int, apart: float, far: int
) -> None:
    rng = np.random.default_rng(5)
    target = np.eye(3)[rng.integers(3, size=50)] if loss == "softmax" else np.sign(rng.standard_normal((50, 1)))
    prediction, stated = rng.standard_normal((50, outputs)), loss_named(loss)
    prediction[:far] += apart * np.array([1.0, -0.5, 0.2])[:outputs]
    asked = LabelInterceptLoss(stated)
    # The loss is convex in the intercept, which is the best where the slopes of all rows sum to 0.
    slopes = stated.gradient(prediction + asked.intercept(prediction, target), target)
    np.testing.assert_allclose(slopes.sum(axis=0), 0.0, atol=1e-9)
    moved = asked.prox(prediction, target, 0.3)
    np.testing.assert_allclose(50 * asked.gradient(moved, target), 0.3 * (prediction - moved), atol=1e-9 * apart)


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
@pytest.mark.parametrize("penalty", ["l1", "feature_l1"])
def test_features_with_an_offset_under_gates_without_a_bias(loss: str, penalty: str) -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((80, 3))
    y = np.maximum(points[:, 0] - points[:, 1], 0.0) - np.maximum(points[:, 2], 0.0)
    y = {"squared": y, "logistic": y > 0.0, "softmax": np.digitize(y, [-0.5, 0.5])}[loss]
    X = points + 100.0
    options: dict[str, Any] = {"loss": loss, "penalty": penalty, "intercept": True}
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, 8), strength=1.0, **options)
    program = program.with_strength(0.05 * cx.strength_max(program))
    assert len(program.patterns) == program.patterns.n_linear - program.patterns.n_merged == 1
    solution = cx.solve(program, "fista", max_iterations=800)
    assert solution.status is cx.Status.CONVERGED
    # The gate is active on all rows: centred features make the same program.
    centred = points - points.mean(axis=0)
    reference = least_linear(loss, centred, y, program.strength or 0.0, penalty)
    assert solution.objective == pytest.approx(reference, abs=2e-6 * program.zero_loss)
    first = "admm" if loss == "squared" else "fista"
    assert able_solvers(program)[0] == cx.solve(program, time_limit=30).solver == first


@pytest.mark.parametrize("penalty", ["group_l1", "feature_l1", "l1", "ridge"])
@pytest.mark.parametrize(("loss", "offset", "solver"), WELL)
def test_offsets_cost_no_iterations_where_an_intercept_takes_them_up(
    loss: str, penalty: str, offset: float, solver: str
) -> None:
    # admm ended at gaps of 0.3 to 9 of the loss at zero, fista at 0.2.
    rng = np.random.default_rng(0)
    points = rng.standard_normal((80, 3)) * np.array([1.0, 1.0, 30.0])
    y = np.maximum(points[:, 0] - points[:, 1], 0.0) - np.maximum(points[:, 2] / 30.0, 0.0)
    y = {"squared": y, "logistic": y > 0.0, "softmax": np.digitize(y, [-0.5, 0.5])}[loss]
    X = points + offset * np.array([1.0, -1.0, 30.0])
    options: dict[str, Any] = {"loss": loss, "penalty": penalty, "intercept": True}
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, 8, seed=1), strength=0.01, **options)
    if penalty != "ridge":
        program = program.with_strength(0.05 * cx.strength_max(program))
    solution = cx.solve(program, solver, max_iterations=300)
    assert solution.status is cx.Status.CONVERGED
    reference = cx.solve(program, "cvxpy")
    assert solution.objective == pytest.approx(reference.objective, abs=3e-6 * program.zero_loss)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("cone", [False, True])
def test_the_centred_operator_is_that_of_columns_without_their_means(sparse: bool, cone: bool) -> None:
    X = np.random.default_rng(0).standard_normal((20, 3)) + 2.0
    patterns = cx.sample_patterns(X, 6, kind="sparse" if sparse else "gaussian")
    y = np.digitize(X[:, 0], [1.5, 2.5])
    program = cx.ConvexProgram(X, y, patterns, loss="softmax", penalty="l1", strength=0.1, intercept=True, cone=cone)
    operator = CentredOperator(NeuronOperator(program))
    owned = np.flatnonzero(patterns.features)
    columns = (patterns.masks(X)[:, :, None] * X[:, None, :]).reshape(len(X), -1)[:, owned]
    columns = columns - columns.mean(axis=0)
    np.testing.assert_allclose(to_numpy(operator.row_gram()), columns @ columns.T, atol=1e-12)
    np.testing.assert_allclose(to_numpy(operator.column_gram()), columns.T @ columns, atol=1e-12)
    neurons, residual = np.random.default_rng(1).standard_normal(program.neurons_shape), np.eye(20)[:, :3]
    pages = neurons.reshape(3, program.n_parts, -1)
    both = (pages[:, 0] - pages[:, 1] if cone else pages[:, 0])[:, owned]
    np.testing.assert_allclose(to_numpy(operator.forward(operator.tensor(neurons))), columns @ both.T, atol=1e-12)
    back = to_numpy(operator.adjoint(operator.tensor(residual))).reshape(pages.shape)[:, 0, owned]
    np.testing.assert_allclose(back, residual.T @ columns, atol=1e-12)


def least_linear(loss: str, X: Floats, y: Any, strength: float, penalty: str) -> float:
    """Return the least of a linear model with an intercept under a penalty, by cvxpy."""
    k = 3 if loss == "softmax" else 1
    weights, constants = cp.Variable((3, k)), cp.Variable((1, k))
    prediction = X @ weights + np.ones((len(X), 1)) @ constants
    target = np.eye(3)[y] if loss == "softmax" else 2.0 * y[:, None] - 1.0 if loss == "logistic" else y[:, None]
    sizes = cp.norm1(weights) if penalty == "l1" else cp.sum(cp.norm(weights, 2, axis=1))
    stated = loss_named(loss).expression(prediction, target)
    # The softmax sees differences alone.
    held = [cp.sum(constants) == 0] if k > 1 else []
    return float(cp.Problem(cp.Minimize(stated + strength * sizes), held).solve(solver="CLARABEL"))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("penalty", ["l1", "group_l1", "ridge"])
@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_fista_on_features_that_the_intercept_takes_up(loss: str, penalty: str, dtype: str) -> None:
    rows, labels = np.array([[1.0, 0.0]] * 12), np.arange(12) % {"squared": 12, "logistic": 2, "softmax": 3}[loss]
    options: dict[str, Any] = {"loss": loss, "penalty": penalty, "strength": 1e-3, "intercept": True}
    program = cx.ConvexProgram(rows, labels, cx.sample_patterns(rows, 3, seed=0), **options)
    solution = cx.solve(program, "fista", dtype=dtype)
    assert solution.status is cx.Status.CONVERGED
    assert solution.objective == pytest.approx(program.zero_loss, rel=1e-6)
