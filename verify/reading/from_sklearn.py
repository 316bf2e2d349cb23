"""Networks from scikit-learn's multi-layer perceptrons, held against the estimator itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats, require
from convexnn.network import SparseReLUNetwork
from verify.reading.affine_steps import Affine, Relu, Step, assemble
from verify.reading.graph.agreement import N_ROWS, TOLERANCE, gap_between, largest_size, sample_rows

# What an estimator could override to compute another function than that of its weights.
METHODS = ("predict", "predict_proba", "_predict", "_forward_pass", "_forward_pass_fast")


def read_perceptron(estimator: Any) -> SparseReLUNetwork:
    """Return the network of a fitted MLPRegressor or MLPClassifier, before the activation of its outputs.

    Output i of a classifier is the score of ``classes_[i]``; with two classes there is one output, the logit of
    ``classes_[1]``. The softmax or logistic function that makes probabilities of scores keeps their order, and is left
    out.

    Raises
    ------
    TypeError
        Another estimator.
    ValueError
        It is not fitted, has another activation than ``relu`` or ``identity``, several labels a row, or methods of its
        own; an entry that is not finite; or it computes another function than its weights.
    """
    kind = _kind_of(estimator)
    steps: list[Step] = []
    for index, (weight, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        if index and estimator.activation == "relu":
            steps.append(Relu())
        try:
            steps.append(Affine(sp.csr_matrix(np.asarray(weight, np.float64).T), np.asarray(bias, np.float64)))
        except ValueError as error:
            raise ValueError(f"layer {index} of the {kind} cannot be read: {error}") from None
    network = assemble(steps, f"the {kind}")
    _compare(estimator, kind, network)
    return network


def _kind_of(estimator: Any) -> str:
    """Return the name of the estimator's kind, after all checks that its attributes allow."""
    perceptrons = require("sklearn.neural_network", "scikit-learn", "reading a scikit-learn estimator")
    kinds = (perceptrons.MLPRegressor, perceptrons.MLPClassifier)
    kind = next((kind for kind in kinds if isinstance(estimator, kind)), None)
    if kind is None:
        raise TypeError(f"network is a {type(estimator).__name__}; expected a fitted MLPRegressor or MLPClassifier")
    name = str(kind.__name__)
    own = [
        m for m in METHODS if getattr(type(estimator), m, None) is not getattr(kind, m, None) or m in vars(estimator)
    ]
    if own:
        raise ValueError(f"the {type(estimator).__name__} has a method {own[0]} of its own; expected that of {name}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"the {name} is not fitted; expected one after fit")
    if estimator.activation not in ("relu", "identity"):
        raise ValueError(f"the {name} has activation {estimator.activation!r}; expected 'relu' or 'identity'")
    if estimator.out_activation_ == "logistic" and estimator.n_outputs_ > 1:
        raise ValueError(f"the {name} gives {estimator.n_outputs_} labels a row; expected one label a row")
    if estimator.out_activation_ not in ("identity", "logistic", "softmax"):
        raise ValueError(
            f"the {name} has outputs through {estimator.out_activation_!r}; expected identity, logistic or softmax"
        )
    return name


def _compare(estimator: Any, kind: str, network: SparseReLUNetwork) -> None:
    """Raise ValueError where the estimator and the network differ on random rows."""
    rows = sample_rows(network.n_inputs)
    layers = network.activations(rows)
    with warnings.catch_warnings():
        # An estimator that was fitted on named columns warns of rows without names.
        warnings.simplefilter("ignore", UserWarning)
        answers = estimator.predict(rows) if kind == "MLPRegressor" else estimator.predict_proba(rows)
    if kind == "MLPRegressor":
        expected, found = answers.reshape(N_ROWS, -1), layers[-1]
        scale = largest_size([rows, *layers])
    else:
        expected, found, scale = answers, _probabilities(layers[-1]), 1.0
    if expected.shape != found.shape:
        raise ValueError(f"the {kind} returns shape {expected.shape} where its weights give {found.shape}")
    gap = gap_between(expected, found)
    if not gap <= TOLERANCE * scale:
        raise ValueError(f"the {kind} differs from its weights by {gap:.3g} on random rows")


def _probabilities(scores: Floats) -> Floats:
    """Return softmax of scores (n, k); a single score is the logit of the second of two classes."""
    logits = np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
