"""Intervals: proven bounds of vectors, and interval arithmetic with outward rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.records import Record

EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).tiny)

# Entries of a matrix that are taken at a time.
TILE = 1 << 16

# Which way a lower and an upper bound are rounded.
OUTWARD = np.array([[-1.0], [1.0]])


@dataclass(frozen=True, eq=False)
class Interval(Record):
    """Proven bounds lower <= value <= upper of the entries of a vector, each (k,); infinite where nothing is known.

    Of hidden units they also say what these pass on, max(value, `floor`): 0 for ReLUs, or (k,) with minus infinity
    where a unit is linear. So whoever has the bounds of a layer knows its units.

    Examples
    --------
    >>> import numpy as np
    >>> import verify
    >>> bounds = verify.Interval(np.array([-1.0, 0.5, -2.0]), np.array([1.0, 2.0, -1.0]))
    >>> bounds.switching.tolist(), bounds.live.tolist()
    ([0], [True, True, False])
    """

    lower: Floats
    upper: Floats
    floor: Floats | float = 0.0

    @property
    def finite(self) -> bool:
        """Whether every bound is finite."""
        return bool(np.isfinite([self.lower, self.upper]).all())

    @property
    def switching(self) -> NDArray[np.int64]:
        """The ReLUs whose value can be negative and positive."""
        return np.flatnonzero((self.lower < self.floor) & (self.upper > self.floor))

    @property
    def live(self) -> NDArray[np.bool_]:
        """Which units (k,) can pass on something else than 0: ReLUs that can be active, and linear units."""
        return np.asarray(self.upper > self.floor)

    @property
    def heights(self) -> Floats:
        """The largest sizes (k,) of what the units pass on."""
        height = np.maximum(self.upper, 0.0)
        return height if isinstance(self.floor, float) else np.where(self.floor < 0.0, self._sizes, height)

    @property
    def _sizes(self) -> Floats:
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    def activated(self) -> Interval:
        """Return the bounds of what the units pass on."""
        return Interval(np.maximum(self.lower, self.floor), np.maximum(self.upper, self.floor))

    def meet(self, other: Interval) -> Interval:
        """Return the bounds that hold where both do, of the same units."""
        return replace(self, lower=np.maximum(self.lower, other.lower), upper=np.minimum(self.upper, other.upper))

    def take(self, index: Any) -> Interval:
        """Return the bounds of some entries."""
        floor = self.floor if isinstance(self.floor, float) else self.floor[index]
        return Interval(self.lower[index], self.upper[index], floor)

    def beside(self, other: Interval) -> Interval:
        """Return the bounds of these entries and then of others."""
        lower, upper = np.append(self.lower, other.lower), np.append(self.upper, other.upper)
        if isinstance(self.floor, float) and isinstance(other.floor, float):
            return Interval(lower, upper)
        floors = [np.broadcast_to(part.floor, part.lower.shape) for part in (self, other)]
        return Interval(lower, upper, np.concatenate(floors))


def affine_interval(weight: sp.csr_matrix, bias: Floats, values: Interval) -> Interval:
    """Return outward-rounded bounds of W h + b for h in `values`.

    They are W+ l + W- u + b and W+ u + W- l + b, moved outward by more than their rounding error. A sum whose terms are
    all zero is exact and stays, so that ties of equal outputs are seen as such.
    """
    with np.errstate(all="ignore"):
        parts = _parts(weight, values)
        total, sizes, count = np.concatenate(parts, axis=-1)
        total, sizes, count = total + bias, sizes + np.abs(bias), count + (bias != 0.0)
        error = rounding(weight) * sizes + (count + 1.0) * TINY
        moved = np.nextafter(total + OUTWARD * error, OUTWARD * np.inf)
    known = np.where(count == 0.0, total, moved)
    # 0 * inf is NaN: an entry that overflowed is unknown, never proven.
    lower, upper = np.where(np.isnan(known), OUTWARD * np.inf, known)
    return Interval(lower, upper)


def _parts(weight: sp.csr_matrix, values: Interval) -> list[Floats]:
    """Return what :func:`_magnitudes` does of all rows, tile by tile; those of large dense matrices as products."""
    dense = stored_whole(weight) if weight.nnz > TILE else None
    # A product of a zero with an infinite end is no number.
    if dense is None or not values.finite:
        return [_magnitudes(weight, rows, values) for rows in _row_tiles(weight)]
    ends = np.stack([values.lower, values.upper, np.abs(values.lower), np.abs(values.upper)])
    parts: list[Floats] = []
    for rows in _row_tiles(weight):
        known = _dense_magnitudes(dense[slice(*rows)], ends)
        parts.append(_magnitudes(weight, rows, values) if known is None else known)
    return parts


def stored_whole(weight: sp.csr_matrix) -> Floats | None:
    """Return the array of a matrix of which every entry is stored, without a copy; None for others."""
    if weight.nnz != np.prod(weight.shape) or not weight.has_canonical_format:
        return None
    return np.asarray(weight.data.reshape(weight.shape))


def _dense_magnitudes(weight: Floats, ends: Floats) -> Floats | None:
    """Return what :func:`_magnitudes` does of dense rows `weight` (r, k); None where all terms of one may be zero.

    `ends` (4, k) are lower and upper ends and their sizes, finite. It takes a tenth of the time.
    """
    rising, falling = np.maximum(weight, 0.0) @ ends.T, np.minimum(weight, 0.0) @ ends.T
    sums = np.stack([rising[:, 0] + falling[:, 1], rising[:, 1] + falling[:, 0]])
    sizes = np.stack([rising[:, 2] - falling[:, 3], rising[:, 3] - falling[:, 2]])
    return np.stack([sums, sizes, np.full_like(sums, weight.shape[1])]) if sizes.all() else None


def _row_tiles(weight: sp.csr_matrix) -> list[tuple[int, int]]:
    """Return ranges of rows whose entries stay in a processor's cache: a fifth of the time where there are millions."""
    count = weight.shape[0]
    if weight.nnz <= TILE:
        return [(0, count)]
    marks = np.searchsorted(weight.indptr, np.arange(0, weight.nnz, TILE), side="left")
    ends = np.unique(np.concatenate([marks, [0, count]]))
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


def _magnitudes(weight: sp.csr_matrix, rows: tuple[int, int], values: Interval) -> Floats:
    """Return (3, 2, r) for the lower and upper ends of some rows: sums, sums of magnitudes, numbers of terms.

    The numbers are exact where magnitudes are zero, and at least those of the terms that are not zero elsewhere.
    """
    ends = weight.indptr[rows[0] : rows[1] + 1]
    data, indices = weight.data[ends[0] : ends[-1]], weight.indices[ends[0] : ends[-1]]
    rising = data > 0.0
    low, high = values.lower[indices], values.upper[indices]
    # The last column is a row's that has no entries.
    terms = np.zeros((2, len(data) + 1))
    np.multiply(data, np.where(rising, low, high), out=terms[0, :-1])
    np.multiply(data, np.where(rising, high, low), out=terms[1, :-1])
    starts, filled = ends[:-1] - ends[0], np.diff(ends) > 0
    sums = np.where(filled, np.add.reduceat(terms, starts, axis=-1), 0.0)
    sizes = np.where(filled, np.add.reduceat(np.abs(terms, out=terms), starts, axis=-1), 0.0)
    count = np.broadcast_to(np.diff(ends).astype(np.float64), sizes.shape)
    if not sizes.all():
        count = np.where(sizes == 0.0, _n_terms(data, low, high, starts, filled), count)
    return np.stack([sums, sizes, count])


def _n_terms(data: Floats, low: Floats, high: Floats, starts: NDArray[Any], filled: NDArray[np.bool_]) -> Floats:
    """Return the numbers (2, r) of terms that are not zero: a product may be zero by underflow alone."""
    sides = np.where(data > 0.0, [low, high], [high, low])
    counted = np.zeros((2, len(data) + 1))
    counted[:, :-1] = (data != 0.0) & (sides != 0.0)
    return np.where(filled, np.add.reduceat(counted, starts, axis=-1), 0.0)


def rounding(weight: sp.csr_matrix) -> Floats:
    """Return for each row a relative error that exceeds that of its sum, in any order of the terms.

    A sum of k products has error at most (k + 1) u / (1 - (k + 1) u) of the sum of magnitudes, u = eps / 2; twice
    that, with a few terms more, also covers the rounding of this bound and of weights that are differences.
    """
    return (np.diff(weight.indptr) + 8) * EPS
