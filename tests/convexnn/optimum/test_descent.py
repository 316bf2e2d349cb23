"""Local training: its gradient, its scale, the network as a solution, and that nothing is lost when it is stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

import convexnn as cx
from convexnn.checks import Floats
from convexnn.optimum.alternating import AlternatingDescent
from convexnn.optimum.descent import Neurons, Training
from convexnn.optimum.master import Task, network_solution
from convexnn.optimum.pricers import pricer_for
from convexnn.program.losses import loss_named
from convexnn.solvers.common.deadline import Deadline


def some_neurons(count: int, d: int, k: int) -> Neurons:
    """Return random neurons of k outputs."""
    rng = np.random.default_rng(5)
    return Neurons(rng.standard_normal((count, d)), rng.standard_normal(count), np.arange(count) % k)


def training(loss: str, k: int) -> Training:
    """Return a training of a loss on random rows."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((20, 3))
    numbers = rng.standard_normal((20, k))
    labels = {"squared": numbers, "logistic": np.sign(numbers), "softmax": np.eye(k)[rng.integers(k, size=20)]}
    return Training(rows, labels[loss], loss_named(loss), 0.03)


@pytest.mark.parametrize(("loss", "k"), [("squared", 1), ("squared", 2), ("logistic", 1), ("softmax", 3)])
def test_the_gradient_is_that_of_the_rounded_objective(loss: str, k: int) -> None:
    task, neurons = training(loss, k), some_neurons(6, 3, k)
    flat = np.concatenate([neurons.hidden.ravel(), neurons.out])

    def value(point: Floats) -> float:
        return task.rounded(Neurons(point[:18].reshape(6, 3), point[18:], neurons.outputs), 0.4)[0]

    np.testing.assert_allclose(task.rounded(neurons, 0.4)[1], approx_fprime(flat, value, 1e-7), atol=2e-6)


def test_rounded_kinks_are_kinks_where_nothing_is_rounded() -> None:
    task, neurons = training("squared", 2), some_neurons(6, 3, 2)
    even = neurons.balanced()
    np.testing.assert_allclose(task.predict(even), task.predict(neurons), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(even.hidden, axis=1), np.abs(even.out))
    assert task.rounded(even, 1e-9)[0] == pytest.approx(task.objective(neurons), abs=1e-8)
    assert len(neurons.balanced(0.5)) == (neurons.costs > 0.5 * neurons.costs.max()).sum()


def test_descent_descends_and_stops_in_time() -> None:
    task, neurons = training("logistic", 1), some_neurons(8, 3, 1)
    before = task.rounded(neurons, 0.1)[0]
    assert task.rounded(task.descended(neurons, 0.1, 50, Deadline(None)), 0.1)[0] < 0.9 * before
    late = task.descended(neurons, 0.1, 50, Deadline(0.0))
    np.testing.assert_array_equal(late.hidden, neurons.hidden)


@pytest.mark.parametrize(("loss", "k"), [("squared", 1), ("squared", 2), ("softmax", 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_network_is_a_solution_over_its_gates(loss: str, k: int, bias: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3))
    y: Any = rng.standard_normal((20, k)) if loss == "squared" else np.arange(20) % 3
    task = Task(X, y, loss, "group_l1", 0.02, True, bias)
    d = 3 + bias
    # Twice the same neuron: both are one block, which costs no more than they do.
    neurons = some_neurons(7, d, k)
    neurons = neurons.joined(neurons[np.array([0, 3])])
    found = network_solution(task, neurons, 0.0)
    whole = Training(found.program.rows, found.program.targets, found.program.loss, 0.02)
    assert found.violation == 0.0
    assert found.objective == pytest.approx(whole.objective(neurons))
    np.testing.assert_allclose(found.predict(X).reshape(20, k), whole.predict(neurons), atol=1e-12)
    network = found.to_network()
    np.testing.assert_allclose(network.predict(X).reshape(20, k), whole.predict(neurons), atol=1e-9)


def test_turns_end_far_below_the_first_network_whatever_the_units() -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((80, 4))
    y = np.maximum(X[:, 0], 0.0) - np.maximum(X[:, 1] - X[:, 2], 0.0)
    ends = []
    for unit in (1.0, 1e6):
        task = Task(unit * X, y, "squared", "group_l1", 0.01 * unit, True, False)
        program = task.program(X[:1])
        descent = AlternatingDescent(
            program, pricer_for(program), np.random.default_rng(0), 1e-6, Deadline(None), lambda *_: None
        )
        before = descent.lowest
        descent.run()
        found = network_solution(task, descent.best, 0.0)
        assert found.objective == pytest.approx(descent.lowest)
        assert descent.lowest < 0.3 * before
        ends.append(found.objective)
    assert ends[0] == pytest.approx(ends[1], rel=1e-2)
    best = cx.global_optimum(X, y, strength=0.01, tolerance=1e-4)
    assert best.bound <= ends[0] <= 1.02 * best.objective


def test_an_interrupted_training_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 4))
    y = np.maximum(X[:, 0], 0.0) - np.maximum(X[:, 1], 0.0)
    whole, turns = Training.descended, []

    def interrupted(self: Training, *options: Any) -> Neurons:
        turns.append(whole(self, *options))
        if len(turns) == 3:
            raise KeyboardInterrupt
        return turns[-1]

    monkeypatch.setattr(Training, "descended", interrupted)
    found = cx.global_optimum(X, y, strength=0.01)
    assert found.status is cx.Status.INTERRUPTED
    assert found.objective < 0.5 * found.program.zero_loss
    assert found.bound <= found.objective
