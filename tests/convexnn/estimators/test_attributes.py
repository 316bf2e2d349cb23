"""What estimators tell: sparse rows, logarithms of probabilities, importances, curves and progress."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_diabetes, load_wine
from sklearn.feature_selection import SelectFromModel

import convexnn as cx
from convexnn.estimators.base import importances
from convexnn.network import SparseReLUNetwork

Regressor: Any = partial(cx.SparseReLURegressor, random_state=0, epochs=5)
Classifier: Any = partial(cx.SparseReLUClassifier, random_state=0, epochs=5)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, sp.coo_array])
def test_sparse_rows_are_dense_ones(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = load_wine(return_X_y=True)
    X = X * (np.random.default_rng(0).uniform(size=X.shape) < 0.5)
    monkeypatch.setattr("convexnn.estimators.rows.TILE_BYTES", 1000)
    model, other = Classifier().fit(kind(X), y), Classifier().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    np.testing.assert_allclose(model.predict_proba(kind(X)), other.predict_proba(X), rtol=1e-12)
    weighted = Classifier().fit(kind(X), y, np.arange(len(y)) % 2)
    np.testing.assert_array_equal(weighted.predict_proba(X), Classifier().fit(X[1::2], y[1::2]).predict_proba(X))


def test_a_path_takes_sparse_rows() -> None:
    X, y = load_diabetes(return_X_y=True)
    path = cx.budget_path(Regressor(budget=3, epochs=2), sp.csr_array(X), y, cv=0.3)
    assert path.budgets.tolist() == [2, 3]


def test_logarithms_of_probabilities() -> None:
    X, y = load_wine(return_X_y=True)
    for labels in (y, y > 0):
        model = Classifier().fit(X, labels)
        np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-12)
        # Far out, where the probability itself is zero.
        far = model.predict_log_proba(1e6 * X)
        assert np.isfinite(far).all()
        assert model.predict_proba(1e6 * X).min() == 0.0


def test_importances_are_sums_over_paths() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in ((4, 3), (5, 4), (2, 5))]
    network = SparseReLUNetwork([(sp.csr_matrix(weight), None) for weight in weights])
    paths = np.einsum("ba,cb,dc->a", *map(np.abs, weights))
    np.testing.assert_allclose(importances(network), paths / paths.sum())


def test_important_features_are_those_of_the_target() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6)) * [1.0, 100.0, 0.01, 1.0, 1.0, 0.0]
    y = np.maximum(X[:, 1] / 100.0, 0.0) + 300.0 * X[:, 2]
    model = Regressor(epochs=30).fit(X, y)
    assert model.feature_importances_.shape == (6,)
    assert model.feature_importances_.sum() == pytest.approx(1.0)
    assert model.feature_importances_.argmax() == 2
    assert model.feature_importances_[5] == 0.0
    np.testing.assert_allclose(Regressor(epochs=30).fit(8.0 * X, y).feature_importances_, model.feature_importances_)
    assert SelectFromModel(model, prefit=True).get_support()[2]
    assert not Regressor().fit(np.ones((9, 2)), np.arange(9.0)).feature_importances_.any()


def test_importances_are_saved(tmp_path: Path) -> None:
    X, y = load_diabetes(return_X_y=True)
    model = Regressor().fit(X, y)
    loaded = cx.SparseReLURegressor.load(model.save(tmp_path / "model.npz"))
    np.testing.assert_array_equal(loaded.feature_importances_, model.feature_importances_)
    X, labels = load_wine(return_X_y=True)
    classifier = Classifier(class_weight={0: 2.0}, verbose=False).fit(X, labels)
    assert cx.SparseReLUClassifier.load(classifier.save(tmp_path / "other.npz")).class_weight is None


def test_the_curve_has_a_loss_a_pass() -> None:
    X, y = load_diabetes(return_X_y=True)
    model = Regressor(epochs=7).fit(X, y)
    assert model.n_iter_ == len(model.loss_curve_) == 7
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert Regressor().fit(np.ones((9, 2)), np.arange(9.0)).n_iter_ == 0


def test_progress_is_logged_where_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    X, y = load_diabetes(return_X_y=True)
    told = {}
    for verbose in (0, 1, 2):
        caplog.clear()
        Regressor(epochs=20, ridge=0.01, verbose=verbose).fit(X, y)
        told[verbose] = [record.getMessage() for record in caplog.records if record.name == "convexnn"]
    assert told[0] == []
    assert [sum(line.startswith("pass") for line in told[verbose]) for verbose in (1, 2)] == [10, 20]
    assert told[1][0].startswith("fit of 20 passes with ridge 0.01")
    assert told[1][-1].startswith("loss ")


def test_progress_goes_to_standard_error_where_logging_is_not_set_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = load_diabetes(return_X_y=True)
    logger = logging.getLogger("convexnn")
    monkeypatch.setattr(logger, "propagate", False)
    Regressor().fit(X, y)
    assert capsys.readouterr() == ("", "")
    Regressor(verbose=True).fit(X, y)
    out, err = capsys.readouterr()
    assert out == ""
    assert "pass 5: loss" in err
    assert logger.handlers == []
    assert logger.level == logging.NOTSET
