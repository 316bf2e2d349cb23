"""Cuts of single neurons: rows that hold all over the region and that a point of the relaxation does not meet."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.programs.relaxed import Relaxed
from verify.regions.intervals import EPS, TINY

# By what share of a neuron's largest value a cut is to be missed.
MISSED = 1e-4

# What keeps quotients finite.
LEAST = 1e-300


def single_cuts(relaxed: Relaxed, point: Floats) -> tuple[sp.csr_matrix, Floats, NDArray[np.int64]]:
    """Return rows (q, v) and sides (q,), rows v <= sides, that a point (v,) misses most, and the neuron (q,) of each.

    Notes
    -----
    A neuron a = max(p, 0), p = w . h + b over a box of h, is at most s . h + c for every s between 0 and w, entry by
    entry, where c is at least -min s . h and at least max (w - s) . h + b. At a point the least of these fills up what
    p is at most, from the values on that are furthest from where p is largest (Tjandraatmadja et al. 2020; Anderson et
    al. 2020). Any s between them is sound; c is rounded up.
    """
    neurons, lower, upper = relaxed.neurons, relaxed.lower, relaxed.upper
    slack = MISSED * upper[neurons.value]
    loose = np.flatnonzero(point[neurons.value] - np.maximum(point[neurons.before], 0.0) > slack)
    weight, bias = neurons.feed[loose].toarray(), neurons.bias[loose]
    with np.errstate(all="ignore"):
        near, far = np.where(weight > 0.0, lower, upper), np.where(weight > 0.0, upper, lower)
        slope = _filled(weight, near, far, (weight * far).sum(axis=1) + bias, point)
        least, rest = -(slope * near).sum(axis=1), ((weight - slope) * far).sum(axis=1) + bias
        count = np.count_nonzero(weight, axis=1)
        sizes = 3.0 * np.abs(weight) @ relaxed.reach + np.abs(bias)
        side = np.nextafter(np.maximum(least, rest) + (count + 16) * EPS * sizes + (count + 4) * TINY, np.inf)
    missed = (point[neurons.value[loose]] - slope @ point - side > slack[loose]) & np.isfinite(side)
    kept = loose[missed]
    rows = -slope[missed]
    rows[np.arange(len(kept)), neurons.value[kept]] = 1.0
    return sp.csr_matrix(rows), side[missed], kept


def _filled(weight: Floats, near: Floats, far: Floats, most: Floats, point: Floats) -> Floats:
    """Return the slopes (q, v) that are least at a point; p is `most` (q,) where all values are at their far ends."""
    width = far - near
    moves = np.abs(weight * width)
    place = np.where(moves > 0.0, (point - near) / width, 2.0)
    order = np.argsort(place, axis=1, kind="stable")
    sorted_moves = np.take_along_axis(moves, order, axis=1)
    left = most[:, None] + sorted_moves - np.cumsum(sorted_moves, axis=1)
    shares = np.empty_like(moves)
    np.put_along_axis(shares, order, np.clip(left / (sorted_moves + LEAST), 0.0, 1.0), axis=1)
    # A product with a number between 0 and 1 is between 0 and w, however it is rounded.
    return np.asarray(shares * weight)
