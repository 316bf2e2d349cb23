"""Mapping back: the exact pair against a cvxpy oracle, refit against its own rules, and the Solution's account."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import convexnn as cx
from convexnn.mapping import better_signs, cone_pair, map_exact, map_refit, network_of
from tests import zoo

X, Y = zoo.data(60, 5)


def solution(kind: str, penalty: str | None) -> cx.Solution:
    question = {"budget": 7} if penalty is None else {"penalty": penalty, "strength": 0.01}
    return cx.solve(cx.ConvexProgram(X, Y, zoo.patterns(X, kind, count=12), **question))


@pytest.mark.parametrize("kind", zoo.KINDS)
@pytest.mark.parametrize("penalty", ["l1", "group_l1", "ridge", None])
def test_the_exact_way_keeps_the_function_on_the_data(kind: str, penalty: str | None) -> None:
    solved = solution(kind, penalty)
    mapping = solved.map("exact")
    assert mapping.n_unpaired == 0
    assert mapping.error <= 1e-9 * np.abs(Y).max()
    assert np.allclose(mapping.network.predict(X), solved.predict(X), atol=1e-9)
    assert mapping.network.n_neurons <= 2 * len(solved.live)


def test_the_exact_way_keeps_sparse_gates_sparse() -> None:
    solved = solution("sparse", "group_l1")
    hidden = solved.to_network("exact").layers[0][0]
    assert (np.diff(hidden.indptr) <= 2).all()


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_the_pair_is_the_shortest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, gate, weight = rng.standard_normal((12, 4)), rng.standard_normal(4), rng.standard_normal(4)
    active = rows @ gate >= 0
    pair = cone_pair(rows, active, weight)
    assert pair is not None
    u, v = pair
    signed = np.where(active, 1.0, -1.0)[:, None] * rows
    assert np.allclose(u - v, weight)
    assert min((signed @ u).min(), (signed @ v).min()) >= -1e-9 * max(1.0, np.abs(u).max())
    assume(u.any() and v.any())
    first, second = cp.Variable(4), cp.Variable(4)
    rules = [first - second == weight, signed @ first >= 0, signed @ second >= 0]
    best = cp.Problem(cp.Minimize(cp.sum_squares(first) + cp.sum_squares(second)), rules).solve(solver="CLARABEL")
    assert u @ u + v @ v == pytest.approx(best, rel=1e-5)


def test_a_weight_in_its_own_cone_is_one_neuron() -> None:
    gate = np.array([1.0, 2.0, 0.0, 0.0, 0.0])
    active = X @ gate >= 0
    for sign in (1.0, -1.0):
        hidden, signs, unpaired = map_exact(X, active[:, None], np.ones((1, 5), dtype=bool), sign * gate[None])
        assert unpaired == 0
        assert signs.tolist() == [sign]
        assert np.array_equal(hidden, gate[None])


def test_a_linear_block_is_two_opposite_neurons() -> None:
    weight = np.array([[1.0, -2.0, 0.0, 0.0, 3.0]])
    hidden, signs, unpaired = map_exact(X, np.ones((60, 1), dtype=bool), weight != 0, weight)
    assert unpaired == 0
    assert np.array_equal(hidden, np.concatenate([weight, -weight]))
    assert np.allclose(np.maximum(X @ hidden.T, 0) @ signs, X @ weight[0])


def test_a_gate_without_a_pair_is_counted_and_its_error_stated() -> None:
    # The first two rows are opposite and on the boundary of the gate (1, 1), so every u in its cone is 0 on both.
    rows = np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 1.0], [0.0, -1.0]])
    target = np.array([1.0, -1.0, 0.5, 0.0])
    drawn = cx.sample_patterns(rows, generators=[[1.0, 1.0]])
    solved = cx.solve(cx.ConvexProgram(rows, target, drawn, penalty="ridge", strength=1e-3))
    mapping = solved.map("exact")
    assert mapping.n_unpaired == 1
    assert mapping.error == pytest.approx(np.abs(mapping.network.predict(rows) - solved.predict(rows)).max())
    assert mapping.error > 0.1
    assert "1 gates without a pair" in str(mapping)


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_refit_keeps_the_support_and_lowers_the_networks_own_loss(kind: str) -> None:
    solved = solution(kind, None)
    drawn, live = solved.program.patterns, solved.live
    active, weights = drawn.masks(X)[:, live], solved.weights[live]
    hidden, signs = map_refit(X, Y, active, weights)
    assert np.array_equal(hidden != 0, weights != 0)
    before = network_of(better_signs(X, active, weights)[:, None] * weights, better_signs(X, active, weights))
    mapping = solved.map("refit")
    assert mapping.loss <= solved.program.loss.value(before.predict(X), Y) + 1e-12
    assert mapping.network.nnz == 7 + len(live)
    assert np.array_equal(mapping.network.layers[0][0].toarray(), hidden)
    assert mapping.network.layers[1][0].toarray().tolist() == [signs.tolist()]


def test_refit_keeps_a_function_that_is_a_network_already() -> None:
    drawn = cx.sample_patterns(X, kind="single")
    solved = cx.solve(cx.ConvexProgram(X, Y, drawn, budget=5))
    assert solved.mapping_error < 1e-12


def test_the_better_sign_is_the_nearer_neuron() -> None:
    rng = np.random.default_rng(0)
    weights, active = rng.standard_normal((6, 5)), rng.random((60, 6)) < 0.5
    signs = better_signs(X, active, weights)
    for gate, weight in enumerate(weights):
        block = active[:, gate] * (X @ weight)
        miss = {sign: np.linalg.norm(block - sign * np.maximum(sign * (X @ weight), 0)) for sign in (1.0, -1.0)}
        assert signs[gate] == min(miss, key=lambda sign: miss[sign])


def test_no_weight_at_all_is_the_zero_network() -> None:
    A = zoo.dense_matrix(X, zoo.patterns(X))
    strength = 2 * np.abs(A.T @ Y).max()
    solved = cx.solve(cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="l1", strength=strength), round_below=1.0)
    network = solved.to_network()
    assert solved.nnz == network.nnz == network.n_neurons == 0
    assert not network.predict(X).any()


class TestSolution:
    def test_auto_is_exact_for_penalties_and_refit_for_budgets(self) -> None:
        assert solution("gaussian", "l1").map().method == "exact"
        assert solution("gaussian", None).map().method == "refit"

    def test_the_mapping_error_is_that_of_the_default_network(self) -> None:
        solved = solution("gaussian", None)
        gap = np.abs(solved.to_network().predict(X) - solved.predict(X)).max()
        assert solved.mapping_error == pytest.approx(gap)

    def test_weights_and_support_agree(self) -> None:
        solved = solution("sparse", None)
        assert np.array_equal(np.flatnonzero(solved.weights), solved.support)
        assert np.array_equal(solved.weights.flat[solved.support], solved.values)
        assert np.array_equal(solved.live, np.flatnonzero(solved.weights.any(axis=1)))

    def test_predictions_on_new_rows_follow_the_gates(self) -> None:
        solved, rows = solution("gaussian", "l1"), np.random.default_rng(5).standard_normal((9, 5))
        expected = zoo.dense_matrix(rows, solved.program.patterns) @ solved.weights.ravel()
        assert np.allclose(solved.predict(rows), expected)

    def test_it_reads_well(self) -> None:
        first, second, third, fourth = str(solution("gaussian", None)).splitlines()
        assert first == "niht: squared loss, at most 7 of 60 weights"
        assert "(no bound), 7 nonzeros in" in second
        assert third.endswith("The solver met its own stopping rule.")
        assert fourth.startswith("  refit mapping: sparse ReLU network 5-")
        assert "exact mapping: " in str(solution("gaussian", "l1"))
        assert len(repr(solution("gaussian", None))) < 80
        assert "(gap " in str(solution("gaussian", "l1"))

    def test_bad_input_is_one_clear_line(self) -> None:
        with pytest.raises(ValueError, match="method 'best' is unknown; expected one of: auto, exact, refit"):
            solution("gaussian", None).to_network("best")
        with pytest.raises(ValueError, match="X has 4 features; expected 5"):
            solution("gaussian", None).predict(X[:, :4])
