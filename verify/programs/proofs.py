"""Proofs: what multipliers prove of the linear programs of many subproblems at once, rounded outward."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.bounds.duals import dual_bounds
from verify.programs.relaxed import Relaxed
from verify.regions.intervals import EPS, TINY

Phases = NDArray[np.int8]


def proven(relaxed: Relaxed, phases: Phases, duals: Floats) -> Floats:
    """Return upper bounds (q,) of the function over subproblems, by any multipliers `duals` (q, r) of the rows.

    Parameters
    ----------
    relaxed : Relaxed
        The relaxation.
    phases : ndarray (q, u) of int8
        1 for neurons that are supposed active, -1 for inactive ones, 0 for others.
    duals : ndarray (q, r)
        The multipliers, as in :func:`verify.bounds.duals.dual_bounds`.

    Notes
    -----
    Active: p >= 0 and a - p <= 0. Inactive: p <= 0 and a = 0. All other rows hold over the whole region.
    """
    neurons, count = relaxed.neurons, len(phases)
    lower, upper = np.tile(relaxed.lower, (count, 1)), np.tile(relaxed.upper, (count, 1))
    sides = np.tile(relaxed.triangles.upper, (count, 1))
    active, inactive = phases > 0, phases < 0
    lower[:, neurons.before] = np.where(active, 0.0, lower[:, neurons.before])
    upper[:, neurons.before] = np.where(inactive, 0.0, upper[:, neurons.before])
    upper[:, neurons.value] = np.where(inactive, 0.0, upper[:, neurons.value])
    sides[:, neurons.above] = np.where(active, 0.0, sides[:, neurons.above])

    def peak(slopes: Floats) -> Floats:
        total = (np.maximum(slopes, 0.0) * upper + np.minimum(slopes, 0.0) * lower).sum(axis=1)
        sizes, terms = np.abs(slopes) @ relaxed.reach, slopes.shape[1]
        return np.asarray(np.nextafter(total + (terms + 8) * EPS * sizes + 4.0 * (terms + 1.0) * TINY, np.inf))

    with np.errstate(all="ignore"):
        costs = np.tile(relaxed.cost, (count, 1))
        known = relaxed.triangles.lower
        found = dual_bounds(costs, relaxed.triangles.rows, (known, sides), duals, relaxed.reach, peak)
        lost = relaxed.paid + 4.0 * EPS * (np.abs(found) + abs(relaxed.constant))
        found = np.nextafter(found + relaxed.constant + lost, np.inf)
    return np.where(np.isnan(found), np.inf, found)
