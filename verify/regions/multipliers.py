"""Multipliers of linear constraints: accelerated ascent on the dual, for many functions or points at once.

Nothing here is rounded outward: multipliers prove what they prove when a bound is evaluated at them, and points count
when they are shown to lie in the region.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.regions.halfspaces import Halfspaces

# Lengths of the way along a function, in widths of the region: each stage begins at the multipliers of the one before.
STAGES = (2.0, 16.0, 128.0)

# Steps of a stage, at most and at least, and the entries beyond which they become fewer: points are nearest in a box at
# once, in a ball after sorting.
STEPS, FEWEST, ENTRIES, BALL_ENTRIES = 60, 8, 1.5e7, 2e6

# Changes of multipliers, in shares of their size, that end the steps: for points, and for multipliers alone.
STILL, ROUGH = 1e-12, 1e-6


@dataclass(frozen=True, eq=False)
class Dual:
    """A convex set of x (c,), cut by half-spaces, in units that make both of size 1.

    Attributes
    ----------
    cut : Halfspaces
        k of them, none constant over the set.
    norms : ndarray (k,)
        The lengths of the rows in these units.
    units : ndarray (c,)
        Widths of the set; 0 where an input is fixed.
    origin : ndarray (c,)
        A point of the set.
    project : callable
        Takes points (n, c), returns the nearest points of the set without the half-spaces, in these units.
    rate : float
        The step: 1 over the squared norm of the rows.
    entries : float
        Of all points and all steps of a stage, about, where these are many.
    """

    cut: Halfspaces
    norms: Floats
    units: Floats
    origin: Floats
    project: Callable[[Floats], Floats]
    rate: float
    entries: float = ENTRIES

    def nearest(
        self,
        targets: Floats,
        margin: float = 0.0,
        steps: int = STEPS,
        still: float = STILL,
        start: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Return multipliers (n, k) and points (n, c) of the set that are nearest to `targets` (n, c) within the cut.

        The sides are drawn in by `margin` of the norms; the steps end where multipliers change by less than `still`.

        Notes
        -----
        min |x - y|^2 / 2 over rows x <= upper in units of 1 has the dual max over l >= 0 of a smooth concave function
        whose slope is rows x(l) - upper, x(l) = project(y - rows' l). Steps are those of Nesterov (1983), begun anew
        where they go down (O'Donoghue and Candes 2015).
        """
        upper = self.cut.upper - margin * self.norms
        held = np.zeros((len(targets), len(self.norms))) if start is None else start
        ahead, turns = held, np.zeros((len(targets), 1))
        for _ in range(steps):
            slopes = (self.cut.at(self._point(targets, ahead)) - upper) / self.norms
            new = np.maximum(ahead + self.rate * slopes, 0.0)
            moved = new - held
            down = ((ahead - new) * moved).sum(axis=1, keepdims=True) > 0.0
            turns = np.where(down, 0.0, turns + 1.0)
            ahead, held = new + turns / (turns + 3.0) * moved, new
            if not np.abs(moved).max(initial=0.0) > still * (1.0 + np.abs(new).max(initial=0.0)):
                break
        return held, self._point(targets, held)

    def best(self, slopes: Floats) -> tuple[list[Floats], Floats]:
        """Return for `slopes` (n, c) multipliers (n, k) of rows x <= upper, one array a stage, and points (n, c).

        The point nearest to a target far along a linear function maximises it; the multipliers there, divided by how
        far, are those of the maximum.
        """
        steps = max(FEWEST, min(STEPS, int(self.entries / max(slopes.size, 1))))
        directions, size = self.normalised(slopes)
        held, points, found = np.zeros((len(slopes), len(self.norms))), np.zeros_like(slopes), []
        before = 1.0
        for stage in STAGES:
            targets = self.origin + self.units * (stage * directions)
            held, points = self.nearest(targets, 0.0, steps, ROUGH, held * (stage / before))
            before = stage
            found.append(held / stage * size / self.norms)
        return found, points

    def normalised(self, slopes: Floats) -> tuple[Floats, Floats]:
        """Return `slopes` (n, c) in these units, divided by their root mean squares (n, 1), and these."""
        with np.errstate(over="ignore"):
            scaled = np.nan_to_num(slopes * self.units)
        # The largest first, so that squares do not overflow.
        peak = np.abs(scaled).max(axis=1, keepdims=True, initial=0.0)
        scaled = scaled / np.where(peak > 0.0, peak, 1.0)
        size = np.sqrt(np.mean(np.square(scaled), axis=1, keepdims=True)) if scaled.shape[1] else peak
        return scaled / np.where(size > 0.0, size, 1.0), size * peak

    def _point(self, targets: Floats, multipliers: Floats) -> Floats:
        return self.project(targets - np.square(self.units) * self.cut.combined(multipliers / self.norms))


def dual_of(
    cut: Halfspaces,
    units: Floats,
    origin: Floats,
    project: Callable[[Floats], Floats],
    entries: float = ENTRIES,
) -> Dual:
    """Return the dual of a set cut by half-spaces, all of them with a row of positive length in these units."""
    norms = lengths(cut, units)
    scaled = sp.csr_matrix(sp.diags(1.0 / norms) @ cut.rows @ sp.diags(units))
    largest = float(np.linalg.norm((scaled @ scaled.T).toarray(), 2)) if len(cut) else 1.0
    return Dual(cut, norms, units, origin, project, 1.0 / largest, entries)


def linprog_multipliers(lower: Floats, upper: Floats, cut: Halfspaces, rows: Floats) -> Floats:
    """Return the multipliers (r, k) of the maxima of `rows` (r, c) . x over a box, by a linear program each.

    All constraints must have a row of positive length; those of a program that fails are 0.
    """
    from scipy.optimize import linprog

    middle, units = lower / 2 + upper / 2, upper - lower
    norms = lengths(cut, units)
    scaled, sides = sp.csr_matrix(sp.diags(1.0 / norms) @ cut.rows @ sp.diags(units)), -cut.excess(middle) / norms
    result = np.zeros((len(rows), len(cut)))
    for found, slope in zip(result, rows * units, strict=True):
        size = np.abs(slope).max(initial=0.0)
        if 0.0 < size < np.inf:
            optimum = linprog(-slope / size, A_ub=scaled, b_ub=sides, bounds=(-0.5, 0.5), method="highs")
            found[:] = -optimum.ineqlin.marginals * size / norms if optimum.status == 0 else 0.0
    return result


def lengths(cut: Halfspaces, units: Floats) -> Floats:
    """Return the lengths (m,) of rows in some units (d,)."""
    scaled = sp.csr_matrix(abs(cut.rows) @ sp.diags(units))
    # The largest first, so that squares neither overflow nor vanish.
    peak = scaled.max(axis=1).toarray().ravel() if len(cut) else np.zeros(0)
    scaled.data /= np.repeat(np.where(peak > 0.0, peak, 1.0), np.diff(scaled.indptr))
    return np.asarray(peak * np.sqrt(np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel()))
