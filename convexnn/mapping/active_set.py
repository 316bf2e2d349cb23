"""The dual active set method of Goldfarb and Idnani, for many small problems in step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg.blas import dger

from convexnn.checks import Bools, Floats, Ints

Oracle = Callable[[Ints, Floats], tuple[Floats, Floats, Floats]]

# Steps between two looks at all rows. The most violated row of all would save steps, but a look costs more than a step,
# and least for many problems at once.
CADENCE = 5

# Numbers that the active rows of the problems in step may hold: more would fall out of the cache.
STEP_ENTRIES = 1 << 19

# Matrices with this many rows are updated one by one, in a third of the time; smaller ones all at once.
LARGE = 32

# A unit row this near to the span of the active ones adds nothing that rounding would not drown.
DEPENDENT = 1e-10

# A multiplier that falls more slowly than this per step is held up by rounding alone.
PRESSED = 1e-13

# No problem should take more steps than this many times its width; on random cones it takes 4 to 6 times.
MOST_STEPS = 40


def nearest_points(
    centres: Floats, oracle: Oracle, pool: int, *, tolerance: float, reach: float, exact_rows: bool
) -> Floats:
    """Return argmin ||z - c|| subject to rows z >= levels for every centre c, with rows of unit length.

    Parameters
    ----------
    centres : ndarray (b, q)
        The centres, of size 1 at most.
    oracle : callable
        ``oracle(which, z)`` tells for the problems `which` (s,) at points z (s, q) the slacks of candidates (s, pool),
        their rows (s, pool, q), and their levels (s, pool); the most violated row of each problem is among them.
    pool : int
        Candidate rows of a look.
    tolerance : float
        A row is violated if its slack is below -tolerance.
    reach : float
        A problem further than this from its centre is given up.
    exact_rows : bool
        True puts the point onto its active rows where large multipliers cancel; False keeps it c + rows^T a with
        a >= 0, to the last bit of a sum.

    Returns
    -------
    ndarray (b, q)
        The points; those of problems without any are as far as the method came.

    Notes
    -----
    From z = c, the unconstrained minimum, violated rows become active one by one, each by a step along its part
    orthogonal to the active rows; rows whose multipliers reach 0 on the way are dropped (Goldfarb and Idnani,
    Mathematical Programming 27, 1983). Instead of a factorisation the method carries the pseudo-inverse of the active
    rows: adding and dropping a row are both updates of rank one, the same for every problem in step. Problems that
    are done give their place to waiting ones.
    """
    found, (count, width) = centres.copy(), centres.shape
    sets = _ActiveSets(centres, oracle, pool, max(1, min(STEP_ENTRIES // width**2, count)))
    while sets.admit():
        sets.retire(sets.choose_entrants(tolerance), found, exact_rows)
        stuck = sets.advance()
        sets.retire(stuck | sets.out_of_reach(reach), found, exact_rows)
    return found


class _ActiveSets:
    """Problems in step; those that run stand in the first `live` places of every array in `ARRAYS`.

    `problem` is the index of the problem, `n_steps` its steps, `drawn_on` whether its `pool` has been drawn on; active
    rows stand in the slots that are `used`, in any order, with their `levels`, `multipliers`, and the rows of their
    pseudo-inverse; the `entrant` is the row on its way in, if the problem is `busy`, with its level and multiplier.
    """

    ARRAYS = (
        *("problem", "n_steps", "drawn_on", "z", "used", "rows", "inverse", "levels", "multipliers"),
        *("pool", "pool_levels", "busy", "entrant", "entrant_level", "entrant_multiplier"),
    )

    def __init__(self, centres: Floats, oracle: Oracle, pool: int, size: int) -> None:
        width = centres.shape[1]
        self.centres, self.oracle, self.size, self.width = centres, oracle, size, width
        self.live, self.admitted, self.clock = 0, 0, 0
        self.problem, self.n_steps = np.zeros((2, size), dtype=np.int64)
        self.z, self.levels, self.multipliers, self.entrant = np.zeros((4, size, width))
        self.rows, self.inverse = np.zeros((2, size, width, width))
        self.used, (self.busy, self.drawn_on) = np.zeros((size, width), dtype=bool), np.zeros((2, size), dtype=bool)
        self.entrant_multiplier, self.entrant_level = np.zeros((2, size))
        self.pool, self.pool_levels = np.zeros((size, pool, width)), np.zeros((size, pool))

    def admit(self) -> bool:
        """Let waiting problems into free places; tell whether any problem runs."""
        old, self.live = self.live, min(self.size, self.live + len(self.centres) - self.admitted)
        new = slice(old, self.live)
        for name in self.ARRAYS:
            getattr(self, name)[new] = 0
        self.problem[new] = np.arange(self.admitted, self.admitted + self.live - old)
        self.z[new] = self.centres[self.problem[new]]
        self.admitted += self.live - old
        return self.live > 0

    def choose_entrants(self, tolerance: float) -> Bools:
        """Give a violated row to every problem that has none on its way; return which have no violated row."""
        m = self.live
        slacks = _products(self.pool[:m], self.z[:m]) - self.pool_levels[:m]
        self.clock += 1
        bare = (slacks.min(axis=1) >= -tolerance) & ~self.busy[:m]
        stale = np.flatnonzero(bare | (self.drawn_on[:m] & (self.clock % CADENCE == 0)))
        if stale.size:
            found = self.oracle(self.problem[stale], self.z[stale])
            slacks[stale], self.pool[stale], self.pool_levels[stale] = found
            self.drawn_on[stale] = False
        fresh = np.flatnonzero(~self.busy[:m])
        chosen = slacks[fresh].argmin(axis=1)
        self.busy[fresh] = slacks[fresh, chosen] < -tolerance
        self.entrant[fresh], self.entrant_multiplier[fresh] = self.pool[fresh, chosen], 0.0
        self.entrant_level[fresh] = self.pool_levels[fresh, chosen]
        self.drawn_on[fresh] = True
        return ~self.busy[:m]

    def out_of_reach(self, reach: float) -> Bools:
        """Return which problems are out of reach, or have taken more steps than any should."""
        m = self.live
        away = np.square(self.z[:m] - self.centres[self.problem[:m]]).sum(axis=1)
        self.n_steps[:m] += 1
        lost: Bools = ~(away <= reach**2) | (self.n_steps[:m] > MOST_STEPS * (self.width + 1))
        return lost

    def advance(self) -> Bools:
        """Move every problem by one step of the dual method; return which can neither move nor drop a row."""
        m, k = self.live, self._n_slots()
        along, across = _split(self.rows[:m, :k], self.inverse[:m, :k], self.entrant[:m])
        square = np.square(across).sum(axis=1)
        full, (partial, first) = self._full_steps(square), self._partial_steps(along)
        length, stuck = np.minimum(full, partial), np.isinf(np.minimum(full, partial))
        length[stuck] = 0.0
        self.multipliers[:m, :k] = np.maximum(self.multipliers[:m, :k] - length[:, None] * along, 0.0)
        self.entrant_multiplier[:m] += length
        self.z[:m] += np.where(np.isfinite(full), length, 0.0)[:, None] * across
        entering = np.isfinite(full) & (full <= partial)
        leaving = np.flatnonzero(~entering & ~stuck)
        along[~entering], slots = 0.0, first[leaving]
        across /= np.where(square > 0.0, square, 1.0)[:, None]
        along[leaving], across[leaving] = self._released(leaving, slots, k)
        _subtract(self.inverse[:m, :k], along, across)
        for array in (self.inverse, self.rows, self.levels, self.multipliers, self.used):
            array[leaving, slots] = 0
        self._occupy(np.flatnonzero(entering), across)
        return stuck

    def _n_slots(self) -> int:
        """Number of slots up to the last one in use."""
        return int(np.flatnonzero(self.used[: self.live].any(axis=0)).max(initial=-1)) + 1

    def _full_steps(self, square: Floats) -> Floats:
        """Return the steps that bring the entrants to their levels; inf for those in the span of the active rows."""
        m = self.live
        free = (square > DEPENDENT**2) & (self.used[:m].sum(axis=1) < self.width)
        lack = self.entrant_level[:m] - (self.entrant[:m] * self.z[:m]).sum(axis=1)
        return np.divide(np.maximum(lack, 0.0), square, out=np.full(m, np.inf), where=free)

    def _partial_steps(self, along: Floats) -> tuple[Floats, Ints]:
        """Return the steps at which the first multiplier reaches 0, and its slot; inf if none does."""
        m, k = along.shape
        if not k:
            return np.full(m, np.inf), np.zeros(m, dtype=np.int64)
        pressed = self.used[:m, :k] & (along > PRESSED)
        ratios = np.divide(self.multipliers[:m, :k], along, out=np.full((m, k), np.inf), where=pressed)
        return ratios.min(axis=1), ratios.argmin(axis=1)

    def _released(self, leaving: Ints, slots: Ints, height: int) -> tuple[Floats, Floats]:
        """Return the update of the pseudo-inverse that takes rows out of their span, as two factors."""
        gone = self.inverse[leaving, slots]
        return _products(self.inverse[leaving, :height], gone) / np.square(gone).sum(axis=1, keepdims=True), gone

    def _occupy(self, entering: Ints, inverse: Floats) -> None:
        slots = (~self.used[entering]).argmax(axis=1)
        self.inverse[entering, slots] = inverse[entering]
        self.rows[entering, slots] = self.entrant[entering]
        self.levels[entering, slots] = self.entrant_level[entering]
        self.multipliers[entering, slots] = self.entrant_multiplier[entering]
        self.used[entering, slots] = True
        self.busy[entering] = False

    def retire(self, done: Bools, found: Floats, exact_rows: bool) -> None:
        """Write the points of the problems that are `done` into `found`, and move the others into the first places."""
        out = np.flatnonzero(done)
        if not out.size:
            return
        found[self.problem[out]] = self._polished(out, exact_rows)
        left = self.live - len(out)
        holes, movers = out[out < left], left + np.flatnonzero(~done[left:])
        for name in self.ARRAYS:
            array = getattr(self, name)
            array[holes] = array[movers]
        self.live = left

    def _polished(self, who: Ints, exact_rows: bool) -> Floats:
        """Return c + rows^T a, with Newton steps on the multipliers against what the updates of z have lost."""
        k = self._n_slots()
        rows, inverse, multipliers = self.rows[who, :k], self.inverse[who, :k], self.multipliers[who, :k]
        entering = (self.entrant_multiplier[who] * self.busy[who])[:, None] * self.entrant[who]
        start = self.centres[self.problem[who]] + entering

        def missing(z: Floats) -> Floats:
            return _combined(self.levels[who, :k] - _products(rows, z), inverse)

        for _ in range(2):
            multipliers += _products(inverse, missing(start + _combined(multipliers, rows)))
        z = start + _combined(np.maximum(multipliers, 0.0), rows)
        return z + missing(z) if exact_rows else z


def _split(rows: Floats, inverse: Floats, vector: Floats) -> tuple[Floats, Floats]:
    """Return coefficients r (b, k) and d (b, q) with vector = rows^T r + d, d orthogonal to the rows.

    The second round makes up for what updates of the pseudo-inverse have lost.
    """
    along = _products(inverse, vector)
    across = vector - _combined(along, rows)
    correction = _products(inverse, across)
    return along + correction, across - _combined(correction, rows)


def _subtract(matrices: Floats, left: Floats, right: Floats) -> None:
    """Subtract left right^T from every one of the matrices (b, k, q), in place."""
    if matrices.shape[1] < LARGE:
        matrices -= left[:, :, None] * right[:, None, :]
        return
    for matrix, column, row in zip(matrices, left, right, strict=True):
        # The transpose is in the order of Fortran, so that the update happens in place.
        dger(-1.0, row, column, a=matrix.T, overwrite_a=1)


def _products(rows: Floats, vectors: Floats) -> Floats:
    """Return the products of rows (b, k, q) and vectors (b, q), shape (b, k)."""
    products: Floats = (rows @ vectors[:, :, None])[:, :, 0]
    return products


def _combined(coefficients: Floats, rows: Floats) -> Floats:
    """Return the sums of rows (b, k, q) with coefficients (b, k), shape (b, q)."""
    combined: Floats = (coefficients[:, None, :] @ rows)[:, 0]
    return combined
