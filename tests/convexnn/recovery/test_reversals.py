"""Neurons turned round: the same function by fewer weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convexnn.recovery.candidates.reversals import _moved, _of_one_input, _sides, reverse_neurons
from convexnn.recovery.layer.hidden_layer import HiddenLayer


def output(hidden: HiddenLayer, rows: torch.Tensor) -> torch.Tensor:
    return torch.relu(rows @ hidden.weights.T) @ hidden.signs


def network(seed: int) -> HiddenLayer:
    """Return twelve neurons of two to three inputs of twenty, of random signs."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((12, 20))
    for row in weights:
        count = int(rng.integers(2, 4))
        row[rng.choice(20, count, replace=False)] = rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 1.5, count)
    whole = torch.as_tensor(weights)
    return HiddenLayer(whole, torch.as_tensor(rng.choice([-1.0, 1.0], 12)), whole)


def misled(hidden: HiddenLayer, turned: list[int]) -> HiddenLayer:
    """Return the network with some neurons on their wrong sides, and what makes up for it in neurons of one input."""
    flips = torch.ones(len(hidden.signs), 1).double()
    flips[turned] = -1.0
    linear = (hidden.signs[turned] @ hidden.weights[turned]).numpy()
    wrong = HiddenLayer(hidden.weights * flips, hidden.signs, hidden.gates * flips)
    return wrong.concatenate(_of_one_input(_moved(np.zeros((2, 20)), linear), hidden))


@pytest.mark.parametrize("seed", range(10))
def test_neurons_on_their_wrong_sides_are_turned_round(seed: int) -> None:
    right, rows = network(seed), torch.as_tensor(np.random.default_rng(seed).standard_normal((200, 20)))
    wrong = misled(right, [0, 3, 5])
    assert torch.allclose(output(wrong, rows), output(right, rows), atol=1e-12)
    assert wrong.nnz > right.nnz
    found = reverse_neurons(wrong, np.random.default_rng(seed))
    assert found.nnz == right.nnz
    assert torch.allclose(output(found, rows), output(right, rows), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_network_that_no_turn_makes_smaller_stays(seed: int) -> None:
    right = network(seed)
    assert reverse_neurons(right, np.random.default_rng(seed)) is right


def test_neurons_of_one_input_alone_and_none_at_all_stay() -> None:
    single = network(0)
    kept = torch.zeros_like(single.weights)
    kept[:, 4] = 1.0
    for hidden in (HiddenLayer(kept, single.signs, kept), single.select(torch.arange(0))):
        assert reverse_neurons(hidden, np.random.default_rng(0)) is hidden


def test_neurons_of_one_input_are_two_sides_of_it_and_back() -> None:
    rng = np.random.default_rng(0)
    sides = rng.standard_normal((2, 20))
    rows = rng.standard_normal((100, 20))
    expected = np.maximum(rows, 0.0) @ sides[0] + np.maximum(-rows, 0.0) @ sides[1]
    hidden = _of_one_input(sides, network(0))
    np.testing.assert_allclose(output(hidden, torch.as_tensor(rows)), expected, atol=1e-12)
    np.testing.assert_allclose(_sides(hidden.weights.numpy(), hidden.signs.numpy()), sides)
    linear = rng.standard_normal(20)
    moved = _of_one_input(_moved(sides, linear), network(0))
    np.testing.assert_allclose(output(moved, torch.as_tensor(rows)), expected + rows @ linear, atol=1e-12)
