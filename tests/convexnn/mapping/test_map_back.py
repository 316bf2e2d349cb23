"""Mapping back: both ways keep what they promise, with several outputs and biases, and the Solution's account."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.checks import Floats
from convexnn.mapping.map_back import gated_output, map_back, map_parts, network_of
from convexnn.mapping.refit import better_signs
from convexnn.patterns.activation_patterns import Bools
from convexnn.program.losses import SquaredLoss
from tests.helpers import zoo

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


def test_a_gate_without_a_pair_is_counted_and_its_error_stated() -> None:
    # The first two rows are opposite and on the boundary of the gate (1, 1), so every u in its cone is 0 on both.
    rows = np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 1.0], [0.0, -1.0]])
    target = np.array([1.0, -1.0, 0.5, 0.0])
    drawn = cx.sample_patterns(rows, generators=[[1.0, 1.0]])
    solved = cx.solve(cx.ConvexProgram(rows, target, drawn, penalty="ridge", strength=1e-3))
    mapping = solved.map("exact")
    assert mapping.n_unpaired == 1
    assert mapping.unpaired.tolist() == [0]
    assert mapping.warning is not None
    assert mapping.warning.endswith("; gates without a pair: 1")
    assert mapping.error == pytest.approx(np.abs(mapping.network.predict(rows) - solved.predict(rows)).max())
    assert mapping.error > 0.1
    assert "1 gates without a pair" in str(mapping)


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_refit_keeps_the_support_and_lowers_the_networks_own_loss(kind: str) -> None:
    solved = solution(kind, None)
    drawn, live = solved.program.patterns, solved.live
    weights = solved.weights[live]
    signs = better_signs(X, drawn.masks(X)[:, live], weights)
    before = network_of(signs[:, None] * weights, signs)
    mapping = solved.map("refit")
    assert mapping.loss <= solved.program.loss.value(before.predict(X), Y) + 1e-12
    assert mapping.network.nnz == 7 + len(live)
    assert np.array_equal(mapping.network.layers[0][0].toarray() != 0, weights != 0)
    assert mapping.network.layers[1][0].toarray().tolist() == [signs.tolist()]


def test_refit_keeps_a_function_that_is_a_network_already() -> None:
    drawn = cx.sample_patterns(X, kind="single")
    solved = cx.solve(cx.ConvexProgram(X, Y, drawn, budget=5))
    assert solved.mapping_error < 1e-12


def test_no_weight_at_all_is_the_zero_network() -> None:
    A = zoo.dense_matrix(X, zoo.patterns(X))
    strength = 2 * np.abs(A.T @ Y).max()
    solved = cx.solve(cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="l1", strength=strength))
    network = solved.to_network()
    assert solved.nnz == network.nnz == network.n_neurons == 0
    assert not network.predict(X).any()


def blocks(outputs: int | None, bias: bool, seed: int = 0) -> tuple[Floats, Floats, Bools, Floats, Floats]:
    """Return rows, generators, masks, weights (some of them zero) and a target of the shape asked for."""
    rng = np.random.default_rng(seed)
    rows = np.column_stack([X, np.ones(len(X))]) if bias else X
    shape = () if outputs is None else (outputs,)
    generators = rng.standard_normal((9, rows.shape[1]))
    weights = rng.standard_normal((9, rows.shape[1], *shape))
    weights[2] = 0.0
    weights[3, :2] = 0.0
    active = rows @ generators.T >= 0.0
    target = gated_output(rows, weights, active) + 0.1 * rng.standard_normal((len(X), *shape))
    return rows, generators, active, weights, target


SHAPES = [(None, False), (None, True), (1, False), (3, False), (3, True)]


@pytest.mark.parametrize(("outputs", "bias"), SHAPES)
class TestShapes:
    def test_the_gated_output_is_the_sum_of_the_blocks(self, outputs: int | None, bias: bool) -> None:
        rows, _, active, weights, _ = blocks(outputs, bias)
        expected = sum(active[:, j, None] * (rows @ weights[j].reshape(rows.shape[1], -1)) for j in range(9))
        assert np.allclose(gated_output(rows, weights, active).reshape(60, -1), expected)

    def test_exact_is_the_same_function_on_the_data(self, outputs: int | None, bias: bool) -> None:
        rows, generators, active, weights, target = blocks(outputs, bias)
        own = np.ones(generators.shape, dtype=bool)
        options: Any = {"exact": True, "bias": bias, "generators": generators}
        mapping = map_back(rows, target, weights, active, own, loss=SquaredLoss(), **options)
        model = gated_output(rows, weights, active)
        assert mapping.relative_error <= 1e-9
        assert mapping.error == pytest.approx(mapping.relative_error * np.abs(model).max())
        assert np.allclose(mapping.network.predict(X).reshape(model.shape), model, atol=1e-9)
        assert mapping.network.n_inputs == 5
        assert mapping.network.n_outputs == (outputs or 1)
        assert mapping.network.n_neurons <= 2 * 8 * (outputs or 1)
        assert bool(mapping.network.layers[0][1].any()) == bias
        assert not mapping.network.layers[1][1].any()
        assert (np.abs(mapping.network.layers[1][0]).sum(axis=0) == 1.0).all()
        assert mapping.warning is None

    def test_refit_lowers_the_loss_on_the_same_support(self, outputs: int | None, bias: bool) -> None:
        rows, _, active, weights, target = blocks(outputs, bias)
        own = np.ones((9, rows.shape[1]), dtype=bool)
        mapping = map_back(rows, target, weights, active, own, loss=SquaredLoss(), exact=False, bias=bias)
        zero = SquaredLoss().value(np.zeros(target.shape), target)
        assert mapping.loss < 0.5 * zero
        assert mapping.network.nnz == np.count_nonzero(weights) + 8 * (outputs or 1)
        assert mapping.loss == pytest.approx(
            SquaredLoss().value(mapping.network.predict(X).reshape(target.shape), target)
        )
        assert mapping.warning is None

    def test_parts_in_their_cones_are_neurons_already(self, outputs: int | None, bias: bool) -> None:
        rows, generators, active, _, target = blocks(outputs, bias)
        shape = (1,) * (target.ndim - 1)
        scales = np.random.default_rng(1).uniform(0.0, 1.0, (2, 9, 1, *target.shape[1:]))
        plus, minus = scales * generators.reshape(9, -1, *shape)
        minus[4] = 0.0
        mapping = map_parts(rows, target, (plus, minus), active, loss=SquaredLoss(), bias=bias)
        assert mapping.relative_error < 1e-12
        assert mapping.network.n_neurons == 17 * (outputs or 1)


def test_a_part_outside_its_cone_shows_in_the_error() -> None:
    rows, generators, active, _, target = blocks(None, False)
    mapping = map_parts(rows, target, (-generators, 0.0 * generators), active, loss=SquaredLoss())
    assert mapping.relative_error > 0.1
    assert mapping.warning is not None
    assert mapping.warning.startswith("the exact mapping is up to ")


def test_a_constant_neuron_stays_and_one_without_effect_goes() -> None:
    hidden = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, -2.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    network = network_of(hidden, np.array([1.0, 1.0, -1.0, 1.0]), bias=True)
    assert network.sizes == (2, 2, 1)
    assert network.predict([[3.0, 0.0]]).tolist() == [-1.0]
    assert network_of(hidden[1:2], np.ones((3, 1)), bias=True).sizes == (2, 3)


def test_weights_of_zero_are_the_zero_network_whatever_the_shape() -> None:
    for shape, outputs in (((9, 5), 1), ((9, 5, 3), 3)):
        own, active = np.ones((9, 5), dtype=bool), np.ones((60, 9), dtype=bool)
        target = np.ones((60, 3)) if outputs == 3 else np.ones(60)
        for exact in (True, False):
            mapping = map_back(X, target, np.zeros(shape), active, own, loss=SquaredLoss(), exact=exact)
            assert mapping.network.sizes == (5, outputs)
            assert mapping.error == mapping.relative_error == 0.0


def test_the_scale_of_the_data_changes_no_error() -> None:
    rows, _, active, weights, target = blocks(None, False)
    own = np.ones(weights.shape, dtype=bool)
    for unit in (1e-6, 1.0, 1e6):
        mapping = map_back(unit * rows, target, weights, active, own, loss=SquaredLoss(), exact=True)
        assert mapping.relative_error < 1e-9


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
        assert first == "hard_thresholding: squared loss, at most 7 of 60 weights"
        assert "(no bound), 7 nonzeros in" in second
        assert third.endswith("The search ended: its starts and moves are used up; a better network may exist.")
        assert fourth.startswith("  refit mapping: sparse ReLU network 5-")
        assert "exact mapping: " in str(solution("gaussian", "l1"))
        assert len(repr(solution("gaussian", None))) < 80
        assert "(gap " in str(solution("gaussian", "l1"))

    def test_bad_input_is_one_clear_line(self) -> None:
        with pytest.raises(ValueError, match="method 'best' is unknown; expected one of: auto, exact, refit"):
            solution("gaussian", None).to_network("best")
        with pytest.raises(ValueError, match="X has 4 features; expected 5"):
            solution("gaussian", None).predict(X[:, :4])
