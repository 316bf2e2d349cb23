"""Intervals: proven bounds of vectors, and interval arithmetic with outward rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats

EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).tiny)

# Which way a lower and an upper bound are rounded.
OUTWARD = np.array([[-1.0], [1.0]])


@dataclass(frozen=True, eq=False)
class Interval:
    """Proven bounds lower <= value <= upper of the entries of a vector, each (k,); infinite where nothing is known."""

    lower: Floats
    upper: Floats

    @property
    def finite(self) -> bool:
        """Whether every bound is finite."""
        return bool(np.isfinite([self.lower, self.upper]).all())

    @property
    def switching(self) -> NDArray[np.int64]:
        """The entries that can be negative and positive."""
        return np.flatnonzero((self.lower < 0.0) & (self.upper > 0.0))

    def relu(self) -> Interval:
        """Return the bounds of max(value, 0)."""
        return Interval(np.maximum(self.lower, 0.0), np.maximum(self.upper, 0.0))

    def meet(self, other: Interval) -> Interval:
        """Return the bounds that hold where both do."""
        return Interval(np.maximum(self.lower, other.lower), np.minimum(self.upper, other.upper))


def affine_interval(weight: sp.csr_matrix, bias: Floats, values: Interval) -> Interval:
    """Return outward-rounded bounds of W h + b for h in `values`.

    They are W+ l + W- u + b and W+ u + W- l + b, moved outward by more than their rounding error. A sum whose terms are
    all zero is exact and stays, so that ties of equal outputs are seen as such.
    """
    with np.errstate(all="ignore"):
        ends = np.stack([values.lower[weight.indices], values.upper[weight.indices]])
        ends = np.where(weight.data > 0.0, ends, ends[::-1])
        terms = weight.data * ends
        # The last column is a row's that has no entries.
        parts = np.zeros((3, 2, len(weight.data) + 1))
        parts[0, :, :-1], parts[1, :, :-1] = terms, np.abs(terms)
        parts[2, :, :-1] = (weight.data != 0.0) & (ends != 0.0)
        total, sizes, count = _row_sums(weight, parts)
        total, sizes, count = total + bias, sizes + np.abs(bias), count + (bias != 0.0)
        error = rounding(weight) * sizes + (count + 1.0) * TINY
        moved = np.nextafter(total + OUTWARD * error, OUTWARD * np.inf)
    known = np.where(count == 0.0, total, moved)
    # 0 * inf is NaN: an entry that overflowed is unknown, never proven.
    lower, upper = np.where(np.isnan(known), OUTWARD * np.inf, known)
    return Interval(lower, upper)


def _row_sums(weight: sp.csr_matrix, entries: Floats) -> Floats:
    """Return the sums over the rows of `entries` (..., nnz + 1): one for each stored entry of `weight`, a last 0."""
    sums: Floats = np.add.reduceat(entries, weight.indptr[:-1], axis=-1)
    return np.where(np.diff(weight.indptr) > 0, sums, 0.0)


def rounding(weight: sp.csr_matrix) -> Floats:
    """Return for each row a relative error that exceeds that of its sum, in any order of the terms.

    A sum of k products has error at most (k + 1) u / (1 - (k + 1) u) of the sum of magnitudes, u = eps / 2; twice
    that, with a few terms more, also covers the rounding of this bound and of weights that are differences.
    """
    return (np.diff(weight.indptr) + 8) * EPS
