"""Conic relaxations over an L2 ball: a MILP's linear relaxation with the ball itself, some neurons fixed, by Clarabel.

Nothing is proven here. What comes of it is a point, and the direction in which the ball holds the point back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.backends.clarabel_direct import CONES, minimise_over_cones
from verify.encoding.encode import Encoding
from verify.milp.model import Milp
from verify.milp.scaling import largest_of_rows, power_of_two

# What fixes a neuron: off, on, or neither.
OFF, ON, FREE = 0, 1, -1

# Of the residuals and of the gap; Clarabel reaches it where neurons that are fixed leave no thin slice of space.
ACCURACY = 1e-10

# The share of the largest part of a multiplier below which a part is zero.
NEARLY = 1e-6


@dataclass(frozen=True, eq=False)
class ConicOptimum:
    """The optimum of a conic relaxation.

    Attributes
    ----------
    feasible : bool
        Whether there is a point at all.
    value : float
        The objective.
    values : ndarray (v,)
        The variables of the MILP, those that were left out at 0.
    direction : ndarray (m,) or None
        The multiplier of the ball, of length 1; None where the ball does not bind.
    worth : ndarray (neurons,)
        What each free neuron gains the objective by lying above its activation, to first order; 0 for the others.
    """

    feasible: bool
    value: float
    values: Floats
    direction: Floats | None
    worth: Floats


@dataclass(frozen=True, eq=False)
class Units:
    """What a solver's numbers stand for, so that its absolute tolerances fit: powers of two.

    The variable `columns`[i] of the MILP is `lower` there + `widths`[i] times its own i; row r is divided by
    `heights`[r], the objective by `factor`.
    """

    columns: NDArray[np.int64]
    lower: Floats
    widths: Floats
    heights: Floats
    factor: float


@dataclass(frozen=True, eq=False)
class ConicModel:
    """A model over an L2 ball, ready for relaxations with any neurons fixed.

    Where binaries switch their neurons by conditions, those of free neurons are left out.

    Attributes
    ----------
    encoding : Encoding
        Its layout: moves, then for each layer the neurons' values and their binaries.
    milp : Milp
        Its rows; others may follow those of the encoding.
    """

    encoding: Encoding
    milp: Milp

    @cached_property
    def radius(self) -> float:
        """The radius of the ball."""
        return float(self.encoding.region.base.radius)  # type: ignore[attr-defined]

    @cached_property
    def moves(self) -> int:
        """How many moves from the center there are."""
        return len(self.encoding.inputs.moved)

    @cached_property
    def neurons(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The value and the binary of each neuron that can switch, and its row a >= p."""
        none = np.empty(0, dtype=np.int64)
        values, binaries, rows = [none], [none], [none]
        column, row = self.encoding.inputs.count, len(self.encoding.inputs.row_upper)
        for neurons in self.encoding.unstable:
            count = len(neurons)
            values.append(np.arange(column, column + count))
            binaries.append(np.arange(column + count, column + 2 * count))
            rows.append(np.arange(row, row + count))
            column, row = column + 2 * count, row + (1 if len(self.milp.conditions) else 3) * count
        return np.concatenate(values), np.concatenate(binaries), np.concatenate(rows)

    @cached_property
    def switches(self) -> NDArray[np.int64]:
        """The two rows with the binary of each neuron, (2, neurons); none where conditions stand for them."""
        counts = [len(neurons) for neurons in self.encoding.unstable]
        apart = np.repeat(counts, counts).astype(np.int64)
        first = self.neurons[2]
        rows = np.stack([first + apart, first + 2 * apart])
        return rows[:0] if len(self.milp.conditions) else rows

    def optimum(self, states: NDArray[np.int64], seconds: float = inf) -> ConicOptimum | None:
        """Return the optimum with neurons fixed by `states` (one of OFF, ON, FREE each); None where Clarabel fails.

        Past the time limit what it has by then.

        A neuron that is on has one equation a = p, one that is off a = 0 and one row p <= 0: their big-M rows would
        leave a slice without an inside, which an interior point method needs.
        """
        (cost, matrix, sides, sizes), units = self._problem(states)
        cones = [(kind, size) for kind, size in zip(CONES, sizes, strict=True) if size]
        solution = minimise_over_cones(-cost, matrix, sides, cones, ACCURACY, max(seconds, 1e-3))
        return self._read(solution, units, states)

    def _units(self, states: NDArray[np.int64]) -> tuple[Units, sp.csr_matrix]:
        """Return the units for neurons fixed by `states`, and the rows (r, c) in them: c variables are not fixed."""
        milp, (values, binaries, _) = self.milp, self.neurons
        kept = np.ones(len(milp.cost), dtype=bool)
        kept[binaries[states != FREE]] = kept[values[states == OFF]] = False
        columns, lower = np.flatnonzero(kept), np.where(kept, milp.lower, 0.0)
        widths = power_of_two((milp.upper - lower)[columns])
        rows = sp.csr_matrix(milp.rows[:, columns] @ sp.diags(widths))
        heights = power_of_two(largest_of_rows(rows))
        factor = float(power_of_two(np.abs(milp.cost[columns] * widths).max(initial=0.0)[None])[0])
        return Units(columns, lower, widths, heights, factor), sp.csr_matrix(sp.diags(1.0 / heights) @ rows)

    def _problem(self, states: NDArray[np.int64]) -> tuple[Any, Units]:
        """Return cost, matrix, sides and the sizes of the cones of the relaxation, and its units."""
        milp, first, on, plain = self.milp, self.neurons[2], states == ON, self._plain(states)
        units, rows = self._units(states)
        columns, widths = units.columns, units.widths
        above = plain & np.isfinite(milp.row_lower)
        below = plain & np.isfinite(milp.row_upper)
        eye, count = sp.identity(len(columns), format="csr"), len(columns)
        ball = sp.csr_matrix(
            (-widths[: self.moves] / self.radius, (np.arange(1, self.moves + 1), np.arange(self.moves)))
        )
        ball.resize(self.moves + 1, count)
        blocks = [rows[first[on]], rows[below], -rows[above], eye, -eye, ball]
        base = milp.rows @ units.lower
        low, high = (milp.row_lower - base) / units.heights, (milp.row_upper - base) / units.heights
        sides = [low[first[on]], high[below], -low[above]]
        sides += [(milp.upper - units.lower)[columns] / widths, np.zeros(count), [1.0], np.zeros(self.moves)]
        sizes = int(on.sum()), int(below.sum() + above.sum()) + 2 * count, self.moves + 1
        matrix, cost = sp.vstack(blocks, format="csc"), milp.cost[columns] * widths
        return (cost / units.factor, matrix, np.concatenate(sides), sizes), units

    def _plain(self, states: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows stay inequalities: not those that fixed neurons do without."""
        plain = np.ones(self.milp.rows.shape[0], dtype=bool)
        plain[self.neurons[2][states == ON]] = plain[self.switches[:, states != FREE]] = False
        return plain

    def _read(self, solution: Any, units: Units, states: NDArray[np.int64]) -> ConicOptimum | None:
        status, dual = str(solution.status), np.array(solution.z)
        feasible = "Infeasible" not in status
        found, values = np.array(solution.x), units.lower.copy()
        if not np.isfinite(dual).all() or (feasible and not np.isfinite(found).all()):
            return None
        if feasible:
            values[units.columns] += units.widths * found
        direction = _direction(-dual[len(dual) - self.moves :])
        value = float(self.milp.cost @ values) + self.milp.constant if feasible else -np.inf
        return ConicOptimum(feasible, value, values, direction, self._worth(values, dual, units, states))

    def _worth(self, values: Floats, dual: Floats, units: Units, states: NDArray[np.int64]) -> Floats:
        """Return the multipliers of the rows that hold each free neuron down, times how far it is above."""
        milp, (places, _, first), free = self.milp, self.neurons, states == FREE
        above = np.minimum(values[places], milp.rows[first] @ values - milp.row_lower[first])
        if not len(self.switches):
            return np.where(free, above, 0.0)
        below, held = self._plain(states) & np.isfinite(milp.row_upper), np.zeros(milp.rows.shape[0])
        # The multipliers of the equations come first.
        held[below] = units.factor * dual[int((states == ON).sum()) :][: int(below.sum())] / units.heights[below]
        return np.where(free, np.maximum(above, 0.0) * held[self.switches].sum(axis=0), 0.0)


def _direction(pull: Floats) -> Floats | None:
    """Return the multiplier (m,) of the ball at length 1, without what is nearly zero; None where nothing is left.

    What is nearly zero is so by the interior point alone, and an engine's dropping it would widen the cut. No move is
    negative, so that no part of a multiplier needs to be.
    """
    peak = float(np.abs(pull).max(initial=0.0))
    # The largest part first, so that squares neither overflow nor vanish.
    pull = np.where(pull > NEARLY * peak, pull, 0.0) / (peak or 1.0)
    size = float(np.linalg.norm(pull))
    return pull / size if size > 0.0 else None
