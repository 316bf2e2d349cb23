"""Local ascent: large values of |sum_i theta_i relu(x_i . u)| on a ball, from many starts, in any dimension."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convexnn.checks import Floats
from convexnn.tiles import TILE_ENTRIES

# Steps of an ascent: first far ones, then ever shorter ones, from the first to the last length.
FAR, NEAR = 15, 45
FIRST, LAST = 1.0, 0.01

# What is kept of a point at a far step.
MEMORY = 0.3


def random_starts(rows: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return starts (count, d): half random directions in the units of the rows, half rows with noise, either sign."""
    n, d = rows.shape
    spread = np.sqrt(np.square(rows).mean(axis=0))
    spread = np.where(spread > 0.0, spread, 1.0)
    free = rng.standard_normal((count - count // 2, d)) / spread
    near = rows[rng.integers(n, size=count // 2)] * rng.choice([-1.0, 1.0], size=(count // 2, 1))
    return np.concatenate([free, near + 0.3 * spread * rng.standard_normal(near.shape)])


def ascend(
    rows: Floats, theta: Floats, starts: Floats, ball: str = "l2", stop: Callable[[], bool] = lambda: False
) -> tuple[Floats, Floats]:
    """Climb |sum_i theta_ic relu(x_i . u)| for every column c of theta and both signs, from every start.

    Parameters
    ----------
    rows : ndarray (n, d)
        X.
    theta : ndarray (n, k)
        Dual points.
    starts : ndarray (s, d)
        Where to begin; zero rows stay where they are.
    ball : {"l2", "l1"}
        The ball whose norm the points have.
    stop : callable
        Asked after each step: whether paths end where they are.

    Returns
    -------
    values : ndarray (p,)
        The largest value on each path, p = 2 k s, best first.
    points : ndarray (p, d)
        Where it is reached, of length 1 in the ball's norm.

    Notes
    -----
    f is positively homogeneous, so a subgradient g at u has f(u) = g . u. Over the L2 ball a step goes towards
    g / ||g||, the fixed point of which is a local maximum where f is smooth; f has concave kinks, on which shorter and
    shorter steps settle. Over the L1 ball it goes towards the vertex that g points to, as in Frank and Wolfe's method.
    """
    signed = np.concatenate([theta, -theta], axis=1)
    step = max(1, TILE_ENTRIES // max(1, len(rows)))
    found = [
        _paths(rows, column, starts[first : first + step], ball, stop)
        for column in signed.T
        for first in range(0, len(starts), step)
    ]
    values = np.concatenate([value for value, _ in found])
    points = np.concatenate([point for _, point in found])
    order = np.argsort(-values, kind="stable")
    return values[order], points[order]


def _paths(rows: Floats, theta: Floats, starts: Floats, ball: str, stop: Callable[[], bool]) -> tuple[Floats, Floats]:
    """Return the best value (s,) and point (s, d) of each path of f = sum_i theta_i relu(x_i . u)."""
    points = _on_sphere(starts, ball)
    weighted = theta[:, None] * rows
    best, where = np.full(len(points), -np.inf), points.copy()
    for length in (*np.full(FAR, np.inf), *np.geomspace(FIRST, LAST, NEAR)):
        slopes = (points @ rows.T > 0.0).astype(np.float64) @ weighted
        values = (slopes * points).sum(axis=1)
        better = values > best
        best, where[better] = np.where(better, values, best), points[better]
        towards = _on_sphere(slopes, ball) if ball == "l2" else _vertices(slopes)
        points = MEMORY * points + towards if length == np.inf else points + length * towards
        points = _on_sphere(points, ball)
        if stop():
            break
    return best, where


def _on_sphere(points: Floats, ball: str) -> Floats:
    """Return the points (s, d) at length 1; zero points stay."""
    sizes = np.sqrt(np.square(points).sum(axis=1)) if ball == "l2" else np.abs(points).sum(axis=1)
    result: Floats = points / np.where(sizes > 0.0, sizes, 1.0)[:, None]
    return result


def _vertices(slopes: Floats) -> Floats:
    """Return the vertices of the L1 ball that the slopes (s, d) point to."""
    result = np.zeros_like(slopes)
    lane, first = np.arange(len(slopes)), np.abs(slopes).argmax(axis=1)
    result[lane, first] = np.sign(slopes[lane, first])
    return result
