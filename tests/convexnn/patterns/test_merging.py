"""Merging: masks that nearly agree, against a double loop."""

from __future__ import annotations

import numpy as np
import pytest

import convexnn as cx
from convexnn.patterns import merging
from tests.helpers import zoo


def naive_owners(masks: np.ndarray, distance: int) -> list[int]:
    """Return the first kept mask within the distance of each, by its definition."""
    owners: list[int] = []
    for j, mask in enumerate(masks):
        kept = [i for i in range(j) if owners[i] == i and (masks[i] != mask).sum() <= distance]
        owners.append(kept[0] if kept else j)
    return owners


@pytest.mark.parametrize("distance", [0, 1, 7, 30, 100])
@pytest.mark.parametrize("block", [1, 7, 256])
def test_near_masks_merge_as_in_a_double_loop(monkeypatch: pytest.MonkeyPatch, block: int, distance: int) -> None:
    monkeypatch.setattr(merging, "BLOCK", block)
    monkeypatch.setattr(merging, "TILE_WORDS", 16)
    rng = np.random.default_rng(distance)
    centres = rng.random((6, 300)) < 0.5
    masks = centres[rng.integers(6, size=80)] ^ (rng.random((80, 300)) < distance / 500)
    owners = merging.merge_near(np.packbits(masks, axis=1), distance)
    assert owners.tolist() == naive_owners(masks, distance)


@pytest.mark.parametrize("bias", [False, True])
def test_merged_gates_leave_their_features_to_the_first(bias: bool) -> None:
    X, _ = zoo.data(n=40, d=6)
    every = zoo.drawn(X, "sparse", bias, n_patterns=300)
    near = zoo.drawn(X, "sparse", bias, n_patterns=300, merge_within=0.1)
    owners = np.array(naive_owners(every.masks(X).T, 4))
    kept = np.unique(owners)
    assert 5 < len(kept) < 0.8 * len(every)
    assert np.array_equal(near.generators, every.generators[kept])
    assert np.array_equal(near.features, [every.features[owners == gate].any(axis=0) for gate in kept])
    assert near.n_drawn == 300 == len(near) + near.n_merged + near.n_dropped
    assert (near.n_dropped, near.n_linear) == (every.n_dropped, every.n_linear)


def test_a_fraction_below_one_row_merges_equal_masks_alone() -> None:
    X, _ = zoo.data()
    assert np.array_equal(
        cx.sample_patterns(X, 50).generators, cx.sample_patterns(X, 50, merge_within=0.99 / len(X)).generators
    )
    counted = [len(cx.sample_patterns(X, 50, merge_within=k / len(X))) for k in (0, 1, 29)]
    assert counted == sorted(counted, reverse=True)
