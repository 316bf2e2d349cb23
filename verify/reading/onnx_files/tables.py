"""Rules of the domain ai.onnx.ml: what skl2onnx makes of linear models and scalers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.reading.graph.values import Value, places_of, reshaped, scaled, selected, shifted
from verify.reading.onnx_files.products import by_matrix
from verify.reading.onnx_files.scope import Scope, Signal, options_of

SINGLE = np.dtype(np.float32)


def _stated(options: dict[str, Any], name: str, default: list[float]) -> Floats:
    values = np.asarray(options.get(name, default), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it has a weight or bias that is not finite")
    return values


def _table(signal: Signal) -> Value:
    """Return the signal as a matrix of one row."""
    if signal.final is not None or signal.value.size != signal.shape[-1]:
        raise ValueError(f"an array of shape {signal.shape} comes in; expected one row of features")
    return reshaped(signal.value, (1, signal.value.size))


def scaler(scope: Scope, node: Any) -> Signal:
    """Read (x - offset) scale."""
    signal, options = scope.signal(node), options_of(node)
    value = shifted(_table(signal), -_stated(options, "offset", [0.0]))
    result = scaled(value, _stated(options, "scale", [1.0]))
    if result.shape != value.shape or value.size != signal.value.size:
        raise ValueError(f"it scales {result.size} features; {signal.value.size} come in")
    return Signal(result, SINGLE)


def linear_regressor(scope: Scope, node: Any) -> Signal:
    """Read x coefficients^T + intercepts."""
    signal, options = scope.signal(node), options_of(node)
    if options.get("post_transform", b"NONE") != b"NONE":
        raise ValueError(f"its post_transform is {options['post_transform'].decode()!r}; expected 'NONE'")
    return Signal(_linear(_table(signal), options, int(options.get("targets", 1))), SINGLE)


def linear_classifier(scope: Scope, node: Any) -> list[Signal | None]:
    """Read the scores of a linear classifier; its labels are no numbers of the network."""
    signal, options = scope.signal(node), options_of(node)
    labels = options.get("classlabels_strings") or options.get("classlabels_ints") or []
    coefficients = len(options["coefficients"])
    value = _linear(_table(signal), options, max(coefficients // signal.value.size, 1))
    if value.size == 1 and len(labels) == 2:
        value = by_matrix(value, np.array([[-1.0], [1.0]]), np.zeros(2))
    finals = {b"NONE": None, b"SOFTMAX": "softmax", b"LOGISTIC": "sigmoid"}
    stated = options.get("post_transform", b"NONE")
    if stated not in finals:
        raise ValueError(f"its post_transform is {stated.decode()!r}; expected NONE, SOFTMAX or LOGISTIC")
    return [None, Signal(value, SINGLE, finals[stated])]


def _linear(value: Value, options: dict[str, Any], count: int) -> Value:
    weight = _stated(options, "coefficients", []).reshape(count, -1)
    return by_matrix(value, weight, _stated(options, "intercepts", [0.0] * count).reshape(count))


def normaliser(scope: Scope, node: Any) -> Signal:
    """Read a division by the sum where the sum is one: of softmax, or of the sigmoids of a number and its negative."""
    signal, norm = scope.signal(node), options_of(node).get("norm", b"MAX").decode()
    if norm == "L1" and (signal.final == "softmax" or (signal.final == "sigmoid" and _opposed(signal.value))):
        return signal
    raise ValueError("it divides a row by its norm, which is not piecewise linear; export the model without it")


def _opposed(value: Value) -> bool:
    """Return whether a value is of two numbers, one the negative of the other."""
    if value.size != 2:
        return False
    total = by_matrix(reshaped(value, (1, 2)), np.ones((1, 2)), np.zeros(1))
    return not total.offsets.any() and not any(matrix is None or matrix.data.any() for _, matrix in total.terms)


def imputer(scope: Scope, node: Any) -> Signal:
    """Read a node that replaces what is no number: it leaves all numbers as they are."""
    if not np.isnan(float(options_of(node).get("replaced_value_float", 0.0))):
        raise ValueError("it replaces a number; expected it to replace nan alone")
    return scope.signal(node)


def extractor(scope: Scope, node: Any) -> Signal:
    """Read columns at constant places."""
    signal = scope.signal(node)
    places = places_of(signal.value)[..., scope.constant(node, 1).ravel().astype(np.int64)]
    return signal.of(selected(signal.value, places))


def joined(scope: Scope, node: Any) -> Signal:
    """Read columns side by side (FeatureVectorizer) of one signal."""
    if len(node.input) != 1:
        raise ValueError(f"it joins {len(node.input)} operands; expected one")
    return Signal(scope.signal(node).value, SINGLE)


TABLE_RULES: dict[str, Callable[[Scope, Any], Signal | list[Signal | None]]] = {
    "Scaler": scaler,
    "LinearRegressor": linear_regressor,
    "LinearClassifier": linear_classifier,
    "Normalizer": normaliser,
    "Imputer": imputer,
    "ArrayFeatureExtractor": extractor,
    "FeatureVectorizer": joined,
}
