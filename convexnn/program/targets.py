"""Targets: what a loss makes of y, numbers or labels, as float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_floats, as_moderate, as_vector


@dataclass(frozen=True, eq=False)
class Target:
    """The target in the working form of its loss; a single column of numbers counts as a vector.

    Attributes
    ----------
    values : ndarray (n,) or (n, k)
        Numbers for the squared loss, -1 and +1 for the logistic, one-hot rows for the softmax.
    classes : ndarray or None
        The labels, sorted, in the order of -1, +1 or of the outputs; None for numbers.
    """

    values: Floats
    classes: NDArray[Any] | None = None


def encode(y: ArrayLike, loss: str, n_rows: int) -> Target:
    """Return y as the loss of that name takes it; whatever does not fit is one clear line."""
    return _ENCODERS[loss](y, n_rows)


def _numbers(y: ArrayLike, n_rows: int) -> Target:
    values = as_moderate(_columns(y, n_rows) if np.ndim(y) == 2 else as_vector(y, "y", n_rows), "y")
    if not np.ptp(values, axis=0).any():
        raise ValueError(f"y is constant ({values.flat[0]:g}); expected a target that varies")
    return Target(values)


def _columns(y: ArrayLike, n_rows: int) -> Floats:
    values = as_floats(y, "y", 2, f"an array of shape ({n_rows}, k)")
    if values.shape[0] != n_rows or values.shape[1] < 1:
        raise ValueError(f"y has shape {values.shape}; expected ({n_rows}, k), one row per row of X")
    return values[:, 0] if values.shape[1] == 1 else values


def _signs(y: ArrayLike, n_rows: int) -> Target:
    classes, index = _labels(y, n_rows)
    if len(classes) != 2:
        raise ValueError(f"y has {len(classes)} labels; the logistic loss expects exactly 2 (more: loss='softmax')")
    return Target(np.where(index > 0, 1.0, -1.0), classes)


def _one_hot(y: ArrayLike, n_rows: int) -> Target:
    classes, index = _labels(y, n_rows)
    if len(classes) < 2:
        raise ValueError(f"y has one label ({classes[0]}) alone; expected at least 2")
    return Target(np.eye(len(classes))[index], classes)


def _labels(y: ArrayLike, n_rows: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted labels and the position of each row's label among them."""
    expected = f"a vector of shape ({n_rows},), one label per row of X"
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(f"y has shape {labels.shape}; expected {expected}")
    if labels.dtype.kind not in "biufUSO":
        raise TypeError(f"y has dtype {labels.dtype}; expected {expected}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"y holds {labels[~np.isfinite(labels)][0]}; expected {expected}")
    try:
        classes, index = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"y mixes labels that have no order ({error}); expected {expected}") from None
    return classes, index.astype(np.int64)


_ENCODERS: dict[str, Callable[[ArrayLike, int], Target]] = {
    "squared": _numbers,
    "logistic": _signs,
    "softmax": _one_hot,
}
