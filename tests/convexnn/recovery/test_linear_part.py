"""Recovery where features are not centred: beside a linear function, and back to neurons alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn.checks import Floats
from convexnn.recovery.candidates.gate_fits import fit_gates
from convexnn.recovery.candidates.moves import turn_neurons
from convexnn.recovery.candidates.proposals import Proposals
from convexnn.recovery.layer.hidden_layer import HiddenLayer, without_linear_neurons
from convexnn.recovery.layer.linear_part import is_uncentred, split_linear, unfold
from convexnn.recovery.layer.problem import Problem, normal_equations
from convexnn.recovery.layer.support_steps import unit_columns
from tests.helpers.recovery_problems import layer

FEATURES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "uniform": lambda rng, shape: rng.random(shape),
    "binary": lambda rng, shape: rng.integers(2, size=shape).astype(float),
    "counts": lambda rng, shape: rng.poisson(1.0, shape).astype(float),
    "offset": lambda rng, shape: 3.0 + rng.standard_normal(shape),
    "onehot": lambda rng, shape: np.eye(3)[rng.integers(3, size=(shape[0], shape[1] // 3))].reshape(shape),
}


def planted(kind: str, seed: int, n: int = 600, d: int = 12, m: int = 4, s: int = 10) -> tuple[Floats, Floats, Floats]:
    """Return rows of a kind, the target of a planted network with output weights +1, and its weights (m, d)."""
    rng = np.random.default_rng([seed, len(kind)])
    weights = np.zeros(m * d)
    weights[rng.choice(m * d, s, replace=False)] = rng.standard_normal(s)
    X, matrix = FEATURES[kind](rng, (n, d)), weights.reshape(m, d)
    return X, np.maximum(X @ matrix.T, 0.0).sum(axis=1), matrix


def as_problem(X: Floats, y: Floats) -> Problem:
    return Problem(torch.as_tensor(X), torch.as_tensor(y / np.sqrt(np.mean(y**2))))


@pytest.mark.parametrize("kind", FEATURES)
def test_what_is_modulo_linear_has_no_linear_part(kind: str) -> None:
    """Residuals, derivatives and unit columns are what an explicit least squares fit leaves of them."""
    X, y, _ = planted(kind, 0)
    problem = as_problem(X, y).without_linear()
    hidden = layer(problem, 0)
    keep = torch.eye(len(X), dtype=torch.float64) - problem.rows @ torch.linalg.pinv(problem.rows, rtol=1e-9)
    linear = problem.linear(hidden.weights)
    whole = torch.as_tensor(y / np.sqrt(np.mean(y**2))) - torch.relu(linear) @ hidden.signs
    residual = problem.residual(hidden.weights, hidden.signs)
    torch.testing.assert_close(residual, keep @ whole, atol=1e-9, rtol=0.0)
    turned = HiddenLayer(-hidden.weights, hidden.signs, hidden.gates)
    torch.testing.assert_close(problem.residual(turned.weights, turned.signs), residual, atol=1e-9, rtol=0.0)
    gates, features = torch.nonzero(hidden.weights, as_tuple=True)
    slopes = problem.columns[features] * ((linear > 0.0).to(linear.dtype) * hidden.signs).T[gates]
    gram, slope = normal_equations(problem, linear > 0.0, hidden.signs, (gates, features), residual)
    torch.testing.assert_close(gram, slopes @ keep @ slopes.T, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(slope, slopes @ residual)
    columns, lengths = unit_columns(problem, slopes.clone())
    left = slopes @ keep
    torch.testing.assert_close(lengths, left.norm(dim=1), atol=1e-5, rtol=1e-6)
    live = lengths > 0.0
    units = left[live] / lengths[live, None]
    torch.testing.assert_close(columns.gram()[live][:, live], units @ units.T, atol=1e-6, rtol=0.0)
    weights = torch.linspace(-1.0, 1.0, len(lengths), dtype=torch.float64) * live
    torch.testing.assert_close(columns.combine(weights), weights[live] @ units, atol=1e-5, rtol=0.0)


def test_features_count_as_uncentred_where_their_means_matter_and_rows_suffice() -> None:
    rng = np.random.default_rng(0)
    for kind in FEATURES:
        assert is_uncentred(as_problem(*planted(kind, 0)[:2]), 10)
        assert not is_uncentred(as_problem(*planted(kind, 0, n=40)[:2]), 10)
    for n in (60, 600):
        centred = rng.standard_normal((n, 12))
        assert not is_uncentred(as_problem(centred, rng.random(n)), 10)
        # The column that stands for biases.
        assert not is_uncentred(as_problem(np.column_stack([centred, np.ones(n)]), rng.random(n)), 10)
    assert not is_uncentred(as_problem(np.ones((60, 2)), rng.random(60)), 2)


@pytest.mark.parametrize("seed", range(6))
def test_a_linear_function_is_split_into_neurons(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, linear = rng.standard_normal((50, 6)), rng.standard_normal(6)
    cases = ((rows, 12), (np.abs(rows), 6), (np.abs(rows) * [1, -1, 1, -1, 1, -1], 6), (1e3 + rows, 6))
    for case, (X, most) in enumerate(cases):
        weights = np.abs(linear) * (1.0 if case == 3 else np.repeat([1.0, -1.0], 3))
        neurons, signs = split_linear(X, weights)
        np.testing.assert_allclose(np.maximum(X @ neurons.T, 0.0) @ signs, X @ weights, atol=1e-9)
        assert np.count_nonzero(neurons) == most
        assert len(signs) <= (1 if case == 3 else 2)
    neurons, signs = split_linear(np.abs(rows), np.abs(linear), "positive")
    np.testing.assert_allclose(np.maximum(np.abs(rows) @ neurons.T, 0.0) @ signs, np.abs(rows) @ np.abs(linear))
    assert split_linear(rows, np.zeros(6))[0].shape == (0, 6)


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("seed", range(3))
def test_unfolding_keeps_the_function_and_no_more_weights_than_were_planted(kind: str, seed: int) -> None:
    X, y, matrix = planted(kind, seed)
    problem = as_problem(X, y)
    planted_layer = HiddenLayer(*(torch.as_tensor(part) for part in (matrix, np.ones(4), matrix)))
    scaled = HiddenLayer(planted_layer.weights / np.sqrt(np.mean(y**2)), planted_layer.signs, planted_layer.gates)
    sides = torch.as_tensor(np.random.default_rng(seed).choice([-1.0, 1.0], (4, 1)))
    beside = problem.without_linear()
    hidden = without_linear_neurons(beside, HiddenLayer(scaled.weights * sides, scaled.signs, scaled.gates))
    assert beside.loss(hidden.weights, hidden.signs) < 1e-20
    found = unfold(problem, hidden, "both")
    assert problem.loss(found.weights, found.signs) < 1e-20
    assert found.nnz <= np.count_nonzero(matrix)


def test_a_residual_that_is_a_neuron_is_fitted_as_one() -> None:
    X, _, _ = planted("uniform", 0)
    truth = np.zeros(12)
    truth[[1, 4, 7]] = (1.0, -1.5, 0.4)
    problem = as_problem(X, np.maximum(X @ truth, 0.0)).without_linear()
    gates = Proposals(problem, np.random.default_rng(0)).mixed(("moment", "tail"), 100, problem.target)
    best = fit_gates(problem, gates, 4, problem.target).distinct(1)
    cosine = float(best.weights[0] @ torch.as_tensor(truth) / best.weights[0].norm() / np.linalg.norm(truth))
    assert abs(cosine) > 0.99
    assert float(best.signs) == 1.0
    assert not len(
        fit_gates(problem, gates, 4, problem.target).distinct(3, side=-1.0).layer(torch.tensor([]).long()).signs
    )


def test_turned_neurons_see_some_row_from_the_other_side() -> None:
    X, y, _ = planted("counts", 0)
    problem = as_problem(X, y).without_linear()
    hidden = layer(problem, 0)
    turned = turn_neurons(problem, hidden, np.random.default_rng(0))
    emptied = ~turned.live
    assert 1 <= int(emptied.sum()) <= 3
    before, after = problem.linear(hidden.weights) > 0.0, problem.linear(turned.effective_gates) > 0.0
    assert (before != after).any(0)[emptied].all()
    assert torch.equal(before[:, ~emptied], after[:, ~emptied])
    met = Problem(problem.rows, torch.zeros_like(problem.target))
    empty = HiddenLayer(hidden.weights[:0], hidden.signs[:0], hidden.gates[:0])
    assert not len(turn_neurons(met, empty, np.random.default_rng(0)).signs)


@pytest.mark.parametrize("kind", ["uniform", "counts", "offset"])
def test_planted_networks_are_recovered_whatever_the_features(kind: str) -> None:
    X, y, _ = planted(kind, 0)
    found = cx.recover(X, y, budget=10, width=4)
    assert found.status is cx.Status.EXACT
    assert found.nnz <= 10
    network = found.to_network()
    np.testing.assert_allclose(network.predict(X), y, atol=1e-8 * np.abs(y).max())
    assert network.n_neurons <= 4


def test_signs_are_kept_beside_a_linear_function() -> None:
    X, y, _ = planted("uniform", 2)
    found = cx.recover(X, y, budget=10, width=4, signs="positive")
    assert found.status is cx.Status.EXACT
    assert (found.to_network().layers[1][0].toarray() > 0.0).all()


def test_noise_ends_the_search_on_features_that_are_not_centred() -> None:
    X, y, _ = planted("uniform", 0)
    noisy = y + 0.01 * y.std() * np.random.default_rng(9).standard_normal(len(y))
    found = cx.recover(X, noisy, budget=10, width=4, significant=True)
    assert found.status is cx.Status.CONVERGED
    assert found.nnz <= 10
    assert np.mean((found.to_network().predict(X) - y) ** 2) <= 1e-4 * np.var(y)


def test_an_interruption_beside_a_linear_function_returns_what_was_found() -> None:
    X, y, _ = planted("uniform", 0)

    def stop(progress: cx.RecoveryProgress) -> None:
        if progress.iteration == 2:
            raise KeyboardInterrupt

    found = cx.recover(X, y, budget=10, width=4, callback=stop)
    assert found.nnz <= 10
    assert np.mean((found.to_network().predict(X) - y) ** 2) < 0.1 * np.var(y)
