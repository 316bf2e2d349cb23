"""Projections onto the cones of a program, again and again: each begins with the rows that were active before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Bools, Floats
from convexnn.mapping.cones import least_distance
from convexnn.patterns.activation_patterns import masks, unit_rows
from convexnn.program.convex_program import ConvexProgram
from convexnn.solvers.common.certificate import all_active

# A unit row counts as active, or as kept, up to this share of the length of the centre.
CLOSE = 1e-9

# Seconds for each row, feature and neuron that a first projection takes, later ones less (1,500 rows, 200 features, 200
# neurons: 3 seconds).
SECONDS_AN_ENTRY = 5e-8


def seconds_to_project(program: ConvexProgram) -> float:
    """Return about how long the first projection onto the cones of a program takes; 0 without cones."""
    n, d = program.rows.shape
    return SECONDS_AN_ENTRY * n * d * program.neurons_shape[0] if program.cone else 0.0


class ConeProjector:
    """Projects neurons (q, d) onto their gates' cones, fast where the active rows hardly change from call to call.

    The rows that were active at the last points give a candidate, c + G^T a with G z = 0 on them: where a >= 0 and
    all rows hold, that is the projection. The others are found by :func:`convexnn.mapping.cones.least_distance`.

    Parameters
    ----------
    program : ConvexProgram
        With cones.
    rows : ndarray (n, d), optional
        The data in the basis of the neurons; default: as they are.
    """

    def __init__(self, program: ConvexProgram, rows: Floats | None = None) -> None:
        self.X, self.owned = program.rows if rows is None else rows, program.owned
        self.active: Bools = all_active(program, masks(program.rows, program.patterns.generators))
        self.rows = unit_rows(self.X)
        self.sides = np.where(self.active, 1.0, -1.0).T
        # Rows that are zero on what a gate owns hold everywhere.
        self.idle: Bools = ~(np.square(self.rows) @ self.owned.T > 0.0).T
        self.chosen = np.zeros((len(self.owned), min(self.rows.shape)), dtype=np.int64)
        self.used: Bools = np.zeros(self.chosen.shape, dtype=bool)

    def __call__(self, neurons: Floats) -> Floats:
        """Return the nearest points (q, d) of the cones."""
        scale = CLOSE * np.sqrt(np.square(neurons).sum(axis=1))[:, None]
        points = self._candidates(neurons)
        slacks = self._slacks(points)
        left = np.flatnonzero((slacks < -scale).any(axis=1) | np.isnan(points).any(axis=1))
        if left.size:
            found = least_distance(self.X, self.active[:, left], neurons[left], features=self.owned[left])
            points[left] = found.points
            slacks[left] = self._slacks(points)[left]
        self._remember(left, slacks[left], scale[left])
        return points

    def _candidates(self, neurons: Floats) -> Floats:
        """Return c + G^T a for the rows chosen before, NaN where a multiplier is negative."""
        signs = np.take_along_axis(self.sides, self.chosen, axis=1) * self.used
        rows = self.rows[self.chosen] * signs[:, :, None] * self.owned[:, None, :]
        gram = rows @ rows.transpose(0, 2, 1)
        np.einsum("bii->bi", gram)[:] += np.where(self.used, 1e-14, 1.0)
        multipliers = -np.linalg.solve(gram, rows @ neurons[:, :, None])
        points = neurons + (rows.transpose(0, 2, 1) @ np.maximum(multipliers, 0.0))[:, :, 0]
        points[(multipliers < 0.0).any(axis=(1, 2))] = np.nan
        return points

    def _slacks(self, points: Floats) -> Floats:
        slacks: Floats = (points @ self.rows.T) * self.sides
        slacks[self.idle] = np.inf
        return slacks

    def _remember(self, which: NDArray[np.int64], slacks: Floats, scale: Floats) -> None:
        """Choose the rows with the least slack, as many as can be independent; those not at 0 are not used."""
        size = self.chosen.shape[1]
        self.chosen[which] = np.argpartition(slacks, size - 1, axis=1)[:, :size]
        self.used[which] = np.take_along_axis(slacks, self.chosen[which], axis=1) <= scale
