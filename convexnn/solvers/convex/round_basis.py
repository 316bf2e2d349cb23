"""The basis in which the data are round: an offset or a unit of a feature then costs no accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convexnn.checks import Bools, Floats

# Directions in which the data reach less than this share of the farthest are taken as if they reached that far.
THIN = 1e-10


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
    single weights, have their features centred alone, which changes the bias and nothing else.
    """
    if rotate and owned.all():
        return RoundBasis(_rotation(X))
    if bias and owned[:, -1].all():
        matrix = np.eye(X.shape[1])
        matrix[-1, :-1] = -X[:, :-1].mean(axis=0)
        return RoundBasis(matrix)
    return RoundBasis(None)


def _rotation(X: Floats) -> Floats:
    """Return T (d, d) with columns of X T orthogonal and of mean square 1."""
    units = np.sqrt(np.square(X).mean(axis=0))
    units[units == 0.0] = 1.0
    _, sizes, directions = np.linalg.svd(X / units, full_matrices=len(X) < X.shape[1])
    reach = np.zeros(len(directions))
    reach[: len(sizes)] = sizes
    reach[reach <= THIN * sizes[0]] = sizes[0]
    return np.asarray((directions.T * (np.sqrt(len(X)) / reach)) / units[:, None])
