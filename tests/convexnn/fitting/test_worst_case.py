"""Fits with a margin: intervals against autograd, against verify's own bounds and by random points; what they buy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import convexnn as cx
import verify
from convexnn.checks import Floats
from convexnn.fitting.layers import Layers
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.worst_case import interval_bounds, worst_gradient, worst_loss, worst_outputs
from convexnn.program.losses import loss_named

CASES = [("logistic", (5, 4, 1)), ("softmax", (5, 4, 3)), ("softmax", (5, 4, 6, 3))]


def problem_of(loss: str, outputs: int, bias: bool, margin: float | Floats = 0.05, n: int = 30) -> FitProblem:
    """Return a problem in float64, features of size 1, 5 and 0.1."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, 5)) * np.array([1.0, 5.0, 0.1, 1.0, 1.0]) + 0.5
    target = (
        np.sign(rng.standard_normal((n, 1))) if loss == "logistic" else np.eye(outputs)[rng.integers(outputs, size=n)]
    )
    reach = np.broadcast_to(margin, 5).astype(np.float64)
    problem = FitProblem.make(X, target, loss_named(loss), bias, torch.device("cpu"), reach)
    return problem.to(torch.float64)


def layers_of(sizes: tuple[int, ...], bias: bool) -> Layers:
    generator = torch.Generator().manual_seed(0)
    layers = Layers.random(sizes, bias, torch.zeros(1, dtype=torch.float64), generator)
    noise = torch.randn(layers.parameters.shape, generator=generator, dtype=torch.float64)
    layers = layers.with_parameters(layers.parameters + 0.1 * noise)
    layers.parameters[: layers.n_weights : 7] = 0.0
    return layers


def corners(problem: FitProblem, layers: Layers, reach: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Return the worst-case loss and its gradient as autograd has it, from lower and upper ends."""
    flat = layers.parameters.clone().requires_grad_()
    weights, biases = layers.split(flat)
    low, high = problem.rows - reach, problem.rows + reach
    for index, weight in enumerate(weights):
        up, down = weight.clamp(min=0.0), weight.clamp(max=0.0)
        shift = biases[index] if layers.bias else 0.0
        low, high = low @ up.T + high @ down.T + shift, high @ up.T + low @ down.T + shift
        if index < len(weights) - 1:
            low, high = low.relu(), high.relu()
    if problem.loss.name == "logistic":
        worst = torch.where(problem.target > 0.0, low, high)
        loss = torch.nn.functional.softplus(-problem.target * worst).mean()
    else:
        worst = torch.where(problem.target > 0.0, low, high)
        loss = torch.nn.functional.cross_entropy(worst, problem.target.argmax(1))
    loss.backward()
    assert flat.grad is not None
    return float(loss.detach()), flat.grad


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("loss", "sizes"), CASES, ids=str)
def test_the_worst_case_and_its_gradient_are_those_of_autograd(loss: str, sizes: tuple[int, ...], bias: bool) -> None:
    problem, layers = problem_of(loss, sizes[-1], bias), layers_of(sizes, bias)
    assert problem.reach is not None
    steps = interval_bounds(layers, problem.rows, problem.reach)
    outputs, away = worst_outputs(problem, steps, problem.target)
    gradient = worst_gradient(layers, steps, problem.loss.gradient(outputs, problem.target), away)
    value, expected = corners(problem, layers, problem.reach)
    assert problem.loss.value(outputs, problem.target) == pytest.approx(value, rel=1e-12)
    assert worst_loss(problem, layers) == pytest.approx(value, rel=1e-12)
    # Where a weight is zero the loss has a kink: any slope between is one of its own.
    free = layers.parameters != 0.0
    torch.testing.assert_close(gradient[free], expected[free])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("loss", "sizes"), CASES, ids=str)
def test_without_reach_the_worst_case_is_the_plain_one(loss: str, sizes: tuple[int, ...], bias: bool) -> None:
    problem, layers = problem_of(loss, sizes[-1], bias), layers_of(sizes, bias)
    steps = interval_bounds(layers, problem.rows, torch.zeros(5, dtype=torch.float64))
    outputs, away = worst_outputs(problem, steps, problem.target)
    values = layers.forward(problem.rows)
    torch.testing.assert_close(outputs, values[-1])
    slope = problem.loss.gradient(values[-1], problem.target)
    torch.testing.assert_close(worst_gradient(layers, steps, slope, away), layers.gradient(values, slope))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sizes", [(5, 4, 3), (5, 4, 6, 3)], ids=str)
def test_the_intervals_are_those_of_verify_in_the_data_s_own_units(sizes: tuple[int, ...], bias: bool) -> None:
    margin = 0.05
    problem, layers = problem_of("softmax", 3, bias, margin), layers_of(sizes, bias)
    assert problem.reach is not None
    steps = interval_bounds(layers, problem.rows, problem.reach)
    net = problem.network(layers)
    assert net.sizes == sizes
    for row in range(3):
        x = problem.rows[row].numpy() * problem.units.scale + problem.units.center
        known = verify.bound(net, verify.LinfBall(x, margin), method="interval")
        for (_, (middle, spread)), layer in zip(steps, known, strict=True):
            ends = (middle - spread).expand(30, -1)[row], (middle + spread).expand(30, -1)[row]
            # A problem with labels is made in float32.
            np.testing.assert_allclose(ends[0].numpy(), layer.lower, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(ends[1].numpy(), layer.upper, rtol=1e-6, atol=1e-6)


def test_no_point_within_reach_is_worse_and_a_corner_is_as_bad_for_one_layer() -> None:
    problem, layers = problem_of("softmax", 3, bias=True), layers_of((5, 4, 3), bias=True)
    assert problem.reach is not None
    steps = interval_bounds(layers, problem.rows, problem.reach)
    worst, away = worst_outputs(problem, steps, problem.target)
    generator = torch.Generator().manual_seed(1)
    for _ in range(100):
        moved = problem.rows + problem.reach * (2.0 * torch.rand(problem.rows.shape, generator=generator) - 1.0)
        assert bool(((worst - layers.forward(moved)[-1]) * away >= -1e-12).all())
    for neuron, weight in enumerate(layers.weights[0]):
        middle, spread = (part[:, neuron] for part in steps[0][1])
        corner = problem.rows + problem.reach * weight.sign()
        torch.testing.assert_close(corner @ weight + layers.biases[0][neuron], middle + spread)


def handwritten() -> tuple[Floats, Any]:
    X, y = load_digits(return_X_y=True)
    return X / 16.0, y


@pytest.mark.parametrize("margin", [0.0, 0, np.zeros(64)], ids=str)
def test_a_margin_of_zero_changes_no_bit(margin: Any) -> None:
    X, y = handwritten()
    options: dict[str, Any] = {"budget": 100, "width": 12, "loss": "softmax", "epochs": 5, "seed": 3, "linear": False}
    plain, other = cx.fit_network(X, y, **options), cx.fit_network(X, y, margin=margin, **options)
    for (weight, shift), (again, same) in zip(plain.network.layers, other.network.layers, strict=True):
        assert (weight != again).nnz == 0
        assert np.array_equal(shift, same)
    assert plain.objective == other.objective


@pytest.mark.parametrize(("bias", "depth"), [(False, 1), (True, 1), (True, 2)])
def test_a_margin_makes_more_rows_robust(bias: bool, depth: int) -> None:
    X, y = handwritten()
    radius = 0.06
    proven = []
    for margin in (0.0, radius):
        fit = cx.fit_network(X[:1200], y[:1200], 300, 20, loss="softmax", bias=bias, depth=depth, margin=margin, seed=0)
        assert fit.nnz <= 300
        ball = [verify.LinfBall(row, radius, clip=(0, 1)) for row in X[1200:1240]]
        bounds = [verify.bound(fit.network, region, method="crown")[-1] for region in ball]
        right = [
            bool((np.delete(b.upper, label) < b.lower[label]).all())
            for b, label in zip(bounds, y[1200:1240], strict=True)
        ]
        proven.append(sum(right))
    assert proven[1] >= proven[0] + 5


def test_a_margin_is_in_the_units_of_each_feature() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((400, 1))
    y = np.where(np.abs(signal[:, 0]) > 0.7, "far", "near")
    X = np.hstack([signal, 10.0 * signal, rng.standard_normal((400, 1))])
    # Both tell the same; that of the smaller margin, compared with its size, is the one to rest on.
    for margin, best in (((0.01, 1.0, 0.0), 0), ((0.1, 0.1, 0.0), 1)):
        fit = cx.fit_network(X, y, 8, 4, loss="logistic", bias=True, margin=margin, seed=0)
        used = np.abs(fit.network.layers[0][0].toarray()).max(axis=0) * np.array([1.0, 10.0, 1.0])
        assert used.argmax() == best
        guess = fit.classes[(fit.predict(X) > 0.0).astype(int)] if fit.classes is not None else None
        assert np.mean(guess == y) > 0.9


def test_features_that_hardly_vary_are_brought_to_the_scale_of_their_margin() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3)) * np.array([1.0, 1e-3, 0.0])
    y = np.eye(2)[(X[:, 0] > 0).astype(int)]
    problem = FitProblem.make(X, y, loss_named("softmax"), False, torch.device("cpu"), np.full(3, 0.1))
    assert problem.reach is not None
    assert float(problem.reach.max()) <= 1.0
    assert float(problem.rows.square().mean(0).max()) <= 1.0
    again = problem.rows.double().numpy() * problem.units.scale
    np.testing.assert_allclose(again, X, atol=1e-6)


class TestClassifier:
    def test_its_margin_is_in_the_units_of_raw_features(self) -> None:
        X, y = handwritten()
        radius, proven = 0.06, []
        for margin in (0.0, radius):
            model = cx.SparseReLUClassifier(300, 20, margin=100.0 * margin, ridge=0.0, random_state=0)
            model.fit(100.0 * X[:1200], y[:1200])
            regions = [verify.LinfBall(100.0 * row, 100.0 * radius) for row in X[1200:1240]]
            bounds = [verify.bound(model.network_, region)[-1] for region in regions]
            right = [(np.delete(b.upper, k) < b.lower[k]).all() for b, k in zip(bounds, y[1200:1240], strict=True)]
            proven.append(sum(map(bool, right)))
            assert model.score(100.0 * X[1200:], y[1200:]) > 0.85
        assert proven[1] >= proven[0] + 5

    def test_a_bad_margin_is_one_clear_line(self) -> None:
        X, y = handwritten()
        with pytest.raises(ValueError, match="margin is -1; expected a finite number of at least 0"):
            cx.SparseReLUClassifier(100, margin=-1).fit(X, y)

    def test_it_is_kept_in_files(self, tmp_path: Path) -> None:
        X, y = handwritten()
        model = cx.SparseReLUClassifier(60, 6, margin=0.05, ridge=0.0, epochs=2, random_state=0).fit(X, y)
        assert cx.SparseReLUClassifier.load(model.save(tmp_path / "model.npz")).margin == 0.05


@pytest.mark.parametrize(
    ("margin", "loss", "message"),
    [
        (-0.1, "softmax", "margin is -0.1; expected a finite number of at least 0"),
        (np.inf, "softmax", "margin is inf; expected a finite number of at least 0"),
        ([0.1, 0.2], "softmax", "margin has shape (2,); expected a vector of shape (64,), one feature of X"),
        ([*[0.1] * 63, -0.5], "softmax", "margin holds -0.5; expected numbers of at least 0"),
        (0.1, "squared", "margin is 0.1; expected 0 with the squared loss: it keeps labels, not numbers"),
    ],
)
def test_a_bad_margin_is_one_clear_line(margin: Any, loss: str, message: str) -> None:
    X, y = handwritten()
    with pytest.raises(ValueError, match=re.escape(message)):
        cx.fit_network(X, y.astype(float) if loss == "squared" else y, 100, loss=loss, margin=margin)


def test_a_margin_that_is_no_number_is_refused() -> None:
    X, y = handwritten()
    with pytest.raises(TypeError, match="margin is 'wide'; expected a number of at least 0"):
        cx.fit_network(X, y, 100, loss="softmax", margin="wide")
