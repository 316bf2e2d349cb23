"""Layers as bounds over many boxes need them: dense or sparse, without neurons that are never active."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import Layer
from verify.bounds.crown import DENSE, chord
from verify.regions.intervals import EPS, TINY, Interval

Signs = NDArray[np.int8]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BoxLayer:
    """A hidden layer of the n neurons that are active somewhere in the region: h = relu(p), p = W h' + b.

    Attributes
    ----------
    weight : ndarray or csr_matrix (n, k)
        W, sparse where it has few entries.
    rising, falling : ndarray or csr_matrix (n, k)
        Its entries above and below 0.
    bias, reach : ndarray (n,)
        b, and sums of magnitudes |W| |h'| + |b| over the region.
    known : Interval
        Bounds of p over the region.
    linear : ndarray (n,) of bool
        Neurons that pass p on as it is.
    error, lost : float
        By how much a sum over the layer is off at most: as a share of its magnitudes, and where products underflow.
    """

    weight: Any
    rising: Any
    falling: Any
    bias: Floats
    reach: Floats
    known: Interval
    linear: Flags
    error: float
    lost: float

    def __len__(self) -> int:
        return len(self.bias)

    @property
    def width(self) -> int:
        """Numbers that a row of W takes, at least; sparse ones grow on their way back."""
        inputs = max(1, int(self.weight.shape[1]))
        dense = isinstance(self.weight, np.ndarray)
        return inputs if dense else min(inputs, 16 + 16 * int(self.weight.nnz) // max(1, len(self)))

    def both_ways(self, neurons: NDArray[np.intp]) -> Any:
        """Return rows of W, and the same with the other sign, stored as W is."""
        rows = self.weight[neurons]
        if isinstance(rows, np.ndarray):
            return np.concatenate([rows, -rows])
        return sp.csr_matrix(sp.vstack([rows, -rows]))

    def forward(self, values: Floats) -> Floats:
        """Return the values of the layer for values (r, k) of the one before, rounded as it comes."""
        before = product(values, self.weight, True) + self.bias
        return np.where(self.linear, before, np.maximum(before, 0.0))

    def intervals(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Return bounds (r, n) of p for h' between `low` and `high` (r, k), rounded outward and met with `known`."""
        error = self.error * self.reach + self.lost
        with np.errstate(all="ignore"):
            bottom = product(low, self.rising, True) + product(high, self.falling, True) + (self.bias - error)
            top = product(high, self.rising, True) + product(low, self.falling, True) + (self.bias + error)
        # An entry that overflowed is NaN: then the bounds over the region are all that is known.
        bottom = np.fmax(np.nextafter(bottom, -np.inf), self.known.lower)
        return bottom, np.fmin(np.nextafter(top, np.inf), self.known.upper)

    def after(self, low: Floats, high: Floats, phases: Signs) -> tuple[Floats, Floats]:
        """Return bounds (r, n) of h for p between `low` and `high`, `phases` as in :class:`BoxBounds`."""
        below, above = np.maximum(low, 0.0), np.where(phases < 0, 0.0, np.maximum(high, 0.0))
        if not self.linear.any():
            return below, above
        return np.where(self.linear, low, below), np.where(self.linear, high, above)


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines around the neurons of a layer in r boxes: low p <= h <= (low + rise) p + lift, (r, n) each.

    `drop` is how far the lower line is off at most.
    """

    low: Floats
    rise: Floats
    lift: Floats
    drop: Floats


def lines_around(low: Floats, high: Floats, phases: Signs) -> Lines:
    """Return the lines of neurons with bounds `low` and `high` (r, n); those of a phase pass p on, or nothing."""
    slope, lift = chord(low, high)
    free = phases == 0
    own = np.where(free, high >= -low, phases > 0).astype(np.float64)
    drop = np.where(free, np.minimum(high, -low), 0.0)
    return Lines(own, np.where(free, slope - own, 0.0), np.where(free, lift, 0.0), drop)


def box_layers(
    layers: Sequence[Layer], known: Sequence[Interval], sizes: Floats, linear: Sequence[Flags | None]
) -> tuple[list[BoxLayer], Flags, Floats]:
    """Return hidden layers over a region, which neurons of the last one are kept, and the sizes of their values.

    `sizes` (d,) are those of the inputs; `linear` says for each layer which neurons pass on what they get.
    """
    found, kept = [], np.ones(len(sizes), dtype=bool)
    for layer, bounds, mask in zip(layers, known, linear, strict=False):
        through = np.zeros(len(layer[1]), dtype=bool) if mask is None else mask
        live = (bounds.upper > 0.0) | through
        heights = np.where(through, np.maximum(np.abs(bounds.lower), np.abs(bounds.upper)), bounds.upper)[live]
        own = Interval(bounds.lower[live], bounds.upper[live])
        found.append(_box_layer((layer[0][live][:, kept], layer[1][live]), own, sizes, through[live]))
        kept, sizes = live, heights
    return found, kept, sizes


def _box_layer(layer: Layer, known: Interval, sizes: Floats, linear: Flags) -> BoxLayer:
    weight, bias = layer
    with np.errstate(all="ignore"):
        reach = np.asarray(abs(weight) @ sizes + np.abs(bias) + TINY * (1.0 + len(sizes)))
    lost = TINY * (len(bias) * (float(sizes.sum()) + 2.0) + float(reach.sum()) + 8.0)
    error = (max(weight.shape) + 16) * EPS
    stored = weight.toarray() if weight.nnz > DENSE * np.prod(weight.shape) else sp.csr_matrix(weight)
    if isinstance(stored, np.ndarray):
        rising, falling = np.maximum(stored, 0.0), np.minimum(stored, 0.0)
    else:
        rising, falling = stored.maximum(0.0), stored.minimum(0.0)
    return BoxLayer(stored, rising, falling, bias, reach, known, linear, error, lost)


def product(rows: Floats, weight: Any, turned: bool = False) -> Floats:
    """Return rows @ W, or with `turned` rows @ W', dense."""
    if isinstance(weight, np.ndarray):
        return np.asarray(rows @ (weight.T if turned else weight))
    return np.asarray(((weight if turned else weight.T) @ rows.T).T)
