"""Functions of torch that reduce axes, and extremes of two arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from verify.reading.graph.piecewise import absolute, largest, maximum, minimum, rows_of
from verify.reading.graph.pooling import averaged, summed
from verify.reading.graph.values import Shape, Value, reshaped, scaled
from verify.reading.torch_modules import arrays


def larger(left: Any, right: Any) -> Value:
    """Return the larger of two arrays, entry by entry."""
    return arrays.checked(maximum(arrays.as_value(left), arrays.as_value(right)), left, right)


def smaller(left: Any, right: Any) -> Value:
    """Return the smaller of two arrays, entry by entry."""
    return arrays.checked(minimum(arrays.as_value(left), arrays.as_value(right)), left, right)


def negated(value: Value) -> Value:
    """Return -x."""
    return scaled(value, np.array(-1.0))


def _axes(value: Value, dim: Any, keepdim: bool) -> tuple[list[int], Shape]:
    stated = range(len(value.shape)) if dim is None else dim if isinstance(dim, list | tuple) else [dim]
    axes = sorted({arrays.axis_of(value, axis) for axis in stated})
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape) if keepdim or axis not in axes)
    return axes, shape


def total(value: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return sums along axes."""
    axes, shape = _axes(value, dim, keepdim)
    return summed(value, rows_of(value, axes)[0], shape)


def mean(value: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return means along axes."""
    axes, shape = _axes(value, dim, keepdim)
    places = rows_of(value, axes)[0]
    return averaged(value, places, np.full(len(places), places.shape[1]), shape)


def amax(value: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return the largest entries along axes."""
    axes, shape = _axes(value, dim, keepdim)
    return reshaped(largest(value, rows_of(value, axes)[0]), shape)


def amin(value: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Return the smallest entries along axes."""
    return negated(amax(negated(value), dim, keepdim))


def highest(value: Value, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest entries; of an axis, in the first place of a pair whose second is not known."""
    if isinstance(dim, Value | Tensor):
        return larger(value, dim)
    return amax(value) if dim is None else (amax(value, dim, keepdim), None)


def lowest(value: Value, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest entries; of an axis, in the first place of a pair whose second is not known."""
    if isinstance(dim, Value | Tensor):
        return smaller(value, dim)
    return amin(value) if dim is None else (amin(value, dim, keepdim), None)


def norm(value: Value, ord: Any = 2, dim: Any = None, keepdim: bool = False, **rest: Any) -> Value:
    """Return the norms that are piecewise linear: sums of magnitudes, or the largest one."""
    if ord in (1, 1.0):
        return total(absolute(value), dim, keepdim)
    if ord == np.inf:
        return amax(absolute(value), dim, keepdim)
    raise ValueError(f"its order is {ord}; expected 1 or inf, which are piecewise linear")


def p_norm(value: Value, p: Any = 2, dim: Any = None, keepdim: bool = False, **rest: Any) -> Value:
    """Return norms as `torch.norm` takes their order."""
    return norm(value, p, dim, keepdim)
