"""Weights of rows and classes: repetitions and scikit-learn's linear models as oracles."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, r2_score
from sklearn.utils.class_weight import compute_sample_weight

import convexnn as cx
from convexnn.estimators.rows import counted_rows
from convexnn.estimators.scaling import Scaling
from tests.convexnn.fitting.test_polish import rare

Regressor: Any = partial(cx.SparseReLURegressor, random_state=0, epochs=5)
Classifier: Any = partial(cx.SparseReLUClassifier, random_state=0, epochs=5)


def counts(n: int) -> Any:
    return np.random.default_rng(0).integers(0, 4, n)


@pytest.mark.parametrize(("Model", "load"), [(Regressor, load_diabetes), (Classifier, load_wine)])
def test_whole_weights_are_repetitions_in_the_same_order(Model: Any, load: Any) -> None:
    X, y = load(return_X_y=True)
    times = counts(len(X))
    weighted, repeated = Model().fit(X, y, times), Model().fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_array_equal(weighted.network_.predict(X), repeated.network_.predict(X))
    assert (weighted.budget_, weighted.ridge_) == (repeated.budget_, repeated.ridge_)


def test_weights_alike_are_none() -> None:
    X, y = load_diabetes(return_X_y=True)
    plain = Regressor().fit(X, y).predict(X)
    for weights in (1.0, np.ones(len(X)), np.full(len(X), 0.3)):
        np.testing.assert_array_equal(Regressor().fit(X, y, weights).predict(X), plain)


def test_which_rows_count_and_how() -> None:
    index, weights = counted_rows([2, 0, 1], 3)
    assert index.tolist() == [0, 0, 2]
    assert weights is None
    index, weights = counted_rows([0.5, 0.0, 1.5], 3)
    assert index.tolist() == [0, 2]
    assert weights is not None
    assert weights.tolist() == [0.5, 1.5]
    # Many repetitions cost memory and time.
    index, weights = counted_rows([100, 0, 300], 3)
    assert index.tolist() == [0, 2]
    assert weights is not None
    assert weights.tolist() == [0.5, 1.5]


def test_features_are_scaled_as_if_repeated() -> None:
    X = np.random.default_rng(0).normal(3.0, 2.0, (50, 3))
    times = np.maximum(counts(50), 1)
    one, other = Scaling.of(X, weights=times / times.mean()), Scaling.of(np.repeat(X, times, axis=0))
    np.testing.assert_allclose(one.centres, other.centres)
    np.testing.assert_allclose(one.deviations, other.deviations)


@pytest.mark.parametrize("share", [0.37, 37.0])
def test_the_loss_is_never_above_that_of_a_weighted_ridge_model(share: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 8))
    y = X @ rng.standard_normal(8) + rng.standard_normal(200) ** 3
    weights = rng.uniform(0.0, 2.0, 200) ** 3
    model = Regressor(budget=9, width=2, ridge=0.01).fit(X, y, share * weights)
    inputs = Scaling.of(X, weights=weights)
    oracle = Ridge(alpha=0.01 * weights.sum()).fit(inputs.apply(X), y, weights)
    assert model.score(X, y, weights) >= oracle.score(inputs.apply(X), y, weights) - 1e-9
    assert model.score(X, y, weights) == pytest.approx(r2_score(y, model.predict(X), sample_weight=weights))
    # Unweighted least squares, whose weighted loss is above that of any budget for it.
    assert model.score(X, y, weights) > Ridge(alpha=1e-9).fit(X, y).score(X, y, weights)


@pytest.mark.parametrize("balanced", [False, True])
def test_class_weights_are_those_of_rows(balanced: bool) -> None:
    X, y = rare(60)
    own = "balanced" if balanced else {False: 1.0, True: 7.5}
    rows = compute_sample_weight(own, y)
    model = Classifier(ridge=1e-3, class_weight=own).fit(X, y)
    other = Classifier(ridge=1e-3).fit(X, y, rows)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), rtol=1e-6)
    oracle = LogisticRegression(C=1.0 / (1e-3 * rows.sum()), tol=1e-9, max_iter=1000).fit(X, y, rows)
    # The estimator scales features with the weights, by a little.
    assert log_loss(y, model.predict_proba(X), sample_weight=rows) <= 1.001 * log_loss(
        y, oracle.predict_proba(X), sample_weight=rows
    )
    assert model.predict(X).mean() > 1.5 * y.mean()
    expected = accuracy_score(y, model.predict(X), sample_weight=rows)
    assert model.score(X, y, sample_weight=rows) == pytest.approx(expected)


def test_both_kinds_of_weights_multiply() -> None:
    X, y = rare(60)
    rows = np.random.default_rng(0).uniform(0.5, 1.5, len(X))
    both = Classifier(ridge=1e-3, class_weight={True: 3.0}).fit(X, y, rows)
    one = Classifier(ridge=1e-3).fit(X, y, rows * np.where(y, 3.0, 1.0))
    np.testing.assert_allclose(both.predict_proba(X), one.predict_proba(X), rtol=1e-6)


def test_constant_features_give_the_weighted_shares() -> None:
    weights = np.array([0.5, 1.5, 0.25, 0.25])
    model = Classifier().fit(np.ones((4, 2)), [0, 1, 1, 1], weights)
    np.testing.assert_allclose(model.predict_proba(np.ones((1, 2))), [[0.2, 0.8]])
    regressor = Regressor().fit(np.ones((4, 2)), [0.0, 1.0, 2.0, 3.0], weights)
    assert regressor.predict(np.ones((1, 2))) == pytest.approx((1.5 + 0.5 + 0.75) / 2.5)


def test_a_class_without_weight_is_none() -> None:
    X, y = load_wine(return_X_y=True)
    model = Classifier().fit(X, y, (y < 2) * 1.0)
    assert model.classes_.tolist() == [0, 1]
    with pytest.raises(ValueError, match="y has one class"):
        Classifier().fit(X, y, (y < 1) * 1.0)


@pytest.mark.parametrize("positives", [13, 60, 280])
def test_rare_labels_are_not_behind_a_logistic_regression(positives: int) -> None:
    X, y = rare(positives)
    oracle = LogisticRegression(C=1.0).fit(X, y).predict_proba(X)[:, 1]
    shares = cx.SparseReLUClassifier(random_state=0).fit(X, y).predict_proba(X)[:, 1]
    assert log_loss(y, shares) < log_loss(y, oracle)
    assert average_precision_score(y, shares) > average_precision_score(y, oracle)
