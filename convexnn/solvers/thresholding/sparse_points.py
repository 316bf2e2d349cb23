"""Points with s nonzeros side by side, and what hard thresholding does with them: step, fit on a support, swap."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from convexnn.checks import Bools, Floats, Ints
from convexnn.theory.stability import neuron_of
from convexnn.theory.supports.design import Design
from convexnn.theory.supports.fits import fit_supports

# Iterations with the same support after which its best weights are worth a fit.
SETTLED = 5
# Entries that leave, and that enter, in the swaps that are tried at a time.
SWAPPED = 12
# Steps of Newton's method that rank swaps.
RANKING = 3
# A swap that lowers the objective by less than this share of it is none.
WORTH = 1e-9


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """b points with s entries each, `supports` (b, s) ascending and `weights` (b, s), and what is known there.

    `slopes` (b, N) is the gradient, `objectives` (b,) the objective, `repeats` (b,) how often a support has repeated
    since it was fitted, `stable` (b,) which points are fixed.
    """

    supports: Ints
    weights: Floats
    slopes: Floats
    objectives: Floats
    repeats: Ints
    stable: Bools

    @property
    def objective(self) -> float:
        """The least objective."""
        return float(self.objectives.min())

    @property
    def final(self) -> bool:
        """Whether all points are fixed."""
        return bool(self.stable.all())

    def part(self, place: int) -> SparsePoints:
        """Return one of the points alone."""
        own = slice(place, place + 1)
        return SparsePoints(*(getattr(self, item.name)[own] for item in fields(self)))

    def distinct(self) -> list[SparsePoints]:
        """Return a point for each support that occurs, its best one, the best first."""
        order = np.argsort(self.objectives, kind="stable")
        _, first = np.unique(self.supports[order], axis=0, return_index=True)
        return [self.part(int(order[place])) for place in np.sort(first)]


@dataclass(frozen=True, eq=False)
class StableIHT:
    """What stays fixed: the smooth objective, the step, and how a run ends."""

    design: Design
    step: float
    polish: bool
    tolerance: float

    @property
    def budget(self) -> int:
        """s."""
        assert self.design.program.budget is not None
        return self.design.program.budget

    def points(self, weights: Floats) -> SparsePoints:
        """Return the points of the largest entries that the budget allows, of weights (b, N)."""
        supports = np.stack([self.largest(np.abs(point)) for point in weights])
        return self.at(supports, np.take_along_axis(weights, supports, axis=1))

    def largest(self, sizes: Floats) -> Ints:
        """Return the places of the s largest of sizes (N,) that the cap allows, ascending."""
        cap, allowed = self.design.program.budget_per_neuron, np.arange(len(sizes))
        if cap is not None:
            owner = neuron_of(self.design)
            order = np.lexsort((-sizes, owner))
            first = np.searchsorted(owner[order], owner[order])
            allowed = np.sort(order[np.arange(len(sizes)) - first < cap])
        count = min(self.budget, len(allowed))
        return np.sort(allowed[np.argpartition(-sizes[allowed], count - 1)[:count]])

    def at(self, supports: Ints, weights: Floats) -> SparsePoints:
        """Return the points of weights (b, s) on supports (b, s)."""
        b, program = len(supports), self.design.program
        spread = np.zeros((b, self.design.size))
        np.put_along_axis(spread, supports, weights, axis=1)
        values = spread.reshape(b, self.design.n_columns, -1)
        assert self.design.matrix is not None
        predictions = self.design.matrix @ values
        losses = np.array([program.loss.value(prediction, program.targets) for prediction in predictions])
        theta = np.stack([program.loss.gradient(prediction, program.targets) for prediction in predictions])
        slopes = (self.design.matrix.T @ theta).reshape(b, -1) + self.design.strength * spread
        objectives = losses + 0.5 * self.design.strength * np.square(weights).sum(axis=1)
        return SparsePoints(supports, weights, slopes, objectives, np.zeros(b, dtype=np.int64), np.zeros(b, dtype=bool))

    def iterate(self, now: SparsePoints) -> SparsePoints:
        """Return the points after a step; those that it keeps, with a slope within the tolerance, are fixed."""
        moved = -self.step * now.slopes
        np.put_along_axis(moved, now.supports, np.take_along_axis(moved, now.supports, axis=1) + now.weights, axis=1)
        supports = np.stack([self.largest(np.abs(point)) for point in moved])
        kept = (supports == now.supports).all(axis=1)
        slopes = np.abs(np.take_along_axis(now.slopes, now.supports, axis=1)).max(axis=1)
        stable = now.stable | (kept & (slopes <= self.tolerance))
        weights = np.where(stable[:, None], now.weights, np.take_along_axis(moved, supports, axis=1))
        after = self.at(np.where(stable[:, None], now.supports, supports), weights)
        after = replace(after, repeats=np.where(kept, now.repeats + 1, 0), stable=stable)
        settled = np.flatnonzero(~stable & (after.repeats >= SETTLED))
        return self.polished(after, settled) if self.polish and len(settled) else after

    def polished(self, now: SparsePoints, settled: Ints) -> SparsePoints:
        """Return the points with the best weights on the settled supports."""
        start = now.weights[settled]
        fits = fit_supports(self.design, now.supports[settled], start=start, tolerance=0.1 * self.tolerance)
        weights, repeats = now.weights.copy(), now.repeats.copy()
        better = fits.objectives <= now.objectives[settled]
        weights[settled[better]], repeats[settled] = fits.weights[better], 0
        return replace(self.at(now.supports, weights), repeats=repeats, stable=now.stable)

    def swapped(self, now: SparsePoints) -> SparsePoints:
        """Return the one point after the best of its swaps, fitted; itself where none lowers the objective."""
        support, outside = now.supports[0], np.setdiff1d(np.arange(self.design.size), now.supports[0])
        leaving = np.argsort(np.abs(now.weights[0]), kind="stable")[:SWAPPED]
        entering = outside[np.argsort(-np.abs(now.slopes[0, outside]), kind="stable")[:SWAPPED]]
        tried = np.repeat(support[None], len(leaving) * len(entering), axis=0)
        start = np.repeat(now.weights, len(tried), axis=0)
        place = np.arange(len(tried)), np.repeat(leaving, len(entering))
        tried[place], start[place] = np.tile(entering, len(leaving)), 0.0
        tried, start = tried[self._allowed(tried)], start[self._allowed(tried)]
        if not len(tried):
            return now
        # A few steps of Newton's method from the weights that stay rank the swaps; the best is fitted.
        ranked = fit_supports(self.design, tried, start=start, max_iterations=RANKING).objectives
        chosen = np.sort(tried[[int(ranked.argmin())]], axis=1)
        fit = fit_supports(self.design, chosen, tolerance=0.1 * self.tolerance)
        return self.at(chosen, fit.weights) if fit.objectives[0] < (1.0 - WORTH) * now.objective else now

    def _allowed(self, supports: Ints) -> Bools:
        cap = self.design.program.budget_per_neuron
        if cap is None or cap >= supports.shape[1]:
            return np.ones(len(supports), dtype=bool)
        owners = np.sort(neuron_of(self.design)[supports], axis=1)
        allowed: Bools = (owners[:, cap:] != owners[:, :-cap]).all(axis=1)
        return allowed
