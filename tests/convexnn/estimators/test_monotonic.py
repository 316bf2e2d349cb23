"""Monotone estimators: signs by place and by name, what they cost and prove, files, paths, errors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import cross_val_score

import convexnn as cx

Regressor: Any = partial(cx.SparseReLURegressor, random_state=0, epochs=12)
Classifier: Any = partial(cx.SparseReLUClassifier, random_state=0, epochs=12)


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, Any]:
    """Loans: a score that rises with income and falls with debt, and a column that does not vary."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"income": rng.lognormal(10.0, 0.5, 240), "debt": rng.gamma(2.0, 5e3, 240), "age": 1.0})
    X["age"] = rng.uniform(18.0, 80.0, 240)
    X["branch"] = 7.0
    score = np.log(X["income"]) - 9.0 - np.maximum(X["debt"] / 1e4 - 0.5, 0.0) + 0.02 * abs(X["age"] - 50.0)
    return X, score.to_numpy() + 0.3 * rng.standard_normal(240)


SIGNS = {"income": 1, "debt": -1}


def proven(model: Any, signs: Any) -> bool:
    below, above = model.network_.slope_bounds()
    kept = np.where(np.array(signs) == 1, below[0], np.where(np.array(signs) == -1, -above[0], 0.0))
    return bool((kept >= 0.0).all())


@pytest.mark.parametrize("depth", [1, 2])
def test_signs_by_name_are_those_by_place(depth: int, table: tuple[pd.DataFrame, Any]) -> None:
    X, y = table
    named = Regressor(depth=depth, monotonic_cst={"income": 1, "debt": -1}).fit(X, y)
    placed = Regressor(depth=depth, monotonic_cst=np.array([1, -1, 0, 0])).fit(X, y)
    series = Regressor(depth=depth, monotonic_cst=pd.Series({"age": 0, "debt": -1, "income": 1})).fit(X, y)
    assert named.network_ == placed.network_ == series.network_
    assert proven(named, [1, -1, 0, 0])
    assert named.score(X, y) > 0.6


@pytest.mark.parametrize("signs", [[-1, 1, 0, 0], [-1, 1, 0, 1]])
def test_against_the_truth_a_feature_is_left_out(signs: list[int], table: tuple[pd.DataFrame, Any]) -> None:
    X, y = table
    model = Regressor(monotonic_cst=signs).fit(X, y)
    assert (proven(model, signs) and not proven(model, [1, -1, 0, 0])) or not model.feature_importances_[:2].any()
    assert model.score(X, y) < 0.3


def test_labels_grow_likelier(table: tuple[pd.DataFrame, Any]) -> None:
    X, y = table
    labels = np.where(y > np.median(y), "paid", "failed")
    model = Classifier(monotonic_cst={"income": 1, "debt": -1}, class_weight="balanced").fit(X, labels)
    assert model.classes_.tolist() == ["failed", "paid"]
    assert proven(model, [1, -1, 0, 0])
    richer = model.predict_proba(X.assign(income=3.0 * X["income"]))[:, 1]
    assert (richer >= model.predict_proba(X)[:, 1]).all()
    assert model.score(X, labels) > 0.75


def test_it_is_as_good_on_rows_held_out_as_monotone_trees(table: tuple[pd.DataFrame, Any]) -> None:
    X, y = table
    own = cross_val_score(Regressor(monotonic_cst={"income": 1, "debt": -1}), X, y, cv=3).mean()
    trees = HistGradientBoostingRegressor(monotonic_cst={"income": 1, "debt": -1}, random_state=0)
    assert own > cross_val_score(trees, X, y, cv=3).mean()


def test_a_start_that_is_not_monotone_becomes_so(table: tuple[pd.DataFrame, Any]) -> None:
    X, y = table
    model = Regressor(warm_start=True).fit(X, y)
    assert proven(model.set_params(monotonic_cst=[-1, 0, 0, 0]).fit(X, y), [-1, 0, 0, 0])


def test_a_search_is_left_out(table: tuple[pd.DataFrame, Any]) -> None:
    X, y = table
    plain, patient = (Regressor(monotonic_cst=[1, 0, 0, 0], patience=p).fit(X, y) for p in (0, 5))
    assert plain.network_ == patient.network_


@pytest.mark.parametrize(
    "given", [SIGNS, [1, -1, 0, 0], np.array([1, -1, 0, 0]), pd.Series([1, -1, 0, 0]), pd.Series(SIGNS)]
)
def test_a_file_keeps_the_signs(given: Any, table: tuple[pd.DataFrame, Any], tmp_path: Path) -> None:
    X, y = table
    model = Regressor(monotonic_cst=given).fit(X, y)
    model.save(tmp_path / "model.npz")
    loaded = cx.SparseReLURegressor.load(tmp_path / "model.npz")
    assert loaded.monotonic_cst == (SIGNS if "income" in given else [1, -1, 0, 0])
    assert loaded.fit(X, y).network_.n_inputs == 4
    assert proven(loaded, [1, -1, 0, 0])


def test_every_budget_of_a_path_keeps_the_signs(table: tuple[pd.DataFrame, Any]) -> None:
    X, y = table
    path = cx.budget_path(Regressor(monotonic_cst={"debt": -1}, epochs=4), X, y, [4, 12], cv=2)
    assert all(proven(step.estimator, [0, -1, 0, 0]) for step in path.steps)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1, 0], r"monotonic_cst has shape \(2,\); expected \(4,\), -1, 0 or 1 for each feature, or a dict by their"),
        ([1, 0, 2, 0], "monotonic_cst holds 2; expected -1, 0 or 1 for each feature"),
        ("up", r"monotonic_cst has shape \(\); expected \(4,\)"),
        ({"salary": 1}, "monotonic_cst names 'salary', no feature of X; expected names such as 'income'"),
        ([[1], [1, 2], 0, 0], r"monotonic_cst holds \[1\]; expected -1, 0 or 1 for each feature"),
        ([1, pd.NA, 0, 0], "monotonic_cst holds <NA>; expected -1, 0 or 1 for each feature"),
        ({"income": "up"}, "monotonic_cst holds 'up'; expected -1, 0 or 1 for each feature"),
    ],
)
def test_bad_signs_are_refused_in_a_line(given: Any, words: str, table: tuple[pd.DataFrame, Any]) -> None:
    with pytest.raises(ValueError, match=words):
        Regressor(monotonic_cst=given).fit(*table)


def test_names_need_names_and_one_output(table: tuple[pd.DataFrame, Any]) -> None:
    X, y = table
    with pytest.raises(ValueError, match="monotonic_cst is a dict, and the features of X have no names"):
        Regressor(monotonic_cst={"income": 1}).fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="monotonic_cst is for one output, and y has 3 classes; expected one target"):
        Classifier(monotonic_cst=[1, 0, 0, 0]).fit(*load_iris(return_X_y=True))
    with pytest.raises(ValueError, match="monotonic_cst is for one output, and y has 2 targets"):
        Regressor(monotonic_cst=[1, 0, 0, 0]).fit(X, np.column_stack([y, y**2]))
    assert Classifier(monotonic_cst=[0, 0, 0, 0]).fit(*load_iris(return_X_y=True)).score(*load_iris(return_X_y=True))
