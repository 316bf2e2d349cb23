"""Networks that are positively homogeneous over L2 balls around zero: space is cut into cones, for few inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convexnn.checks import Floats
from convexnn.pricing.polishing import polish
from convexnn.pricing.price import price_exactly
from verify.answers.answer import Proof
from verify.regions.balls import L2Ball
from verify.regions.intervals import EPS, TINY
from verify.splitting.inquired import Inquired

# Inputs up to which cones are cut: their number grows some tenfold with each one.
MOST_INPUTS = 5

# Hidden neurons per input up to which splitting them is over sooner.
FEW = 3

# Sizes of what is cut into cones: squares of products of two do not overflow or underflow.
SMALLEST, LARGEST = 1e-75, 1e75

# Most searches, each of which but the last finds a larger value, and the part of the time left for all of them.
CLIMBS, SHARE = 5, 0.1

# Most cones of one level, about a second, and points that are climbed from after each search.
MOST_CONES, CLIMBED = 1 << 18, 16


@dataclass(frozen=True, eq=False)
class ConicFunction:
    """offset + sum_j theta_j relu(w_j . x) over an L2 ball around zero.

    Attributes
    ----------
    rows : ndarray (m, d)
        w.
    theta : ndarray (m,)
        The weights of the hidden neurons.
    offset, radius : float
        The constant, and the radius.
    slack : float
        What rounding of theta and of the offset can amount to over the ball.
    """

    rows: Floats
    theta: Floats
    offset: float
    radius: float
    slack: float

    def per_unit(self, value: float) -> float:
        """Return what the sum over the unit ball may be, rounded down, so that the function is at most the value."""
        rest = value - self.offset - self.slack
        return (rest - 4.0 * EPS * (abs(value) + abs(self.offset))) / self.radius * (1.0 - 4.0 * EPS)

    def at_most(self, unit: float) -> float:
        """Return the bound of the function that a bound of the sum over the unit ball gives, rounded up."""
        total = unit * self.radius * (1.0 + 4.0 * EPS) + self.slack
        return float(np.nextafter(self.offset + total + 4.0 * EPS * (abs(self.offset) + total), np.inf))


def conic_function(inquiry: Inquired, index: int) -> ConicFunction | None:
    """Return a function of an inquiry in that form; None where it has another, or more than a few inputs."""
    network, region = inquiry.functions.network, inquiry.region
    # A part of a ball is none.
    if type(region) is not L2Ball or region.size > MOST_INPUTS:
        return None
    clipped = min(region.below.min(), region.above.min()) < region.radius
    if len(network.layers) != 2 or network.linear_units(0) is not None or clipped or region.center.any():
        return None
    (hidden, bias), (last, constants) = network.layers
    if bias.any():
        return None
    row, rows = inquiry.functions.row(index), hidden.toarray()
    # Sums of k terms, and the constant one more; products may underflow, and so may the squares of a Euclidean length.
    theta, offset = row @ last, float(row @ constants + inquiry.functions.offsets[index])
    lost = (len(row) + 4) * EPS
    most = float((np.abs(row) @ abs(last) + TINY) @ np.abs(rows).sum(axis=1)) * region.radius
    slack = 2.0 * lost * (most + float(np.abs(row) @ np.abs(constants)) + abs(inquiry.functions.offsets[index]))
    sizes = np.array([region.radius, np.abs(rows).max(initial=0.0), np.abs(theta).max(initial=0.0)])
    usual = bool(((sizes > SMALLEST) & (sizes < LARGEST)).all())
    return ConicFunction(rows, np.asarray(theta), offset, region.radius, slack) if usual else None


def cut_into_cones(inquiry: Inquired, index: int, level: Callable[[], float]) -> None:
    """Bound a function from above by cones, where it has that form; larger values met on the way are climbed from.

    `level` tells what a better value has to exceed, by what is known then.
    """
    function = conic_function(inquiry, index)
    if function is None:
        return
    until = inquiry.clock.seconds + SHARE * inquiry.clock.left
    _climb(inquiry, index, function, inquiry.points[[index]])
    for _ in range(CLIMBS):
        goal, base = function.per_unit(level()), function.per_unit(inquiry.reached[index])
        if len(function.theta) <= FEW * inquiry.region.size:
            return
        # A maximum of 0 has no size that cones could be compared with.
        if not 0.0 < base < goal or inquiry.clock.past(until):
            return
        limits: dict[str, Any] = {"time_limit": inquiry.clock.left_until(until), "max_cones": MOST_CONES}
        pricing = price_exactly(function.rows, function.theta[:, None], base, goal, beat=goal, signs=(1.0,), **limits)
        bound, before = function.at_most(pricing.bound), inquiry.reached[index]
        if bound < inquiry.upper[index]:
            inquiry.upper[index], inquiry.proof = bound, Proof.BRANCHED
            inquiry.note("cones", f"at most {bound:.6g}, by {pricing.cones:,} cones")
        points = pricing.points[:CLIMBED]
        if not len(points):
            return
        _climb(inquiry, index, function, points)
        if inquiry.reached[index] <= before:
            return


def _climb(inquiry: Inquired, index: int, function: ConicFunction, points: Floats) -> None:
    """Record the local maxima near points, on the rim of the ball."""
    before = inquiry.reached[index]
    for point in points[points.any(axis=1)]:
        peak = polish(function.rows, function.theta, point)
        inquiry.record(inquiry.region.project(function.radius * peak))
    if inquiry.reached[index] > before:
        inquiry.note("cells", f"at least {inquiry.reached[index]:.6g}")
