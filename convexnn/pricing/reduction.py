"""What is priced in fewer dimensions and at unit scale: rows without weight go, and directions that no row sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Floats
from convexnn.pricing.functions import LEEWAY, UNIT

# Singular values below this share of the largest are taken for zero; what that costs is added to the bound.
DEPENDENT = 1e-13


@dataclass(frozen=True, eq=False)
class Reduced:
    """A pricing problem in the coordinates of its row space.

    Attributes
    ----------
    rows : ndarray (n, r)
        X Q at unit scale, Q orthonormal (d, r); X itself where its rank is d, or over the L1 ball.
    theta : ndarray (n, k)
        The dual points at unit scale.
    basis : ndarray (d, r)
        Q: a point z of the reduced problem is Q z.
    scale : float
        Values of the problem are `scale` times those of the reduced one; a power of two.
    stretch, lost : float
        The maximum is at most scale * (stretch * the reduced maximum + lost).
    """

    rows: Floats
    theta: Floats
    basis: Floats
    scale: float
    stretch: float
    lost: float

    def outward(self, bound: float) -> float:
        """Return the bound of the problem that a bound of the reduced one gives."""
        return self.scale * (self.stretch * bound + self.lost)

    def inward(self, level: float) -> float:
        """Return the level to prove of the reduced problem, so that `level` is proven of the problem."""
        return (level / self.scale - self.lost) / self.stretch


def reduce(rows: Floats, theta: Floats, ball: str) -> Reduced:
    """Return the problem of rows (n, d) and dual points (n, k) without what does not matter."""
    used = theta.any(axis=1) & rows.any(axis=1)
    kept, duals = rows[used], theta[used]
    seen = np.flatnonzero(kept.any(axis=0))
    basis, lost, stretch = np.eye(rows.shape[1])[:, seen], 0.0, 1.0
    kept = kept[:, seen]
    if not kept.size:
        return Reduced(np.zeros((0, 1)), np.zeros((0, theta.shape[1])), np.eye(rows.shape[1])[:, :1], 1.0, 1.0, 0.0)
    length, weight = _power(np.abs(kept).max()), _power(np.abs(duals).max())
    kept, duals = kept / length, duals / weight
    if ball == "l2":
        inner = _row_space(kept)
        if inner.shape[1] < kept.shape[1]:
            short = kept @ inner
            lost, stretch = _costs(kept, short, inner, duals)
            kept, basis = short, basis @ inner
    return Reduced(kept, duals, basis, length * weight, stretch, lost)


def _power(size: float) -> float:
    """Return the power of two at or above a size above 0."""
    return float(np.exp2(np.ceil(np.log2(size))))


def _row_space(rows: Floats) -> Floats:
    _, values, directions = np.linalg.svd(rows, full_matrices=False)
    return directions[values > DEPENDENT * values[0]].T


def _costs(rows: Floats, short: Floats, basis: Floats, theta: Floats) -> tuple[float, float]:
    """Return what the rows outside the basis can add, sum |theta_i| ||x_i - Q z_i||, and ||Q||_2, both rounded up."""
    d, rank = basis.shape
    norms = np.sqrt(np.square(rows).sum(axis=1))
    off = np.sqrt(np.square(rows - short @ basis.T).sum(axis=1)) + 4.0 * (d + rank) * UNIT * norms
    tilt = float(np.abs(basis.T @ basis - np.eye(rank)).sum(axis=1).max()) + 4.0 * d * rank * UNIT
    return float((np.abs(theta) * off[:, None]).sum(axis=0).max()) * (1.0 + LEEWAY), 1.0 + tilt
