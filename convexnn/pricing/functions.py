"""The function that is priced: f(u) = sum_i theta_i relu(x_i . u), split into its convex and its concave part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convexnn.checks import Floats
from convexnn.tiles import TILE_ENTRIES

# Half the distance of 1 to the next float64.
UNIT = 2.0**-53

# What a norm or a singular value may be off by, as a share, with a margin.
LEEWAY = 1e-10


@dataclass(frozen=True, eq=False)
class PricedFunction:
    """f(u) = f+(u) - f-(u) over rows X (n, d) with weights theta (n,), both parts convex and positively homogeneous.

    f+ = sum over theta_i > 0 and f- = sum over theta_i < 0 of |theta_i| relu(x_i . u).
    """

    rows: Floats
    theta: Floats

    @cached_property
    def weighted(self) -> Floats:
        """The rows times |theta|, those of f+ and then those of f-, transposed, (2 d, n)."""
        sides = (np.maximum(self.theta, 0.0), np.maximum(-self.theta, 0.0))
        return np.concatenate([(self.rows * side[:, None]).T for side in sides])

    @cached_property
    def size(self) -> float:
        """F = sum_i |theta_i| ||x_i||, at least |f| on the ball, and the scale of all rounding."""
        return float(np.abs(self.theta) @ np.sqrt(np.square(self.rows).sum(axis=1))) * (1.0 + LEEWAY)

    def slopes(self, points: Floats) -> tuple[Floats, Floats]:
        """Return subgradients of f+ and of f- at the points (d, B), both (d, B), by tiles."""
        d, count = points.shape
        result = np.empty((2 * d, count))
        step = max(64, TILE_ENTRIES // 4 // max(1, len(self.rows)))
        for start in range(0, count, step):
            tile = slice(start, start + step)
            result[:, tile] = self.weighted @ (self.rows @ points[:, tile] > 0.0).astype(np.float64)
        return result[:d], result[d:]

    def plain_bound(self) -> float:
        """Return an upper bound of f on the L2 ball, and so on the L1 ball, that takes one look: it is weak.

        relu(z) = (z + |z|) / 2, so f <= 1/2 theta^T X u + 1/2 sum over theta_i > 0 of theta_i |x_i . u|, and the sum is
        at most (sum theta_i)^1/2 (sum theta_i (x_i . u)^2)^1/2.
        """
        positive = np.maximum(self.theta, 0.0)
        spread = np.linalg.norm(np.sqrt(positive)[:, None] * self.rows, 2) if positive.any() else 0.0
        bound = 0.5 * np.linalg.norm(self.rows.T @ self.theta) + 0.5 * np.sqrt(positive.sum()) * spread
        # A product of n terms rounds by n units of F; the norm of a matrix by a few of its own.
        allowance = 4.0 * (len(self.rows) + self.rows.shape[1]) * UNIT * self.size
        return min(self.size, float(bound) * (1.0 + LEEWAY) + allowance)


def plain_gated_bound(rows: Floats, theta: Floats) -> float:
    """Return an upper bound of ||X^T D theta|| over all patterns D, in one look: the bound of gated programs.

    D = (I + S) / 2 with signs S: at most 1/2 ||X^T theta|| + 1/2 (sum |theta_i|)^1/2 ||diag(|theta|^1/2) X||_2.
    """
    size = np.abs(theta)
    spread = np.linalg.norm(np.sqrt(size)[:, None] * rows, 2) if size.any() else 0.0
    bound = 0.5 * np.linalg.norm(rows.T @ theta) + 0.5 * np.sqrt(size.sum()) * spread
    whole = PricedFunction(rows, theta).size
    return min(whole, float(bound) * (1.0 + LEEWAY) + 4.0 * sum(rows.shape) * UNIT * whole)
