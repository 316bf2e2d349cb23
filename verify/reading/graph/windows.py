"""Windows: how kernels and pools move over a grid, and what is made of the entries that they see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Ints
from verify.reading.graph.limits import MOST_PLACES, as_size
from verify.reading.graph.values import Shape


@dataclass(frozen=True)
class Window:
    """How a kernel moves over a grid with a axes, each field of length a; all at least 1, padding at least 0.

    Attributes
    ----------
    strides, dilations : sequence of int
        Steps between outputs, and between the entries of the kernel.
    before, after : sequence of int
        Zeros added at the two ends of each axis.
    """

    strides: Sequence[int]
    dilations: Sequence[int]
    before: Sequence[int]
    after: Sequence[int]


def same_padding(grid: Shape, kernel: Shape, strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Return the zeros that each axis needs for ceil(size / stride) outputs."""
    return [
        max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        for size, k, stride, dilation in zip(grid, kernel, strides, dilations, strict=True)
    ]


# Kernel entries, grid size, stride, dilation, zeros before and after of one axis.
Axis = tuple[int, int, int, int, int, int]


def axes_of(kernel: Shape, grid: Shape, window: Window) -> list[Axis]:
    """Return the axes of a window, each with all that belongs to it."""
    return list(zip(kernel, grid, window.strides, window.dilations, window.before, window.after, strict=True))


def n_outputs(axis: Axis) -> int:
    """Return how many places the kernel takes along an axis."""
    k, size, stride, dilation, before, after = axis
    return (size + before + after - dilation * (k - 1) - 1) // stride + 1


def places_of(kernel: Shape, grid: Shape, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for kernel entry q and output t (both flat) the place in the grid, and whether it lies inside: (q, t)."""
    places, inside = np.zeros((1, 1), dtype=np.int64), np.ones((1, 1), dtype=bool)
    for axis in axes_of(kernel, grid, window):
        k, size, stride, dilation, before, _ = axis
        place = np.arange(n_outputs(axis)) * stride + np.arange(k)[:, None] * dilation - before
        shape = (len(places) * k, places.shape[1] * place.shape[1])
        valid = (place >= 0) & (place < size)
        places = (places[:, None, :, None] * size + place[None, :, None, :]).reshape(shape)
        inside = (inside[:, None, :, None] & valid[None, :, None, :]).reshape(shape)
    return places, inside


def pool_places(shape: Shape, kernel: Shape, window: Window, ceil: bool = False) -> tuple[Ints, Ints, Shape]:
    """Return which entries of an array the windows of a pool see.

    Parameters
    ----------
    shape : tuple (channels, s_1, ..., s_a)
        Of the array; each channel has windows of its own.
    kernel : tuple (k_1, ..., k_a)
        Sizes of a window.
    window : Window
        How it moves.
    ceil : bool
        Whether a last window stays that begins within the array, or its padding before, and ends outside.

    Returns
    -------
    ndarray (n, k), ndarray (n,), tuple (channels, t_1, ..., t_a)
        Flat places that each window sees, -1 for what lies outside; how many of its entries lie in the array or its
        padding; the shape of the windows.
    """
    if min(*window.strides, *window.dilations, *kernel) < 1 or min(*window.before, *window.after) < 0:
        raise ValueError(f"it has {window}; expected strides and dilations of at least 1, padding of at least 0")
    # A pool is an axis by axis matter: rows that are added for the last window lie behind the padding.
    axes = [_with_last(axis) if ceil else (axis, 0) for axis in axes_of(kernel, shape[1:], window)]
    counts = [n_outputs(axis) for axis, _ in axes]
    if min(counts) < 1:
        raise ValueError(f"it has a window of shape {kernel}, too large for an array of shape {shape}")
    as_size(shape[0] * prod(counts) * prod(kernel), "its map of places", MOST_PLACES)
    wide = Window(window.strides, window.dilations, window.before, [axis[5] for axis, _ in axes])
    places, inside = places_of(kernel, shape[1:], wide)
    padded = tuple(axis[1] + axis[4] + axis[5] - extra for axis, extra in axes)
    _, known = places_of(
        kernel, padded, Window(window.strides, window.dilations, [0] * len(axes), [e for _, e in axes])
    )
    seen = np.where(inside, places, -1).T
    offsets = np.arange(shape[0])[:, None, None] * prod(shape[1:])
    rows = np.where(seen >= 0, seen + offsets, -1).reshape(-1, seen.shape[1])
    return rows, np.tile(known.sum(axis=0), shape[0]), (shape[0], *counts)


def _with_last(axis: Axis) -> tuple[Axis, int]:
    """Return an axis with as many rows behind its padding as a last window needs, and their number."""
    k, size, stride, dilation, before, after = axis
    rest = size + before + after - dilation * (k - 1) - 1
    count = -(-rest // stride) + 1
    if (count - 1) * stride >= size + before:
        count -= 1
    extra = max((count - 1) * stride - rest, 0)
    return (k, size, stride, dilation, before, after + extra), extra


def mean_weights(places: Ints, counts: Ints, size: int) -> sp.csr_matrix:
    """Return the matrix (n, size) of the sums over places (n, k), -1 for none, each divided by its count (n,)."""
    inside = places >= 0
    data = np.broadcast_to((1.0 / counts)[:, None], places.shape)[inside]
    indptr = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    return sp.csr_matrix((data, places[inside], indptr), shape=(len(places), size))
