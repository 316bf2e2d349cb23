"""The dual of a region's linear constraints: multipliers of all rows, peaks and nearest points in all inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.regions.halfspaces import Halfspaces
from verify.regions.intervals import TINY
from verify.regions.multipliers import BALL_ENTRIES, ENTRIES, Dual, dual_of, lengths, linprog_multipliers


@dataclass(frozen=True, eq=False)
class ConstraintDual:
    """The dual of m constraints over a region, on the rows and the inputs that matter there.

    Attributes
    ----------
    cut : Halfspaces
        All m.
    norms : ndarray (m,)
        The lengths of their rows over the widths of the region; 1 where they are 0.
    live : ndarray (m,) of bool
        The k rows that are not constant over the region.
    columns : ndarray (c,) of int
        The inputs that matter: in a box those that some row reads, in a ball all.
    reduced : Dual
        The dual of these rows on these inputs.
    """

    cut: Halfspaces
    norms: Floats
    live: NDArray[np.bool_]
    columns: NDArray[np.int64]
    reduced: Dual

    def multipliers(self, slopes: Floats) -> list[Floats]:
        """Return for `slopes` (r, d) multipliers (r, m) that nearly give the least bounds, one array a stage."""
        return [self._of_all(found) for found in self.reduced.best(slopes[:, self.columns])[0]]

    def linprog_multipliers(self, slopes: Floats, lower: Floats, upper: Floats) -> Floats:
        """Return multipliers (r, m) that give the least bounds over a box, by a linear program for each function."""
        columns = self.columns
        found = linprog_multipliers(lower[columns], upper[columns], self.reduced.cut, slopes[:, columns])
        return self._of_all(found)

    def peaks(self, slopes: Floats, points: Floats) -> Floats:
        """Return `points` (r, d) with the inputs that matter where `slopes` (r, d) . x is nearly largest."""
        moved = points.copy()
        moved[:, self.columns] = self.reduced.best(slopes[:, self.columns])[1]
        return moved

    def nearest(self, points: Floats, margin: float) -> Floats:
        """Return the nearest points (n, d) within the constraints, `margin` of the norms off their rims."""
        moved = points.copy()
        moved[:, self.columns] = self.reduced.nearest(moved[:, self.columns], margin)[1]
        return moved

    def shifts(self, slopes: Floats, widths: float) -> Floats:
        """Return how far (n, c) the inputs that matter move along `slopes` (n, d), scaled to so many widths."""
        return np.asarray(widths * self.reduced.units * self.reduced.normalised(slopes[:, self.columns])[0])

    def _of_all(self, multipliers: Floats) -> Floats:
        """Return multipliers (r, m) of all constraints from those (r, k) of the ones that are not constant."""
        result = np.zeros((len(multipliers), len(self.cut)))
        result[:, self.live] = multipliers
        return result


def dual_over_box(cut: Halfspaces, lower: Floats, upper: Floats, origin: Floats) -> ConstraintDual:
    """Return the dual of constraints over a box, with a point of it."""
    columns = cut.mentioned
    project = partial(np.clip, a_min=lower[columns], a_max=upper[columns])
    return _reduced(cut, columns, upper - lower, origin, project, ENTRIES)


def dual_over_ball(
    cut: Halfspaces, radius: float, center: Floats, project: Callable[[Floats], Floats]
) -> ConstraintDual:
    """Return the dual of constraints over a ball."""
    size = len(center)
    return _reduced(cut, np.arange(size), np.full(size, radius), center, project, BALL_ENTRIES)


def _reduced(
    cut: Halfspaces,
    columns: NDArray[np.int64],
    widths: Floats,
    origin: Floats,
    project: Callable[[Floats], Floats],
    entries: float,
) -> ConstraintDual:
    norms = lengths(cut, widths)
    live = norms > TINY
    kept = Halfspaces(sp.csr_matrix(cut.rows[live][:, columns]), cut.upper[live])
    dual = dual_of(kept, widths[columns], origin[columns], project, entries)
    return ConstraintDual(cut, np.where(live, norms, 1.0), live, columns, dual)
