"""Gates: what each kind draws, enumeration in the units of the data, bias, and patches of images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.stats import chisquare

import convexnn as cx
from convexnn.checks import Floats
from convexnn.patterns import gates
from tests.helpers import zoo


def test_sparse_gates_choose_every_set_of_features_equally_often() -> None:
    request = gates.Request(20_000, 2, None, None, None, bias=False)
    drawn = gates.draw_gates(np.ones((2, 5)), "sparse", request, np.random.default_rng(0)).generators
    sets, counts = np.unique(drawn != 0, axis=0, return_counts=True)
    assert len(sets) == 10
    assert chisquare(counts).pvalue > 1e-3


# Enumeration


def masks_of(X: Floats, generators: Floats) -> set[bytes]:
    """Return the masks that occur, in plain arithmetic, without the one that is never active."""
    return {mask.tobytes() for mask in generators @ X.T >= 0.0 if mask.any()}


def test_enumerated_patterns_are_all_patterns() -> None:
    X = np.random.default_rng(0).standard_normal((9, 3))
    drawn = cx.sample_patterns(X, kind="enumerate")
    assert len(drawn) + drawn.n_dropped == drawn.n_drawn == drawn.n_possible == 2 * (1 + 8 + 28)
    random = np.random.default_rng(1).standard_normal((100_000, 3))
    assert masks_of(X, random) == {mask.tobytes() for mask in drawn.masks(X).T}
    assert drawn.features.all()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("order", [1, 2])
def test_no_random_gate_of_an_order_has_another_mask(order: int, bias: bool, whole: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(-2, 3, (10, 4)).astype(float) if whole else rng.standard_normal((10, 4)) * [1e-6, 1.0, 1e6, 1.0]
    X[3] = 0.0
    drawn = cx.sample_patterns(X, kind="enumerate", order=order, bias=bias)
    every = {mask.tobytes() for mask in drawn.masks(X).T}
    random = cx.sample_patterns(X, 100_000, kind="sparse", order=order, bias=bias, seed=rng)
    generators = random.generators
    if bias:
        generators[:, -1] *= 1 + 1e-3 * rng.standard_normal(len(generators))  # off the rows that it would go through
    assert masks_of(drawn.rows(X), generators) <= every
    assert (drawn.features[:, :4].sum(axis=1) >= order).all()
    assert ((drawn.generators[:, :4] != 0).sum(axis=1) <= order).all()
    assert drawn.features[:, 4:].all()


def test_order_one_with_bias_is_every_threshold_on_every_feature() -> None:
    X = np.random.default_rng(0).integers(0, 6, (30, 3)).astype(float)
    drawn = cx.sample_patterns(X, kind="enumerate", order=1, bias=True)
    above = {(X[:, i] >= t).tobytes() for i in range(3) for t in range(6)}
    below = {(X[:, i] <= t).tobytes() for i in range(3) for t in range(6)}
    assert {mask.tobytes() for mask in drawn.masks(X).T} == above | below


@given(
    npst.arrays(float, st.tuples(st.integers(2, 6), st.just(3)), elements=st.integers(-2, 2)),
    npst.arrays(float, 3, elements=st.integers(-2, 2)),
)
def test_every_neuron_has_a_pattern_of_its_own_also_on_a_boundary(X: np.ndarray, weights: np.ndarray) -> None:
    active = np.maximum(X @ weights, 0.0)
    if active.any():
        products = cx.sample_patterns(X, kind="enumerate").masks(X) * (X @ weights)[:, None]
        assert (products == active[:, None]).all(axis=0).any()


@pytest.mark.parametrize("order", [None, 1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_units_change_no_enumerated_mask(bias: bool, order: int | None) -> None:
    X = np.random.default_rng(0).standard_normal((10, 3))
    other = X * [1e-9, 1.0, 1e9] + bias * np.array([1e-7, 1e6, 0.0])
    one, two = (cx.sample_patterns(rows, kind="enumerate", order=order, bias=bias) for rows in (X, other))
    first, second = ({mask.tobytes() for mask in p.masks(rows).T} for p, rows in ((one, X), (two, other)))
    assert first == second


def test_enumeration_is_deterministic_and_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = zoo.data(d=6)
    whole = zoo.drawn(X, "enumerate", bias=False)
    monkeypatch.setattr(gates, "TILE_ENTRIES", 40)
    assert np.array_equal(whole.generators, zoo.drawn(X, "enumerate", bias=False).generators)


def test_degenerate_data_are_enumerated() -> None:
    assert len(cx.sample_patterns(np.zeros((3, 2)), kind="enumerate")) == 1
    repeated = cx.sample_patterns(np.ones((4, 2)), kind="enumerate")
    assert (len(repeated), repeated.n_dropped, repeated.n_linear) == (1, 1, 1)
    tiny = np.column_stack([np.arange(-2.0, 3.0), np.arange(5.0) * 1e-310])
    assert len(cx.sample_patterns(tiny, kind="enumerate", order=1, bias=True)) == 9
    assert np.isfinite(cx.sample_patterns(tiny, kind="enumerate").generators).all()
    with_zero_column = np.column_stack([np.zeros(5), np.random.default_rng(0).standard_normal((5, 2))])
    assert cx.sample_patterns(with_zero_column, kind="enumerate").n_drawn == 10
    assert cx.sample_patterns(with_zero_column, kind="enumerate", order=2).n_drawn == 2 + 2 + 10


# Bias


def by_hand(X: Floats) -> Floats:
    """Return `X` with a column of ones."""
    return np.concatenate([X, np.ones((len(X), 1))], axis=1)


def test_a_bias_is_a_column_of_ones_appended_by_hand() -> None:
    X, _ = zoo.data()
    generators = np.random.default_rng(0).standard_normal((30, 6))
    one = cx.sample_patterns(X, generators=generators, bias=True)
    two = cx.sample_patterns(by_hand(X), generators=generators)
    assert np.array_equal(one.generators, two.generators)
    assert np.array_equal(one.masks(X), two.masks(by_hand(X)))
    assert np.array_equal(one.rows(X), by_hand(X))
    assert two.rows(X @ np.eye(5, 6)).shape == (len(X), 6)
    small = X[:9, :2]
    every = [cx.sample_patterns(rows, kind="enumerate", bias=rows is small) for rows in (small, by_hand(small))]
    first, second = (masks_of(by_hand(small), p.generators) for p in every)
    assert first == second


@pytest.mark.parametrize("kind", gates.DRAWS)
def test_every_pattern_owns_the_bias(kind: str) -> None:
    X, _ = zoo.data(d=6)
    drawn = zoo.drawn(X, kind, bias=True)
    assert drawn.features[:, -1].all()


@pytest.mark.parametrize("kind", ["gaussian", "sparse", "convolutional"])
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_random_gates_with_bias_cut_the_data_wherever_they_lie(kind: str, shift: float) -> None:
    X, _ = zoo.data(n=200, d=6)
    drawn = zoo.drawn(X + shift, kind, bias=True, n_patterns=400)
    share = drawn.masks(X + shift).mean(axis=0)
    assert drawn.n_linear == drawn.n_dropped == 0
    assert 0.0 < share.min() < 0.1
    assert 0.9 < share.max() < 1.0
    assert ((share > 0.1) & (share < 0.9)).mean() > 0.8
    assert np.array_equal(drawn.masks(X + shift), zoo.drawn(X, kind, bias=True, n_patterns=400).masks(X))


def test_single_gates_with_bias_split_the_rows_evenly() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal(40), rng.exponential(size=40) + 1e3, [0.0] * 30 + [1.0] * 10, [7.0] * 40])
    drawn = cx.sample_patterns(X, kind="single", bias=True)
    assert drawn.masks(X).sum(axis=0).tolist() == [20, 20, 10, 40, 20, 20, 30]
    assert (drawn.n_merged, drawn.n_linear) == (1, 2)
    assert len(cx.sample_patterns(X, 3, kind="single", bias=True)) == 3


# Patches of images


def test_a_convolutional_gate_is_a_filter_on_a_patch() -> None:
    rng = np.random.default_rng(0)
    shape, (tall, wide) = (3, 5, 7), (2, 4)
    X = rng.standard_normal((40, 105))
    drawn = cx.sample_patterns(X, 300, kind="convolutional", image_shape=shape, patch=(tall, wide))
    corners = set()
    for owned, gate in zip(drawn.features, drawn.generators, strict=True):
        image = owned.reshape(shape)
        _, rows, columns = np.nonzero(image)
        box = np.zeros(shape, dtype=bool)
        box[:, rows.min() : rows.min() + tall, columns.min() : columns.min() + wide] = True
        assert np.array_equal(image, box)
        assert np.array_equal(gate != 0, owned)
        corners.add((rows.min(), columns.min()))
    assert corners == {(row, column) for row in range(4) for column in range(4)}


def test_one_channel_may_go_without_saying_and_a_patch_may_be_the_image() -> None:
    X = np.random.default_rng(0).standard_normal((20, 12))
    flat, deep = (cx.sample_patterns(X, 10, kind="convolutional", image_shape=s, seed=4) for s in ((3, 4), (1, 3, 4)))
    assert np.array_equal(flat.generators, deep.generators)
    assert (flat.features.sum(axis=1) == 9).all()
    assert cx.sample_patterns(X, 10, kind="convolutional", image_shape=(3, 4), patch=(3, 4)).features.all()
    single = cx.sample_patterns(X, 10, kind="convolutional", image_shape=(12, 1), patch=1)
    assert (single.features.sum(axis=1) == 1).all()
