"""Intervals: proven bounds of vectors, and interval arithmetic with outward rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats

EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).tiny)


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
    """Return outward-rounded bounds of W h + b for h in `values`."""
    with np.errstate(all="ignore"):
        lower = _one_side(weight, bias, values.lower, values.upper, -1.0)
        upper = _one_side(weight, bias, values.upper, values.lower, 1.0)
    # 0 * inf is NaN: an entry that overflowed is unknown, never proven.
    return Interval(np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper))


def _one_side(weight: sp.csr_matrix, bias: Floats, rising: Floats, falling: Floats, outward: float) -> Floats:
    """Return W+ rising + W- falling + bias, moved `outward` (-1 or 1) by more than its rounding error.

    A sum whose terms are all zero is exact and stays, so that ties of equal outputs are seen as such.
    """
    ends = np.where(weight.data > 0.0, rising[weight.indices], falling[weight.indices])
    terms = np.append(weight.data * ends, 0.0)
    used = np.append(((weight.data != 0.0) & (ends != 0.0)).astype(float), 0.0)
    total = _row_sums(weight, terms) + bias
    sizes = _row_sums(weight, np.abs(terms)) + np.abs(bias)
    count = _row_sums(weight, used) + (bias != 0.0)
    error = rounding(weight) * sizes + (count + 1.0) * TINY
    return np.where(count == 0.0, total, np.nextafter(total + outward * error, outward * np.inf))


def _row_sums(weight: sp.csr_matrix, entries: Floats) -> Floats:
    """Return the sums of `entries`, one for each stored entry of `weight` and a last 0, over the rows."""
    sums = np.add.reduceat(entries, weight.indptr[:-1])
    return np.where(np.diff(weight.indptr) > 0, sums, 0.0)


def rounding(weight: sp.csr_matrix) -> Floats:
    """Return for each row a relative error that exceeds that of its sum, in any order of the terms.

    A sum of k products has error at most (k + 1) u / (1 - (k + 1) u) of the sum of magnitudes, u = eps / 2; twice
    that, with a few terms more, also covers the rounding of this bound and of weights that are differences.
    """
    return (np.diff(weight.indptr) + 8) * EPS
