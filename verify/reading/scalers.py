"""Scikit-learn's affine transformers: scalers, projections, selections of columns."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getattr_static
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.reading.graph.affine import Affine
from verify.reading.graph.piecewise import clipped
from verify.reading.graph.unrolling import matrix_on_last
from verify.reading.graph.values import Value, concatenated, mapped, places_of, scaled, selected, shifted

Transform = Callable[[Any, Value], Value]


def by_matrix(value: Value, weight: Any, bias: Any) -> Value:
    """Return x weight^T + bias for rows x, an array (1, d)."""
    matrix, shape = matrix_on_last(np.asarray(weight, dtype=np.float64), value.shape)
    return mapped(value, Affine(matrix, np.broadcast_to(bias, shape[-1:]).astype(np.float64)), shape)


def _numbers(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _standard(scaler: Any, value: Value) -> Value:
    if scaler.with_mean:
        value = shifted(value, -_numbers(scaler.mean_))
    return scaled(value, 1.0 / _numbers(scaler.scale_)) if scaler.with_std else value


def _min_max(scaler: Any, value: Value) -> Value:
    result = shifted(scaled(value, _numbers(scaler.scale_)), _numbers(scaler.min_))
    return clipped(result, *map(float, scaler.feature_range)) if scaler.clip else result


def _max_abs(scaler: Any, value: Value) -> Value:
    result = scaled(value, 1.0 / _numbers(scaler.scale_))
    return clipped(result, -1.0, 1.0) if getattr(scaler, "clip", False) else result


def _robust(scaler: Any, value: Value) -> Value:
    if scaler.with_centering:
        value = shifted(value, -_numbers(scaler.center_))
    return scaled(value, 1.0 / _numbers(scaler.scale_)) if scaler.with_scaling else value


def _principal(model: Any, value: Value) -> Value:
    centred = value if model.mean_ is None else shifted(value, -_numbers(model.mean_))
    weight = _numbers(model.components_)
    if model.whiten:
        weight = weight / np.sqrt(_numbers(model.explained_variance_))[:, None]
    return by_matrix(centred, weight, 0.0)


def _singular(model: Any, value: Value) -> Value:
    return by_matrix(value, model.components_, 0.0)


def _linear_discriminant(model: Any, value: Value) -> Value:
    if model.solver != "svd":
        return by_matrix(value, _numbers(model.scalings_).T[: model._max_components], 0.0)
    centred = shifted(value, -_numbers(model.xbar_))
    return by_matrix(centred, _numbers(model.scalings_).T[: model._max_components], 0.0)


def _identity(model: Any, value: Value) -> Value:
    if model.func is not None:
        raise ValueError(
            "it has a function of its own, which need not be affine; expected a scaler, or none (func=None): apply the "
            "function to the data before"
        )
    return value


def _imputed(model: Any, value: Value) -> Value:
    """Return what is left of numbers where missing ones are filled: all of them, but for columns that had none."""
    missing = model.missing_values
    if not (isinstance(missing, float) and np.isnan(missing)) or model.add_indicator:
        raise ValueError("it fills other cells than NaN, or tells where; expected missing_values=nan alone")
    return selected(value, places_of(value)[:, ~np.isnan(_numbers(model.statistics_))])


def _selection(model: Any, value: Value) -> Value:
    return selected(value, places_of(value)[:, np.flatnonzero(model.get_support())])


def _columns(model: Any, value: Value) -> Value:
    """Return the results of several transformers, each of its own columns."""
    parts = []
    for name, transformer, columns in model.transformers_:
        chosen = _chosen(model, columns)
        if isinstance(transformer, str) and transformer == "drop":
            continue
        part = selected(value, places_of(value)[:, chosen])
        parts.append(transformed(transformer, part, name))
    return concatenated(parts, 1)


def _chosen(model: Any, columns: Any) -> Any:
    if callable(columns):
        raise ValueError("it chooses columns by a function; expected their numbers or names")
    stated: Any = [columns] if isinstance(columns, str | int) else columns
    names = list(getattr(model, "feature_names_in_", []))
    if not isinstance(stated, slice) and len(stated) and all(isinstance(column, str) for column in stated):
        stated = [names.index(column) for column in stated]
    return np.arange(model.n_features_in_)[stated]


def _union(model: Any, value: Value) -> Value:
    """Return the results of several transformers side by side."""
    weights = model.transformer_weights or {}
    parts = [
        scaled(transformed(part, value, name), np.array(float(weights.get(name, 1.0))))
        for name, part in model.transformer_list
        if not (isinstance(part, str) and part == "drop")
    ]
    return concatenated(parts, 1)


def _chain(model: Any, value: Value) -> Value:
    """Return what the steps of a Pipeline of transformers make."""
    for name, step in model.steps:
        value = transformed(step, value, name)
    return value


# By the names of their classes, which stand in scikit-learn.
TRANSFORMS: dict[str, Transform] = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "PCA": _principal,
    "IncrementalPCA": _principal,
    "TruncatedSVD": _singular,
    "LinearDiscriminantAnalysis": _linear_discriminant,
    "FunctionTransformer": _identity,
    "SimpleImputer": _imputed,
    "ColumnTransformer": _columns,
    "FeatureUnion": _union,
    "Pipeline": _chain,
}

# What a transformer or estimator could override to compute another function than that of its numbers.
METHODS = (
    *("transform", "inverse_transform", "predict", "predict_proba", "decision_function", "get_support", "_transform"),
    *("_predict", "_forward_pass", "_forward_pass_fast", "_decision_function"),
)


def stock_kind(estimator: Any) -> str:
    """Return the name of the class of scikit-learn that an estimator is of; one with methods of its own is refused."""
    kind = next((kind for kind in type(estimator).__mro__ if kind.__module__.startswith("sklearn.")), None)
    if kind is None:
        raise TypeError(f"network holds a {type(estimator).__name__}; expected an estimator of scikit-learn")
    for method in METHODS:
        own, stock = (getattr_static(owner, method, None) for owner in (type(estimator), kind))
        if own is not stock or method in vars(estimator):
            raise ValueError(
                f"the {type(estimator).__name__} has a method {method} of its own; expected that of {kind.__name__}"
            )
    return str(kind.__name__)


def transformed(transformer: Any, value: Value, name: str) -> Value:
    """Return what a transformer makes of a row, an array (1, d).

    Raises
    ------
    ValueError
        A transformer that is not affine, or not fitted; the message names it.
    """
    if transformer is None or (isinstance(transformer, str) and transformer == "passthrough"):
        return value
    kind = stock_kind(transformer)
    selects = hasattr(transformer, "get_support")
    if kind not in TRANSFORMS and not selects:
        raise ValueError(
            f"step {name!r} is a {kind}; expected an affine transformer: {', '.join(TRANSFORMS)}, or a selection of "
            "features"
        )
    try:
        return (_selection if selects else TRANSFORMS[kind])(transformer, value)
    except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"step {name!r} ({kind}) cannot be read: {str(error).splitlines()[0]}") from None


def restored(transformer: Any, value: Value) -> Value:
    """Return what a scaler of targets makes of a scaled target, an array (1, k)."""
    kind = stock_kind(transformer)
    if kind == "StandardScaler":
        value = scaled(value, _numbers(transformer.scale_)) if transformer.with_std else value
        return shifted(value, _numbers(transformer.mean_)) if transformer.with_mean else value
    if kind == "MinMaxScaler":
        return scaled(shifted(value, -_numbers(transformer.min_)), 1.0 / _numbers(transformer.scale_))
    if kind == "MaxAbsScaler":
        return scaled(value, _numbers(transformer.scale_))
    if kind == "RobustScaler":
        value = scaled(value, _numbers(transformer.scale_)) if transformer.with_scaling else value
        return shifted(value, _numbers(transformer.center_)) if transformer.with_centering else value
    if kind == "FunctionTransformer" and transformer.inverse_func is None:
        return value
    raise ValueError(
        f"the targets are transformed by a {kind}; expected StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler"
    )
