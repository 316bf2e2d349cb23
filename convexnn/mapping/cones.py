"""Gate cones: the points of many polyhedral cones, cut out by one data set, that are nearest to given centres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Bools, Floats, Ints
from convexnn.mapping.active_set import nearest_points
from convexnn.patterns.activation_patterns import unit_rows

# Candidate rows that one look at the data hands to each problem: the most violated one of every block of rows.
POOL = 32

# Numbers that the slacks of the problems of a batch may hold.
BATCH_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False, repr=False)
class Projection:
    """The nearest points that :func:`least_distance` found.

    Attributes
    ----------
    points : ndarray (b, D)
        z_j = c_j + G_j^T a_j with a_j >= 0.
    feasible : ndarray (b,) of bool
        Whether z_j satisfies every row to the tolerance; False where the rows have no common point, or none in reach.
    violation : ndarray (b,)
        Largest violation of a unit row by z_j, over max(||c_j||, largest level); 0 where all hold.
    """

    points: Floats
    feasible: Bools
    violation: Floats

    def __str__(self) -> str:
        return f"{len(self.points)} nearest points, {int((~self.feasible).sum())} of them not feasible"

    def __repr__(self) -> str:
        return f"<{self}>"


def least_distance(
    X: Floats,
    active: Bools,
    centres: Floats,
    levels: Floats | None = None,
    features: Bools | None = None,
    *,
    tolerance: float = 1e-9,
    reach: float = 1e6,
) -> Projection:
    """Return z_j = argmin 1/2 ||z - c_j||^2 subject to (2 D_j - I) X z >= h_j, for b problems on the same data.

    Parameters
    ----------
    X : ndarray (n, D)
        The data; rows of zeros are allowed.
    active : ndarray (n, b) of bool
        The masks, D_j = diag(active[:, j]).
    centres : ndarray (b, D)
        c_j; entries outside the owned features are taken as 0.
    levels : ndarray (n, b), optional
        h_j >= 0, in the units of X z; default 0: the projection onto the gate cone K_j.
    features : ndarray (b, D) of bool, optional
        The features that problem j owns: z_j is zero at all others. Default: all.
    tolerance : float, default 1e-9
        Largest violation of a unit row that counts as none, in units of max(||c_j||, largest level of a unit row).
    reach : float, default 1e6
        A problem whose point lies further than this from its centre, in the same units, is given up.

    Returns
    -------
    Projection

    Notes
    -----
    z_j = c_j + G_j^T a_j with G_j = (2 D_j - I) X holds with a_j >= 0 up to rounding whether or not z_j is feasible,
    so ||z_j|| >= min_{a >= 0} ||c_j + G_j^T a|| always; with levels 0 the two are equal at the optimum, where z_j is
    the projection of c_j onto K_j (Moreau). The method is that of :func:`convexnn.mapping.active_set.nearest_points`. A
    look at all rows is one matrix product; it hands out the most violated row of every one of 32 blocks of rows.

    A violation moves the point by as much over the width of the cone: where rows nearly cancel, to a millionth, say, a
    point feasible to 1e-9 may lie 1e-3 off, and ||z|| is that much above the distance, never below it.
    """
    owned = np.ones(centres.shape, dtype=bool) if features is None else features
    rows = _padded(unit_rows(X))
    unit_levels = None if levels is None else _unit_levels(X, levels)
    points, violation = np.zeros(centres.shape), np.zeros(len(centres))
    feasible = np.zeros(len(centres), dtype=bool)
    size = max(1, BATCH_ENTRIES // len(rows))
    order = np.argsort(owned.sum(axis=1), kind="stable")
    for part in (order[start : start + size] for start in range(0, len(order), size)):
        some = None if unit_levels is None else unit_levels[:, part]
        batch = _Batch.of(rows, active[:, part], centres[part], some, owned[part])
        found = batch.nearest(tolerance / 2, reach)
        violation[part] = batch.violation(found)
        feasible[part] = (violation[part] <= tolerance) & (_lengths(found - batch.centres) <= reach)
        points[part] = batch.spread(found * batch.scale[:, None])[:, :-1]
    return Projection(points, feasible, violation)


def _padded(rows: Floats) -> Floats:
    """Return `rows` with a column of zeros, for features that are not there, and rows of zeros up to whole blocks."""
    return np.pad(rows, ((0, -len(rows) % POOL), (0, 1)))


def _unit_levels(X: Floats, levels: Floats) -> Floats:
    """Return the levels for rows of unit length, (n, b); a row of zeros that asks for more than 0 asks for infinity."""
    peaks = np.abs(X).max(axis=1)
    norms = peaks * _lengths(X / np.where(peaks > 0.0, peaks, 1.0)[:, None])
    scaled = levels / np.where(norms > 0.0, norms, 1.0)[:, None]
    return np.where((norms == 0.0)[:, None] & (levels > 0.0), np.inf, scaled)


def _lengths(vectors: Floats) -> Floats:
    lengths: Floats = np.sqrt(np.square(vectors).sum(axis=1))
    return lengths


@dataclass(frozen=True, eq=False)
class _Batch:
    """Problems in the coordinates of their owned features, at unit scale.

    Attributes
    ----------
    rows : ndarray (N, D + 1)
        Unit rows of the data, padded.
    own : ndarray (b, q) of int
        The owned features of each problem; D, the column of zeros, where there are fewer than q.
    sides : ndarray (b, N)
        +-1 over the length of the row at the owned features; 0 for rows of zeros.
    levels : ndarray (b, N) or None
        Levels of unit rows.
    centres : ndarray (b, q)
        The centres.
    scale : ndarray (b,)
        The unit of the problem, a power of two, so that the change of units rounds nothing.
    lost : ndarray (b,) of bool
        Problems in which a row of zeros asks for more than 0.
    """

    rows: Floats
    own: Ints
    sides: Floats
    levels: Floats | None
    centres: Floats
    scale: Floats
    lost: Bools

    @classmethod
    def of(cls, rows: Floats, active: Bools, centres: Floats, levels: Floats | None, owned: Bools) -> _Batch:
        """Take padded unit rows (N, D + 1), masks (n, b), centres (b, D), levels of unit rows (n, b), features."""
        d, width = owned.shape[1], max(1, int(owned.sum(axis=1).max()))
        own = np.where(np.sort(~owned, axis=1), d, np.argsort(~owned, axis=1, kind="stable"))[:, :width]
        sides = np.zeros((len(own), len(rows)))
        sides[:, : len(active)] = np.where(active.T, 1.0, -1.0)
        # Rows of unit length over all features are shorter over some of them.
        norms = np.sqrt(np.square(rows[:, :-1]) @ owned.T).T if not owned.all() else rows.any(axis=1) * 1.0
        sides *= np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
        centre = np.take_along_axis(np.pad(centres, ((0, 0), (0, 1))), own, axis=1) * (own < d)
        heights, reach = None, _lengths(centre)
        if levels is not None:
            heights = np.zeros_like(sides)
            heights[:, : len(levels)] = levels.T
            heights *= np.where(sides != 0.0, np.abs(sides), 1.0)
            heights[(sides == 0.0) & (heights > 0.0)] = np.inf
            reach = np.maximum(reach, heights.max(axis=1))
        lost = np.isinf(reach)
        scale = np.exp2(np.ceil(np.log2(np.where((reach > 0.0) & ~lost, reach, 1.0))))
        if heights is not None:
            heights /= scale[:, None]
        return cls(rows, own, sides, heights, centre / scale[:, None], scale, lost)

    def nearest(self, tolerance: float, reach: float) -> Floats:
        """Return the nearest points (b, q)."""
        points, good = self.centres.copy(), np.flatnonzero(~self.lost)

        def oracle(which: Ints, z: Floats) -> tuple[Floats, Floats, Floats]:
            return self.violated(good[which], z)

        points[good] = nearest_points(
            self.centres[good], oracle, POOL, tolerance=tolerance, reach=reach, exact_rows=self.levels is not None
        )
        return points

    def spread(self, z: Floats, which: Ints | None = None) -> Floats:
        """Return vectors (s, q) over the owned features of the problems `which` as vectors (s, D + 1)."""
        full = np.zeros((len(z), self.rows.shape[1]))
        np.put_along_axis(full, self.own if which is None else self.own[which], z, axis=1)
        full[:, -1] = 0.0
        return full

    def slacks(self, which: Ints, z: Floats) -> Floats:
        """Return the slacks of every unit row at points z (s, q) of the problems `which`, (s, N)."""
        slacks: Floats = self.spread(z, which) @ self.rows.T
        slacks *= self.sides[which]
        if self.levels is not None:
            slacks -= self.levels[which]
        return slacks

    def violation(self, z: Floats) -> Floats:
        """Return the largest violation of a unit row at points z (b, q), at least 0, (b,)."""
        worst: Floats = np.maximum(-self.slacks(np.arange(len(z)), z).min(axis=1), 0.0)
        return worst

    def violated(self, which: Ints, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Return slacks (s, POOL), rows (s, POOL, q) and levels of the most violated row of every block of rows."""
        slacks = self.slacks(which, z).reshape(len(which), POOL, -1)
        chosen = slacks.argmin(axis=2) + np.arange(POOL) * slacks.shape[2]
        rows = self.rows[chosen[:, :, None], self.own[which][:, None, :]]
        rows *= self.sides[which[:, None], chosen][:, :, None]
        heights = np.zeros(chosen.shape) if self.levels is None else self.levels[which[:, None], chosen]
        return slacks.min(axis=2), rows, heights
