"""The basis in which the data are round: an offset or a unit of a feature then costs no accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from convexnn.checks import Bools, Floats
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.losses import library_of

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
    matrix : ndarray or Tensor (d, d), or None
        T; None for weights as they are. What the methods take and return is of the same library.
    """

    matrix: Any

    @cached_property
    def inverse(self) -> Any:
        """The inverse of T."""
        return None if self.matrix is None else library_of(self.matrix).linalg.inv(self.matrix)

    def rows(self, X: Any) -> Any:
        """Return the rows X T."""
        return X if self.matrix is None else X @ self.matrix

    def weights(self, coordinates: Any) -> Any:
        """Return the weights (q, d) at coordinates (q, d)."""
        return coordinates if self.matrix is None else coordinates @ self.matrix.T

    def slopes(self, slopes: Any) -> Any:
        """Return the slopes (q, d) in the coordinates that belong to slopes in the weights."""
        return slopes if self.matrix is None else slopes @ self.matrix

    def weight_slopes(self, slopes: Any) -> Any:
        """Return the slopes (q, d) in the weights that belong to slopes in the coordinates."""
        return slopes if self.inverse is None else slopes @ self.inverse

    def curvature(self, blocks: Any) -> Any:
        """Return T^T N T for matrices N (q, d, d)."""
        return blocks if self.matrix is None else self.matrix.T @ blocks @ self.matrix


def round_basis(X: Floats, owned: Bools, bias: bool, rotate: bool, curvature: float = 0.0) -> RoundBasis:
    """Return the basis for data (n, d), the last column ones where there is a `bias`, and neurons that own (q, d).

    A rotation makes the data round, and mixes features: neurons that do not own all of them have their features centred
    and scaled alone, which mixes each with the bias and with nothing else; without a bias, scaled. The rotation makes
    X^T X / n + curvature I round, and the others about so.
    """
    if rotate and owned.all():
        shrunk = np.sqrt(curvature * len(X)) * np.eye(X.shape[1])
        return RoundBasis(_rotation(np.concatenate([X, shrunk]) if curvature > 0.0 else X, len(X)))
    return _centred(X, curvature) if bias and owned[:, -1].all() else unit_basis(X, curvature)


def plain_basis(X: Floats) -> RoundBasis | None:
    """Return the basis that changes the unit of all weights together, where the data are round in it; else None."""
    sizes = np.linalg.svd(X, compute_uv=False)
    if len(X) < X.shape[1] or sizes[-1] * ROUND < sizes[0] or sizes[0] == 0.0:
        return None
    # By a power of 2, which costs no rounding.
    return RoundBasis(np.eye(X.shape[1]) * np.exp2(-np.round(0.5 * np.log2(np.square(X).mean()))))


def unit_basis(X: Floats, curvature: float = 0.0) -> RoundBasis:
    """Return the basis in which every feature has mean square 1, with the curvature, and is mixed with no other."""
    return RoundBasis(np.diag(1.0 / np.hypot(_sizes(X), np.sqrt(curvature))))


def _centred(X: Floats, curvature: float) -> RoundBasis:
    """Return the basis in which features are centred and of mean square 1, the ones of the last column left.

    With a curvature k the inverse of T is [[e, 0], [means / b, b]], b^2 = 1 + k, whose square has the last column of
    X^T X / n + k I, and about its diagonal: the larger k, the less is centred.
    """
    means, share = X[:, :-1].mean(axis=0), curvature / (1.0 + curvature)
    spread = _sizes(X[:, :-1] - means)
    # What is left of a feature that does not vary is rounding.
    spread = np.where(spread > CONSTANT * np.abs(means), spread, np.maximum(np.abs(means), 1.0))
    units = np.sqrt(np.square(spread) + share * np.square(means) + curvature)
    matrix = np.diag([*(1.0 / units), 1.0 / np.sqrt(1.0 + curvature)])
    matrix[-1, :-1] = -means / units / (1.0 + curvature)
    return RoundBasis(matrix)


def _sizes(X: Floats) -> Floats:
    """Return the root mean squares of the columns, 1 for those of zeros."""
    sizes: Floats = np.sqrt(np.square(X).mean(axis=0))
    sizes[sizes == 0.0] = 1.0
    return sizes


def _rotation(X: Floats, n: int) -> Floats:
    """Return T (d, d) with columns of X T orthogonal and of square n."""
    units = _sizes(X)
    _, sizes, directions = np.linalg.svd(X / units, full_matrices=len(X) < X.shape[1])
    reach = np.zeros(len(directions))
    reach[: len(sizes)] = sizes
    reach[reach <= THIN * sizes[0]] = sizes[0]
    return np.asarray((directions.T * (np.sqrt(n) / reach)) / units[:, None])


def penalty_curvature(program: ConvexProgram) -> float:
    """Return about the curvature of the penalty in weights, where these are of the size that the target asks for."""
    assert program.penalty is not None
    strength = program.strength or 0.0
    if program.penalty.degree == 2:
        return strength
    size = float(np.sqrt(np.square(program.rows).sum(axis=1).mean()))
    spread = float(np.sqrt(2.0 * program.zero_loss))
    return strength * size / spread if spread > 0.0 else 0.0
