"""The default ridge: folds of rows held out, the multiple that they choose, limits and interruptions among them."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

import convexnn as cx
from convexnn.estimators.folds import FOLDS, fold_of, held_out_folds
from convexnn.estimators.network_fitter import MOST, SPAN, NetworkFitter
from convexnn.solution import Status


def smooth(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """A smooth target of two features that few neurons miss, with a little noise."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2.0, 2.0, (n, 4))
    return X, np.sin(2.0 * X[:, 0]) + X[:, 1] ** 2 + 0.05 * rng.standard_normal(n)


@pytest.mark.parametrize("n", [30, 31, 32])
def test_folds_share_the_targets_alike(n: int) -> None:
    target = np.random.default_rng(1).standard_normal((n, 2))
    folds = fold_of(target)
    assert np.ptp(np.bincount(folds)) <= 1
    ordered = folds[np.argsort(target[:, 0])]
    assert all(len(set(ordered[at : at + FOLDS])) == FOLDS for at in range(0, n - FOLDS + 1, FOLDS))
    assert held_out_folds(n) == range(FOLDS)
    assert len(held_out_folds(10**5)) == 1


def fitter(X: np.ndarray, y: np.ndarray) -> NetworkFitter:
    """The fitter of a regressor, as its fit makes it."""
    made = list[NetworkFitter]()

    class Kept(cx.SparseReLURegressor):
        def _fitter(self, *given: Any) -> NetworkFitter:
            made.append(super()._fitter(*given))
            return made[0]

    Kept(ridge=0.1, epochs=1, random_state=0).fit(X, y)
    return made[0]


@pytest.mark.parametrize(("best", "expected"), [(1.0, 1.0), (0.5, 0.5), (1.7, 1.7), (0.01, 1 / MOST), (50.0, MOST)])
def test_the_multiple_is_where_a_parabola_is_lowest(
    best: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[float]()

    def losses(self: Any, ridges: list[float]) -> list[float]:
        asked.extend(ridges)
        return [float(np.exp(0.1 * log(ridge / (0.02 * best)) ** 2)) for ridge in ridges]

    fits = fitter(*smooth(40))
    monkeypatch.setattr(NetworkFitter, "_held_out_losses", losses)
    assert fits._best_multiple(0.02) == pytest.approx(expected)
    assert asked == pytest.approx([0.02 / SPAN, 0.02, 0.02 * SPAN])


@pytest.mark.parametrize(
    ("errors", "expected"),
    [([1.0, 1.0, 1.0], 1.0), ([1.0, 2.0, 3.0], 1 / MOST), ([9.0, 3.0, 1.0], MOST), ([0.0] * 3, 1.0)],
)
def test_errors_without_a_lowest_point_between(
    errors: list[float], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = fitter(*smooth(40))
    monkeypatch.setattr(NetworkFitter, "_held_out_losses", lambda self, ridges: errors)
    assert fits._best_multiple(0.02) == pytest.approx(expected)


def test_the_loss_is_that_of_rows_held_out() -> None:
    """Under so strong a ridge the network is a constant: the error is the variance of the target, rows weighted."""
    X, y = smooth()
    fits = fitter(X, y)
    assert fits._held_out_losses([1e3])[0] == pytest.approx(0.5, abs=0.01)
    weights = np.where(y > np.median(y), 1.5, 0.5)
    heavy = replace(fits, options={**fits.options, "sample_weight": weights})
    middle = np.average(fits.target[:, 0], weights=weights)
    expected = 0.5 * np.average(np.square(fits.target[:, 0] - middle), weights=weights)
    assert heavy._held_out_losses([1e3])[0] == pytest.approx(expected, rel=0.02)


def test_misfit_is_not_taken_for_noise() -> None:
    """A budget too small for the target leaves much more than the noise; a ridge after that costs rows held out."""
    X, y = smooth(900)
    model = cx.SparseReLURegressor(random_state=0).fit(X[:300], y[:300])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetworkFitter, "_best_multiple", lambda self, ridge: 1.0)
        alone = cx.SparseReLURegressor(random_state=0).fit(X[:300], y[:300])
    assert model.ridge_ < 0.7 * alone.ridge_
    assert model.score(X[300:], y[300:]) > alone.score(X[300:], y[300:])


@pytest.mark.parametrize("status", [Status.INTERRUPTED, Status.TIME_LIMIT])
def test_a_fold_cut_short_leaves_the_ridge_of_the_noise(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, whole = list[Any](), cx.fit_network

    def cut(*given: Any, **more: Any) -> Any:
        fits.append(whole(*given, **more))
        return replace(fits[-1], status=status) if len(fits) == 4 else fits[-1]

    monkeypatch.setattr("convexnn.estimators.network_fitter.fit_network", cut)
    X, y = smooth(60)
    model = cx.SparseReLURegressor(epochs=8, random_state=0).fit(X, y)
    if status is Status.INTERRUPTED:
        # The fit to all rows before it is what there is.
        assert (model.status_, len(fits)) == (status, 4)
        assert model.network_.nnz == fits[1].network.nnz
    else:
        assert (model.status_, len(fits)) == (Status.SEARCH_ENDED, 5)


def scarce(positives: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """4,000 rows of a logistic model; as many labels as that are positive among the first 2,000."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((4000, 20))
    scores = X[:, 0] + 0.7 * X[:, 1] + 0.5 * rng.logistic(size=len(X))
    return X, scores >= np.sort(scores[:2000])[-positives]


@pytest.mark.parametrize("seed", [0, 1])
def test_rare_labels_are_predicted_better_than_under_the_ridge_of_the_noise(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, their logarithmic loss on rows held out was above that of a logistic regression by some hundredths."""
    X, y = scarce(60, seed)
    model = cx.SparseReLUClassifier(random_state=0).fit(X[:2000], y[:2000])
    with monkeypatch.context() as patch:
        patch.setattr(NetworkFitter, "_best_multiple", lambda self, ridge: 1.0)
        alone = cx.SparseReLUClassifier(random_state=0).fit(X[:2000], y[:2000])
    losses = [log_loss(y[2000:], each.predict_proba(X[2000:])) for each in (model, alone)]
    assert model.ridge_ > alone.ridge_
    assert losses[0] < losses[1]


def test_too_few_labels_or_a_margin_leave_the_ridge_of_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, ridge: float) -> float:
        raise AssertionError("rows are held out")

    monkeypatch.setattr(NetworkFitter, "_best_multiple", refuse)
    X = np.random.default_rng(0).standard_normal((60, 2))
    few = np.arange(60) < 20
    assert cx.SparseReLUClassifier(epochs=2, random_state=0).fit(X, few).ridge_ > 0.0
    assert cx.SparseReLUClassifier(epochs=2, random_state=0, margin=0.1).fit(X, X[:, 0] > 0.0).ridge_ > 0.0
    assert cx.SparseReLUClassifier(epochs=2, random_state=0).fit(X, np.arange(60) % 3).ridge_ > 0.0
    assert cx.SparseReLURegressor(epochs=2, random_state=0).fit(X[:29], X[:29, 0]).ridge_ > 0.0


@pytest.mark.parametrize("n_others", [1, 2])
def test_a_target_that_few_rows_vary_holds_none_out(n_others: int) -> None:
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = np.zeros(40)
    y[:n_others] = 1.0
    model = cx.SparseReLURegressor(epochs=2, random_state=0).fit(X, y)
    assert model.ridge_ > 0.0
    assert np.isfinite(model.predict(X)).all()
