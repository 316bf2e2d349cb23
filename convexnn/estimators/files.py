"""Files of estimators: a network's file with what the estimator knows beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from convexnn.checks import as_file
from convexnn.estimators.monotonic import has_names
from convexnn.network import SparseReLUNetwork
from convexnn.network_files import stored, stored_arrays, write_arrays

FORMAT = "convexnn-estimator-1"

E = TypeVar("E")


def write_estimator(estimator: Any, path: str | os.PathLike[str]) -> Path:
    """Write a fitted estimator; its file is that of its network with more arrays in it."""
    check_is_fitted(estimator)
    parameters = {name: _plain(value) for name, value in estimator.get_params(deep=False).items()}
    about = {"format": FORMAT, "kind": type(estimator).__name__, "parameters": parameters}
    arrays = stored(estimator.network_) | {"estimator": np.array(json.dumps(about))}
    if hasattr(estimator, "classes_"):
        arrays["classes"] = _texts(estimator.classes_, "class")
        arrays["classes_are_objects"] = np.array(estimator.classes_.dtype == object)
    if hasattr(estimator, "feature_names_in_"):
        arrays["feature_names"] = _texts(estimator.feature_names_in_, "feature name")
    if hasattr(estimator, "feature_importances_"):
        arrays["feature_importances"] = estimator.feature_importances_
    if hasattr(estimator, "columns_"):
        arrays["columns"] = np.array(json.dumps(estimator.columns_))
    return write_arrays(path, arrays)


def estimator_kind(path: str | os.PathLike[str]) -> str:
    """Return the name of the class of the estimator in a file; see :func:`read_estimator` for errors."""
    return str(_about(_read(path), path)["kind"])


def read_estimator(kind: type[E], path: str | os.PathLike[str]) -> E:
    """Return the estimator of that kind that :func:`write_estimator` wrote."""
    arrays = _read(path)
    about = _about(arrays, path)
    if about["kind"] != kind.__name__:
        raise ValueError(f"{os.fspath(path)} holds a {about['kind']}; expected a {kind.__name__}")
    network = SparseReLUNetwork.load(path)
    try:
        estimator: Any = kind(**about["parameters"])
        estimator.network_, estimator.n_features_in_ = network, network.n_inputs
        if "classes" in arrays:
            objects = bool(arrays["classes_are_objects"])
            classes = _of_size(arrays, "classes", max(network.n_outputs, 2))
            estimator.classes_ = classes.astype(object) if objects else classes
        if "feature_names" in arrays:
            estimator.feature_names_in_ = _of_size(arrays, "feature_names", network.n_inputs).astype(object)
        if "feature_importances" in arrays:
            estimator.feature_importances_ = _of_size(arrays, "feature_importances", network.n_inputs)
        if "columns" in arrays:
            estimator.columns_ = json.loads(str(arrays["columns"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} is not an estimator saved by convexnn ({error})") from None
    return estimator


def _read(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    as_file(path, "path")
    try:
        with stored_arrays(path) as arrays:
            return dict(arrays)
    except Exception as error:
        # A damaged file fails in many ways; all of them mean the same.
        raise ValueError(f"{os.fspath(path)} is not an estimator saved by convexnn ({error})") from None


def _about(arrays: dict[str, NDArray[Any]], path: str | os.PathLike[str]) -> dict[str, Any]:
    if "estimator" not in arrays:
        held = "a network alone" if "n_layers" in arrays else "something else"
        raise ValueError(f"{os.fspath(path)} holds {held}; expected an estimator, written by its save")
    try:
        about = json.loads(str(arrays["estimator"]))
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        about = {}
    if not isinstance(about.get("parameters"), dict) or not isinstance(about.get("kind"), str):
        raise ValueError(f"{os.fspath(path)} is not an estimator saved by this version of convexnn")
    return dict(about)


def _of_size(arrays: dict[str, NDArray[Any]], name: str, size: int) -> NDArray[Any]:
    """Return an array of a file, which must be a vector of that size."""
    if arrays[name].shape != (size,):
        raise ValueError(f"{name} has shape {arrays[name].shape}; expected ({size},)")
    return arrays[name]


def _plain(value: Any) -> Any:
    """Return a parameter as JSON takes it; what JSON has no words for, such as a random generator, is None."""
    plain = dict(value) if has_names(value) else value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list | tuple):
        return [_plain(entry) for entry in plain]
    if isinstance(plain, dict):
        has_texts = all(isinstance(name, str) for name in plain)
        return {name: _plain(entry) for name, entry in plain.items()} if has_texts else None
    return plain if isinstance(plain, bool | int | float | str) else None


def _texts(values: NDArray[Any], what: str) -> NDArray[Any]:
    """Return values as an array that needs no pickle."""
    if values.dtype != object:
        return values
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{what} {value!r} is neither text nor a number; an estimator with it cannot be saved")
    return values.astype(str)
