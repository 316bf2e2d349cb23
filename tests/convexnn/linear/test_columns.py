"""Columns of a support by tiles, against the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest

import convexnn as cx
from convexnn import tiles
from convexnn.linear import columns as room
from convexnn.linear.columns import SupportColumns, columns_of
from tests.helpers import zoo

X, Y = zoo.data(50, 6)


@pytest.fixture(params=["whole", "tiled"], autouse=True)
def tiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "tiled":
        monkeypatch.setattr(room, "row_tiles", lambda n, s: tiles.row_tiles(n, s, entries=70))


def taken(drawn: cx.ActivationPatterns, support: np.ndarray) -> SupportColumns:
    gates, features = np.divmod(support, drawn.n_columns)
    return columns_of(drawn.rows(X), drawn.generators, drawn.features, gates, features)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["gaussian", "sparse", "single", "given"])
def test_the_tiles_are_those_of_the_dense_matrix(kind: str, bias: bool) -> None:
    drawn = zoo.drawn(X, kind, bias)
    dense = zoo.dense_matrix(drawn.rows(X), drawn)
    support = np.random.default_rng(0).permutation(dense.shape[1])[:17]
    columns = taken(drawn, support)
    assert columns.shape == (len(X), len(support))
    assert np.array_equal(columns.whole(), dense[:, support])
    assert np.array_equal(np.concatenate([tile for _, tile in columns.tiles()]), dense[:, support])
    chosen = np.arange(len(support)) % 3 == 1
    assert np.array_equal(columns.part(chosen).whole(), dense[:, support[chosen]])


def test_predictions_go_to_their_outputs() -> None:
    drawn = zoo.patterns(X)
    support, weights = np.array([3, 4, 17, 30]), np.array([1.0, -2.0, 0.5, 3.0])
    found = taken(drawn, support).predict(weights, np.array([1, 0, 1, 2]), 3)
    shares = zoo.dense_matrix(X, drawn)[:, support] * weights
    assert np.allclose(found, np.column_stack([shares[:, 1], shares[:, 0] + shares[:, 2], shares[:, 3]]))


def test_an_empty_support_has_no_columns() -> None:
    columns = taken(zoo.patterns(X), np.empty(0, dtype=np.int64))
    assert columns.whole().shape == (len(X), 0)
    assert not columns.predict(np.zeros(0), np.empty(0, dtype=np.int64), 1).any()
