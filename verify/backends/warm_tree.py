"""HiGHS for trees: one linear program whose bounds change from one subproblem to the next, begun at a known basis.

Like the engines of :mod:`verify.backends.warm_start` it only proposes multipliers, so it passes no self-test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.backends.highspy_direct import hand_over, run
from verify.milp.model import Milp

# Programs here are small, scaled, and begin near their optimum: what pays in the long run costs more than it gains.
OPTIONS = {
    "threads": 1,
    "parallel": "off",
    "presolve": "off",
    "solver": "simplex",
    "simplex_strategy": 1,  # the dual simplex
    "simplex_dual_edge_weight_strategy": 1,  # Devex: steepest edges begin with a solve a row
    "simplex_scale_strategy": 0,
    "dual_simplex_cost_perturbation_multiplier": 0.0,
}


@dataclass(frozen=True, eq=False)
class TreeOutcome:
    """What HiGHS says of a subproblem.

    `value` is minus infinity and `values` (v,) None where the optimum is below the level, or there is no point: then
    `ray` (r,) says why. `duals` (r,) are multipliers, those of upper sides positive.
    """

    value: float
    values: Floats | None
    duals: Floats
    ray: Floats | None


class WarmTree:
    """A linear program at unit scale, held by HiGHS as a minimum: only so it stops at a level."""

    def __init__(self, milp: Milp) -> None:
        import highspy

        self.highspy, self.engine = highspy, highspy.Highs()
        self.engine.silent()
        for option, value in OPTIONS.items():
            self.engine.setOptionValue(option, value)
        hand_over(highspy, self.engine, milp)
        places = np.arange(len(milp.cost), dtype=np.int32)
        self.engine.changeColsCost(len(places), places, -milp.cost)
        self.engine.changeObjectiveSense(highspy.ObjSense.kMinimize)

    def add_rows(self, rows: sp.csr_matrix, upper: Floats) -> None:
        """Add rows v <= upper."""
        starts, places = rows.indptr[:-1].astype(np.int32), rows.indices.astype(np.int32)
        free = np.full(len(upper), -np.inf)
        self.engine.addRows(len(upper), free, upper, rows.nnz, starts, places, rows.data)

    def set_columns(self, places: NDArray[np.int64], lower: Floats, upper: Floats) -> None:
        """Change the bounds of some variables."""
        self.engine.changeColsBounds(len(places), places.astype(np.int32), lower, upper)

    def set_rows(self, places: NDArray[np.int64], lower: Floats, upper: Floats) -> None:
        """Change the sides of some rows."""
        for place, low, high in zip(places.tolist(), lower.tolist(), upper.tolist(), strict=True):
            self.engine.changeRowBounds(place, low, high)

    def basis(self) -> Any:
        """Return the basis where it ended."""
        return self.engine.getBasis()

    def start_from(self, basis: Any) -> None:
        """Begin at a basis."""
        self.engine.setBasis(basis)

    def solve(self, level: float, seconds: float) -> TreeOutcome | None:
        """Maximise, as far as the maximum is above a level; None where no time is left, or no multipliers come out."""
        engine, kinds = self.engine, self.highspy.HighsModelStatus
        # Its clock runs on from one subproblem to the next.
        engine.setOptionValue("time_limit", engine.getRunTime() + max(seconds, 0.0))
        engine.setOptionValue("objective_bound", -level)
        run(self.highspy, engine)
        status, solution = engine.getModelStatus(), engine.getSolution()
        if status not in (kinds.kOptimal, kinds.kObjectiveBound, kinds.kInfeasible) or not solution.dual_valid:
            return None
        duals = -np.array(solution.row_dual, dtype=np.float64)
        if status == kinds.kOptimal:
            values = np.array(solution.col_value, dtype=np.float64)
            return TreeOutcome(-float(engine.getInfo().objective_function_value), values, duals, None)
        if status == kinds.kObjectiveBound:
            return TreeOutcome(-np.inf, None, duals, None)
        _, known, ray = engine.getDualRay()
        return TreeOutcome(-np.inf, None, duals, -np.array(ray, dtype=np.float64)) if known else None
