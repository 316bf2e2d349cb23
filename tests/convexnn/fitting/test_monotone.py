"""Monotone networks: slopes over all activation patterns, bounded least squares and bounded descent as oracles."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, minimize

import convexnn as cx
from convexnn.checks import Floats
from convexnn.fitting.joint import joint_polish, penalised_loss
from convexnn.fitting.layers import Layers, with_signs
from convexnn.fitting.linear import linear_candidate
from convexnn.fitting.polish import descend_on_support, loss_and_gradient
from convexnn.fitting.problem import FitProblem
from convexnn.network import SparseReLUNetwork
from convexnn.program.losses import loss_named
from verify.relu_graph import ReLUGraph

SIGNS = np.array([1.0, -1.0, 0.0, 1.0])


def data(rows: int = 120, seed: int = 0) -> tuple[Floats, Floats]:
    """Features of very different units, and a target that rises in the first two and is bent in the others."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, 4))
    y = np.maximum(X[:, 0], 0) + np.tanh(X[:, 1]) + np.abs(X[:, 2]) - X[:, 3] ** 2 + 0.3 * rng.standard_normal(rows)
    return X * [1.0, 1e-4, 1e5, 1.0] + [0.0, 3.0, -1e6, 0.0], y


def problem_of(loss: str, bias: bool, signs: Floats | None = SIGNS) -> FitProblem:
    X, y = data()
    X = (X - [0.0, 3.0, -1e6, 0.0]) / [1.0, 1e-4, 1e5, 1.0]
    target = (y - y.mean() if loss == "squared" else np.where(y > 0.5, 1.0, -1.0))[:, None]
    problem = FitProblem.make(X, target, loss_named(loss), bias, torch.device("cpu"), monotonic=signs)
    return problem.to(torch.float64)


def all_slopes(network: SparseReLUNetwork) -> Floats:
    """Return the slopes (number of patterns, d) of all combinations of units that a layer lets through or not."""
    *hidden, (last, _) = network.layers
    found = [last.toarray()]
    for weight, _ in reversed(hidden):
        patterns = np.array(list(product([0.0, 1.0], repeat=weight.shape[0])))
        found = [(slope * pattern) @ weight.toarray() for slope in found for pattern in patterns]
    return np.vstack(found)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from(["squared", "logistic"]),
    st.tuples(st.integers(1, 2), st.integers(2, 12), st.integers(1, 3)),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from([-1, 0, 1]), min_size=4, max_size=4),
    st.integers(0, 99),
)
def test_a_network_is_monotone_under_every_activation_pattern(
    loss: str, shape: tuple[int, int, int], bias: bool, wide: bool, signs: list[int], seed: int
) -> None:
    (X, y), (depth, budget, width) = data(seed=seed), shape
    target = y if loss == "squared" else np.where(y > 0.5, "yes", "no")
    budget = min(max(budget, depth + 1), width * (5 + (depth - 1) * width))
    options: dict[str, Any] = {"loss": loss, "bias": bias, "epochs": 6, "n_restarts": 1 + wide, "ridge": 1e-3}
    fit = cx.fit_network(X, target, budget, width, depth=depth, monotonic_cst=signs, seed=seed, **options)
    slopes = all_slopes(fit.network)
    assert (slopes * signs >= 0.0).all()
    below, above = fit.network.slope_bounds()
    assert (below[0][np.array(signs) == 1] == 0.0).all()
    assert (above[0][np.array(signs) == -1] == 0.0).all()
    assert fit.nnz <= budget


def test_far_from_the_rows_it_never_turns() -> None:
    X, y = data()
    fit = cx.fit_network(X, y, 20, bias=True, monotonic_cst=SIGNS, epochs=20)
    points = X.mean(axis=0) + 1e3 * X.std(axis=0) * np.random.default_rng(1).standard_normal((500, 4))
    for feature, sign in enumerate(SIGNS):
        moved = points + np.eye(4)[feature] * X.std(axis=0) * 10.0
        rises = sign * (fit.predict(moved) - fit.predict(points))
        assert (rises >= -1e-9 * np.abs(fit.predict(points))).all()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_the_linear_candidate_is_that_of_bounded_least_squares(bias: bool, ridge: float) -> None:
    problem = problem_of("squared", bias)
    rows, target = problem.rows.numpy(), problem.target[:, 0].numpy()
    found = linear_candidate(problem, (4, 6, 1), bias, 20, ridge, lambda: False)
    assert found is not None
    assert found.is_whole
    stacked = np.vstack([rows, np.sqrt(ridge * len(rows)) * np.eye(4)])
    lower, upper = np.where(SIGNS == 1.0, 0.0, -np.inf), np.where(SIGNS == -1.0, 0.0, np.inf)
    best = lsq_linear(stacked, np.concatenate([target, np.zeros(4)]), (lower, upper), method="bvls", tol=1e-14)
    given = found.layers.forward(problem.rows)[-1][:, 0].numpy()
    np.testing.assert_allclose(given, rows @ best.x, atol=1e-6)
    assert best.active_mask[1] == 1  # the second pulls the other way


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("way", ["newton", "gradients"])
def test_a_polish_ends_where_a_bounded_descent_does(way: str, bias: bool) -> None:
    problem, ridge = problem_of("logistic", bias), 1e-2
    model = Layers.zero((4, 1), bias, torch.float64)
    model.parameters[:4] = torch.as_tensor(np.where(SIGNS < 0.0, -1e-8, 1e-8))
    signs = problem.signs(model)
    assert signs is not None
    polished = (
        joint_polish(problem, model, ridge, 100, 1e-14)[0]
        if way == "newton"
        else descend_on_support(problem, model, ridge, lambda: False)
    )

    def measure(entries: Floats) -> tuple[float, Floats]:
        value, slope = loss_and_gradient(problem, model.with_parameters(torch.as_tensor(entries)), ridge)
        return value, slope.numpy()

    bounds = [(0, None), (None, 0), (None, None), (0, None), *[(None, None)] * bias]
    best = minimize(measure, np.zeros(4 + bias), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15})
    assert penalised_loss(problem, polished, ridge) == pytest.approx(best.fun, rel=1e-7)
    assert (polished.parameters * signs >= 0.0).all()


@pytest.mark.parametrize("sizes", [(4, 5, 1), (4, 4, 3, 1)])
def test_a_polish_of_hidden_layers_is_as_low_as_bounded_gradients(sizes: tuple[int, ...]) -> None:
    problem = problem_of("squared", bias=True)
    assert problem.monotonic is not None
    start = Layers.random(sizes, True, problem.rows, torch.Generator().manual_seed(0)).turned(problem.monotonic)
    signs = problem.signs(start)
    assert signs is not None
    assert (start.parameters * signs >= 0.0).all()
    polished, loss = joint_polish(problem, start, 1e-3, 300, 1e-13)
    assert loss < 0.8 * penalised_loss(problem, start, 1e-3)
    assert (polished.parameters * signs >= 0.0).all()
    other = descend_on_support(problem, start, 1e-3, lambda: False)
    assert loss < 1.05 * penalised_loss(problem, other, 1e-3)


def test_weights_that_lose_their_signs_are_zero() -> None:
    values = torch.tensor([1.0, -2.0, 3.0, -4.0, 0.0])
    assert with_signs(values, torch.tensor([1.0, 1.0, -1.0, 0.0, -1.0])).tolist() == [1.0, 0.0, 0.0, -4.0, 0.0]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_start_counts_where_it_has_the_signs_and_is_else_left_alone(depth: int) -> None:
    X, y = data()
    options: dict[str, Any] = {"bias": True, "epochs": 3, "depth": depth, "linear": False, "patience": 0}
    cold = cx.fit_network(X, y, 12, 3, monotonic_cst=SIGNS, **options).network
    turned = cx.fit_network(X, y, 12, 3, monotonic_cst=-SIGNS, **options).network
    again = cx.fit_network(X, y, 12, 3, monotonic_cst=SIGNS, start=turned, **options).network
    assert again == cold
    warm = cx.fit_network(X, y, 12, 3, monotonic_cst=SIGNS, start=cold, **options).network
    assert warm != cold
    assert (all_slopes(warm) * SIGNS >= 0.0).all()


def test_no_sign_at_all_changes_nothing() -> None:
    X, y = data()
    plain, signed = (cx.fit_network(X, y, 8, epochs=4, patience=0, monotonic_cst=cst) for cst in (None, np.zeros(4)))
    assert plain.network == signed.network


@pytest.mark.parametrize(
    ("signs", "y", "words"),
    [
        ([1, 0, 0], None, "monotonic_cst has shape \\(3,\\); expected a vector of shape \\(4,\\), one feature of X"),
        ([2, 0, 0, 0], None, "monotonic_cst holds 2; expected -1, 0 or 1 for each feature of X"),
        ([1, 0, 0, 0], np.eye(120)[:, :2], "monotonic_cst is for one output, and y makes 2; expected one target"),
    ],
)
def test_bad_signs_are_refused(signs: list[int], y: Any, words: str) -> None:
    X, target = data()
    with pytest.raises(ValueError, match=words):
        cx.fit_network(X, target if y is None else y, 8, monotonic_cst=signs)


@pytest.mark.parametrize("sizes", [(3, 4, 1), (2, 3, 3, 2), (3, 2)])
def test_bounds_of_slopes_hold_all_slopes_and_are_met_with_one_hidden_layer(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    layers = [(sp.csr_matrix(rng.standard_normal((after, before))), None) for before, after in pairwise(sizes)]
    network = SparseReLUNetwork(layers)
    below, above = network.slope_bounds()
    for output in range(sizes[-1]):
        last = sp.csr_matrix(network.layers[-1][0][[output]])
        slopes = all_slopes(SparseReLUNetwork([*network.layers[:-1], (last, None)]))
        assert (below[output] <= slopes.min(axis=0) + 1e-12).all()
        assert (above[output] >= slopes.max(axis=0) - 1e-12).all()
        if len(sizes) <= 3:
            np.testing.assert_allclose([below[output], above[output]], [slopes.min(axis=0), slopes.max(axis=0)])


def test_units_without_a_bend_let_all_through() -> None:
    rng = np.random.default_rng(0)
    layers = [(sp.csr_matrix(rng.standard_normal(shape)), None) for shape in ((3, 2), (1, 3))]
    graph = ReLUGraph(layers, [np.array([True, True, False])])
    whole = layers[1][0].toarray() * [1.0, 1.0, 0.0] @ layers[0][0].toarray()
    bent = layers[1][0].toarray()[:, 2:] * layers[0][0].toarray()[2:]
    below, above = graph.slope_bounds()
    np.testing.assert_allclose([below, above], [whole + np.minimum(bent, 0.0), whole + np.maximum(bent, 0.0)])
