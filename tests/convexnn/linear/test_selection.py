"""Selection against sorting in full: ties, caps, and gradients that are never held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convexnn as cx
from convexnn.linear.selection import Candidates, capped, distinct, largest, likely_largest, read_largest
from convexnn.solvers.thresholding import dictionary as room
from convexnn.solvers.thresholding.dictionary import Dictionary, open_dictionary
from tests.helpers import zoo


def ranked(sizes: list[float], count: int) -> list[int]:
    """Return the places of the `count` largest sizes of at least 0 by sorting, ties to the first."""
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    return sorted(i for i in order[:count] if sizes[i] >= 0)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12), st.integers(0, 14))
def test_the_largest_are_those_of_a_full_sort(sizes: list[int], count: int) -> None:
    values = [float(size) for size in sizes]
    expected = ranked(values, count)
    assert largest(torch.tensor(values), count).tolist() == expected
    chosen = read_largest(torch.tensor(values), count)
    assert chosen.places.tolist() == chosen.known.tolist() == expected
    if chosen.least >= 0.0:
        assert (chosen.most, chosen.least) == (max(values), min(values[place] for place in expected))


def test_sizes_that_are_not_finite_are_told_by_the_first() -> None:
    for odd in (torch.inf, torch.nan):
        likely = likely_largest(torch.tensor([1.0, odd, 3.0, 2.0]), 2)
        assert likely is not None
        assert not likely.top[0].isfinite()
    assert likely_largest(torch.ones(3), 3) is likely_largest(torch.ones(3), 0) is None


@given(st.lists(st.integers(0, 5), max_size=12))
def test_the_distinct_ones_are_those_of_a_set(numbers: list[int]) -> None:
    known = sorted(set(numbers))
    assert distinct(torch.tensor(sorted(numbers), dtype=torch.int64), len(known)).tolist() == known


@given(st.lists(st.integers(-1, 3), min_size=12, max_size=12), st.integers(1, 4))
def test_a_cap_keeps_the_first_of_the_largest_of_each_block(sizes: list[int], cap: int) -> None:
    blocks = np.array(sizes, dtype=float).reshape(2, 3, 2)
    found = capped(torch.tensor(blocks), cap).numpy()
    for gate in range(2):
        for output in range(2):
            kept = ranked(blocks[gate, :, output].tolist(), cap)
            assert np.flatnonzero(found[gate, :, output] >= 0).tolist() == kept
            assert np.array_equal(found[gate, kept, output], blocks[gate, kept, output])


def test_pieces_merge_to_the_largest_of_all() -> None:
    rng = np.random.default_rng(0)
    values = torch.tensor(rng.integers(-5, 6, 200), dtype=torch.float64)
    best = Candidates(torch.empty(0, dtype=torch.int64), values[:0])
    for start in range(0, 200, 17):
        piece = torch.arange(start, min(start + 17, 200))
        best = best.merged(piece, values[piece], 30)
    assert torch.equal(best.indices, largest(values.abs(), 30))
    assert torch.equal(best.values, values[best.indices])


def dictionary(outputs: int, cap: int | None, kind: str) -> Dictionary:
    """Return a dictionary on whole numbers, whose correlations are full of exact ties."""
    rng = np.random.default_rng(outputs)
    X = np.repeat(rng.integers(-2, 3, (20, 4)).astype(float), 2, axis=1)
    X[:, 5] = 0.0
    Y = rng.integers(-3, 4, (20, outputs)).astype(float)
    program = cx.ConvexProgram(X, Y, zoo.patterns(X, kind, count=30), budget=9, budget_per_neuron=cap)
    return open_dictionary(program, device="cpu", dtype="float64", memory_limit=1 << 30)


def dense_choice(held: Dictionary, gradient: Any, step: float, support: Any, weights: Any) -> torch.Tensor:
    """Return the weights after a step, from the whole gradient, as a dense vector."""
    moved = step * gradient
    moved[support] += weights
    kept, result = held.largest(moved, 9), torch.zeros_like(moved)
    result[kept] = moved[kept]
    return result


@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
@pytest.mark.parametrize("cap", [None, 1, 3])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("entries", [1 << 20, 100, 1])
def test_streamed_steps_are_those_of_the_whole_gradient(
    monkeypatch: pytest.MonkeyPatch, entries: int, outputs: int, cap: int | None, kind: str
) -> None:
    monkeypatch.setattr(room, "STREAM_ENTRIES", entries)
    held = dictionary(outputs, cap, kind)
    held.inverse_norms.copy_((held.inverse_norms > 0.0).double())  # sums of whole numbers are exact: ties are ties
    rng = np.random.default_rng(7)
    for _ in range(5):
        residual = torch.tensor(rng.integers(-2, 3, (20, outputs)), dtype=torch.float64)
        whole = held.correlations(residual)
        support = held.largest(torch.tensor(rng.integers(-3, 4, len(whole)), dtype=torch.float64), 9)
        weights = torch.tensor(rng.integers(-9, 10, len(support)), dtype=torch.float64)
        gradient = held.gradient(residual, support, 9)
        assert torch.equal(gradient.values[gradient.places(support)], whole[support])
        assert torch.equal(gradient.values, whole[gradient.indices])
        for step in (0.0, 0.125, 1.0, 8.0):
            found = held.chosen(gradient.moved(step, gradient.places(support), weights), 9)
            result = torch.zeros_like(whole)
            result[found.indices] = found.values
            assert torch.equal(result, dense_choice(held, whole, step, support, weights))


@pytest.mark.parametrize("cap", [None, 2])
def test_a_streamed_run_is_the_same_run(monkeypatch: pytest.MonkeyPatch, cap: int | None) -> None:
    X, y = zoo.data(80, 6)
    program = cx.ConvexProgram(X, y, cx.sample_patterns(X, 40), budget=15, budget_per_neuron=cap)
    whole = cx.solve(program, "niht", dtype="float64")
    monkeypatch.setattr(room, "STREAM_ENTRIES", 1)
    streamed = cx.solve(program, "niht", dtype="float64")
    assert np.array_equal(streamed.support, whole.support)
    assert np.allclose(streamed.values, whole.values)
    assert streamed.iterations == whole.iterations
