"""Halfspaces: linear constraints rows x <= upper on inputs, their products, and exact membership."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_floats, as_vector
from verify.regions.intervals import EPS, TINY

# The share of nonzeros, and the number of entries, from which rows are held sparse.
DENSE, SMALL = 0.1, 1 << 16

# Sizes beyond which products of entries and inputs could overflow.
LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class Halfspaces:
    """The inputs x (d,) with rows x <= upper: `rows` csr (m, d) without stored zeros, `upper` (m,)."""

    rows: sp.csr_matrix
    upper: Floats
    _stored: sp.csr_matrix | Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = int(np.prod(self.rows.shape))
        dense = count <= SMALL or self.rows.nnz > DENSE * count
        object.__setattr__(self, "_stored", self.rows.toarray() if dense else self.rows)

    def __len__(self) -> int:
        return len(self.upper)

    @property
    def mentioned(self) -> NDArray[np.int64]:
        """The inputs that some row reads."""
        return np.unique(self.rows.indices).astype(np.int64)

    def at(self, points: Floats) -> Floats:
        """Return rows . x (n, m) of `points` (n, d)."""
        stored = self._stored
        return np.asarray(points @ stored.T if isinstance(stored, np.ndarray) else (stored @ points.T).T)

    def combined(self, multipliers: Floats) -> Floats:
        """Return the combinations (n, d) of rows with `multipliers` (n, m)."""
        stored = self._stored
        return np.asarray(multipliers @ stored if isinstance(stored, np.ndarray) else (stored.T @ multipliers.T).T)

    def sizes(self) -> Halfspaces:
        """Return the same with |rows| and |upper|."""
        return Halfspaces(abs(self.rows), np.abs(self.upper))

    def excess(self, x: Floats) -> Floats:
        """Return rows . x - upper (m,) at `x` (d,), rounded; positive where a constraint is violated."""
        return np.asarray(self.at(x[None])[0] - self.upper)

    def satisfied_by(self, points: Floats) -> NDArray[np.bool_]:
        """Return whether each of `points` (n, d) meets all constraints, in exact arithmetic.

        Rational numbers decide only where the error of the float sums does not.
        """
        terms = np.diff(self.rows.indptr)
        with np.errstate(all="ignore"):
            over = self.at(points) - self.upper
            error = (terms + 8.0) * EPS * (abs(self.rows) @ np.abs(points).T).T + 4.0 * EPS * np.abs(self.upper)
            error += (terms + 2.0) * TINY
            sure, close = over <= -error, ~(np.abs(over) > error)
        for point, row in np.argwhere(close & sure.all(axis=1, where=~close)[:, None]):
            sure[point, row] = self._row_satisfied_by(int(row), points[point])
        return np.asarray(sure.all(axis=1))

    def strictly_satisfied_by(self, x: Floats, strict: NDArray[np.bool_]) -> bool:
        """Whether `x` (d,) meets all constraints, with < where `strict` (m,), in exact arithmetic."""
        if not self.satisfied_by(x[None])[0]:
            return False
        turned = Halfspaces(-self.rows[strict], -self.upper[strict])
        return not any(turned._row_satisfied_by(row, x) for row in range(len(turned)))

    def _row_satisfied_by(self, row: int, x: Floats) -> bool:
        if not np.isfinite(x).all():
            return False
        span = slice(self.rows.indptr[row], self.rows.indptr[row + 1])
        pairs = zip(self.rows.data[span].tolist(), x[self.rows.indices[span]].tolist(), strict=True)
        return sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0)) <= Fraction(float(self.upper[row]))

    def joined(self, other: Halfspaces) -> Halfspaces:
        """Return these constraints and others."""
        return Halfspaces(sp.csr_matrix(sp.vstack([self.rows, other.rows])), np.concatenate([self.upper, other.upper]))


def halfspaces(rows: ArrayLike | Any, upper: ArrayLike, size: int) -> Halfspaces:
    """Return constraints on `size` inputs from what a caller gives, checked.

    Parameters
    ----------
    rows : array_like or scipy.sparse (m, size)
        Finite, of size at most 1e100.
    upper : array_like (m,)
        As finite and moderate.
    """
    matrix = _matrix(rows, size)
    sides = as_vector(upper, "upper", matrix.shape[0], "entry per constraint").copy()
    for name, entries in (("rows", matrix.data), ("upper", sides)):
        peak = float(np.abs(entries).max(initial=0.0))
        if peak > LARGEST:
            raise ValueError(f"{name} has an entry of size {peak:.3g}; expected at most {LARGEST:g}")
    return Halfspaces(matrix, sides)


def no_halfspaces(size: int) -> Halfspaces:
    """Return no constraint on `size` inputs."""
    return Halfspaces(sp.csr_matrix((0, size)), np.zeros(0))


def weak_bound(
    cut: Halfspaces, rows: Floats, multipliers: Floats, support: Callable[[Floats], Floats], reach: Floats
) -> Floats:
    """Return upper bounds (r,) of max rows . x over a set within the cut, rounded outward; infinite on overflow.

    Parameters
    ----------
    cut : Halfspaces
        m constraints A x <= b.
    rows, multipliers : ndarray (r, d), ndarray (r, m)
        The functions c, and l of each; entries of l below 0 count as 0.
    support : callable
        Bounds of linear functions over the set without the cut.
    reach : ndarray (d,)
        The largest size of each input.

    Notes
    -----
    c . x <= (c - A' l) . x + l . b wherever A x <= b, for any l >= 0. What c - A' l loses by rounding is paid for at
    the largest size of every input.
    """
    count = len(cut)
    with np.errstate(all="ignore"):
        held, sizes = np.maximum(multipliers, 0.0), cut.sizes()
        left = rows - cut.combined(held)
        error = (count + 16) * EPS * ((np.abs(rows) + sizes.combined(held)) @ reach)
        error += TINY * (count + 4.0) * (2.0 + float(reach.sum()))
        level, lost = held @ cut.upper, (count + 16) * EPS * (held @ sizes.upper)
        top = support(np.where(np.isfinite(left), left, 0.0))
        total = np.nextafter(top + level + error + lost + 4.0 * EPS * (np.abs(top) + np.abs(level)), np.inf)
    return np.where(np.isfinite(left).all(axis=1) & np.isfinite(total), total, np.inf)


def _matrix(rows: Any, size: int) -> sp.csr_matrix:
    expected = f"a matrix of shape (m, {size}), one row per constraint"
    if sp.issparse(rows):
        sparse = sp.csr_matrix(rows)
        matrix = sp.csr_matrix((as_floats(sparse.data, "rows", 1, expected), sparse.indices, sparse.indptr), rows.shape)
        matrix.sum_duplicates()
    else:
        matrix = sp.csr_matrix(as_floats(rows, "rows", 2, expected))
    if matrix.shape[1] != size:
        raise ValueError(f"rows has shape {matrix.shape}; expected {expected}")
    matrix.eliminate_zeros()
    return matrix
