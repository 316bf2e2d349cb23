"""Maxima to the last digit: the best point of a cell of the arrangement, then of its neighbours."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from convexnn.checks import Bools, Floats

# Most cells on a way.
CELLS = 50


def polish(rows: Floats, theta: Floats, point: Floats) -> Floats:
    """Climb f(u) = sum_i theta_i relu(x_i . u) on the L2 ball from cell to cell, while that gains.

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
    best: Floats = point / np.linalg.norm(point)
    highest = _value(rows, theta, best)
    waiting = [rows @ best > 0.0]
    for _ in range(CELLS):
        if not waiting:
            break
        active = waiting.pop(0)
        try:
            peak, multipliers = _best_of_cell(rows, theta, active)
        except RuntimeError:
            # Its pivots turned in circles: another cell, or the point as it is.
            continue
        value = _value(rows, theta, peak)
        if value > highest:
            best, highest = peak if peak.any() else best, value
            waiting = _neighbours(theta, active, multipliers)
    return best


def _best_of_cell(rows: Floats, theta: Floats, active: Bools) -> tuple[Floats, Floats]:
    """Return where f is largest on the cell of a pattern, zero where that is 0, and the multipliers."""
    sides = np.where(active, 1.0, -1.0)
    slope = theta[active] @ rows[active]
    multipliers = nnls((rows * sides[:, None]).T, -slope)[0]
    move = slope + (multipliers * sides) @ rows
    length = np.linalg.norm(move)
    return move / (length if length > 0.0 else 1.0), multipliers


def _neighbours(theta: Floats, active: Bools, multipliers: Floats) -> list[Bools]:
    """Return the patterns across the boundaries where crossing gains: across all, then across each, best first."""
    gains = np.where(multipliers > 0.0, multipliers + theta, 0.0)
    crossed = np.flatnonzero(gains > 0.0)
    single = [active ^ (np.arange(len(theta)) == row) for row in crossed[np.argsort(-gains[crossed])]]
    return [active ^ (gains > 0.0), *single] if len(single) > 1 else single


def _value(rows: Floats, theta: Floats, point: Floats) -> float:
    return float(np.maximum(rows @ point, 0.0) @ theta)
