"""The interior point method with the softmax: its system against a dense one, its optimum against cvxpy."""

from __future__ import annotations

import numpy as np
import pytest

import convexnn as cx
from convexnn.checks import Floats
from convexnn.program.losses import loss_named
from convexnn.solvers.convex import softmax_steps
from convexnn.solvers.convex.softmax_steps import CoupledSystem, SoftmaxPoint


def program(penalty: str = "group_l1", strength: float = 0.01) -> cx.ConvexProgram:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, 3))
    y = np.digitize(np.maximum(X[:, 0], 0) - np.maximum(X[:, 1], 0), [-0.4, 0.3])
    patterns = cx.sample_patterns(X, 8)
    return cx.ConvexProgram(X, y, patterns, loss="softmax", penalty=penalty, strength=strength, cone=True)


def method() -> SoftmaxPoint:
    asked = program()
    return SoftmaxPoint(asked, asked.targets, 1e-8)


def neurons_for(method: SoftmaxPoint, seed: int) -> Floats:
    points: Floats = np.random.default_rng(seed).standard_normal(method.cones.owned.shape)
    return points


def test_the_root_of_the_hessian_is_that_of_the_gradient() -> None:
    point = method()
    neurons = neurons_for(point, 0)
    root = point._root(neurons)
    prediction, loss, step = point.cones.forward(neurons), loss_named("softmax"), 1e-5
    for c in range(3):
        move = step * np.eye(3)[c]
        slope = loss.gradient(prediction + move, point.y) - loss.gradient(prediction - move, point.y)
        assert np.allclose((root @ root.transpose(0, 2, 1))[:, c], slope / (2 * step), atol=1e-9)


def test_adjoints_are_adjoints() -> None:
    point = method()
    neurons, residual = neurons_for(point, 1), np.random.default_rng(2).standard_normal(point.y.shape)
    assert (point.cones.forward(neurons) * residual).sum() == pytest.approx(
        float((neurons * point.cones.adjoint(residual)).sum()), rel=1e-12
    )


def test_the_system_is_solved() -> None:
    point = method()
    neurons, right = neurons_for(point, 4), neurons_for(point, 5)
    q, d = neurons.shape
    weights = np.random.default_rng(6).uniform(0.1, 2.0, point.cones.bound.shape)
    system = CoupledSystem(point.cones, point._root(neurons), weights, np.tile(np.eye(d), (q, 1, 1)), point.tile)
    units = np.eye(q * d).reshape(-1, q, d)
    dense = np.stack([system._apply(unit).ravel() for unit in units], axis=1)
    hessian = point._root(neurons) @ point._root(neurons).transpose(0, 2, 1)
    along = [point.cones.adjoint(np.einsum("icb,ib->ic", hessian, point.cones.forward(unit))) for unit in units]
    blocks = [np.einsum("bij,bj->bi", point.cones.blocks(weights, np.eye(d)), unit) for unit in units]
    expected = np.stack([(one + other).ravel() for one, other in zip(along, blocks, strict=True)], axis=1)
    assert np.allclose(dense, expected, atol=1e-12)
    assert np.allclose(system.solve(right).ravel(), np.linalg.solve(expected, right.ravel()), atol=1e-10)


@pytest.mark.parametrize("penalty", ["group_l1", "l1", "ridge"])
def test_the_optimum_is_that_of_cvxpy_to_many_digits(penalty: str) -> None:
    asked = program(penalty, 0.02)
    found = cx.solve(asked, "interior_point", tolerance=1e-8)
    assert found.status is cx.Status.CONVERGED
    assert found.iterations < 40
    assert abs(found.objective - cx.solve(asked, "cvxpy").objective) <= 2e-8 * asked.zero_loss


def test_too_many_rows_are_left_to_admm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax_steps, "MOST_ROWS", 100)
    asked = program(strength=0.05)
    with pytest.raises(ValueError, match="40 rows times 3 classes are more than the 100 of solver 'interior_point'"):
        cx.solve(asked, "interior_point")
    assert cx.solve(asked, tolerance=1e-4).solver == "admm"


@pytest.mark.parametrize("penalty", ["group_l1", "l1"])
def test_all_patterns_of_a_softmax_program_with_cones(penalty: str) -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((18, 2))
    y = np.digitize(np.maximum(X[:, 0], 0) - np.maximum(X[:, 1], 0), [-0.2, 0.2])
    every = cx.sample_patterns(X, kind="enumerate")
    asked = cx.ConvexProgram(X, y, every, loss="softmax", penalty=penalty, strength=0.02, cone=True)
    listed = cx.solve(asked, tolerance=1e-8)
    best = cx.global_optimum(X, y, loss="softmax", penalty=penalty, strength=0.02, tolerance=1e-7)
    assert best.status is cx.Status.CONVERGED
    assert abs(best.objective - listed.objective) <= 1e-7 * asked.zero_loss
    assert best.bound <= listed.objective
