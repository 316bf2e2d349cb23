"""What the rules of torch share: tensors as arrays, sizes an axis, the functions that may stand at the end."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from verify.reading.graph.affine import Affine
from verify.reading.graph.unrolling import convolution, matrix_on_last, normalisation, transposed_convolution
from verify.reading.graph.values import Shape, Value, mapped, reshaped
from verify.reading.graph.windows import Window, same_padding


@dataclass(frozen=True, eq=False)
class Final:
    """What a softmax, sigmoid or tanh makes of a value; nothing but a change of shape may follow."""

    value: Value
    kind: str


def finite(parameter: Tensor) -> Floats:
    """Return a tensor as finite float64."""
    values = parameter.detach()
    dense = values if values.layout == torch.strided else values.to_dense()
    array = dense.double().cpu().numpy()
    if not np.isfinite(array).all():
        raise ValueError("it has a weight or bias that is not finite")
    return array


def sizes_of(sizes: Any, count: int) -> list[int]:
    """Return a size for each axis, where one may be stated for all."""
    stated = list(sizes) if isinstance(sizes, list | tuple) else [sizes] * count
    stated = stated * count if len(stated) == 1 else stated
    if len(stated) != count:
        raise ValueError(f"it states {len(stated)} sizes; expected {count}, one an axis")
    return [int(size) for size in stated]


def linear(value: Value, weight: Floats, bias: Floats | None) -> Value:
    """Return x weight^T + bias over the last axis."""
    matrix, shape = matrix_on_last(weight, value.shape)
    shift = np.zeros(len(weight)) if bias is None else bias
    return mapped(value, Affine(matrix, np.tile(shift, prod(value.shape[:-1]))), shape)


def convolved(
    value: Value, kernel: Floats, bias: Floats | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Value:
    """Return a convolution over the axes behind the batch and the channels."""
    shape, count = value.shape[1:], kernel.ndim - 2
    strides, dilations = sizes_of(stride, count), sizes_of(dilation, count)
    if isinstance(padding, str):
        fits = padding == "same" and len(shape) == count + 1
        zeros = same_padding(shape[1:], kernel.shape[2:], strides, dilations) if fits else [0] * count
        before = [zero // 2 for zero in zeros]
        window = Window(strides, dilations, before, [zero - less for zero, less in zip(zeros, before, strict=True)])
    else:
        pads = sizes_of(padding, count)
        window = Window(strides, dilations, pads, pads)
    step, result = convolution(kernel, bias, shape, window, groups)
    return mapped(value, step, (1, *result))


def convolved_back(
    value: Value, kernel: Floats, bias: Floats | None, stride: Any, padding: Any, more: Any, groups: int, dilation: Any
) -> Value:
    """Return a transposed convolution."""
    shape, count = value.shape[1:], kernel.ndim - 2
    pads = sizes_of(padding, count)
    window = Window(sizes_of(stride, count), sizes_of(dilation, count), pads, pads)
    step, result = transposed_convolution(kernel, bias, shape, window, sizes_of(more, count), groups)
    return mapped(value, step, (1, *result))


def normalised(value: Value, mean: Any, variance: Any, scale: Any, shift: Any, epsilon: float) -> Value:
    """Return batch norm by statistics that are kept."""
    if mean is None or variance is None:
        raise ValueError("it keeps no running statistics, so that its rows depend on each other")
    means = finite(mean)
    slope = np.ones(len(means)) if scale is None else finite(scale)
    offset = np.zeros(len(means)) if shift is None else finite(shift)
    return mapped(value, normalisation((slope, offset, means, finite(variance)), epsilon, value.shape[1:]), value.shape)


def flattened(value: Value, first: int, last: int) -> Value:
    """Return an array with the axes from first to last joined; the first of all is the batch."""
    count = len(value.shape)
    begin, end = (axis + count if axis < 0 else axis for axis in (first, last))
    if not 1 <= begin <= end < count:
        raise ValueError(f"it flattens axes {first} to {last} of {count}; the first is the batch")
    shape = value.shape
    return reshaped(value, (*shape[:begin], prod(shape[begin : end + 1]), *shape[end + 1 :]))


def unflattened(value: Value, dim: Any, sizes: Any) -> Value:
    """Return an array with an axis cut into several."""
    count, shape, asked = len(value.shape), value.shape, tuple(int(size) for size in sizes)
    where = int(dim) + count if int(dim) < 0 else int(dim)
    if 1 <= where < count and asked.count(-1) == 1:
        known = prod(size for size in asked if size != -1)
        asked = tuple(shape[where] // max(known, 1) if size == -1 else size for size in asked)
    if not 1 <= where < count or prod(asked) != shape[where]:
        raise ValueError(f"it unflattens axis {dim} to {tuple(sizes)}; rows of shape {shape[1:]} come in")
    return reshaped(value, (*shape[:where], *asked, *shape[where + 1 :]))


def final_of(value: Value, kind: str, axis: int | None) -> Final:
    """Return a function of all outputs of a row."""
    if axis is not None:
        if not -len(value.shape) <= axis < len(value.shape):
            raise ValueError(f"its axis {axis} is out of range for rows of shape {value.shape[1:]}")
        if value.shape[axis] != value.size:
            raise ValueError(f"it acts on {value.shape[axis]} of {value.size} entries at a time; expected all outputs")
    elif kind not in ("sigmoid", "tanh"):
        return final_of(value, kind, 0 if len(value.shape) in (1, 3, 4) else 1)
    return Final(value, kind)


def pool_window(value: Value, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Shape, Window]:
    """Return the window of a pool over the axes behind the batch and the channels."""
    count = len(value.shape) - 2
    if count < 1:
        raise ValueError(f"rows of shape {value.shape[1:]} come in; expected channels of a grid")
    sizes = tuple(sizes_of(kernel, count))
    strides = list(sizes) if stride is None or stride == [] else sizes_of(stride, count)
    pads = sizes_of(padding, count)
    return sizes, Window(strides, sizes_of(dilation, count), pads, pads)
