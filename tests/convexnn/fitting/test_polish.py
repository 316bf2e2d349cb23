"""Refits on the support and linear candidates: autograd's Hessians, scikit-learn's linear models as oracles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss

import convexnn as cx
import convexnn.fitting.polish as polish_module
from convexnn.checks import Floats
from convexnn.fitting.joint import (
    InterruptedPolishError,
    derivative,
    free_parameters,
    joint_polish,
    normal_equations,
    penalised_loss,
)
from convexnn.fitting.layers import Layers
from convexnn.fitting.linear import as_hidden, linear_candidate, weights_left
from convexnn.fitting.polish import descend_on_support, loss_and_gradient, refit
from convexnn.fitting.problem import FitProblem
from convexnn.program.losses import loss_named
from tests.convexnn.fitting.test_fitting import problem_of, random_layers

CASES = [("squared", 2), ("logistic", 1), ("softmax", 3)]


def never() -> bool:
    return False


@pytest.mark.parametrize(("loss", "outputs"), CASES)
def test_the_matrix_without_hidden_layers_is_the_hessian(
    loss: str, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, model = problem_of(loss, outputs, bias=True), random_layers((5, outputs), bias=True)

    def value(flat: torch.Tensor) -> torch.Tensor:
        z = problem.rows @ flat[: 5 * outputs].reshape(outputs, 5).T + flat[5 * outputs :]
        if loss == "squared":
            return 0.5 * (z - problem.target).square().sum() / problem.n_rows
        if loss == "logistic":
            return torch.nn.functional.softplus(-problem.target * z).mean()
        return -(torch.log_softmax(z, 1) * problem.target).sum() / problem.n_rows

    hessian = torch.autograd.functional.hessian(value, model.parameters)
    monkeypatch.setattr("convexnn.fitting.joint.TILE_ENTRIES", 200)
    gram, slope = normal_equations(problem, model, free_parameters(model))
    torch.testing.assert_close(gram, hessian)
    torch.testing.assert_close(slope, torch.autograd.functional.jacobian(value, model.parameters))
    assert penalised_loss(problem, model, 0.0) == pytest.approx(float(value(model.parameters)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("loss", "outputs"), CASES)
def test_a_polish_of_labels_lowers_the_loss_and_keeps_the_zeros(loss: str, outputs: int, bias: bool) -> None:
    problem, layers = problem_of(loss, outputs, bias), random_layers((5, 4, outputs), bias)
    layers.parameters[: layers.n_weights : 3] = 0.0
    after, value = joint_polish(problem, layers, 0.1)
    assert value == pytest.approx(penalised_loss(problem, after, 0.1))
    assert value < penalised_loss(problem, layers, 0.1)
    assert not after.parameters[: layers.n_weights : 3].any()


@pytest.mark.parametrize(("loss", "outputs"), CASES)
def test_a_gradient_by_tiles_is_that_of_differences(loss: str, outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, layers = problem_of(loss, outputs, bias=True), random_layers((5, 4, outputs), bias=True)
    monkeypatch.setattr("convexnn.fitting.joint.TILE_ENTRIES", 70)
    value, gradient = loss_and_gradient(problem, layers, 0.1)
    assert value == pytest.approx(penalised_loss(problem, layers, 0.1))
    way = torch.as_tensor(np.random.default_rng(0).standard_normal(len(gradient)))
    ends = [penalised_loss(problem, layers.with_parameters(layers.parameters + h * way), 0.1) for h in (1e-6, -1e-6)]
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float(gradient @ way), rel=1e-5)


def test_the_derivative_of_labels_is_whitened_row_by_row() -> None:
    problem, layers = problem_of("softmax", 3, bias=True), random_layers((5, 4, 3), bias=True)
    free = free_parameters(layers)
    values = layers.forward(problem.rows)
    blocks = derivative(layers, values, free).reshape(problem.n_rows, 3, -1)
    share = torch.softmax(values[-1], 1)
    curvature = torch.diag_embed(share) - share[:, :, None] * share[:, None]
    expected = torch.einsum("icf,icd,idg->fg", blocks, curvature, blocks) / problem.n_rows
    torch.testing.assert_close(normal_equations(problem, layers, free)[0], expected)


@pytest.mark.parametrize(("loss", "outputs"), CASES[1:])
def test_gradients_alone_reach_as_low_as_newton(loss: str, outputs: int) -> None:
    problem, model = problem_of(loss, outputs, bias=True), random_layers((5, outputs), bias=True)
    model.parameters[1] = 0.0
    newton = joint_polish(problem, model, 0.01, rounds=100, least_fall=1e-14)[1]
    other = descend_on_support(problem, model, 0.01, never)
    assert float(other.parameters[1]) == 0.0
    assert penalised_loss(problem, other, 0.01) == pytest.approx(newton, rel=1e-6)


def test_an_interruption_of_gradients_comes_out_with_what_they_have_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, model = problem_of("logistic", 1, bias=True), random_layers((5, 1), bias=True)
    original, calls = polish_module.loss_and_gradient, iter(range(100))

    def interrupted(*given: Any) -> Any:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(polish_module, "loss_and_gradient", interrupted)
    with pytest.raises(InterruptedPolishError) as caught:
        descend_on_support(problem, model, 0.0, never)
    assert penalised_loss(problem, caught.value.layers, 0.0) < penalised_loss(problem, model, 0.0)


@pytest.mark.parametrize(("newton", "gradient", "changed"), [(1e9, 1e8, True), (0.0, 1e8, True), (0.0, 0.0, False)])
def test_labels_are_refitted_as_far_as_it_is_affordable(
    newton: float, gradient: float, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polish_module, "AFFORDABLE_LABELS", newton)
    monkeypatch.setattr(polish_module, "AFFORDABLE_GRADIENT", gradient)
    problem, layers = problem_of("softmax", 3, bias=True).to(torch.float32), random_layers((5, 4, 3), bias=True)
    after = refit(problem, layers, 0.01, None, never)
    assert (penalised_loss(problem, after, 0.01) < 0.99 * penalised_loss(problem, layers, 0.01)) == changed


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sizes", [(5, 6, 2), (5, 4, 6, 2), (5, 4, 4, 4, 2)], ids=str)
def test_hidden_neurons_carry_a_linear_model(sizes: tuple[int, ...], bias: bool) -> None:
    problem, model = problem_of("squared", 2, bias), random_layers((5, 2), bias)
    model.weights[0][:, 1] = 0.0
    layers = as_hidden(problem, model, sizes)
    torch.testing.assert_close(layers.forward(problem.rows)[-1], model.forward(problem.rows)[-1])
    assert weights_left(sizes, bias, layers.nnz) == model.nnz
    far = 20.0 * problem.rows
    torch.testing.assert_close(layers.forward(far)[-1], model.forward(far)[-1])


def rare(positives: int, n: int = 2000, d: int = 20) -> tuple[Floats, Any]:
    rng = np.random.default_rng(positives)
    X = rng.standard_normal((n, d))
    scores = X[:, :5] @ [2.0, -1.5, 1.0, 1.0, -1.0] + rng.logistic(size=n)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, scores >= np.sort(scores)[-positives]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("positives", [13, 280])
def test_the_loss_is_never_above_that_of_the_logistic_model(positives: int, bias: bool, depth: int) -> None:
    X, y = rare(positives)
    oracle = LogisticRegression(C=1.0, fit_intercept=bias, tol=1e-10, max_iter=1000).fit(X, y)
    fit = cx.fit_network(X, y, 45, 6, depth=depth, loss="logistic", bias=bias, ridge=1.0 / len(X), epochs=1)
    assert fit.nnz <= 45
    assert fit.objective <= log_loss(y, oracle.predict_proba(X)) + 1e-9


@pytest.mark.parametrize("bias", [False, True])
def test_the_linear_candidate_is_the_ridge_model(bias: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 6)) @ rng.standard_normal((6, 6)) + 3.0
    y = X @ rng.standard_normal((6, 2)) + rng.standard_normal((80, 2))
    problem = FitProblem.make(X, y, loss_named("squared"), bias, torch.device("cpu"))
    found = linear_candidate(problem, (6, 8, 2), bias, 40, 0.03, never)
    assert found is not None
    assert found.is_whole
    rows, target = problem.rows.numpy(), problem.target.numpy()
    oracle = Ridge(alpha=0.03 * 80, fit_intercept=bias).fit(rows, target)
    np.testing.assert_allclose(found.layers.forward(problem.rows)[-1].numpy(), oracle.predict(rows), atol=1e-5)


@pytest.mark.parametrize(("loss", "outputs"), CASES)
@pytest.mark.parametrize("newton", [1e9, 1e3])
def test_a_linear_candidate_is_cut_to_the_budget(
    loss: str, outputs: int, newton: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convexnn.fitting.linear.AFFORDABLE_LABELS", newton)
    problem = problem_of(loss, outputs, bias=True)
    found = linear_candidate(problem, (5, 4, outputs), True, 3 + outputs, 0.0, never)
    assert found is not None
    assert not found.is_whole
    assert found.layers.nnz <= 3 + outputs
    constant = penalised_loss(problem, problem.constant((5, 4, outputs), bias=True), 0.0)
    assert penalised_loss(problem, found.layers, 0.0) < constant
    assert linear_candidate(problem, (5, 4, outputs), True, outputs, 0.0, never) is None


def test_a_cut_keeps_the_features_that_count() -> None:
    X, y = rare(280)
    problem = FitProblem.make(X, np.where(y, 1.0, -1.0)[:, None], loss_named("logistic"), True, torch.device("cpu"))
    found = linear_candidate(problem, (20, 1, 1), True, 6, 1e-3, never)
    assert found is not None
    assert torch.nonzero(found.layers.weights[0][0])[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_linear_target_needs_no_bend() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 20))
    y = X @ rng.standard_normal(20) + 0.3 * rng.standard_normal(300)
    fits = [cx.fit_network(X, y, 22, bias=True, epochs=5, patience=0, linear=linear) for linear in (False, True)]
    assert fits[1].objective < 0.5 * fits[0].objective
    least = Ridge(alpha=1e-12).fit(X, y)
    assert 2.0 * fits[1].objective <= np.square(y - least.predict(X)).mean() * (1.0 + 1e-9)


def test_without_biases_there_may_be_no_room() -> None:
    problem = problem_of("softmax", 3, bias=False)
    assert linear_candidate(problem, (5, 5, 3), False, 100, 0.0, never) is None
    assert Layers.zero((5, 5, 3), False, torch.float64).nnz == 0
