"""Checks of what a caller hands in: each returns the value in its working form or raises one clear line."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.frames import frame_array, is_frame, object_numbers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


# Entries that are looked at together for what is not finite.
FINITE_ENTRIES = 1 << 20


def as_floats(values: ArrayLike, name: str, ndim: int, expected: str) -> Floats:
    """Return `values` as a finite float64 array of `ndim` dimensions; `expected` completes the error line."""
    if type(values).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{name} is a scipy.sparse matrix; expected {expected} (dense: use {name}.toarray())")
    refuse_masked(values, name, expected)
    if is_frame(values):
        values = frame_array(values, name)
    try:
        # Of a tensor with gradients, or on another device, numpy would know nothing.
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
        array = object_numbers(array) if array.dtype.kind == "O" else array
        if array.dtype.kind not in "biuf":
            raise TypeError(f"its dtype is {array.dtype}")
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{name} cannot be read as real numbers ({error}); expected {expected}") from None
    if array.ndim != ndim:
        hint = f": one row is np.reshape({name}, (1, -1)), one column (-1, 1)" if (array.ndim, ndim) == (1, 2) else ""
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}{hint}")
    _check_finite(array, name, expected)
    return array


def refuse_masked(values: Any, name: str, expected: str) -> None:
    """Raise where an array has masked entries: what stands beneath a mask is no datum."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise TypeError(f"{name} has masked entries; expected {expected} without gaps")


def _check_finite(array: Floats, name: str, expected: str) -> None:
    """Raise where an entry is not finite; some rows at a time, since a memory map may be larger than the memory."""
    step = max(1, FINITE_ENTRIES // max(1, array[:1].size))
    for start in range(0, len(array), step):
        finite = np.isfinite(array[start : start + step])
        if not finite.all():
            first, *rest = (int(i) for i in np.argwhere(~finite)[0])
            where = (start + first, *rest)
            raise ValueError(f"{name} holds {array[where]} at index {where}; expected {expected} of finite numbers")


def as_moderate(array: Floats, name: str) -> Floats:
    """Return `array` if squares of its products fit into float64: its largest size is 0, or between 1e-50 and 1e50."""
    # Without an array of sizes, which takes longer to hold than to make.
    peak = max(0.0, float(array.max(initial=0.0)), -float(array.min(initial=0.0)))
    if peak and not 1e-50 <= peak <= 1e50:
        raise ValueError(f"{name} has entries of size {peak:.3g}; expected at most 1e50, the largest at least 1e-50")
    return array


def as_matrix(values: ArrayLike, name: str, min_rows: int = 1) -> Floats:
    """Return `values` as a finite float64 matrix (n, d) with at least `min_rows` rows and one column."""
    array = as_floats(values, name, 2, "an array of shape (n, d)")
    if array.shape[0] < min_rows or array.shape[1] < 1:
        rows = "row" if min_rows == 1 else "rows"
        raise ValueError(f"{name} has shape {array.shape}; expected at least {min_rows} {rows} and 1 column")
    return array


def as_rows(values: ArrayLike, name: str, n_features: int, owner: str) -> Floats:
    """Return `values` as a finite float64 matrix with `n_features` columns, as many as the `owner` has."""
    array = as_matrix(values, name)
    if array.shape[1] != n_features:
        raise ValueError(f"{name} has {array.shape[1]} features; expected {n_features}, as the {owner}")
    return array


def as_vector(values: ArrayLike, name: str, size: int, what: str = "entry per row of X") -> Floats:
    """Return `values` as a finite float64 vector (size,); `what` says what its entries belong to."""
    expected = f"a vector of shape ({size},), one {what}"
    array = as_floats(values, name, 1, expected)
    if array.size != size:
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
    return array


def as_count(value: Any, name: str, at_least: int = 1) -> int:
    """Return `value` as an int of at least `at_least`; booleans and fractions are refused."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {value!r}; expected a whole number of at least {at_least}")
    if value < at_least:
        raise ValueError(f"{name} is {value}; expected a whole number of at least {at_least}")
    return int(value)


def in_full(value: float) -> str:
    """Return a number as errors show it where others stand beside it: with all of its digits if six do not tell it."""
    brief = f"{value:g}"
    return brief if float(brief) == value else repr(float(value))


def as_flag(value: Any, name: str) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; expected True or False")
    return bool(value)


def as_callback(value: Any, name: str = "callback") -> Any:
    """Return `value` if it can be called, or is None; asked before a run, which would end at its first call."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} is {value!r}; expected a function that is called as the run goes, or None")
    return value


def as_nonnegative(value: Any, name: str) -> float:
    """Return `value` as a finite float of at least 0."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} is {value!r}; expected a number of at least 0")
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is {value}; expected a finite number of at least 0")
    return float(value)


def as_generator(seed: Any, name: str = "seed") -> np.random.Generator:
    """Return the generator given, or a new one from a whole number of at least 0."""
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(as_count(seed, name, at_least=0))


def as_known(value: Any, name: str, known: Iterable[str]) -> str:
    """Return `value` if it is one of the `known` names; the error lists them."""
    names = list(known)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} {value!r} is unknown; expected one of: {', '.join(names)}")
    return value


def as_file(path: Any, name: str) -> Path:
    """Return `path` if it is a file that can be read; else raise OSError (or TypeError) in one line."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} is {path!r}; expected the path of a file")
    try:
        with open(path, "rb"):
            return Path(path)
    except (OSError, ValueError) as error:
        kind = type(error) if isinstance(error, OSError) else OSError
        reason = getattr(error, "strerror", None) or error
        raise kind(f"{name} {os.fspath(path)!r} cannot be read ({reason}); expected the path of a file") from None


def as_path(path: Any, name: str) -> Path:
    """Return the path of a file to be written."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise TypeError(f"{name} is {path!r}; expected the path of a file")
    return Path(path)


# Files of the package `verify` of 2017 on PyPI, which pip puts into the folder of ours; ours have none of these names.
OTHER_VERIFY = tuple(
    f"{name}.py" for name in ("__meta__", "base", "containers", "equality", "logic", "runners", "types")
)


def mixed_files(folder: str | os.PathLike[str]) -> str | None:
    """Return the line that says that the folder of `verify` has files of another package too; None where it has not."""
    found = [name for name in OTHER_VERIFY if Path(folder, name).exists()]
    if not found:
        return None
    cure = "expected ours alone: run pip uninstall verify convexnn, then install convexnn again"
    return f"{os.fspath(folder)} has {found[0]} of the package verify (PyPI, 2017), which is not ours; {cure}"


# The extra of this package that brings another package.
EXTRAS = {
    "cvxpy": "cvxpy",
    "ortools": "ortools",
    "onnx": "onnx",
    "matplotlib": "plots",
    "jinja2": "cli",
    "markdown-it-py": "cli",
    "rich": "cli",
    "typer": "cli",
    "gurobipy": "gurobi",
    "pyscipopt": "scip",
    "distributed": "dask",
    "pyarrow": "parquet",
}


def missing(package: str, purpose: str) -> str:
    """Return the line that says that a package is missing, what for, and how it is installed."""
    named = f"convexnn[{EXTRAS[package]}]" if package in EXTRAS else package
    return f"{purpose} needs the package {package}; install it with: pip install {named}"


def require(module: str, package: str, purpose: str) -> ModuleType:
    """Import `module` where it is used; if it is missing, say which package brings it and what for."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.split(".")[0]):
            raise
        raise ImportError(missing(package, purpose)) from error
