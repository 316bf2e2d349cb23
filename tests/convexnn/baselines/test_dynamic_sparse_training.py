"""RigL: shares of layers, what is dropped and grown, when, and that it finds what matters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convexnn.baselines import rigl
from convexnn.baselines.dynamic_sparse_training import Regrowth, draw_mask, layer_sizes, regrow
from convexnn.fitting.training import Adam
from tests.helpers.baseline_tasks import task_of, weights_of


@given(
    shapes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=4),
    share=st.floats(0.0, 1.0),
    kind=st.sampled_from(["erdos_renyi", "uniform", "equal"]),
)
def test_the_shares_of_layers_are_the_budget(shapes: list[tuple[int, int]], share: float, kind: str) -> None:
    full = [a * b for a, b in shapes]
    budget = max(1, int(share * sum(full)))
    sizes = layer_sizes(shapes, budget, kind)
    assert sum(sizes) == budget
    assert all(0 <= size <= most for size, most in zip(sizes, full, strict=True))
    assert min(sizes) >= min(1, budget // len(shapes))


def test_the_shares_are_in_proportion() -> None:
    shapes = [(784, 100), (100, 10)]
    assert layer_sizes(shapes, 994, "erdos_renyi") == [884, 110]
    assert layer_sizes(shapes, 794, "uniform") == [784, 10]
    assert layer_sizes(shapes, 800, "equal") == [400, 400]
    # 884 : 110 would be 9,004 and 1,120, which the last layer does not hold.
    assert layer_sizes(shapes, 10_124, "erdos_renyi") == [9_124, 1_000]


def test_the_mask_is_of_these_sizes() -> None:
    model = task_of().new_model()
    draw_mask(model, [13, 4], torch.Generator().manual_seed(0))
    assert [int(mask.sum()) for mask in model.layers.split(model.kept)[0]] == [13, 4]
    assert int(torch.count_nonzero(model.layers.parameters)) == 17


def test_the_smallest_are_dropped_and_the_steepest_grown() -> None:
    weight = torch.tensor([3.0, -0.1, 0.0, 0.2, 0.0, -4.0, 0.0, 0.0])
    kept = weight != 0.0
    slope = torch.tensor([9.0, 0.5, -7.0, 9.0, 1.0, 9.0, -2.0, 0.0])
    changed = regrow(weight, kept, slope, 0.5)
    # Dropped: 1 and 3. Grown: 3, whose gradient is the largest of what is not kept then, and 2.
    assert weight.tolist() == [3.0, 0.0, 0.0, 0.0, 0.0, -4.0, 0.0, 0.0]
    assert kept.nonzero().flatten().tolist() == [0, 2, 3, 5]
    assert sorted(set(changed.tolist())) == [1, 2, 3]


@given(seed=st.integers(0, 1000), share=st.floats(0.0, 1.0))
def test_a_layer_keeps_its_size(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, slope = torch.randn(2, 30, generator=generator)
    kept = torch.rand(30, generator=generator) < 0.4
    weight *= kept
    before, count = weight.clone(), int(kept.sum())
    regrow(weight, kept, slope, share)
    assert int(kept.sum()) == count
    assert not weight[~kept].any()
    assert int((weight != before).sum()) <= int(share * count)


def test_momentum_is_forgotten_of_all_that_changed() -> None:
    # A bug once: the momentum of what was dropped moved it away from zero.
    task = task_of()
    model = task.new_model()
    draw_mask(model, [20, 5], task.generator)
    adam = Adam(model.layers.parameters)
    adam.mean.fill_(1.0)
    adam.squares.fill_(2.0)
    before = model.kept.clone()
    slope = torch.randn(model.layers.parameters.shape, generator=torch.Generator().manual_seed(1))
    Regrowth(model, 0.5, 10, 100)(10, slope, adam)
    changed = before != model.kept
    assert int(changed.sum()) > 4
    assert not adam.mean[changed].any()
    assert not adam.squares[changed].any()
    assert bool((adam.mean[before & model.kept & (model.layers.parameters != 0.0)] == 1.0).all())


@pytest.mark.parametrize(("t", "moves"), [(10, True), (15, False), (40, True), (80, False), (90, False)])
def test_the_mask_moves_at_its_times(t: int, moves: bool) -> None:
    task = task_of()
    model = task.new_model()
    draw_mask(model, [20, 6], task.generator)
    before = model.kept.clone()
    slope = torch.randn(model.layers.parameters.shape, generator=torch.Generator().manual_seed(1))
    Regrowth(model, 1.0, 10, 80)(t, slope, Adam(model.layers.parameters))
    assert bool((before != model.kept).any()) == moves


def test_the_share_falls_as_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []

    def note(weight: Any, kept: Any, slope: Any, share: float) -> Any:
        shares.append(share)
        return torch.tensor([0])

    monkeypatch.setattr("convexnn.baselines.dynamic_sparse_training.regrow", note)
    model = task_of().new_model()
    for t in (10, 40, 70):
        Regrowth(model, 0.3, 10, 80)(t, model.layers.parameters, Adam(model.layers.parameters))
    expected = [0.15 * (1.0 + math.cos(math.pi * t / 80)) for t in (10, 40, 70)]
    np.testing.assert_allclose(shares[::2], expected)


def test_it_finds_the_features_that_matter() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 60))
    y = np.maximum(X[:, 0], 0.0) - np.maximum(X[:, 1] + X[:, 2], 0.0)
    found = rigl(X, y, 30, width=8, epochs=150, every=10, batch_size=100, lr=1e-2, shares="equal")
    frozen = rigl(X, y, 30, width=8, epochs=150, every=10, batch_size=100, lr=1e-2, shares="equal", drop=0.0)
    assert found.loss < 0.02 < 0.2 < frozen.loss
    assert set(range(3)) <= set(np.flatnonzero(weights_of(found)[0].any(axis=0)))
