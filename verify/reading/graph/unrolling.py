"""Layers that act on arrays, unrolled to sparse matrices that act on their entries in row-major order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats
from verify.reading.graph.affine import Affine
from verify.reading.graph.limits import MOST_PLACES, as_size

Shape = tuple[int, ...]


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


def convolution(
    kernel: Floats, bias: Floats | None, shape: Shape, window: Window, groups: int = 1
) -> tuple[Affine, Shape]:
    """Return a convolution (cross-correlation, as all libraries have it) as a sparse matrix, and its output's shape.

    Parameters
    ----------
    kernel : ndarray (out, in / groups, k_1, ..., k_a)
        Its zeros are not stored.
    bias : ndarray (out,) or None
        Added to each output channel.
    shape : tuple (in, s_1, ..., s_a)
        Channels and grid of the array it acts on.
    window : Window
        Of a axes.
    groups : int
        Output channels of group g see the input channels of group g alone.

    Returns
    -------
    Affine, tuple (out, t_1, ..., t_a)
        Its matrix has at most out * t * (in / groups) * k stored entries.

    Raises
    ------
    ValueError
        Sizes that do not fit, or a kernel entry that is not finite.

    Notes
    -----
    y[o, t] = bias[o] + sum over c, q of kernel[o, c, q] x[c, t stride + q dilation - before], with zeros outside. Every
    entry of the matrix is an entry of the kernel: nothing is rounded.
    """
    _check_kernel(kernel, shape, window, groups)
    places, inside = _places(kernel.shape[2:], shape[1:], window)
    weight = _csr(kernel, places, inside, groups, shape)
    shift = np.zeros(len(kernel)) if bias is None else bias
    if shift.shape != (len(kernel),):
        raise ValueError(f"it has a bias of shape {shift.shape}; expected ({len(kernel)},)")
    outputs = tuple(_n_outputs(axis) for axis in _axes(kernel.shape[2:], shape[1:], window))
    return Affine(weight, np.repeat(shift, places.shape[1])), (len(kernel), *outputs)


def _check_kernel(kernel: Floats, shape: Shape, window: Window, groups: int) -> None:
    if len(shape) < 2 or kernel.ndim != len(shape) + 1:
        raise ValueError(f"it has a kernel of shape {kernel.shape} for an array of shape {shape}")
    if groups < 1 or len(kernel) % groups or kernel.shape[1] * groups != shape[0]:
        raise ValueError(f"it takes {kernel.shape[1] * groups} channels in {groups} groups; {shape[0]} come in")
    if not np.isfinite(kernel).all():
        raise ValueError("it has a weight or bias that is not finite")
    if min(*window.strides, *window.dilations) < 1 or min(*window.before, *window.after) < 0:
        raise ValueError(f"it has {window}; expected strides and dilations of at least 1, padding of at least 0")
    for axis in _axes(kernel.shape[2:], shape[1:], window):
        if _n_outputs(axis) < 1:
            raise ValueError(f"it has a kernel of shape {kernel.shape}, too large for an array of shape {shape}")
    n_outputs = prod(_n_outputs(axis) for axis in _axes(kernel.shape[2:], shape[1:], window))
    as_size(n_outputs * prod(kernel.shape[2:]), "its map of places", MOST_PLACES)
    as_size(n_outputs * (int(np.count_nonzero(kernel)) + len(kernel)), "its matrix")


# Kernel entries, grid size, stride, dilation, zeros before and after of one axis.
_Axis = tuple[int, int, int, int, int, int]


def _axes(kernel: Shape, grid: Shape, window: Window) -> list[_Axis]:
    return list(zip(kernel, grid, window.strides, window.dilations, window.before, window.after, strict=True))


def _n_outputs(axis: _Axis) -> int:
    k, size, stride, dilation, before, after = axis
    return (size + before + after - dilation * (k - 1) - 1) // stride + 1


def _places(kernel: Shape, grid: Shape, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for kernel entry q and output t (both flat) the place in the grid, and whether it lies inside: (q, t)."""
    places, inside = np.zeros((1, 1), dtype=np.int64), np.ones((1, 1), dtype=bool)
    for axis in _axes(kernel, grid, window):
        k, size, stride, dilation, before, _ = axis
        place = np.arange(_n_outputs(axis)) * stride + np.arange(k)[:, None] * dilation - before
        shape = (len(places) * k, places.shape[1] * place.shape[1])
        valid = (place >= 0) & (place < size)
        places = (places[:, None, :, None] * size + place[None, :, None, :]).reshape(shape)
        inside = (inside[:, None, :, None] & valid[None, :, None, :]).reshape(shape)
    return places, inside


def _csr(
    kernel: Floats, places: NDArray[np.int64], inside: NDArray[np.bool_], groups: int, shape: Shape
) -> sp.csr_matrix:
    """Return the matrix, written row by row in compressed form, one output channel at a time."""
    n_places = prod(shape[1:])
    data, indices, counts = [], [], []
    for channel, entries in enumerate(kernel.reshape(*kernel.shape[:2], -1)):
        source, offset = np.nonzero(entries)
        first = channel // (len(kernel) // groups) * kernel.shape[1]
        kept = inside[offset].T
        indices.append(((source + first)[:, None] * n_places + places[offset]).T[kept])
        data.append(np.broadcast_to(entries[source, offset], kept.shape)[kept])
        counts.append(kept.sum(axis=1))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    rows = (len(kernel) * places.shape[1], shape[0] * n_places)
    return sp.csr_matrix((np.concatenate(data), np.concatenate(indices), indptr), shape=rows)


def matrix_on_last(matrix: ArrayLike, shape: Shape) -> tuple[sp.csr_matrix, Shape]:
    """Return y = x matrix^T over the last axis of an array, matrix (out, in), as a sparse matrix, and y's shape."""
    weight = sp.csr_matrix(matrix)
    if not shape or weight.shape[1] != shape[-1]:
        raise ValueError(f"it takes {weight.shape[1]} entries; {shape[-1] if shape else 1} come in")
    _check_copies(weight, prod(shape[:-1]))
    return _kron(sp.identity(prod(shape[:-1])), weight), (*shape[:-1], weight.shape[0])


def matrix_on_rows(matrix: ArrayLike, shape: Shape) -> tuple[sp.csr_matrix, Shape]:
    """Return y = matrix x for the matrices x in the last two axes of an array, as a sparse matrix, and y's shape."""
    weight = sp.csr_matrix(matrix)
    if len(shape) < 2 or weight.shape[1] != shape[-2]:
        raise ValueError(f"it takes {weight.shape[1]} rows; an array of shape {shape} comes in")
    _check_copies(weight, prod(shape[:-2]) * shape[-1])
    inner = _kron(weight, sp.identity(shape[-1]))
    return _kron(sp.identity(prod(shape[:-2])), inner), (*shape[:-2], weight.shape[0], shape[-1])


def _check_copies(weight: sp.csr_matrix, count: int) -> None:
    """Refuse a matrix of which so many copies would be too much; one alone is as large as what was given."""
    if count > 1:
        as_size(count * (int(weight.nnz) + weight.shape[0]), "its matrix")


def _kron(left: sp.csr_matrix, right: sp.csr_matrix) -> sp.csr_matrix:
    # A factor (1, 1) is always the identity here; scipy's kron would copy the other one into blocks.
    for one, other in ((left, right), (right, left)):
        if one.shape == (1, 1) and one.toarray()[0, 0] == 1.0:
            return sp.csr_matrix(other)
    return sp.csr_matrix(sp.kron(left, right, format="csr"))


def normalisation(statistics: Sequence[Floats], epsilon: float, shape: Shape) -> Affine:
    """Return (x - mean) / sqrt(variance + epsilon) * scale + shift over the first axis of an array.

    Parameters
    ----------
    statistics : sequence of ndarray (c,)
        scale, shift, mean, variance of each channel.
    epsilon : float
        Added to the variance.
    shape : tuple (c, ...)
        Of the array.

    Raises
    ------
    ValueError
        Another number of channels, or a result that is not finite.

    Notes
    -----
    Slope and shift of a channel are rounded to float64, as is every product with them.
    """
    if not shape or any(entry.shape != (shape[0],) for entry in statistics):
        raise ValueError(f"it normalises {statistics[0].size} channels; an array of shape {shape} comes in")
    scale, shift, mean, variance = statistics
    with np.errstate(all="ignore"):
        slope = scale / np.sqrt(variance + epsilon)
        offset = shift - mean * slope
    if not np.isfinite(slope).all():
        raise ValueError("it has a scale or variance from which no finite slope follows")
    size = prod(shape[1:])
    return Affine(sp.csr_matrix(sp.diags(np.repeat(slope, size))), np.repeat(offset, size))


def transposition(shape: Shape, axes: Sequence[int]) -> Affine:
    """Return the exchange of axes as a permutation of the entries."""
    places = np.arange(prod(shape)).reshape(shape).transpose(axes).ravel()
    return Affine(sp.csr_matrix(sp.identity(len(places), format="csr")[places]), np.zeros(len(places)))
