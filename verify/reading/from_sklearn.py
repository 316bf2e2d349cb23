"""Networks from scikit-learn's estimators, held against the estimator itself."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats, require
from convexnn.network import SparseReLUNetwork
from verify.reading.graph.affine import Affine
from verify.reading.graph.agreement import N_ROWS, TOLERANCE, finished, gap_between, largest_size, sample_rows
from verify.reading.graph.layering import network_of
from verify.reading.graph.limits import Allowance
from verify.reading.graph.values import Value, input_value, mapped, relu
from verify.reading.scalers import by_matrix, restored, stock_kind, transformed

# Bytes that pay for all that an estimator makes: it is in memory already.
WHOLE = 1 << 50

# The kinds that are refused where they are not fitted, and what is expected of any other.
EXPECTED = (
    "a fitted MLPRegressor or MLPClassifier, a linear model (LinearRegression, Ridge, Lasso, LogisticRegression, "
    "LinearSVC, SGDClassifier and their like), an estimator of convexnn, or a Pipeline of scalers before one of these"
)


def read_estimator(estimator: Any) -> SparseReLUNetwork:
    """Return the network of a fitted estimator, before the activation of its outputs.

    Multi-layer perceptrons with activation relu or identity, linear models, and the estimators of convexnn; before them
    in a Pipeline scalers, principal components, selections of features and other affine transformers
    (:mod:`verify.reading.scalers`); around them TransformedTargetRegressor and searches with a best estimator. Inputs
    are raw rows. Output i of a classifier is the score of ``classes_[i]``; with two classes there is one output, the
    score of ``classes_[1]``. The softmax or logistic function that makes probabilities of scores keeps their order, and
    is left out.

    Raises
    ------
    TypeError
        Another estimator.
    ValueError
        It is not fitted, has another activation than ``relu`` or ``identity``, several labels a row, or methods of its
        own; a transformer that is not affine; an entry that is not finite; or it computes another function than its
        weights.
    """
    require("sklearn", "scikit-learn", "reading a scikit-learn estimator")
    value = _estimated(estimator, None)
    network = network_of(value, Allowance(WHOLE))
    _compare(estimator, network)
    return network


def _estimated(estimator: Any, value: Value | None) -> Value:
    """Return what an estimator makes of rows, before the activation of its outputs; None stands for raw rows."""
    if isinstance(getattr(estimator, "network_", None), SparseReLUNetwork):
        return _own(estimator.network_, value)
    if type(estimator).__module__.startswith("convexnn."):
        raise ValueError(f"the {type(estimator).__name__} is not fitted; expected one after fit")
    if not any(kind.__module__.startswith("sklearn.") for kind in type(estimator).__mro__):
        raise TypeError(f"network is a {type(estimator).__name__}; expected {EXPECTED}")
    kind = stock_kind(estimator)
    if hasattr(estimator, "best_estimator_"):
        return _estimated(estimator.best_estimator_, value)
    if kind == "Pipeline":
        now = _rows(estimator) if value is None else value
        for name, step in estimator.steps[:-1]:
            now = transformed(step, now, name)
        return _estimated(estimator.steps[-1][1], now)
    if kind == "TransformedTargetRegressor":
        _check_fitted(estimator, kind, "regressor_")
        return restored(estimator.transformer_, _estimated(estimator.regressor_, value))
    if kind in ("MLPRegressor", "MLPClassifier"):
        _check_perceptron(estimator, kind)
        return _perceptron(estimator, kind, _rows(estimator) if value is None else value)
    return _linear(estimator, kind, value)


def _rows(estimator: Any) -> Value:
    """Return raw rows, as many columns as an estimator was fitted on."""
    found = [
        step
        for _, step in getattr(estimator, "steps", [("", estimator)])
        if step is not None and not isinstance(step, str)
    ]
    first = found[0]
    if hasattr(first, "steps"):
        return _rows(first)
    if not hasattr(first, "n_features_in_"):
        raise ValueError(f"the {type(first).__name__} is not fitted; expected one after fit")
    return input_value((1, int(first.n_features_in_)))


def _check_fitted(estimator: Any, kind: str, name: str) -> None:
    if not hasattr(estimator, name):
        raise ValueError(f"the {kind} is not fitted; expected one after fit")


def _own(network: SparseReLUNetwork, value: Value | None) -> Value:
    """Return what a network of our own makes of rows."""
    now = input_value((1, network.n_inputs)) if value is None else value
    for index, (weight, bias) in enumerate(network.layers):
        now = mapped(relu(now) if index else now, Affine(weight, bias), (1, len(bias)))
    return now


def _check_perceptron(estimator: Any, kind: str) -> None:
    """Raise ValueError where the attributes of a perceptron tell that it is no ReLU network of one label a row."""
    _check_fitted(estimator, kind, "coefs_")
    if estimator.activation not in ("relu", "identity"):
        raise ValueError(f"the {kind} has activation {estimator.activation!r}; expected 'relu' or 'identity'")
    if estimator.out_activation_ == "logistic" and estimator.n_outputs_ > 1:
        raise ValueError(f"the {kind} gives {estimator.n_outputs_} labels a row; expected one label a row")
    if estimator.out_activation_ not in ("identity", "logistic", "softmax"):
        raise ValueError(
            f"the {kind} has outputs through {estimator.out_activation_!r}; expected identity, logistic or softmax"
        )


def _perceptron(estimator: Any, kind: str, value: Value) -> Value:
    for index, (weight, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        if index and estimator.activation == "relu":
            value = relu(value)
        try:
            step = Affine(sp.csr_matrix(np.asarray(weight, np.float64).T), np.asarray(bias, np.float64))
            value = mapped(value, step, (1, len(step.bias)))
        except ValueError as error:
            raise ValueError(f"layer {index} of the {kind} cannot be read: {error}") from None
    return value


def _linear(estimator: Any, kind: str, value: Value | None) -> Value:
    """Return the scores of a linear model."""
    place = type(estimator).__mro__
    known = any(base.__module__.startswith(("sklearn.linear_model", "sklearn.svm", "sklearn.discr")) for base in place)
    if not known or not (hasattr(estimator, "predict") and (hasattr(estimator, "coef_") or not _fitted(estimator))):
        raise TypeError(f"network is a {kind}; expected {EXPECTED}")
    _check_fitted(estimator, kind, "coef_")
    weight = estimator.coef_
    weight = np.atleast_2d(weight.toarray() if sp.issparse(weight) else np.asarray(weight, dtype=np.float64))
    if getattr(estimator, "kernel", "linear") != "linear" or (kind in ("SVC", "NuSVC") and len(estimator.classes_) > 2):
        raise ValueError(f"the {kind} is not linear; expected LinearSVC, or a linear kernel and two classes")
    try:
        return by_matrix(_rows(estimator) if value is None else value, weight, np.ravel(estimator.intercept_))
    except ValueError as error:
        raise ValueError(f"the {kind} cannot be read: {error}") from None


def _fitted(estimator: Any) -> bool:
    return hasattr(estimator, "n_features_in_")


def _named(estimator: Any, rows: Floats) -> Any:
    """Return rows as the estimator knows them: with names of columns, where it was fitted on such and asks for them."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None or find_spec("pandas") is None:
        return rows
    import pandas as pd

    return pd.DataFrame(rows, columns=list(names))


def _compare(estimator: Any, network: SparseReLUNetwork) -> None:
    """Raise ValueError where the estimator and the network differ on random rows."""
    rows, kind = sample_rows(network.n_inputs), type(estimator).__name__
    layers = network.activations(rows)
    with warnings.catch_warnings():
        # An estimator that was fitted on named columns warns of rows without names.
        warnings.simplefilter("ignore", UserWarning)
        expected, found, scale = _answers(estimator, rows, layers)
    if expected.shape != found.shape:
        raise ValueError(f"the {kind} returns shape {expected.shape} where its weights give {found.shape}")
    gap = gap_between(expected, found)
    if not gap <= TOLERANCE * scale:
        raise ValueError(
            f"the {kind} differs from its weights by {gap:.3g} on random rows; expected answers that are affine or "
            "piecewise linear in the inputs, without another function at the end (such as exp in a Poisson model)"
        )


def _answers(estimator: Any, rows: Floats, layers: list[Floats]) -> tuple[Floats, Floats, float]:
    """Return what an estimator answers for rows, what its network does, and what their difference is relative to."""
    named = _named(estimator, rows)
    if hasattr(estimator, "decision_function"):
        answers = estimator.decision_function(named)
    elif hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(named)), _probabilities(layers[-1]), 1.0
    else:
        answers = estimator.predict(named)
    return np.asarray(answers, dtype=np.float64).reshape(N_ROWS, -1), layers[-1], largest_size([rows, *layers])


def _probabilities(scores: Floats) -> Floats:
    """Return softmax of scores (n, k); a single score is the logit of the second of two classes."""
    logits = np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores
    return finished(logits, "softmax")
