"""Patterns: sampling, masks, merging."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.datasets import load_digits

import convexnn as cx
from convexnn.linear.operator import PatternOperator
from convexnn.patterns import activation_patterns as room
from convexnn.patterns import gates
from tests.helpers import zoo


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", gates.DRAWS)
def test_masks_are_distinct_and_never_empty(kind: str, bias: bool) -> None:
    X, _ = zoo.data(d=6)
    drawn = zoo.drawn(X, kind, bias)
    masks = drawn.masks(X)
    assert masks.any(axis=0).all()
    assert len(np.unique(masks, axis=1).T) == masks.shape[1] == len(drawn)
    assert drawn.n_drawn == len(drawn) + drawn.n_merged + drawn.n_dropped
    assert drawn.generators.shape == drawn.features.shape == (len(drawn), drawn.n_columns)
    assert (drawn.n_features, drawn.n_columns, drawn.bias) == (6, 6 + bias, bias)
    assert not (drawn.generators[~drawn.features]).any()


def test_a_mask_is_active_on_the_boundary() -> None:
    X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert cx.sample_patterns(X, generators=[[1.0, 0.0]]).masks(X).tolist() == [[True], [True], [False]]


@given(npst.arrays(float, st.tuples(st.integers(2, 6), st.integers(1, 3)), elements=st.integers(-2, 2)))
def test_counts_add_up_and_owners_have_the_union_of_features(X: np.ndarray) -> None:
    drawn = cx.sample_patterns(X, kind="single")
    every = np.concatenate([np.eye(X.shape[1]), -np.eye(X.shape[1])])
    assert drawn.n_drawn == len(every) == len(drawn) + drawn.n_merged + drawn.n_dropped
    kept = drawn.masks(X)
    for gate in every:
        mask = X @ gate >= 0
        same = (kept == mask[:, None]).all(axis=0)
        assert same.sum() == mask.any()
        if mask.any():
            assert drawn.features[np.argmax(same)][gate != 0].all()
    assert drawn.n_linear == sum((X @ gate >= 0).all() for gate in every)


def test_the_128_single_feature_gates_of_digits_give_62_masks() -> None:
    X = load_digits().data
    drawn = cx.sample_patterns(X, kind="single")
    every = X @ np.concatenate([np.eye(64), -np.eye(64)]).T >= 0
    assert len(drawn) == len(np.unique(every, axis=1).T) == 62
    assert drawn.n_linear == 67
    # The linear block owns every feature; a block of one gate owns its own alone.
    assert sorted(drawn.features.sum(axis=1).tolist()) == [1] * 61 + [64]


def test_generators_keep_the_order_given() -> None:
    X, _ = zoo.data()
    given_gates = np.random.default_rng(3).standard_normal((6, 5))
    assert np.array_equal(cx.sample_patterns(X, generators=given_gates).generators, given_gates)


def test_a_sparse_gate_has_order_nonzeros_and_owns_those_features() -> None:
    X, _ = zoo.data(d=7)
    drawn = cx.sample_patterns(X, 20, kind="sparse", order=3)
    assert ((drawn.generators != 0).sum(axis=1) == 3).all()
    assert np.array_equal(drawn.features, drawn.generators != 0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["gaussian", "sparse", "single", "convolutional"])
def test_the_same_seed_gives_the_same_gates(kind: str, bias: bool) -> None:
    X, _ = zoo.data(d=6)
    first, again, other = (zoo.drawn(X, kind, bias, n_patterns=6, seed=s).generators for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    generator = zoo.drawn(X, kind, bias, n_patterns=6, seed=np.random.default_rng(1)).generators
    assert np.array_equal(first, generator)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = zoo.data()
    whole = cx.sample_patterns(X, 50)
    monkeypatch.setattr(room, "TILE_ENTRIES", 70)
    tiled = cx.sample_patterns(X, 50)
    assert np.array_equal(whole.generators, tiled.generators)
    monkeypatch.setattr(room, "gate_tiles", lambda n, m: [slice(0, m)])
    assert np.array_equal(whole.masks(X), tiled.masks(X))


def test_the_boundary_is_the_same_in_every_batch() -> None:
    # Decimal data and whole gates: thousands of products are zero, and a matrix product rounds them by its shape.
    rng = np.random.default_rng(0)
    X = rng.integers(-20, 21, (400, 8)) / 10
    drawn = cx.sample_patterns(X, generators=rng.integers(-3, 4, (60, 8)) + np.eye(60, 8) * 0.5)
    whole = drawn.masks(X)
    rows = np.concatenate([drawn.masks(row[None]) for row in X])
    gates = np.column_stack([room.masks(X, gate[None]) for gate in drawn.generators])
    exact = np.rint(10 * X) @ np.rint(2 * drawn.generators).T >= 0
    assert (np.rint(10 * X) @ np.rint(2 * drawn.generators).T == 0).sum() > 100
    for masks in (whole, rows, gates):
        assert np.array_equal(masks, exact)
    for limit in (1 << 30, len(X) * len(drawn) // 4, 0):
        held = PatternOperator(X, drawn, memory_limit=limit).masks
        every = torch.arange(len(drawn))
        assert np.array_equal(held.columns(every, slice(0, len(X))).numpy(), exact)
        assert np.array_equal(held.tile(slice(0, len(X)), slice(0, len(drawn))).numpy(), exact)


def test_it_reads_well() -> None:
    X = np.array([[1.0, -1.0], [-1.0, 2.0]])
    expected = "2 activation patterns (single): 4 drawn, 2 merged, 0 never active, 0 always active"
    assert str(cx.sample_patterns(X, kind="single")) == expected


def test_a_bias_and_enumerated_gates_read_well() -> None:
    X = np.array([[1.0, -1.0], [-1.0, 2.0]])
    expected = (
        "3 activation patterns (enumerate): 4 drawn of at most 4 possible, 0 merged, 1 never active, 1 always active"
    )
    assert str(cx.sample_patterns(X, kind="enumerate")) == expected
    expected = "2 activation patterns (single, with bias): 4 drawn, 2 merged, 0 never active, 0 always active"
    assert str(cx.sample_patterns(X, kind="single", bias=True)) == expected


GOOD = np.arange(6.0).reshape(3, 2) - 2.0
IMAGE: dict[str, Any] = {"kind": "convolutional", "image_shape": (1, 2)}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"X": [1.0, 2.0]}, ValueError, "X has shape (2,); expected an array of shape (n, d)"),
        ({"X": [[1.0, 2.0]]}, ValueError, "X has shape (1, 2); expected at least 2 rows"),
        ({"X": [[1.0, np.nan], [0.0, 1.0]]}, ValueError, "X holds nan at index (0, 1)"),
        ({"X": [[1.0, np.inf], [0.0, 1.0]]}, ValueError, "X holds inf at index (0, 1)"),
        ({"X": [["a", "b"], ["c", "d"]]}, TypeError, "X cannot be read as real numbers"),
        ({"X": [[1j, 0], [0, 1]]}, TypeError, "X cannot be read as real numbers"),
        (
            {"kind": "gausian"},
            ValueError,
            "kind 'gausian' is unknown; expected one of: gaussian, sparse, single, enumerate, convolutional, given",
        ),
        ({"n_patterns": 0}, ValueError, "n_patterns is 0; expected a whole number of at least 1"),
        ({"n_patterns": 2.5}, TypeError, "n_patterns is 2.5; expected a whole number"),
        ({"n_patterns": None}, TypeError, "n_patterns is None"),
        (
            {"n_patterns": 10**12},
            ValueError,
            "n_patterns is 1000000000000, gates of 16,000,000,000,000 bytes; expected at most 8,589,934,592 bytes, "
            "536,870,912 gates of 2 features",
        ),
        ({"n_patterns": 10**12, "kind": "sparse"}, ValueError, "n_patterns is 1000000000000, gates of 16,"),
        ({"kind": "sparse", "order": 3}, ValueError, "order is 3; expected at most the number of features, 2"),
        ({"kind": "single", "n_patterns": 9}, ValueError, "n_patterns is 9; there are 4 single-feature gates"),
        ({"kind": "given", "n_patterns": None}, ValueError, "kind is 'given' without generators"),
        ({"generators": [[0.0, 0.0]], "n_patterns": None}, ValueError, "generators row 0 is zero"),
        ({"generators": [[1.0]], "n_patterns": None}, ValueError, "generators has 1 columns; expected 2"),
        ({"generators": [[1.0, 1.0]]}, ValueError, "n_patterns is given and kind is 'given'; expected it with kind"),
        ({"generators": [[1.0, 1.0]], "kind": "single"}, ValueError, "generators is given and kind is 'single'"),
        ({"order": 1}, ValueError, "order is given and kind is 'gaussian'; expected it with kind sparse or enumerate"),
        (
            {"X": [[1.0], [2.0]], "generators": [[-1.0]], "n_patterns": None},
            ValueError,
            "none of the 1 gates is active",
        ),
        ({"kind": ""}, ValueError, "kind '' is unknown"),
        ({"bias": 1}, TypeError, "bias is 1; expected True or False"),
        (
            {"bias": True, "generators": [[1.0, 2.0]], "n_patterns": None},
            ValueError,
            "expected 2 features and the bias",
        ),
        ({"X": [[1e200, 0.0], [1.0, 1.0]], "bias": True}, ValueError, "X has entries of size 1e+200; expected at most"),
        ({"merge_within": -0.1}, ValueError, "merge_within is -0.1; expected a finite number of at least 0"),
        ({"merge_within": 1.0}, ValueError, "merge_within is 1.0; expected a fraction of the rows"),
        ({"merge_within": "a"}, TypeError, "merge_within is 'a'; expected a number"),
        ({"kind": "enumerate"}, ValueError, "kind 'enumerate' has up to 6 patterns on X, above the limit of 4; raise"),
        ({"kind": "enumerate", "order": 0}, ValueError, "order is 0; expected a whole number of at least 1"),
        ({"kind": "enumerate", "order": 3}, ValueError, "order is 3; expected at most the number of features, 2"),
        (
            {"kind": "enumerate", "patch": 2},
            ValueError,
            "patch is given and kind is 'enumerate'; expected it with kind",
        ),
        (
            {"X": np.random.default_rng(0).standard_normal((400, 200)), "kind": "enumerate", "n_patterns": None},
            ValueError,
            "kind 'enumerate' has up to about 1e120 patterns on X, above the limit of 200,000",
        ),
        (
            {"image_shape": (1, 2)},
            ValueError,
            "image_shape is given and kind is 'gaussian'; expected it with kind conv",
        ),
        (
            {"kind": "convolutional"},
            ValueError,
            "kind is 'convolutional' without image_shape; expected (height, width)",
        ),
        (IMAGE | {"image_shape": (2, 2)}, ValueError, "image_shape is (2, 2), 4 pixels; expected 2, the features of X"),
        (IMAGE | {"image_shape": 2}, ValueError, "image_shape is 2; expected (height, width) or (channels"),
        (IMAGE | {"image_shape": (1, 2.0)}, TypeError, "image_shape is 2.0; expected a whole number"),
        (IMAGE, ValueError, "patch is (3, 3); expected at most the image, (1, 2)"),
        (IMAGE | {"patch": (1, 2, 3)}, ValueError, "patch is (1, 2, 3); expected a whole number or (height, width)"),
        (IMAGE | {"patch": 0}, ValueError, "patch is 0; expected a whole number of at least 1"),
        ({"kind": 0}, ValueError, "kind 0 is unknown"),
        ({"seed": "a"}, TypeError, "seed is 'a'; expected a whole number of at least 0"),
        ({"seed": -1}, ValueError, "seed is -1; expected a whole number of at least 0"),
        ({"X": np.ma.masked_less(np.eye(3), 0.5)}, TypeError, "X has masked entries"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    good: dict[str, Any] = {"X": GOOD, "n_patterns": 4}
    with pytest.raises(error) as caught:
        cx.sample_patterns(**good | arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [0, 1, 3])
def test_features_that_no_gate_reads_change_no_mask(read: int) -> None:
    """Few entries, so that products are often zero, and rows that are zero on all that is read."""
    rng = np.random.default_rng(read)
    X, gates = rng.integers(-2, 3, (300, 24)).astype(float), np.zeros((40, 24))
    gates[:, 5 : 5 + read] = rng.integers(-2, 3, (40, read))
    assert np.array_equal(room.masks(X, gates), X @ gates.T >= 0.0)
    assert np.array_equal(room.masks(0.1 * X, 0.3 * gates), X @ gates.T >= 0.0)


def test_masks_of_other_features_are_refused() -> None:
    with pytest.raises(ValueError, match="X has 3 features; expected 2"):
        cx.sample_patterns(GOOD, 4).masks(np.ones((2, 3)))
    with pytest.raises(ValueError, match="X has 3 features; expected 2"):
        cx.sample_patterns(GOOD, 4, bias=True).rows(np.ones((2, 3)))


def test_a_scipy_sparse_matrix_is_refused_in_one_line() -> None:
    import scipy.sparse as sp

    with pytest.raises(TypeError, match=r"X is a scipy.sparse matrix; .*use X.toarray\(\)"):
        cx.sample_patterns(sp.csr_matrix(GOOD), 4)
