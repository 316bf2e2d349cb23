"""Weighted losses: whole weights are repeated rows, in every kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn.fitting.joint import free_parameters, normal_equations, penalised_loss
from convexnn.fitting.polish import loss_and_gradient
from convexnn.fitting.problem import FitProblem, Units
from convexnn.fitting.training import batches
from convexnn.fitting.weighting import mean_loss
from convexnn.fitting.worst_case import worst_loss
from convexnn.program.losses import loss_named
from tests.convexnn.fitting.test_fitting import problem_of, random_layers

CASES = [("squared", 2), ("logistic", 1), ("softmax", 3)]
TIMES = np.random.default_rng(0).integers(1, 4, 40)


def both(loss: str, outputs: int) -> tuple[FitProblem, FitProblem]:
    """Return a weighted problem and the one of repeated rows."""
    problem = problem_of(loss, outputs, bias=True)
    weighted = replace(problem, weights=torch.as_tensor(TIMES / TIMES.mean()))
    return weighted, problem.take(torch.as_tensor(np.repeat(np.arange(40), TIMES)))


@pytest.mark.parametrize(("loss", "outputs"), CASES)
def test_weights_are_repetitions_in_value_gradient_and_curvature(
    loss: str, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted, repeated = both(loss, outputs)
    layers = random_layers((5, 4, outputs), bias=True)
    monkeypatch.setattr("convexnn.fitting.joint.TILE_ENTRIES", 500)
    free = free_parameters(layers)
    assert penalised_loss(weighted, layers, 0.1) == pytest.approx(penalised_loss(repeated, layers, 0.1))
    for one, other in zip(
        (*normal_equations(weighted, layers, free), loss_and_gradient(weighted, layers, 0.1)[1]),
        (*normal_equations(repeated, layers, free), loss_and_gradient(repeated, layers, 0.1)[1]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(
        weighted.constant((5, 4, outputs), bias=True).parameters,
        repeated.constant((5, 4, outputs), bias=True).parameters,
    )
    given, wanted = layers.forward(weighted.rows)[-1].numpy(), weighted.target.numpy()
    assert mean_loss(weighted.loss, given, wanted, TIMES / TIMES.mean()) == pytest.approx(
        penalised_loss(repeated, layers, 0.0)
    )


def test_the_worst_case_is_weighted() -> None:
    weighted, repeated = (replace(problem, reach=torch.full((5,), 0.1).double()) for problem in both("softmax", 3))
    layers = random_layers((5, 4, 3), bias=True)
    assert worst_loss(weighted, layers) == pytest.approx(worst_loss(repeated, layers))


@pytest.mark.parametrize("bias", [False, True])
def test_units_are_those_of_repeated_rows(bias: bool) -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(2.0, 3.0, (40, 5)), rng.normal(4.0, 2.0, (40, 2))
    one = Units.of(X, y, numbers=True, bias=bias, weights=TIMES / TIMES.mean())
    other = Units.of(np.repeat(X, TIMES, axis=0), np.repeat(y, TIMES, axis=0), numbers=True, bias=bias)
    for name in ("center", "scale", "level", "height"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name))


def test_batches_bring_the_weights_of_their_rows() -> None:
    weighted, _ = both("softmax", 3)
    weighted = replace(weighted, rows=torch.arange(40.0)[:, None])
    for rows, _, weights in batches(weighted, 7, torch.Generator().manual_seed(0)):
        assert weights is not None
        assert weighted.weights is not None
        torch.testing.assert_close(weights, weighted.weights[rows[:, 0].long()])


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_fit_tells_its_weighted_loss(loss: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    y: Any = np.maximum(X[:, 0], 0.0) + 0.1 * rng.standard_normal(100)
    y = y if loss == "squared" else np.where(y > 0.5, 1.0, -1.0)
    weights = np.where(X[:, 1] > 0.0, rng.uniform(size=100), 0.0)
    fit = cx.fit_network(X, y, 8, loss=loss, bias=True, epochs=5, patience=2, sample_weight=weights)
    kept = weights > 0.0
    own = weights[kept] / weights[kept].mean()
    assert fit.objective == pytest.approx(mean_loss(loss_named(loss), fit.predict(X[kept]), y[kept], own))
    again = cx.fit_network(X[kept], y[kept], 8, loss=loss, bias=True, epochs=5, patience=2, sample_weight=own)
    assert again.objective == pytest.approx(fit.objective)
    if fit.r2 is not None:
        missed = np.average(np.square(y - fit.predict(X)), weights=weights)
        spread = np.average(np.square(y - np.average(y, weights=weights)), weights=weights)
        assert fit.r2 == pytest.approx(1.0 - missed / spread)


def test_a_weight_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="sample_weight holds -1; expected numbers of at least 0"):
        cx.fit_network(np.eye(3), [1.0, 2.0, 3.0], 3, sample_weight=[1.0, 1.0, -1.0])
