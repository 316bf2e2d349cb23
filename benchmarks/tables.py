"""Fit scikit-learn's small tables with defaults only, and hold the nets against a tuned dense MLP.

    python benchmarks/tables.py [--data diabetes breast_cancer wine digits] [--splits 5] [--set ridge=0.01 ...]
        [--markdown]

Three quarters of the rows are fitted, stratified for labels, a quarter is scored: R2 for diabetes, else accuracy. Ours
is the estimator as it is, random_state apart; the MLP is scikit-learn's on standardised features (and target), its
hidden size (50, 100 or 200), its alpha (1e-4, 0.1, 10) and, for diabetes, early stopping or not chosen by 3-fold
GridSearchCV on the rows fitted. Weights are all that a net has, biases included. Seconds: one fit of ours, the whole
search of the MLP's, on one thread. The share of weights is of the mean of the MLPs', points are hundredths.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import warnings
from ast import literal_eval
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import convexnn as cx
from convexnn.tables import Table

DATA = {
    "diabetes": datasets.load_diabetes,
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "digits": datasets.load_digits,
}


@dataclass(frozen=True)
class EngineResult:
    """Score on the rows held out, number of weights and biases, seconds."""

    score: float
    weights: int
    seconds: float


def ours(parts: Any, regression: bool, seed: int, options: dict[str, Any]) -> EngineResult:
    """Fit the estimator with its defaults, or with the options given."""
    X, fresh, y, truth = parts
    kind = cx.SparseReLURegressor if regression else cx.SparseReLUClassifier
    began = perf_counter()
    model = kind(random_state=seed, **options).fit(X, y)
    return EngineResult(model.score(fresh, truth), model.network_.nnz, perf_counter() - began)


def dense(parts: Any, regression: bool, seed: int) -> EngineResult:
    """Tune scikit-learn's MLP by a grid search."""
    X, fresh, y, truth = parts
    grid: dict[str, Any] = {"hidden_layer_sizes": [(50,), (100,), (200,)], "alpha": [1e-4, 0.1, 10.0]}
    model: Any
    if regression:
        network = MLPRegressor(max_iter=500, random_state=seed)
        model = TransformedTargetRegressor(make_pipeline(StandardScaler(), network), transformer=StandardScaler())
        prefix, grid = "regressor__mlpregressor__", grid | {"early_stopping": [True, False]}
    else:
        model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=500, random_state=seed))
        prefix = "mlpclassifier__"
    began = perf_counter()
    search = GridSearchCV(model, {f"{prefix}{name}": values for name, values in grid.items()}, cv=3).fit(X, y)
    seconds = perf_counter() - began
    found = search.best_estimator_.regressor_[-1] if regression else search.best_estimator_[-1]
    weights = sum(part.size for part in (*found.coefs_, *found.intercepts_))
    return EngineResult(search.score(fresh, truth), weights, seconds)


def linear(parts: Any, regression: bool) -> EngineResult:
    """Fit a linear model whose strength is cross-validated: what there is to gain over it."""
    X, fresh, y, truth = parts
    alphas = np.logspace(-3, 3, 13)
    best = (
        RidgeCV(alphas)
        if regression
        else LogisticRegressionCV(Cs=7, l1_ratios=(0.0,), scoring="accuracy", use_legacy_attributes=False)
    )
    began = perf_counter()
    model = make_pipeline(StandardScaler(), best).fit(X, y)
    weights = model[-1].coef_.size + np.size(model[-1].intercept_)
    return EngineResult(model.score(fresh, truth), weights, perf_counter() - began)


def split(name: str, seed: int) -> tuple[Any, bool]:
    """Return training rows, rows held out and their targets; and whether the targets are numbers to regress on."""
    X, y = DATA[name](return_X_y=True)
    regression = name == "diabetes"
    return train_test_split(X, y, test_size=0.25, random_state=seed, stratify=None if regression else y), regression


def row(name: str, splits: int, options: dict[str, Any]) -> tuple[str, ...]:
    """Return the figures of one data set, means over the splits."""
    runs: list[tuple[EngineResult, EngineResult, EngineResult]] = []
    for seed in range(splits):
        parts, regression = split(name, seed)
        runs.append((ours(parts, regression, seed, options), dense(parts, regression, seed), linear(parts, regression)))
    own, rival, simple = (
        EngineResult(*(np.mean([getattr(run[i], field) for run in runs]) for field in ("score", "weights", "seconds")))
        for i in range(3)
    )
    spread = 100.0 * np.std([run[0].score - run[1].score for run in runs])
    return (
        name.replace("_", " "),
        f"{100 * own.score:.1f}",
        f"{100 * rival.score:.1f}",
        f"{100 * simple.score:.1f}",
        f"{100 * (own.score - rival.score):+.1f} +- {spread:.1f}",
        f"{own.weights:.0f}",
        f"{rival.weights:.0f}",
        f"{100 * own.weights / rival.weights:.1f} %",
        f"{own.seconds:.2f}",
        f"{rival.seconds:.1f}",
    )


HEADER = ("data", "ours", "MLP", "linear", "points", "weights", "MLP's", "share", "seconds", "MLP's search")


def main() -> None:
    parser = common.option_parser(__doc__)
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters other than the defaults")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    options = {name: literal_eval(value) for name, _, value in (item.partition("=") for item in given.set)}
    with warnings.catch_warnings():
        # An MLP that has not converged after 500 epochs is one of the candidates like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        table = Table.of(HEADER, [row(name, given.splits, options) for name in given.data])
    print(table.to_markdown() if given.markdown else table.to_text())


if __name__ == "__main__":
    main()
