"""Systems of the convex solvers: the side of the weights gives the steps of the side of the rows, and exact ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn.program.neurons import NeuronOperator
from convexnn.solvers.convex import newton_system
from convexnn.solvers.convex.interior_steps import InteriorPoint
from convexnn.solvers.convex.newton_system import DirectionFactor, NewtonSystem, RowFactor
from convexnn.solvers.convex.whitened import WhitenedRows, WhitenedWeights, whitened
from tests.helpers import zoo

X, Y = zoo.data(60, 4)


def program(n_patterns: int, cone: bool, outputs: int = 1, thin: bool = False) -> cx.ConvexProgram:
    patterns = cx.sample_patterns(X, n_patterns, kind="sparse" if thin else None, order=2 if thin else None, seed=0)
    y = zoo.target("squared", outputs, X, Y)
    return cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=0.02, cone=cone)


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("cone", [False, True])
def test_both_sides_take_the_same_step_of_admm(cone: bool, outputs: int, thin: bool) -> None:
    operator = NeuronOperator(program(6, cone, outputs, thin))
    rng = np.random.default_rng(0)
    centre = operator.tensor(rng.standard_normal(operator.program.neurons_shape) * operator.program.owned)
    goal = operator.tensor(rng.standard_normal((60, outputs)))
    for shift in (1e-3, 1.0, 100.0):
        pairs = [side(operator).step(centre, goal, shift) for side in (WhitenedRows, WhitenedWeights)]
        for by_rows, by_weights in zip(*pairs, strict=True):
            torch.testing.assert_close(by_weights, by_rows, rtol=1e-9, atol=1e-9)
        weights, prediction = pairs[1]
        torch.testing.assert_close(prediction, operator.forward(weights))
        slope = operator.adjoint(prediction - goal) + shift * (weights - centre)
        assert float(slope.abs().max()) < 1e-8 * shift + 1e-9
    assert whitened(operator).trace == pytest.approx(WhitenedRows(operator).trace)


def system_of(asked: cx.ConvexProgram, iterations: int) -> NewtonSystem:
    """Return the Newton system after some iterations."""
    method = InteriorPoint(asked, asked.targets[:, 0], 1e-9)
    now = method.begin()
    for _ in range(iterations):
        now = method.step(now)
    linearised = method.barrier.linearise(now.neurons, now.penalty_dual, now.smoothing)
    return method._system(now, now.multipliers / now.slacks, linearised)


@pytest.mark.parametrize("iterations", [0, 6, 12])
@pytest.mark.parametrize("n_patterns", [6, 30])
def test_the_newton_system_is_solved(n_patterns: int, iterations: int) -> None:
    system = system_of(program(n_patterns, True), iterations)
    directions = newton_system.Directions.of(system.cones, system.inverse, system.root)
    assert isinstance(system.factor, DirectionFactor if directions.count < 60 else RowFactor)
    right = np.random.default_rng(1).standard_normal(system.cones.owned.shape)
    found = system.solve(right)
    # What a product with the matrix, whose blocks grow without bound, leaves of it.
    np.testing.assert_allclose(system._apply(found), right, atol=1e-11 * (1.0 + system.weights.max()))


def test_both_factors_are_positive_and_near_the_matrix() -> None:
    system = system_of(program(10, True), 8)
    directions = newton_system.Directions.of(system.cones, system.inverse, system.root)
    gram = newton_system.kernel(system.cones, directions.roots, system.root, system.tile)
    size = system.cones.owned.size
    units = np.eye(size).reshape(size, *system.cones.owned.shape)
    matrix = np.stack([system._apply(unit).ravel() for unit in units])
    for factor in (RowFactor(system.cones, gram + np.eye(60)), DirectionFactor(system, directions)):
        system.factor = factor
        rough = np.stack([system._solve(unit).ravel() for unit in units])
        np.testing.assert_allclose(rough, rough.T, atol=1e-9 * np.abs(rough).max())
        product = np.sort(np.linalg.eigvals(rough @ matrix).real)
        assert product[0] > 0.4
        assert product[-1] < 2.0


def test_programs_of_few_weights_need_little_memory_for_many_rows() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9000, 2))
    y = np.maximum(X[:, 0], 0.0) + 0.1 * rng.standard_normal(9000)
    patterns = cx.sample_patterns(X, 5, seed=0)
    gated = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=0.02)
    limit = 1 << 26
    assert limit < 16 * 9000**2
    assert cx.solve(gated, "admm", memory_limit=limit).status is cx.Status.CONVERGED
    cones = cx.ConvexProgram(X, y, patterns, penalty="group_l1", strength=0.02, cone=True)
    assert cx.solve(cones, "interior_point", memory_limit=limit).status is cx.Status.CONVERGED
