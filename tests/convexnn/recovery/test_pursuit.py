"""Networks that grow weight by weight, on features of a few values too: there weights keep neurons off, and no more."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

import convexnn as cx
from convexnn.checks import Floats
from convexnn.recovery.candidates.gate_fits import fit_gates
from convexnn.recovery.candidates.jumps import jump
from convexnn.recovery.candidates.moves import PURSUED, drop_neighbourhood, drop_wide_neurons
from convexnn.recovery.candidates.proposals import Proposals
from convexnn.recovery.candidates.pursuit import Pursuit
from convexnn.recovery.candidates.weight_fits import fit_weights
from convexnn.recovery.layer.absorption import Absorption, tightened
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.linear_part import unfold
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.significance import drop_insignificant, drop_to
from convexnn.recovery.options import RecoveryOptions
from convexnn.recovery.restarts import StartSearch
from convexnn.recovery.search import Candidate
from convexnn.solvers.common.deadline import Deadline

CUBE = np.array(list(product([0.0, 1.0], repeat=6)))


def as_layer(weights: Floats, signs: Floats | None = None) -> HiddenLayer:
    matrix = torch.as_tensor(np.atleast_2d(weights))
    outputs = torch.ones(len(matrix), dtype=matrix.dtype) if signs is None else torch.as_tensor(signs)
    return HiddenLayer(matrix, outputs, matrix)


def of_layer(rows: Floats, hidden: HiddenLayer) -> Problem:
    """Return the problem of the layer's own output, beside a linear function."""
    X = torch.as_tensor(rows)
    return Problem(X, torch.relu(X @ hidden.weights.T) @ hidden.signs).without_linear()


def squares(problem: Problem, vectors: Tensor) -> float:
    return float(problem.project(vectors).square().sum())


@pytest.mark.parametrize("seed", range(4))
def test_what_a_fitted_gate_explains_is_what_its_neuron_explains(seed: int) -> None:
    """Explained squares are those of the neuron at its weights and sign, never more than there are."""
    rng = np.random.default_rng(seed)
    rows = CUBE if seed % 2 else rng.standard_normal((200, 6)) + 0.5
    problem = of_layer(rows, as_layer(rng.standard_normal((3, 6)) * (rng.random((3, 6)) < 0.5)))
    found = fit_gates(problem, torch.as_tensor(rng.standard_normal((40, 6))), 6, problem.target)
    neurons = problem.project(torch.relu(problem.inputs(found.weights)) * found.signs[:, None])
    total = float(problem.target.square().sum())
    left = (problem.target - neurons).square().sum(1)
    torch.testing.assert_close(found.explained, total - left, atol=1e-2 * total, rtol=0.0)


def test_a_pair_of_features_of_two_values_is_found_as_one_neuron() -> None:
    """relu(x - y) is active where y is 0: its rows do not tell the weight of y, which keeps it off."""
    problem = of_layer(CUBE, as_layer(np.array([0.8, 0, 0, -1.1, 0, 0])))
    gates = torch.as_tensor(np.random.default_rng(0).standard_normal((60, 6)))
    best = fit_gates(problem, gates, 2, problem.target).distinct(1, side=1.0)
    assert float(best.explained[0]) > 0.8 * float(problem.target.square().sum())
    assert torch.nonzero(best.weights[0])[:, 0].tolist() == [0, 3]


@pytest.mark.parametrize("drop", [partial(drop_to, budget=3), partial(drop_insignificant, n_candidates=100)])
def test_a_weight_that_keeps_a_neuron_off_is_not_dropped(drop: partial[HiddenLayer]) -> None:
    """Its derivative is zero on all rows, and the loss without it is not."""
    truth = as_layer(np.array([0.8, 0, 0, -1.1, 0, -0.3]))
    exact = of_layer(CUBE, truth)
    noise = torch.as_tensor(0.01 * np.random.default_rng(0).standard_normal(len(CUBE)))
    problem = Problem(exact.rows, exact.target + exact.project(noise), modulo_linear=True)
    idle = HiddenLayer(truth.weights.clone(), truth.signs, truth.gates)
    idle.weights[0, 4] = 1e-3
    assert torch.equal(drop(problem, idle).weights != 0.0, truth.weights != 0.0)


@pytest.mark.parametrize("rows", ["two values", "two values, one negative", "Gaussian"])
@pytest.mark.parametrize("missing", [0.3, -0.3])
def test_a_weight_that_is_missing_is_found(rows: str, missing: float) -> None:
    """With a neuron's other weights at their values: on features of two values where it lies on its kink, too."""
    values = {"two values": 1.0, "two values, one negative": -1.0}
    X = values[rows] * CUBE if rows in values else np.random.default_rng(0).standard_normal((300, 6))
    truth = as_layer(values.get(rows, 1.0) * np.array([0.8, missing, 0, -1.1, 0, 0]))
    problem, hidden = of_layer(X, truth), as_layer(values.get(rows, 1.0) * np.array([0.8, 0, 0, -1.1, 0, 0]))
    missing *= values.get(rows, 1.0)
    residual = problem.residual(hidden.weights, hidden.signs)
    found = fit_weights(problem, hidden, residual, 1e-5)
    best = int(found.explained.argmax())
    assert (int(found.neurons[best]), int(found.features[best])) == (0, 1)
    assert np.sign(float(found.weights[best])) == np.sign(missing)
    most = squares(problem, residual)
    assert 0.5 * most <= float(found.explained[best]) <= most * (1.0 + 1e-9)
    assert not len(fit_weights(problem, as_layer(np.zeros((0, 6))), residual, 1e-5).neurons)


def test_a_weight_jumps_past_a_kink() -> None:
    """At 1.0 the weight is below 1.1: rows of both features are off, and no small step turns them on."""
    truth, hidden = as_layer(np.array([2.0, 0, 0, -1.1, 0, 0])), as_layer(np.array([1.0, 0, 0, -1.1, 0, 0]))
    problem, rng = of_layer(CUBE, truth), np.random.default_rng(0)
    residual = problem.residual(hidden.weights, hidden.signs)
    jumped = next(found for found in (jump(problem, hidden, residual, rng) for _ in range(20)) if found is not None)
    assert problem.loss(jumped.weights, jumped.signs) < problem.loss(hidden.weights, hidden.signs)
    assert jump(problem, truth, problem.residual(truth.weights, truth.signs), rng) is None
    assert jump(problem, as_layer(np.zeros((0, 6))), residual, rng) is None


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_a_linear_weight_goes_into_a_neuron_that_holds_its_feature_as_a_linear_function_does(
    side: float, turned: float
) -> None:
    """relu(1.5 y - 0.8 x), active wherever y is 1, is relu(70 y - 0.8 x) - 68.5 y too, or relu(0.8 x - 70 y) and so on.

    On features of 0 and -1 it is the same.
    """
    truth = as_layer(np.array([-0.8, 0, 0, 1.5, 0, 0]) * side)
    X = torch.as_tensor(CUBE * side)
    problem = Problem(X, torch.relu(X @ truth.weights.T) @ truth.signs)
    found = unfold(problem, as_layer(np.array([-0.8, 0, 0, 70.0, 0, 0]) * side * turned), "both")
    assert found.nnz == 2
    assert problem.loss(found.weights, found.signs) < 1e-20


def test_features_that_are_next_to_nothing_somewhere_bound_no_weight() -> None:
    """A share by 1e-310 is above what float64 holds: `recover` ended in a warning of numpy there."""
    rows, weights = CUBE.copy(), np.array([[0.8, 0, 0, -1.1, 0, 0], [0, 0.5, 0, 0, 0, -0.7]])
    whole = Absorption.of(rows, weights, np.ones(2)), tightened(rows, weights)
    # On the other rows of it nothing changes; on this one the input is that of the other features.
    rows = np.concatenate([rows, [[1e-310, 1.0, 0.0, 0.0, 0.0, 0.0]]])
    np.testing.assert_array_equal(tightened(rows, weights), whole[1])
    room = Absorption.of(rows, weights, np.ones(2)).room
    np.testing.assert_array_equal(room[:, :, 1:], whole[0].room[:, :, 1:])
    y = np.maximum(rows @ weights.T, 0.0).sum(axis=1)
    found = cx.recover(rows, y, budget=4, width=3, n_restarts=1)
    np.testing.assert_allclose(found.to_network().predict(rows), y, atol=1e-9)


PAIR, NO_NEURONS = [[0.8, 0, 0, -1.1, 0, 0]], np.zeros((0, 6))


@pytest.mark.parametrize(
    ("neurons", "patience", "seconds", "most"), [(NO_NEURONS, 40, None, 0), (PAIR, 40, 0.0, 0), (PAIR, 1, None, 5)]
)
def test_thinning_ends_without_neurons_or_time_and_with_patience(
    neurons: Floats, patience: int, seconds: float | None, most: int
) -> None:
    """Each of these tried 30 candidates; a linear target of more weights than the budget is one without neurons."""
    hidden = as_layer(np.array(neurons).reshape(-1, 6))
    X = torch.as_tensor(CUBE)
    y = torch.relu(X @ hidden.weights.T) @ hidden.signs + X @ torch.tensor([1.0, 2, 3, 0, 0, 0]).double()
    options = RecoveryOptions(1, 1, "both", 1, patience, False, Deadline(None), "cpu", None)
    start = StartSearch(Problem(X, y), options, np.random.default_rng(0))
    detour = replace(options, deadline=Deadline(seconds))
    beside = StartSearch(start.problem.without_linear(), detour, start.rng)
    beside.best = Candidate(hidden, 0.0, "given")
    assert len(list(start._thinned(beside))) == most


def test_what_a_pursuit_grows_from_are_neurons_of_the_layer() -> None:
    rng = np.random.default_rng(0)
    hidden = as_layer(rng.standard_normal((8, 6)) * (rng.random((8, 6)) < 0.4) + np.eye(8, 6))
    rows = [tuple(row) for row in hidden.weights.tolist()]
    for drop in PURSUED:
        assert {tuple(row) for row in drop(hidden, rng).weights.tolist()} <= set(rows)
        assert not len(drop(as_layer(np.zeros((0, 6))), rng).signs)
    assert 4 <= len(drop_wide_neurons(hidden, rng).signs) < 8
    pairs = as_layer(np.array([[1.0, 1, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]]))
    lines = [tuple(row) for row in pairs.weights.tolist()]
    left = [[lines.index(tuple(row)) for row in drop_neighbourhood(pairs, rng).weights.tolist()] for _ in range(60)]
    # Those that share an input go together where one is enough, and alone where two are asked for.
    assert {tuple(some) for some in left} == {(2, 3), (0, 1), (1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)}


@pytest.mark.parametrize("kind", ["two values", "uniform"])
def test_a_pursuit_grows_a_network_from_nothing_within_its_limits(kind: str) -> None:
    rng = np.random.default_rng(1)
    X = rng.integers(2, size=(600, 12)).astype(float) if kind == "two values" else rng.random((600, 12))
    weights = rng.standard_normal((4, 12)) * (rng.random((4, 12)) < 0.25)
    problem = of_layer(X, as_layer(weights))
    nothing = HiddenLayer(problem.rows[:0], problem.rows[:0, 0], problem.rows[:0])
    fit = partial(Proposals(problem, rng).fitted, 2, side=None)
    for budget, width in ((12, 4), (3, 1)):
        found, loss = Pursuit(problem, fit, budget, width, rng, lambda: False).run(nothing)
        assert found.nnz <= budget
        assert len(found.signs) <= width
        assert loss == pytest.approx(problem.loss(found.weights, found.signs), abs=1e-15)
        assert loss < problem.loss(nothing.weights, nothing.signs)
    no_time = Pursuit(problem, lambda residual: pytest.fail("no time"), 10, 4, rng, lambda: True)
    assert not no_time.run(nothing)[0].nnz


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["two values", "groups"])
def test_planted_networks_of_features_of_two_values_are_recovered(kind: str, seed: int) -> None:
    """20 features, 6 neurons, 14 weights: half were found before weights that keep neurons off were kept."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(4, size=(1000, 5))
    X = rng.integers(2, size=(1000, 20)).astype(float) if kind == "two values" else np.eye(4)[levels].reshape(1000, 20)
    weights = np.zeros(6 * 20)
    weights[rng.choice(6 * 20, 14, replace=False)] = rng.standard_normal(14)
    y = np.maximum(X @ weights.reshape(6, 20).T, 0.0).sum(axis=1)
    found = cx.recover(X, y, budget=14, width=6, seed=0, n_restarts=3)
    assert found.status is cx.Status.EXACT
    np.testing.assert_allclose(found.to_network().predict(X), y, atol=1e-8 * np.abs(y).max())
    assert found.nnz <= 14
