"""Cone pairs: the same function on the data, in the cone, and the shortest, against a cvxpy oracle."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convexnn.checks import Floats
from convexnn.mapping.cones import Projection
from convexnn.mapping.pairs import ConePairs, cone_pairs
from convexnn.patterns.activation_patterns import Bools
from tests.helpers import zoo

X, _ = zoo.data(60, 5)


def output(rows: Floats, pairs: ConePairs) -> Floats:
    return np.maximum(rows @ pairs.plus.T, 0.0) - np.maximum(rows @ pairs.minus.T, 0.0)


def every(weights: Floats) -> Bools:
    return np.ones(weights.shape, dtype=bool)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_the_pair_is_the_shortest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, gates, weights = rng.standard_normal((12, 4)), rng.standard_normal((2, 4)), rng.standard_normal((2, 4))
    active = rows @ gates.T >= 0
    pairs = cone_pairs(rows, active, weights, every(weights))
    assert pairs.paired.all()
    assert np.allclose(output(rows, pairs), active * (rows @ weights.T), atol=1e-9)
    for j, (u, v) in enumerate(zip(pairs.plus, pairs.minus, strict=True)):
        signed = np.where(active[:, j], 1.0, -1.0)[:, None] * rows
        assert np.allclose(u - v, weights[j])
        assert min((signed @ u).min(), (signed @ v).min()) >= -1e-9 * max(1.0, np.abs(u).max())
    u, v = pairs.plus[0], pairs.minus[0]
    assume(u.any() and v.any())
    signed = np.where(active[:, 0], 1.0, -1.0)[:, None] * rows
    first, second = cp.Variable(4), cp.Variable(4)
    rules = [first - second == weights[0], signed @ first >= 0, signed @ second >= 0]
    best = cp.Problem(cp.Minimize(cp.sum_squares(first) + cp.sum_squares(second)), rules).solve(solver="CLARABEL")
    assert u @ u + v @ v == pytest.approx(best, rel=1e-5)


def test_a_weight_in_its_own_cone_is_one_neuron() -> None:
    gate = np.array([[1.0, 2.0, 0.0, 0.0, 0.0]])
    both = np.concatenate([gate, -gate])
    pairs = cone_pairs(X, np.repeat(X @ gate.T >= 0, 2, axis=1), both, every(both))
    assert np.array_equal(pairs.plus, [gate[0], np.zeros(5)])
    assert np.array_equal(pairs.minus, [np.zeros(5), gate[0]])


def test_a_linear_block_is_two_opposite_neurons() -> None:
    weight = np.array([[1.0, -2.0, 0.0, 0.0, 3.0]])
    pairs = cone_pairs(X, np.ones((60, 1), dtype=bool), weight, weight != 0)
    assert np.array_equal(pairs.plus, weight)
    assert np.array_equal(pairs.minus, -weight)


def test_a_pair_uses_the_owned_features_alone() -> None:
    rng = np.random.default_rng(1)
    features = rng.random((20, 5)) < 0.6
    gates, weights = rng.standard_normal((2, 20, 5)) * features
    pairs = cone_pairs(X, X @ gates.T >= 0, weights, features)
    assert pairs.paired.all()
    assert not pairs.plus[~features].any()
    assert not pairs.minus[~features].any()
    assert np.allclose(output(X, pairs), (X @ gates.T >= 0) * (X @ weights.T), atol=1e-9)


def test_equal_and_zero_blocks_are_treated_each_alone() -> None:
    gates = np.random.default_rng(0).standard_normal((3, 5))
    weights = np.array([[1.0, 0.0, -2.0, 0.0, 0.0], [1.0, 0.0, -2.0, 0.0, 0.0], [0.0] * 5])
    gates[1] = gates[0]
    pairs = cone_pairs(X, X @ gates.T >= 0, weights, every(weights))
    assert np.allclose(pairs.plus[0], pairs.plus[1])
    assert not pairs.plus[2].any()
    assert not pairs.minus[2].any()
    assert pairs.paired.all()


def thin(width: float) -> tuple[Floats, Bools]:
    """Return rows and a mask whose cone has that width at length 1: two of the rows nearly cancel."""
    rows = np.array([[1.0, width], [-1.0, width], [0.0, -1.0]])
    return rows, np.array([[True], [True], [False]])


@pytest.mark.parametrize(("width", "there"), [(1e-2, True), (1e-4, True), (1e-8, False), (0.0, False)])
def test_a_thin_cone_has_a_long_pair_and_one_too_thin_none(width: float, there: bool) -> None:
    (rows, active), weights = thin(width), np.array([[1.0, 0.0]])
    pairs = cone_pairs(rows, active, weights, every(weights))
    assert pairs.paired.tolist() == [there]
    if there:
        assert np.abs(output(rows, pairs) - active * (rows @ weights.T)).max() < 1e-9
    else:
        assert not pairs.plus.any()
        assert not pairs.minus.any()


def test_a_generator_gives_a_pair_where_no_shortest_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(X: Floats, active: Bools, centres: Floats, *_: object) -> Projection:
        return Projection(centres, np.zeros(len(centres), dtype=bool), np.ones(len(centres)))

    monkeypatch.setattr("convexnn.mapping.pairs.least_distance", lost)
    rng = np.random.default_rng(2)
    gates, weights = rng.standard_normal((2, 10, 5))
    features = every(weights)
    features[0, 0], weights[0, 0] = False, 0.0  # its generator leaves the owned features
    active = X @ gates.T >= 0
    assert not cone_pairs(X, active, weights, features).paired.any()
    pairs = cone_pairs(X, active, weights, features, gates)
    assert pairs.paired.tolist() == [False] + [True] * 9
    model = active * (X @ weights.T)
    assert np.allclose(output(X, pairs)[:, pairs.paired], model[:, pairs.paired], atol=1e-9)


@pytest.mark.parametrize("offset", [1e2, 1e3, 1e4])
def test_features_with_an_offset_have_their_pairs_too(offset: float) -> None:
    rng = np.random.default_rng(3)
    rows = np.hstack([rng.standard_normal((80, 3)) + offset, np.ones((80, 1))])
    centre = np.append(np.zeros(3), 1.0)
    gates, weights = (rng.standard_normal((30, 4)) for _ in range(2))
    gates, weights = (part - ((part @ rows.mean(axis=0))[:, None] * centre) for part in (gates, weights))
    active = rows @ gates.T >= 0.0
    pairs = cone_pairs(rows, active, weights, every(weights), gates)
    model = active * (rows @ weights.T)
    assert pairs.paired.all()
    assert np.abs(output(rows, pairs) - model).max() < 1e-8 * np.abs(model).max()


def test_a_pair_that_rounding_drowns_is_none() -> None:
    rows, active = thin(1e-13)
    rows, active = np.vstack([rows, [[0.3, 1.0]]]), np.vstack([active, [[True]]])
    weights, gates = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert not cone_pairs(rows, active, weights, every(weights), gates).paired.any()
