"""The basis in which the data are round: an offset or a unit of a feature then costs no accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convexnn.checks import Bools, Floats

# Directions in which the data reach less than this share of the farthest are taken as if they reached that far.
THIN = 1e-10

# Data whose singular values differ by no more than this factor are round as they are.
ROUND = 10.0

# A feature that varies by less than this share of its mean does not vary.
CONSTANT = 1e-13


@dataclass(frozen=True, eq=False)
class RoundBasis:
    """Coordinates c of weights u = T c in which the rows X T have orthogonal columns of mean square 1.

    Attributes
    ----------
    matrix : ndarray (d, d) or None
        T; None for weights as they are.
    """

    matrix: Floats | None

    @cached_property
    def inverse(self) -> Floats | None:
        """The inverse of T."""
        return None if self.matrix is None else np.asarray(np.linalg.inv(self.matrix))

    def rows(self, X: Floats) -> Floats:
        """Return the rows X T."""
        return X if self.matrix is None else X @ self.matrix

    def weights(self, coordinates: Floats) -> Floats:
        """Return the weights (q, d) at coordinates (q, d)."""
        return coordinates if self.matrix is None else coordinates @ self.matrix.T

    def slopes(self, slopes: Floats) -> Floats:
        """Return the slopes (q, d) in the coordinates that belong to slopes in the weights."""
        return slopes if self.matrix is None else slopes @ self.matrix

    def weight_slopes(self, slopes: Floats) -> Floats:
        """Return the slopes (q, d) in the weights that belong to slopes in the coordinates."""
        return slopes if self.inverse is None else slopes @ self.inverse

    def curvature(self, blocks: Floats) -> Floats:
        """Return T^T N T for matrices N (q, d, d)."""
        return blocks if self.matrix is None else self.matrix.T @ blocks @ self.matrix


def round_basis(X: Floats, owned: Bools, bias: bool, rotate: bool) -> RoundBasis:
    """Return the basis for data (n, d), the last column ones where there is a `bias`, and neurons that own (q, d).

    A rotation makes the data round, and mixes features: neurons that do not own all of them, or whose penalty is of
    single weights, have their features centred and scaled alone, which mixes each with the bias and with nothing else;
    without a bias, scaled.
    """
    if rotate and owned.all():
        return RoundBasis(_rotation(X))
    return _centred(X) if bias and owned[:, -1].all() else unit_basis(X)


def plain_basis(X: Floats) -> RoundBasis | None:
    """Return the basis that changes the unit of all weights together, where the data are round in it; else None."""
    sizes = np.linalg.svd(X, compute_uv=False)
    if len(X) < X.shape[1] or sizes[-1] * ROUND < sizes[0] or sizes[0] == 0.0:
        return None
    return RoundBasis(np.eye(X.shape[1]) / np.sqrt(np.square(X).mean()))


def unit_basis(X: Floats) -> RoundBasis:
    """Return the basis in which every feature has mean square 1 and is mixed with no other."""
    return RoundBasis(np.diag(1.0 / _sizes(X)))


def _centred(X: Floats) -> RoundBasis:
    """Return the basis in which features are centred and of mean square 1, the last column, the ones, as it is."""
    means = X[:, :-1].mean(axis=0)
    units = _sizes(X[:, :-1] - means)
    # What is left of a feature that does not vary is rounding.
    units = np.where(units > CONSTANT * np.abs(means), units, np.maximum(np.abs(means), 1.0))
    matrix = np.diag([*(1.0 / units), 1.0])
    matrix[-1, :-1] = -means / units
    return RoundBasis(matrix)


def _sizes(X: Floats) -> Floats:
    """Return the root mean squares of the columns, 1 for those of zeros."""
    sizes: Floats = np.sqrt(np.square(X).mean(axis=0))
    sizes[sizes == 0.0] = 1.0
    return sizes


def _rotation(X: Floats) -> Floats:
    """Return T (d, d) with columns of X T orthogonal and of mean square 1."""
    units = _sizes(X)
    _, sizes, directions = np.linalg.svd(X / units, full_matrices=len(X) < X.shape[1])
    reach = np.zeros(len(directions))
    reach[: len(sizes)] = sizes
    reach[reach <= THIN * sizes[0]] = sizes[0]
    return np.asarray((directions.T * (np.sqrt(len(X)) / reach)) / units[:, None])
