"""Planted networks against their formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convexnn.datasets import planted
from convexnn.network import SparseReLUNetwork


@pytest.mark.parametrize("signs", ["positive", "random"])
@pytest.mark.parametrize("depth", [1, 2])
def test_one_output_is_a_sum_of_neurons(depth: int, signs: str) -> None:
    made = planted(6, 20, n=50, d=7, depth=depth, signs=signs, seed=2)
    *hidden, last = [weight.toarray() for weight, _ in made.network.layers]
    assert [np.count_nonzero(weight) for weight in hidden] == [20 // depth] * depth
    assert set(np.unique(last)) == ({1.0} if signs == "positive" else {-1.0, 1.0})
    values = made.X
    for weight in hidden:
        values = np.maximum(values @ weight.T, 0.0)
    np.testing.assert_allclose(made.y, values @ last[0], atol=1e-12)
    assert made.X.shape == (50, 7)
    assert made.y is made.clean


@pytest.mark.parametrize("depth", [1, 2])
def test_several_outputs_have_weights_in_every_layer(depth: int) -> None:
    made = planted(6, 30, n=50, d=7, outputs=4, depth=depth)
    weights = [weight.toarray() for weight, _ in made.network.layers]
    assert [np.count_nonzero(weight) for weight in weights] == [30 // (depth + 1)] * (depth + 1)
    values = made.X
    for weight in weights[:-1]:
        values = np.maximum(values @ weight.T, 0.0)
    np.testing.assert_allclose(made.y, values @ weights[-1].T, atol=1e-12)


def test_no_layer_holds_more_than_there_is() -> None:
    assert [weight.nnz for weight, _ in planted(2, 100, n=5, d=3, outputs=2).network.layers] == [6, 4]


def test_a_seed_is_a_data_set() -> None:
    first, same, other = (planted(3, 6, n=20, d=4, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.X, same.X)
    assert np.array_equal(first.y, same.y)
    assert not np.array_equal(first.X, other.X)


def test_it_is_never_zero() -> None:
    # With one weight in each layer most draws have no path from an input to an output.
    for seed in range(20):
        assert planted(5, 2, n=10, d=3, outputs=2, seed=seed).y.any()


def test_no_rows_are_drawn_for_networks_without_a_way_through(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[int]()
    predict = SparseReLUNetwork.predict

    def counted(network: SparseReLUNetwork, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn.append(len(rows))
        return predict(network, rows)

    monkeypatch.setattr(SparseReLUNetwork, "predict", counted)
    # One way through in some 400 draws.
    assert planted(20, 3, n=10, d=3, outputs=2, depth=2).y.any()
    assert len(drawn) < 10


def test_the_noise_is_a_share_of_the_signal() -> None:
    made = planted(5, 20, n=20_000, d=10, outputs=2, noise=0.1)
    shares = (made.y - made.clean).std(axis=0) / made.clean.std(axis=0)
    np.testing.assert_allclose(shares, 0.1, rtol=0.05)
    assert np.array_equal(made.X, planted(5, 20, n=20_000, d=10, outputs=2).X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": 0}, "m is 0"),
        ({"s": 1, "depth": 2}, "s is 1; expected at least 2, a weight for each layer"),
        ({"signs": "negative"}, "signs 'negative' is unknown"),
        ({"signs": "random", "outputs": 2}, "signs is 'random' with 2 outputs; expected one output"),
        ({"noise": -1.0}, "noise is -1.0"),
    ],
)
def test_errors_name_the_argument(options: dict[str, Any], message: str) -> None:
    given = {"m": 3, "s": 5, "n": 10, "d": 4, **options}
    with pytest.raises(ValueError, match=message):
        planted(given.pop("m"), given.pop("s"), **given)
