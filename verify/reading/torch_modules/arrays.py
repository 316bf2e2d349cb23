"""Functions of torch that move entries: parts, copies, orders of axes, padding, nearest entries."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Ints
from verify.reading.graph.limits import MOST_PLACES, as_size
from verify.reading.graph.values import (
    Shape,
    Value,
    concatenated,
    constant_value,
    expanded,
    places_of,
    reshaped,
    selected,
)
from verify.reading.torch_modules.parts import finite


def as_value(operand: Any) -> Value:
    """Return a tensor or number as a value; a value as it is."""
    if isinstance(operand, Value):
        return operand
    return constant_value(finite(operand) if isinstance(operand, Tensor) else np.asarray(float(operand)))


def checked(result: Value, *operands: Any) -> Value:
    """Refuse a result in which the rows of a batch are mixed with others."""
    shapes = [operand.shape for operand in operands if isinstance(operand, Value)]
    if any(len(result.shape) > len(shape) or (shape and result.shape[0] > shape[0]) for shape in shapes[:1]):
        raise ValueError(f"it makes shape {result.shape} of {shapes[0]}; expected broadcasting that keeps the batch")
    return result


def taken(value: Value, places: Ints) -> Value:
    """Return the entries at some places, a mere change of shape where their order stays."""
    if not places.size:
        raise ValueError(f"it leaves nothing of an array of shape {value.shape}; expected one entry at least")
    same = places.size == value.size and bool((np.diff(places.ravel()) == 1).all())
    return reshaped(value, places.shape) if same else selected(value, places)


def shaped(value: Value, *sizes: Any, shape: Any = (), size: Any = ()) -> Value:
    """Return an array of another shape, as `view` and `reshape` take it."""
    sizes = sizes or tuple(shape or size)
    asked = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes
    # An array of one byte that stands for all entries: only the shapes matter.
    found = np.broadcast_to(np.False_, value.size).reshape([int(each) for each in asked]).shape
    return reshaped(value, found)


def axis_of(value: Value, axis: Any) -> int:
    """Return an axis counted from the first."""
    count = len(value.shape)
    if not -count <= int(axis) < count:
        raise ValueError(f"its axis {axis} is out of range for an array of shape {value.shape}")
    return int(axis) % count


def permuted(value: Value, *axes: Any, dims: Any = ()) -> Value:
    """Return an array with its axes in another order."""
    axes = axes or tuple(dims)
    order = axes[0] if len(axes) == 1 and isinstance(axes[0], list | tuple) else axes
    return taken(value, places_of(value).transpose([axis_of(value, axis) for axis in order]))


def swapped(value: Value, dim0: Any, dim1: Any) -> Value:
    """Return an array with two axes exchanged."""
    return taken(value, places_of(value).swapaxes(axis_of(value, dim0), axis_of(value, dim1)))


def turned(value: Value) -> Value:
    """Return a matrix with its axes exchanged."""
    return taken(value, places_of(value).T)


def squeezed(value: Value, dim: Any = None) -> Value:
    """Return an array without axes of one; others stay."""
    asked = range(len(value.shape)) if dim is None else dim if isinstance(dim, list | tuple) else [dim]
    axes = {axis_of(value, one) for one in asked}
    return reshaped(value, tuple(size for place, size in enumerate(value.shape) if place not in axes or size != 1))


def unsqueezed(value: Value, dim: Any) -> Value:
    """Return an array with an axis of one more."""
    return reshaped(value, np.expand_dims(np.broadcast_to(np.False_, value.shape), int(dim)).shape)


def part(value: Value, key: Any) -> Value:
    """Return the entries that an index of whole numbers, tensors of them or of bool, slices, None and ... leaves."""
    keys = [_constant_key(one) for one in (key if isinstance(key, tuple) else (key,))]
    if not all(one is None or one is ... or isinstance(one, int | slice | list | np.ndarray) for one in keys):
        raise ValueError(f"its index is {str(key)[:60]}; expected whole numbers, slices, None, ... or constant tensors")
    return taken(value, np.asarray(places_of(value)[tuple(keys)]))


def _constant_key(key: Any) -> Any:
    """Return a tensor of places, or of what is kept, as NumPy has it; another part of an index as it is."""
    whole = isinstance(key, Tensor) and key.dtype in (torch.bool, torch.int32, torch.int64)
    return key.cpu().numpy() if whole else key


def joined(tensors: Any, dim: Any = 0) -> Value:
    """Return arrays joined along an axis."""
    return concatenated([as_value(one) for one in tensors], axis_of(as_value(tensors[0]), dim))


def stacked(tensors: Any, dim: Any = 0) -> Value:
    """Return arrays joined along a new axis."""
    return joined([unsqueezed(as_value(one), dim) for one in tensors], int(dim))


def split(value: Value, split_size: Any, dim: Any = 0) -> list[Value]:
    """Return parts of an array of a size, or of several sizes, along an axis."""
    where, sizes = axis_of(value, dim), split_size
    total = value.shape[where]
    stated = (
        sizes if isinstance(sizes, list | tuple) else [min(sizes, total - at) for at in range(0, total, int(sizes))]
    )
    return [taken(value, part) for part in np.split(places_of(value), np.cumsum(stated)[:-1], axis=where)]


def chunked(value: Value, chunks: int, dim: Any = 0) -> list[Value]:
    """Return an array in at most so many equal parts."""
    return split(value, -(-value.shape[axis_of(value, dim)] // int(chunks)), dim)


def narrowed(value: Value, dim: Any, start: Any, length: Any) -> Value:
    """Return a span of an array along an axis."""
    return taken(value, np.take(places_of(value), np.arange(int(start), int(start) + int(length)), axis_of(value, dim)))


def widened(value: Value, *sizes: Any) -> Value:
    """Return an array broadcast to a shape, -1 for sizes that stay."""
    asked = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes
    before = (1,) * (len(asked) - len(value.shape)) + value.shape
    shape = tuple(size if int(wanted) == -1 else int(wanted) for wanted, size in zip(asked, before, strict=True))
    return expanded(value, np.broadcast_shapes(value.shape, shape))


def repeated(value: Value, *counts: Any) -> Value:
    """Return copies of an array side by side."""
    asked = [
        int(count) for count in (counts[0] if len(counts) == 1 and isinstance(counts[0], list | tuple) else counts)
    ]
    as_size(value.size * prod(asked), "its result", MOST_PLACES)
    return taken(value, np.tile(places_of(value), asked))


def padded(value: Value, pads: Any, mode: str = "constant", fill: Any = None) -> Value:
    """Return an array with padding, stated from the last axis backwards."""
    stated = [int(pad) for pad in ((pads,) * 2 * (len(value.shape) - 2) if isinstance(pads, int) else pads)]
    if mode not in ("constant", "reflect", "replicate", "circular") or len(stated) % 2:
        raise ValueError(f"it has mode {mode!r}; expected constant, reflect, replicate or circular")
    widths = [(0, 0)] * (len(value.shape) - len(stated) // 2)
    widths += list(zip(stated[::2], stated[1::2], strict=True))[::-1]
    if min(stated, default=0) < 0:
        if mode != "constant":
            raise ValueError(f"it pads by {stated} in mode {mode!r}; expected no negative numbers there")
        value, widths = cropped(value, widths)
    total = prod(size + sum(width) for size, width in zip(value.shape, widths, strict=True))
    as_size(total, "its result", MOST_PLACES)
    if mode == "constant":
        return selected(value, np.pad(places_of(value), widths, constant_values=-1), float(fill or 0.0))
    modes: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return selected(value, np.pad(places_of(value), widths, mode=modes[mode]))


def cropped(value: Value, widths: list[tuple[int, int]]) -> tuple[Value, list[tuple[int, int]]]:
    """Return an array without what negative widths cut off, and the widths that are left to be padded."""
    kept = tuple(
        slice(max(-before, 0), max(size - max(-after, 0), 0))
        for (before, after), size in zip(widths, value.shape, strict=True)
    )
    return taken(value, places_of(value)[kept]), [(max(before, 0), max(after, 0)) for before, after in widths]


def resized(value: Value, size: Any, factor: Any, mode: str) -> Value:
    """Return an array of which each entry is its nearest one on another grid, as mode `nearest` of torch has it."""
    if mode != "nearest":
        raise ValueError(f"its mode is {mode!r}; expected 'nearest'")
    grid: Shape = value.shape[2:]
    places = places_of(value)
    stated = factor if size is None else size
    each = list(stated) if isinstance(stated, list | tuple) else [stated] * len(grid)
    for axis, (before, asked) in enumerate(zip(grid, each, strict=True), start=2):
        after = int(np.floor(before * asked)) if size is None else int(asked)
        scale = 1.0 / asked if size is None else before / after
        as_size(places.size // before * after, "its result", MOST_PLACES)
        places = np.take(places, np.minimum(np.floor(np.arange(after) * scale).astype(int), before - 1), axis=axis)
    return taken(value, places)


def shuffled(value: Value, factor: int) -> Value:
    """Return channels laid out as blocks of the grid."""
    rows, channels, height, width = value.shape
    places = places_of(value).reshape(rows, channels // factor**2, factor, factor, height, width)
    return taken(value, places.transpose(0, 1, 4, 2, 5, 3).reshape(rows, -1, height * factor, width * factor))
