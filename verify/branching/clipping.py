"""Clipping: boxes drawn in to what of them lies in a region, or may meet linear constraints; rounded outward."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Floats
from verify.branching.box_bounds import peaks
from verify.regions.balls import L1Ball, L2Ball
from verify.regions.box import Box
from verify.regions.intervals import EPS, TINY

# Entries of linear constraints beyond which boxes are not drawn in to them: what lies outside is then searched in vain.
LARGEST = 1 << 16


def clip_to_linear(lower: Floats, upper: Floats, slopes: Floats, excess: Floats) -> tuple[Floats, Floats]:
    """Return boxes that hold all points of boxes where a linear function is at least 0.

    Parameters
    ----------
    lower, upper, slopes : ndarray (..., d)
        The boxes, and the slopes of one function each.
    excess : ndarray (...)
        An upper bound of the function over the box, at least 0: where it is negative there is no such point.

    Notes
    -----
    All other inputs at their best ends leave at most `excess`, so that x_i is at most excess / |slope_i| off its best
    end (Clip-and-Verify, arXiv 2512.11087).
    """
    with np.errstate(all="ignore"):
        way = excess[..., None] / np.abs(slopes)
        # The quotient is rounded once, and may underflow.
        way = way + (2.0 * EPS * way + TINY)
        low, high = np.nextafter(upper - way, -np.inf), np.nextafter(lower + way, np.inf)
    rising, falling = (slopes > 0.0) & np.isfinite(low), (slopes < 0.0) & np.isfinite(high)
    return np.where(rising, np.maximum(lower, low), lower), np.where(falling, np.minimum(upper, high), upper)


def clip_to_region(region: Box, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Return boxes (r, d) that hold all points of boxes in a region; a lower end above an upper one says there is none.

    The boxes are to lie in the box around the region.
    """
    base = region.base
    if isinstance(base, L1Ball | L2Ball):
        lower, upper = _clip_to_ball(base, lower, upper)
    rows, sides = region.constraints.rows, region.constraints.upper
    if rows.shape[0] * rows.shape[1] > LARGEST:
        return lower, upper
    for row, side in zip(rows.toarray(), sides, strict=True):
        slopes = np.broadcast_to(-row, lower.shape)
        excess = peaks(slopes, np.full(len(lower), side), lower, upper, region.reach)
        low, high = clip_to_linear(lower, upper, slopes, np.maximum(excess, 0.0))
        lower, upper = np.where(excess[:, None] < 0.0, np.inf, low), high
    return lower, upper


def _clip_to_ball(ball: L1Ball | L2Ball, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Return boxes drawn in to a ball: what the other inputs are off its center at least is lost to each.

    With p = 1 or 2, |x_i - c_i|^p <= radius^p - sum over the others of their least |x_j - c_j|^p.
    """
    power = 2 if isinstance(ball, L2Ball) else 1
    with np.errstate(all="ignore"):
        away = np.maximum(np.maximum(lower - ball.center, ball.center - upper), 0.0) ** power
        total, room = away.sum(axis=1, keepdims=True), ball.radius**power
        # Each term and sum is off by a few units of the last place of the largest.
        error = (4 * lower.shape[1] + 32) * EPS * (total + room) + TINY
        # What is off the center by underflow alone is not seen.
        left = room - (total - away) + error
        reach = left if power == 1 else np.sqrt(np.maximum(left, 0.0)) * (1.0 + 4.0 * EPS)
        low, high = np.nextafter(ball.center - reach, -np.inf), np.nextafter(ball.center + reach, np.inf)
    empty = (left < 0.0).any(axis=1, keepdims=True) | (total > room + error)
    return np.where(empty, np.inf, np.fmax(lower, low)), np.fmin(upper, high)
