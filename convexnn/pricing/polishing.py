"""Local maxima to the last digit: the best point of a cell of the arrangement, and from cell to cell."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from convexnn.checks import Bools, Floats

# Most cells on a way.
CELLS = 50


def polish(rows: Floats, theta: Floats, point: Floats) -> Floats:
    """Climb f(u) = sum_i theta_i relu(x_i . u) on the L2 ball from cell to cell, to a local maximum.

    Parameters
    ----------
    rows : ndarray (n, d)
        X.
    theta : ndarray (n,)
        The weights.
    point : ndarray (d,)
        Where to begin, not zero.

    Returns
    -------
    ndarray (d,)
        A point of length 1, where f is no lower than at the (scaled) point but for rounding.

    Notes
    -----
    On the cell of a pattern s in {-1, 1}^n f is linear, f = g . u, and its largest value on the ball is the length of
    the projection of g onto the cone s_i x_i . u >= 0, which is g + sum_i lambda_i s_i x_i with the lambda >= 0 that
    make it shortest (Moreau): a non-negative least squares problem. Crossing the boundary of row i changes the slope by
    theta_i x_i, and gains where lambda_i > -theta_i.
    """
    best = point / np.linalg.norm(point)
    lowest = _value(rows, theta, best)
    active = rows @ best > 0.0
    for _ in range(CELLS):
        sides = np.where(active, 1.0, -1.0)
        slope = theta[active] @ rows[active]
        multipliers = nnls((rows * sides[:, None]).T, -slope)[0]
        move = slope + (multipliers * sides) @ rows
        length = np.linalg.norm(move)
        if length == 0.0:
            break
        here = move / length
        value = _value(rows, theta, here)
        if value <= lowest:
            break
        best, lowest = here, value
        active = active ^ _gaining(theta, multipliers)
    return best


def _gaining(theta: Floats, multipliers: Floats) -> Bools:
    gains: Bools = (multipliers > 0.0) & (multipliers > -theta)
    return gains


def _value(rows: Floats, theta: Floats, point: Floats) -> float:
    return float(np.maximum(rows @ point, 0.0) @ theta)
