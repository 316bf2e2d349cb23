"""What evaluating a function of a network in floating point can miss its value by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from convexnn.checks import Floats
from verify.bounds.functions import Functions
from verify.regions.box import Box
from verify.regions.intervals import Interval

# Bound and value each lose several roundings, each about the error of one evaluation in the region.
ROUNDINGS = 8.0


class EvaluationError:
    """The error of one function near a point of a region: how far apart bounds at single points are, times roundings.

    That of the last point that was asked about is kept.
    """

    def __init__(self, functions: Functions, index: int, region: Box) -> None:
        self.functions, self.index, self.region = functions, index, region
        self.point, self.error = np.empty(0), 0.0

    def known_at(self, point: Floats) -> float:
        """Return the error at a point if it is known, else 0."""
        return self.error if np.array_equal(self.point, point) else 0.0

    def at(self, point: Floats, matters: float, stop: Callable[[], bool]) -> float:
        """Return the error at a point; 0 where it is no more than what `matters`, or where `stop` cuts it short."""
        if not np.array_equal(self.point, point):
            probes = self._probes(point)
            if ROUNDINGS * max(self._width(self.functions.proven_at, x) for x in probes) <= matters:
                return 0.0
            # CROWN bounds of single points: intervals add up what neurons lose, layer by layer.
            sharply = partial(self.functions.sharply_at, stop=stop)
            sharp = ROUNDINGS * max(self._width(sharply, x) for x in probes)
            # What the limit has cut short is wider than it is.
            if stop():
                return 0.0
            self.point, self.error = point.copy(), sharp
        return self.error

    def _probes(self, point: Floats) -> list[Floats]:
        """Return the point, the center and two ends of the region: a value of 0 may have no term at all."""
        region = self.region
        return [point, region.center, *map(region.project, (region.lower, region.upper))]

    def _width(self, known: Callable[[Floats], Interval], x: Floats) -> float:
        bounds = known(x)
        with np.errstate(all="ignore"):
            width = float(bounds.upper[self.index] - bounds.lower[self.index])
        return width if np.isfinite(width) else 0.0
