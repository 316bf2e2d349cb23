"""The linear program of a subproblem, held by an engine at unit scale: from one to the next few bounds change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.backends.warm_tree import WarmTree
from verify.milp.model import Milp
from verify.milp.scaling import largest_of_rows, power_of_two, scale
from verify.programs.proofs import Phases
from verify.programs.relaxed import Relaxed
from verify.programs.single_cuts import single_cuts

# Rounds of cuts at the root, and the share of the gap below which a round is the last.
ROUNDS, SMALL = 10, 0.01

# How far the multipliers of a program without a point are stretched, in sizes of the objective.
STRETCHES = (1.0, 30.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Solved:
    """What an engine says of a subproblem.

    Attributes
    ----------
    value : float
        Its optimum, or minus infinity where that is below the level, or where there is no point.
    point : ndarray (v,) or None
        Where it is.
    duals : list of ndarray (r,)
        Multipliers that may prove it.
    """

    value: float
    point: Floats | None
    duals: list[Floats]


class NodeProgram:
    """The relaxation of a function, held by an engine; `relaxed` has the cuts that were added, of neurons `cut_of`.

    `able` says whether its numbers are such that the engine can be asked.
    """

    def __init__(self, relaxed: Relaxed) -> None:
        self.relaxed, own = relaxed, relaxed.triangles
        milp = Milp(
            cost=relaxed.cost,
            constant=0.0,
            error=0.0,
            rows=own.rows,
            row_lower=own.lower,
            row_upper=own.upper,
            lower=relaxed.lower,
            upper=relaxed.upper,
            integer=np.zeros(len(relaxed.cost), dtype=bool),
        )
        scaled = scale(milp)
        self.width, self.heights, self.factor = scaled.width, scaled.heights, scaled.factor
        self.constant = scaled.shift + relaxed.constant
        self.spans, self.equal = scaled.milp.upper, scaled.milp.row_lower[relaxed.neurons.above]
        entries = scaled.milp.rows.data, scaled.milp.cost, scaled.milp.upper, scaled.width, [self.constant, self.factor]
        # HiGHS works on what is no number until its time is up.
        self.able = all(np.isfinite(part).all() for part in entries)
        self.engine = WarmTree(scaled.milp)
        self.phases = np.zeros(len(relaxed.neurons), dtype=np.int8)
        self.cut_of = np.zeros(0, dtype=np.int64)

    def suppose(self, phases: Phases) -> None:
        """Go over to the subproblem of `phases` (u,)."""
        neurons, changed = self.relaxed.neurons, np.flatnonzero(phases != self.phases)
        own = phases[changed]
        before, value, above = (part[changed] for part in (neurons.before, neurons.value, neurons.above))
        zero = -self.relaxed.lower[before] / self.width[before]
        columns = np.concatenate([before, value])
        low = np.concatenate([np.where(own > 0, zero, 0.0), np.zeros(len(own))])
        high = np.where(own < 0, zero, self.spans[before]), np.where(own < 0, 0.0, self.spans[value])
        self.engine.set_columns(columns, low, np.concatenate(high))
        sides = self.equal[changed]
        self.engine.set_rows(above, sides, np.where(own > 0, sides, np.inf))
        self.phases = phases.copy()

    def solve(self, level: float, seconds: float, basis: Any = None) -> Solved | None:
        """Solve the subproblem, as far as it is above a level; None where no time is left or the engine fails."""
        if basis is not None:
            self.engine.start_from(basis)
        found = self.engine.solve((level - self.constant) / self.factor, seconds)
        if found is None:
            return None
        duals = self.factor * found.duals / self.heights
        if found.ray is not None:
            ray = self.factor * found.ray / self.heights
            return Solved(-np.inf, None, [duals + stretch * ray for stretch in STRETCHES])
        if found.values is None:
            return Solved(-np.inf, None, [duals])
        point = self.relaxed.lower + self.width * found.values
        return Solved(self.factor * found.value + self.constant, point, [duals])

    def cut(self, root: Solved, level: float, seconds: float) -> Solved:
        """Cut the optimum of the relaxation off where neurons miss theirs; return the last one."""
        for _ in range(ROUNDS):
            if root.point is None or root.value <= level or not self._add_cuts(root.point):
                break
            found = self.solve(level, seconds)
            if found is None:
                # The rows are there already: multipliers of 0.
                return replace(root, duals=[self.padded(dual) for dual in root.duals])
            small = root.value - found.value <= SMALL * (root.value - level)
            root = found
            if small:
                break
        return root

    def padded(self, duals: Floats) -> Floats:
        """Return multipliers with zeros for the rows that were added since."""
        return np.append(duals, np.zeros(len(self.heights) - len(duals)))

    def _add_cuts(self, point: Floats) -> bool:
        rows, sides, neurons = single_cuts(self.relaxed, point)
        if not len(sides):
            return False
        moved = rows.copy()
        moved.data = moved.data * self.width[moved.indices]
        heights = power_of_two(largest_of_rows(moved))
        moved.data = moved.data / np.repeat(heights, np.diff(moved.indptr))
        self.engine.add_rows(moved, (sides - rows @ self.relaxed.lower) / heights)
        self.heights = np.append(self.heights, heights)
        self.cut_of = np.append(self.cut_of, neurons)
        self.relaxed = self.relaxed.with_rows(rows, sides)
        return True
