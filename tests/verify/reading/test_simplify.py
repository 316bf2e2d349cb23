"""Simplifying keeps the function in rational arithmetic: what would round stays."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import verify
from convexnn import SparseReLUNetwork
from convexnn.checks import Floats
from tests.helpers.graphs import chain_of
from verify.reading.simplify import add_product

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)
# Few different values, so that zeros, ties and cancellations are common; some sums of products round, some do not.
entries = st.sampled_from([0.0, 0.0, 0.0, 1.0, -1.0, 0.5, 3.0, 0.1, -0.3, 1e16, 1e-20, 1e200, 5e-324])
floats = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def networks(draw: st.DrawFn) -> SparseReLUNetwork:
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    layers = []
    for before, after in pairwise(sizes):
        weight = [[draw(entries) for _ in range(before)] for _ in range(after)]
        layers.append((weight, [draw(entries) for _ in range(after)]))
    return SparseReLUNetwork(layers)


def exact(network: SparseReLUNetwork, x: list[Fraction]) -> list[Fraction]:
    """Return the outputs of a network in rational arithmetic."""
    for index, (weight, bias) in enumerate(network.layers):
        hidden = [max(value, Fraction(0)) for value in x] if index else x
        rows = weight.toarray()
        x = [
            sum((Fraction(w) * h for w, h in zip(row, hidden, strict=True)), Fraction(shift))
            for row, shift in zip(rows, bias, strict=True)
        ]
    return x


@SETTINGS
@given(network=networks(), seed=st.integers(0, 1000))
def test_the_function_stays_the_same_in_rational_arithmetic(network: SparseReLUNetwork, seed: int) -> None:
    small = verify.simplify(network)
    assert (small.n_inputs, small.n_outputs, len(small.layers)) == (
        network.n_inputs,
        network.n_outputs,
        len(network.layers),
    )
    assert all(new <= old for new, old in zip(small.sizes, network.sizes, strict=True))
    for row in np.random.default_rng(seed).standard_normal((3, network.n_inputs)):
        x = [Fraction(value) for value in row]
        assert exact(small, x) == exact(network, x)


@settings(SETTINGS, max_examples=50)
@given(network=networks(), seed=st.integers(0, 1000))
def test_so_does_that_of_a_network_with_linear_units(network: SparseReLUNetwork, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = verify.ReLUGraph(network.layers, [rng.random(size) < 0.5 for size in network.sizes[1:-1]])
    small = verify.simplify(graph)
    assert verify.simplify(small) is small
    for row in rng.standard_normal((3, network.n_inputs)):
        x = [Fraction(value) for value in row]
        assert exact(chain_of(small), x) == exact(chain_of(graph), x)


@SETTINGS
@given(network=networks())
def test_what_is_simple_stays_as_it_is(network: SparseReLUNetwork) -> None:
    small = verify.simplify(network)
    assert verify.simplify(small) is small


@SETTINGS
@given(network=networks())
def test_every_neuron_that_stays_has_a_reason(network: SparseReLUNetwork) -> None:
    small = verify.simplify(network)
    for (weight, bias), (after, shift) in pairwise(small.layers):
        for neuron in range(len(bias) if len(bias) > 1 else 0):
            targets = after.toarray()[:, neuron]
            assert targets.any()
            if not weight.toarray()[neuron].any():
                value = Fraction(max(bias[neuron], 0.0))
                assert value
                sums = [Fraction(s) + Fraction(w) * value for s, w in zip(shift, targets, strict=True) if w]
                huge = max(abs(bias[neuron]), np.abs(targets).max()) > 1e130
                tiny = min(abs(bias[neuron]), np.abs(targets[targets != 0.0]).min()) < 1e-130
                assert huge or tiny or any(total != Fraction(float(total)) for total in sums)


@SETTINGS
@given(total=floats, factor=floats, value=floats)
def test_a_sum_called_exact_is_exact(total: float, factor: float, value: float) -> None:
    result, is_exact = add_product(np.array([total]), np.array([factor]), value)
    if is_exact:
        assert Fraction(float(result[0])) == Fraction(total) + Fraction(factor) * Fraction(value)


@SETTINGS
@given(parts=st.lists(st.integers(-(2**26), 2**26), min_size=3, max_size=3), shift=st.integers(-100, 100))
def test_a_sum_of_short_numbers_is_called_exact(parts: list[int], shift: int) -> None:
    total, factor, value = (part or 1 for part in parts)
    found, is_exact = add_product(np.array([float(total)]), np.array([float(factor)]), float(value))
    assert is_exact
    assert found[0] == total + factor * value
    scaled = add_product(np.array([np.ldexp(total, 2 * shift)]), np.array([np.ldexp(factor, shift)]), 2.0**shift)
    assert scaled[1]
    assert scaled[0][0] == np.ldexp(total + factor, 2 * shift)


def network(*layers: tuple[list[list[float]], list[float]]) -> SparseReLUNetwork:
    return SparseReLUNetwork(layers)


class TestByHand:
    def test_a_constant_is_folded_where_this_is_exact(self) -> None:
        small = verify.simplify(network(([[1.0], [0.0]], [0.0, 0.5]), ([[1.0, 3.0]], [0.25])))
        assert small.sizes == (1, 1, 1)
        assert small.layers[1][1][0] == 1.75

    def test_a_constant_stays_where_its_fold_would_round(self) -> None:
        kept = network(([[1.0], [0.0]], [0.0, 0.1]), ([[1.0, 0.1]], [0.3]))
        assert verify.simplify(kept) is kept

    def test_folds_run_through_all_layers(self) -> None:
        # Nothing reaches the second layer, whose constants make all of the output.
        small = verify.simplify(
            network(([[1.0]], [2.0]), ([[0.0], [0.0]], [3.0, -1.0]), ([[2.0, 5.0]], [-7.0]), ([[1.0]], [4.0]))
        )
        assert small.sizes == (1, 1, 1, 1, 1)
        assert small.nnz == 1
        assert small.predict([[5.0]])[0] == 4.0

    def test_an_output_of_nothing_empties_the_layers_before(self) -> None:
        small = verify.simplify(network(([[1.0]] * 3, [1.0] * 3), ([[1.0] * 3] * 2, [1.0] * 2), ([[0.0, 0.0]], [6.0])))
        assert small.sizes == (1, 1, 1, 1)
        assert small.nnz == 1

    def test_unused_inputs_stay(self) -> None:
        small = verify.simplify(network(([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [0.0, -1.0]), ([[1.0, 1.0]], [0.0])))
        assert small.sizes == (3, 1, 1)

    @pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
    def test_the_verdict_is_that_of_the_whole_network(self, scale: float) -> None:
        rng = np.random.default_rng(3)
        weight: Floats = scale * rng.standard_normal((6, 3)) * (rng.random((6, 3)) < 0.5)
        weight[[0, 1]] = 0.0
        whole = SparseReLUNetwork([(weight, scale * rng.standard_normal(6)), (rng.standard_normal((3, 6)), None)])
        small = verify.simplify(whole)
        assert small.n_neurons < whole.n_neurons
        region = verify.Box(-np.ones(3), np.ones(3))
        for one, two in zip(verify.bound(whole, region)[-1:], verify.bound(small, region)[-1:], strict=True):
            # Each holds for the same function: they overlap, and differ by rounding alone.
            size = np.abs([one.lower, one.upper]).max()
            assert np.allclose(one.lower, two.lower, rtol=0, atol=1e-12 * size)
            assert np.allclose(one.upper, two.upper, rtol=0, atol=1e-12 * size)
