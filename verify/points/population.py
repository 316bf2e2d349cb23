"""Populations: points brought up by gradient ascent, crossed with each other and brought up again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.points.ascent import densify_layers, random_starts, values_and_slopes
from verify.regions.box import Box

# Arrays in float32, which half the time and the memory suffice for.
Float32s = NDArray[Any]

# Points kept, and how many are crossed at a time.
SIZE, CHILDREN = 32, 16

# Steps of an ascent, the lengths of the first and of the last one, and of a last ascent from the best point.
STEPS, LONGEST, SHORTEST = 80, 0.4, 0.001
LAST_STEPS, LAST_LENGTH, FINEST = 300, 0.02, 1e-5

# The largest number of float32.
LARGEST = float(np.finfo(np.float32).max)

# The share of the past slopes in the direction of a step.
MOMENTUM = 0.9

# Shares of a child's inputs that are drawn anew.
MUTATIONS = (0.0, 0.02, 0.05)

# Generations without a gain of this share of the value after which a population begins anew.
PATIENCE, GAIN = 15, 1e-5


class Population:
    """An anytime search for max c . outputs over a region.

    Parameters
    ----------
    network : SparseReLUNetwork
        k outputs.
    region : Box
        Where to search.
    objective : ndarray (k,)
        c.
    rng : numpy.random.Generator
        Source of all draws.

    Attributes
    ----------
    point, value : ndarray (d,), float
        The best point met, inside the region, and the function there up to float32.
    runs : int
        How many times it began anew.

    Notes
    -----
    Every generation crosses pairs of points input by input, draws some inputs anew, takes ascent steps of falling
    length along slopes with momentum, and keeps the best distinct points. Where it stagnates it begins anew. On random
    networks of 1,000 inputs it gains 1 to 3 % over as many plain restarts. Work is in float32.
    """

    def __init__(
        self,
        network: SparseReLUNetwork,
        region: Box,
        objective: Floats,
        rng: np.random.Generator,
    ) -> None:
        self.network, self.region, self.rng = network, region, rng
        self.layers = [tuple(map(_as_float32, layer)) for layer in densify_layers(network)]
        self.objective = _as_float32(objective)
        self.points, self.values = np.empty((0, region.size), dtype=np.float32), np.empty(0, dtype=np.float32)
        self.point, self.value = region.center, -np.inf
        self.stale, self.runs = 0, 0

    def grow(self, stop: Callable[[], bool]) -> bool:
        """Bring up one generation; return whether the best value of all rose."""
        if self.stale > PATIENCE:
            self.points, self.values, self.stale, self.runs = self.points[:0], self.values[:0], 0, self.runs + 1
        fresh = not len(self.points)
        young = self._random_points(SIZE) if fresh else self._children()
        before = float(self.values.max(initial=-np.inf))
        self._keep(*self._ascend(young, np.geomspace(LONGEST, SHORTEST, STEPS), stop))
        gained = fresh or float(self.values.max(initial=-np.inf)) > before + GAIN * abs(before)
        self.stale = 0 if gained else self.stale + 1
        return self._update_best()

    def add(self, points: Floats, stop: Callable[[], bool] = lambda: False) -> None:
        """Bring up points (n, d) found elsewhere and let them join."""
        lengths = np.geomspace(LONGEST / 4.0, SHORTEST, STEPS)
        self._keep(*self._ascend(_as_finite_float32(points), lengths, stop))
        self._update_best()

    def settle(self, stop: Callable[[], bool]) -> Floats:
        """Return the best point after a last ascent of short steps."""
        lengths = np.geomspace(LAST_LENGTH, FINEST, LAST_STEPS)
        points, values = self._ascend(_as_finite_float32(self.point[None]), lengths, stop)
        self._keep(points, values)
        self._update_best()
        return self.point

    def _random_points(self, count: int) -> Float32s:
        return _as_finite_float32(random_starts(self.network, self.region, self.rng, count))

    def _children(self) -> Float32s:
        one, other = self.rng.integers(0, len(self.points), (2, CHILDREN))
        shape = (CHILDREN, self.region.size)
        crossed = self.rng.random(shape) < self.rng.random((CHILDREN, 1))
        children = np.where(crossed, self.points[one], self.points[other])
        drawn = self.rng.random(shape) < self.rng.choice(MUTATIONS, (CHILDREN, 1))
        fresh = self._random_points(CHILDREN)
        return _as_finite_float32(self.region.project(np.where(drawn, fresh, children).astype(np.float64)))

    def _ascend(self, points: Float32s, lengths: Floats, stop: Callable[[], bool]) -> tuple[Float32s, Float32s]:
        """Return the best points (n, d) met on ascents from `points`, and their values."""
        best, top, trend = points.copy(), np.full(len(points), -np.inf, dtype=np.float32), np.zeros_like(points)
        try:
            for length in [*lengths, 0.0]:
                with np.errstate(all="ignore"):
                    values, slopes = values_and_slopes(self.layers, points, self.objective)
                values, slopes = np.nan_to_num(values, nan=-np.inf, neginf=-np.inf), np.nan_to_num(slopes)
                better = values > top
                best[better], top[better] = points[better], values[better]
                if stop():
                    break
                size = np.abs(slopes).mean(axis=1, keepdims=True, dtype=np.float64)
                trend = MOMENTUM * trend + _as_float32((1.0 - MOMENTUM) * slopes / np.where(size > 0.0, size, 1.0))
                points = _as_finite_float32(self.region.step(points, trend, length))
        except KeyboardInterrupt:
            # The best point counts all the same.
            self._keep(best, top)
            self._update_best()
            raise
        return best, top

    def _keep(self, points: Float32s, values: Float32s) -> None:
        """Keep the best of the points there are and these; of equal values one."""
        points, values = np.concatenate([self.points, points]), np.concatenate([self.values, values])
        order = np.argsort(-values, kind="stable")
        order = order[np.isfinite(values[order])]
        apart = np.append(True, -np.diff(values[order]) > 1e-6 * np.abs(values[order[1:]]))[: len(order)]
        kept = order[apart][:SIZE]
        self.points, self.values = points[kept], values[kept]

    def _update_best(self) -> bool:
        """Keep the best point of all; return whether it is a new one."""
        if not len(self.values) or not self.values[0] > self.value:
            return False
        self.value = float(self.values[0])
        self.point = self.region.project(self.points[0].astype(np.float64))
        return True


def _as_finite_float32(points: Floats) -> Float32s:
    """Return points in float32, entries that are too large for that at its end."""
    return _as_float32(np.clip(points, -LARGEST, LARGEST))


def _as_float32(array: Any) -> Any:
    """Return an array, or a sparse weight, in float32; what is too large for that is infinite. A number stays."""
    with np.errstate(over="ignore"):
        return array if isinstance(array, float) else array.astype(np.float32)
