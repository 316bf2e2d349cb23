"""Layers of graphs: the same function in whole numbers, chains as they are, as little carried as can be."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from convexnn import SparseReLUNetwork
from convexnn.checks import Floats
from verify.reading.graph import layering
from verify.reading.graph.affine import Affine
from verify.reading.graph.cuts import smallest_cut
from verify.reading.graph.layering import network_of
from verify.reading.graph.limits import Allowance
from verify.reading.graph.piecewise import absolute, clipped, largest, leaky, maximum, minimum
from verify.reading.graph.values import Value, combined, concatenated, input_value, mapped, pinned, relu, shifted
from verify.relu_graph import ReLUGraph

SETTINGS = settings(max_examples=80, deadline=None, derandomize=True)
Pair = tuple[Value, Floats]


def affine(value: Value, size: int, rng: np.random.Generator, signed: bool = True) -> tuple[Value, Floats, Floats]:
    """Return a random affine map of a value in small whole numbers, its matrix and its bias."""
    weight = rng.integers(-2 if signed else 0, 3, (size, value.size)).astype(float)
    bias = rng.integers(-2 if signed else 0, 3, size).astype(float)
    return mapped(value, Affine(sp.csr_matrix(weight), bias), (size,)), weight, bias


def a_step(kind: int, one: Pair, other: Pair, rng: np.random.Generator) -> Pair:
    """Return what a function of a kind makes of a value, or of two, beside what it makes of their numbers."""
    (value, x), (second, z) = one, other
    same = value.shape == second.shape
    if kind == 0:
        result, weight, bias = affine(value, int(rng.integers(1, 4)), rng)
        return result, x @ weight.T + bias
    if kind in (1, 2):
        return relu(value), np.maximum(x, 0.0)
    if kind == 3:
        return leaky(value, np.array(0.25)), np.where(x > 0.0, x, 0.25 * x)
    if kind == 4:
        return absolute(value), np.abs(x)
    if kind == 5:
        return clipped(value, -1.0, 2.0), np.clip(x, -1.0, 2.0)
    if kind == 6 and same:
        return maximum(value, second), np.maximum(x, z)
    if kind == 7 and same:
        return minimum(value, second), np.minimum(x, z)
    if kind == 8 and same:
        return combined([value, second], [1.0, -1.0]), x - z
    if kind == 9:
        return largest(value, np.arange(value.size)[None]), x.max(axis=1, keepdims=True)
    if value.size + second.size > 10:
        return one
    return concatenated([value, second], 0), np.hstack([x, z])


@SETTINGS
@given(kinds=st.lists(st.integers(0, 10), min_size=1, max_size=12), seed=st.integers(0, 10_000))
def test_layers_compute_what_the_graph_does(kinds: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-3, 4, (6, 3)).astype(float)
    pool: list[Pair] = [(input_value((3,)), rows)]
    for kind in kinds:
        # Mostly of the last ones, so that graphs become deep.
        one, other = pool[-1 - int(rng.integers(min(3, len(pool))))], pool[int(rng.integers(len(pool)))]
        value, numbers = a_step(kind, one, other, rng)
        pool.append((pinned(value) if rng.integers(2) else value, numbers))
    value, expected = pool[-1]
    network = network_of(value, Allowance(0))
    np.testing.assert_array_equal(network.activations(rows)[-1], expected)
    assert len(network.layers) == max((node.level for node, _ in value.terms), default=0) + 1


def test_a_chain_is_its_own_matrices() -> None:
    rng = np.random.default_rng(0)
    value, pairs = input_value((4,)), []
    for index in range(3):
        value, weight, bias = affine(relu(value) if index else value, 5, rng)
        pairs.append((weight, bias))
    network = network_of(value, Allowance(0))
    assert type(network) is SparseReLUNetwork
    for (weight, bias), (expected, shift) in zip(network.layers, pairs, strict=True):
        np.testing.assert_array_equal(weight.toarray(), expected)
        np.testing.assert_array_equal(bias, shift)


def test_affine_maps_in_a_row_are_multiplied_out_from_the_first_on() -> None:
    rng = np.random.default_rng(4)
    weights, biases = rng.standard_normal((3, 4, 4)), rng.standard_normal((3, 4))
    value = input_value((4,))
    for weight, bias in zip(weights, biases, strict=True):
        value = mapped(value, Affine(sp.csr_matrix(weight), bias), (4,))
    ((weight, bias),) = network_of(value, Allowance(0)).layers
    matrices = [sp.csr_matrix(matrix) for matrix in weights]
    np.testing.assert_array_equal(weight.toarray(), (matrices[2] @ (matrices[1] @ matrices[0])).toarray())
    np.testing.assert_array_equal(bias, matrices[2] @ (matrices[1] @ biases[0] + biases[1]) + biases[2])


def carried(network: SparseReLUNetwork) -> list[int]:
    """Return how many units of each hidden layer are linear."""
    return [int(mask.sum()) for mask in network.linear] if isinstance(network, ReLUGraph) else []


def test_a_skip_carries_the_narrowest_of_what_it_passes() -> None:
    rng = np.random.default_rng(1)
    x = input_value((6,))
    narrow = pinned(affine(x, 2, rng)[0])
    deep = affine(relu(affine(relu(narrow), 4, rng)[0]), 6, rng)[0]
    # The skip spreads the narrow value: the value is carried, not what is made of it, nor the input.
    assert carried(network_of(combined([affine(narrow, 6, rng)[0], deep], [1.0, 1.0]), Allowance(0))) == [2, 2]
    # One output in the end: its part is carried.
    deep = affine(relu(affine(relu(x), 4, rng)[0]), 1, rng)[0]
    assert carried(network_of(combined([affine(x, 1, rng)[0], deep], [1.0, 1.0]), Allowance(0))) == [1, 1]


def test_what_comes_together_is_carried_as_its_sum() -> None:
    rng = np.random.default_rng(2)
    value = pinned(input_value((3,)))
    for _ in range(4):
        inner = affine(relu(affine(value, 5, rng)[0]), 3, rng)[0]
        value = pinned(combined([value, inner], [1.0, 1.0]))
    assert carried(network_of(value, Allowance(0))) == [3] * 4


def test_what_is_never_below_zero_is_carried_by_relus() -> None:
    rng = np.random.default_rng(3)
    first = relu(affine(input_value((3,)), 4, rng)[0])
    inner = affine(relu(affine(first, 5, rng)[0]), 4, rng)[0]
    network = network_of(relu(combined([first, inner], [1.0, 1.0])), Allowance(0))
    assert type(network) is SparseReLUNetwork
    assert network.sizes == (3, 4, 9, 4, 4)
    shifted_down = relu(combined([shifted(first, np.array(-1.0)), inner], [1.0, 1.0]))
    assert network_of(shifted_down, Allowance(0)).sizes == (3, 4, 9, 4, 4)
    signed = pinned(affine(first, 3, rng)[0])
    below = combined([signed, affine(relu(signed), 3, rng)[0]], [1.0, 1.0])
    assert carried(network_of(below, Allowance(0))) == [0, 3]


def test_a_relu_of_what_is_never_below_zero_is_none() -> None:
    first = relu(input_value((2, 3)))
    assert relu(concatenated([first, first], 0)).terms[0][0] is first.terms[0][0]
    clip = clipped(first, 0.0, 6.0)
    assert relu(clip) is clip


def brute_force(sizes: list[int], edges: list[tuple[int, int]], ends: list[tuple[int, int]]) -> int:
    """Return the least total size of vertices that cut all ways, of all subsets."""
    best = sum(sizes)
    for count in range(len(sizes) + 1):
        for cut in combinations(range(len(sizes)), count):
            reached = {vertex for vertex, side in ends if side > 0 and vertex not in cut}
            for _ in sizes:
                reached |= {after for before, after in edges if before in reached and after not in cut}
            if not any(vertex in reached for vertex, side in ends if side < 0):
                best = min(best, sum(sizes[vertex] for vertex in cut))
    return best


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), count=st.integers(2, 7))
def test_a_cut_is_the_smallest_of_all(data: Any, count: int) -> None:
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    pairs = [(before, after) for after in range(count) for before in range(after)]
    edges = [pair for pair in pairs if data.draw(st.booleans())]
    ends = [(vertex, 1) for vertex in range(count // 2)] + [(count - 1, -1)]
    cut = smallest_cut(sizes, edges, ends)
    assert sum(sizes[vertex] for vertex in cut) == brute_force(sizes, edges, ends)


def test_a_cut_of_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match=r"carries values of .* entries past a ReLU; expected at most"):
        smallest_cut([1 << 29, 1 << 29], [(0, 1)], [(0, 1), (1, -1)])


def test_a_search_for_what_is_carried_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layering, "MOST_STEPS", 20)
    value = pinned(input_value((2,)))
    for _ in range(20):
        value = pinned(combined([value, relu(value)], [1.0, 1.0]))
    with pytest.raises(ValueError, match="its branches take more than 20 steps to lay out"):
        network_of(value, Allowance(0))
