"""Refit: the loss falls for every loss, the support stays, and steps of the squared loss are Gauss-Newton steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from convexnn.checks import Floats
from convexnn.mapping.refit import better_signs, refit
from convexnn.program.losses import Loss, SquaredLoss
from tests.helpers import zoo

X, Y = zoo.data(80, 5)


@dataclass(frozen=True)
class Logistic(SquaredLoss):
    """Mean log(1 + exp(-y p)) for labels -1 and +1: a loss with another curvature than the squared one."""

    smoothness: float = 0.25

    def value(self, prediction: Any, target: Any) -> float:
        return float(np.logaddexp(0.0, -target * prediction).mean())

    def gradient(self, prediction: Any, target: Any) -> Any:
        return -target * expit(-target * prediction) / len(target)


@dataclass(frozen=True)
class Softmax(SquaredLoss):
    """Mean cross-entropy of class labels 0 to k - 1."""

    smoothness: float = 0.5

    def value(self, prediction: Any, target: Any) -> float:
        return -float(log_softmax(prediction, axis=1)[np.arange(len(target)), target].mean())

    def gradient(self, prediction: Any, target: Any) -> Any:
        return (softmax(prediction, axis=1) - np.eye(prediction.shape[1])[target]) / len(target)


def output(hidden: Floats, heads: Floats) -> Floats:
    return np.maximum(X @ hidden.T, 0.0) @ heads.T


def start(outputs: int | None, seed: int = 0) -> tuple[Floats, Floats]:
    """Return sparse hidden weights (6, 5) and heads (6,) or (outputs, 6), one nonzero per neuron."""
    rng = np.random.default_rng(seed)
    hidden, signs = rng.standard_normal((6, 5)), np.array([1.0, -1.0] * 3)
    hidden[rng.random((6, 5)) < 0.4] = 0.0
    if outputs is None:
        return hidden, signs
    heads = np.zeros((outputs, 6))
    heads[np.arange(6) % outputs, np.arange(6)] = signs
    return hidden, heads


CASES = [
    (SquaredLoss(), Y, None),
    (SquaredLoss(), np.stack([Y, -0.5 * Y + X[:, 0]], axis=1), 2),
    (Logistic(), np.sign(Y), None),
    (Softmax(), np.digitize(Y, np.quantile(Y, [1 / 3, 2 / 3])), 3),
]


@pytest.mark.parametrize(("loss", "target", "outputs"), CASES, ids=["squared", "squared-2", "logistic", "softmax"])
def test_the_loss_falls_and_the_support_stays(loss: Loss, target: Any, outputs: int | None) -> None:
    hidden, heads = start(outputs)
    before, found = loss.value(output(hidden, heads), target), refit(X, target, hidden, heads, loss)
    assert np.array_equal(found != 0.0, hidden != 0.0)
    assert loss.value(output(found, heads), target) < 0.8 * before


@pytest.mark.parametrize(("loss", "target", "outputs"), CASES, ids=["squared", "squared-2", "logistic", "softmax"])
def test_every_round_is_accepted_only_if_it_lowers_the_loss(loss: Loss, target: Any, outputs: int | None) -> None:
    hidden, heads = start(outputs, seed=1)
    values = [
        loss.value(output(refit(X, target, hidden, heads, loss, rounds), heads), target) for rounds in (0, 1, 2, 5, 9)
    ]
    assert values == sorted(values, reverse=True)
    assert values[1] < values[0]


def test_outputs_do_not_disturb_each_other() -> None:
    hidden, heads = start(2)
    both = refit(X, np.stack([Y, 0.0 * Y], axis=1), hidden, heads, SquaredLoss(), max_rounds=1)
    mine = heads[0] != 0.0
    alone = refit(X, Y, hidden[mine], heads[0, mine], SquaredLoss(), max_rounds=1)
    assert np.allclose(both[mine], alone)


def test_one_round_within_fixed_gates_is_least_squares() -> None:
    truth = np.array([[1.0, 2.0, 0.0, 0.0, -1.0]])
    target = output(truth, np.ones(1))
    found = refit(X, target, 1.001 * truth, np.ones(1), SquaredLoss())
    assert np.allclose(found, truth, atol=1e-8)


def test_a_minimum_of_the_squared_loss_is_kept() -> None:
    hidden, heads = start(None)
    found = refit(X, Y, hidden, heads, SquaredLoss())
    again = refit(X, Y, found, heads, SquaredLoss())
    assert SquaredLoss().value(output(again, heads), Y) >= 0.999 * SquaredLoss().value(output(found, heads), Y)


def test_weights_without_support_and_no_neurons_are_no_error() -> None:
    assert refit(X, Y, np.zeros((2, 5)), np.ones(2), SquaredLoss()).tolist() == [[0.0] * 5] * 2
    assert refit(X, Y, np.zeros((0, 5)), np.ones(0), SquaredLoss()).shape == (0, 5)


def test_the_better_sign_is_the_nearer_neuron() -> None:
    rng = np.random.default_rng(0)
    weights, active = rng.standard_normal((6, 5)), rng.random((80, 6)) < 0.5
    signs = better_signs(X, active, weights)
    for gate, weight in enumerate(weights):
        block = active[:, gate] * (X @ weight)
        miss = {sign: np.linalg.norm(block - sign * np.maximum(sign * (X @ weight), 0)) for sign in (1.0, -1.0)}
        assert signs[gate] == min(miss, key=lambda sign: miss[sign])
