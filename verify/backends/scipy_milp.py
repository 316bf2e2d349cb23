"""The engine of scipy.optimize: HiGHS. Needs no further package."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Milp
from verify.milp.request import Request

# scipy's status codes; 1 is a time or node limit, 4 anything else.
STATUSES = {0: EngineStatus.OPTIMAL, 1: EngineStatus.LIMIT, 2: EngineStatus.INFEASIBLE}


def maximise(milp: Milp, request: Request) -> EngineResult:
    """Maximise `milp` within the time limit of `request`; without integer variables by linprog, which has duals."""
    if not milp.integer.any():
        return _linear(milp, request)
    from scipy.optimize import Bounds, LinearConstraint
    from scipy.optimize import milp as scipy_milp

    result = scipy_milp(
        -milp.cost,
        integrality=milp.integer.astype(int),
        bounds=Bounds(milp.lower, milp.upper),
        constraints=LinearConstraint(milp.rows, milp.row_lower, milp.row_upper) if milp.rows.shape[0] else None,
        options={"time_limit": request.time_limit, "mip_rel_gap": 0.0},
    )
    status = STATUSES.get(result.status, EngineStatus.FAILED)
    dual = result.mip_dual_bound
    bound = float("inf") if dual is None else milp.constant - float(dual)
    return EngineResult.reported(status, _values(result.x), bound, str(result.message))


def _values(x: Floats | None) -> Floats | None:
    return None if x is None else np.asarray(x, dtype=np.float64)


def _linear(milp: Milp, request: Request) -> EngineResult:
    """Maximise a linear program; its optimum is its own bound."""
    from scipy.optimize import linprog

    sides = _LinprogRows(milp)
    ends = np.column_stack([milp.lower, milp.upper])
    options = {"time_limit": request.time_limit}
    result = linprog(-milp.cost, **sides.arguments(), bounds=ends, method="highs", options=options)
    status = STATUSES.get(result.status, EngineStatus.FAILED)
    if status is not EngineStatus.OPTIMAL:
        return EngineResult(status, None, float("inf"), str(result.message))
    bound = milp.constant - float(result.fun)
    return EngineResult.reported(status, _values(result.x), bound, str(result.message), sides.duals(result))


class _LinprogRows:
    """The rows of a model as linprog takes them: equalities, and upper sides, lower ones negated."""

    def __init__(self, milp: Milp) -> None:
        self.count = len(milp.row_lower)
        equal = milp.row_lower == milp.row_upper
        self.equal = np.flatnonzero(equal)
        self.above = np.flatnonzero(np.isfinite(milp.row_upper) & ~equal)
        self.below = np.flatnonzero(np.isfinite(milp.row_lower) & ~equal)
        self.milp = milp

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of linprog."""
        rows, low, high = self.milp.rows, self.milp.row_lower, self.milp.row_upper
        given: dict[str, Any] = {}
        if len(self.equal):
            given |= {"A_eq": rows[self.equal], "b_eq": low[self.equal]}
        if len(self.above) + len(self.below):
            given["A_ub"] = sp.vstack([rows[self.above], -rows[self.below]], format="csr")
            given["b_ub"] = np.concatenate([high[self.above], -low[self.below]])
        return given

    def duals(self, result: Any) -> Floats:
        """Return the multipliers (r,) of the rows of the model for its maximum; linprog has minimised."""
        duals = np.zeros(self.count)
        if len(self.equal):
            duals[self.equal] = -result.eqlin.marginals
        if len(self.above) + len(self.below):
            duals[self.above] -= result.ineqlin.marginals[: len(self.above)]
            duals[self.below] += result.ineqlin.marginals[len(self.above) :]
        return duals
