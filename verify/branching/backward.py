"""Backward steps: linear functions of a layer's values made functions of the values before it, many at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.branching.box_layers import BoxLayer, Lines, product

Places = NDArray[np.intp]

# The share of nonzeros beyond which slopes are held dense: sparse products cost as much as so many times more numbers.
DENSE = 0.1


def step_back(
    layer: BoxLayer, lines: Lines, slope: Any, offset: Floats, owner: Places, gaps: bool = False
) -> tuple[Any, Floats, Floats | None]:
    """Return functions of the values h' before a layer that are at least `slope` h + `offset` in their boxes.

    Parameters
    ----------
    layer, lines : BoxLayer, Lines
        The layer of n neurons, and the lines around them in r boxes.
    slope, offset : ndarray or csr_matrix (p, n), ndarray (p,)
        The functions.
    owner : ndarray (p,) of int
        The box that each is bounded in.
    gaps : bool, default False
        Whether to return what the lines of each neuron miss it by at most, (p, n), of dense functions.

    Notes
    -----
    A h + c <= A+ ((low + rise) p + lift) + A- low p + c, p = W h' + b. A product with a slope of lines is one with
    another valid slope up to a unit in the last place of its own, times |p|; sums are off by as many units of their
    magnitudes as they have terms. All that is added to c at the layer's `reach`.
    """
    with np.errstate(all="ignore"):
        if sp.issparse(slope):
            if slope.nnz <= DENSE * slope.shape[0] * slope.shape[1]:
                return *_sparse_step(layer, lines, slope, offset, owner), None
            slope = slope.toarray()
        rising, lift, missed = np.maximum(slope, 0.0), lines.lift[owner], None
        if gaps:
            missed = rising * lift + (rising - slope) * lines.drop[owner]
        lifted = np.einsum("ij,ij->i", rising, lift)
        rising *= lines.rise[owner]
        slope = slope * lines.low[owner]
        slope += rising
        sizes, moved = np.abs(slope, out=rising) @ layer.reach, slope @ layer.bias
        return product(slope, layer.weight), raised(layer, offset, lifted, moved, sizes), missed


def _sparse_step(
    layer: BoxLayer, lines: Lines, slope: sp.csr_matrix, offset: Floats, owner: Places
) -> tuple[Any, Floats]:
    count, neuron = slope.shape[0], slope.indices
    row = np.repeat(np.arange(count), np.diff(slope.indptr))
    own, rising = owner[row], np.maximum(slope.data, 0.0)
    lifted = _sums(row, rising * lines.lift[own, neuron], count)
    along = slope.data * lines.low[own, neuron] + rising * lines.rise[own, neuron]
    sizes = _sums(row, np.abs(along) * layer.reach[neuron], count)
    moved = _sums(row, along * layer.bias[neuron], count)
    found = sp.csr_matrix((along, neuron, slope.indptr), shape=slope.shape) @ layer.weight
    return found, raised(layer, offset, lifted, moved, sizes)


def _sums(row: Places, terms: Floats, count: int) -> Floats:
    """Return the sums (p,) of the terms of each row."""
    return np.bincount(row, terms, count).astype(np.float64)


def raised(layer: BoxLayer, offset: Floats, lifted: Floats, moved: Floats, sizes: Floats) -> Floats:
    """Return offset + lifted + moved, raised by what rounding may have cost."""
    paid = layer.error * (sizes + lifted + np.abs(offset)) + layer.lost
    return np.asarray(np.nextafter(offset + lifted + moved + paid, np.inf))
