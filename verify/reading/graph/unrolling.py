"""Layers that act on arrays, unrolled to sparse matrices that act on their entries in row-major order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats
from verify.reading.graph.affine import Affine
from verify.reading.graph.limits import MOST_PLACES, as_size
from verify.reading.graph.values import Shape
from verify.reading.graph.windows import Window, axes_of, n_outputs, places_of


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
    places, inside = places_of(kernel.shape[2:], shape[1:], window)
    weight = _csr(kernel, places, inside, groups, shape)
    shift = np.zeros(len(kernel)) if bias is None else bias
    if shift.shape != (len(kernel),):
        raise ValueError(f"it has a bias of shape {shift.shape}; expected ({len(kernel)},)")
    outputs = tuple(n_outputs(axis) for axis in axes_of(kernel.shape[2:], shape[1:], window))
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
    for axis in axes_of(kernel.shape[2:], shape[1:], window):
        if n_outputs(axis) < 1:
            raise ValueError(f"it has a kernel of shape {kernel.shape}, too large for an array of shape {shape}")
    count = prod(n_outputs(axis) for axis in axes_of(kernel.shape[2:], shape[1:], window))
    as_size(count * prod(kernel.shape[2:]), "its map of places", MOST_PLACES)
    as_size(count * (int(np.count_nonzero(kernel)) + len(kernel)), "its matrix")


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


def transposed_convolution(
    kernel: Floats, bias: Floats | None, shape: Shape, window: Window, more: Sequence[int], groups: int = 1
) -> tuple[Affine, Shape]:
    """Return a transposed convolution as a sparse matrix, that of a convolution turned, and its output's shape.

    Parameters
    ----------
    kernel : ndarray (in, out / groups, k_1, ..., k_a)
        Its zeros are not stored.
    bias : ndarray (out,) or None
        Added to each output channel.
    shape : tuple (in, s_1, ..., s_a)
        Channels and grid of the array it acts on.
    window : Window
        Of the convolution that it turns: its padding is cut off here.
    more : sequence of int
        Rows that are added at the end of each axis, less than a stride.
    groups : int
        As of a convolution.

    Raises
    ------
    ValueError
        Sizes that do not fit, or a kernel entry that is not finite.
    """
    grid = tuple(
        (size - 1) * stride + dilation * (k - 1) + 1 + extra - before - after
        for (k, size, stride, dilation, before, after), extra in zip(
            axes_of(kernel.shape[2:], shape[1:], window), more, strict=True
        )
    )
    if min(grid) < 1 or len(kernel) != shape[0]:
        raise ValueError(f"it has a kernel of shape {kernel.shape} for an array of shape {shape}")
    outer = (kernel.shape[1] * groups, *grid)
    turned, back = convolution(kernel, None, outer, window, groups)
    if back != shape:
        raise ValueError(f"it adds {list(more)} rows at the ends; expected fewer than strides, {list(window.strides)}")
    shift = np.zeros(outer[0]) if bias is None else bias
    if shift.shape != (outer[0],):
        raise ValueError(f"it has a bias of shape {shift.shape}; expected ({outer[0]},)")
    return Affine(sp.csr_matrix(turned.weight.T), np.repeat(shift, prod(grid))), outer


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
