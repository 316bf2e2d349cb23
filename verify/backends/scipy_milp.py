"""The engine of scipy.optimize.milp: HiGHS. Needs no further package."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Floats
from verify.milp import Milp
from verify.outcome import Ending, Outcome
from verify.request import Request

# scipy's status codes; 1 is a time or node limit, 4 anything else.
ENDINGS = {0: Ending.OPTIMAL, 1: Ending.LIMIT, 2: Ending.INFEASIBLE}


def maximise(milp: Milp, request: Request) -> Outcome:
    """Maximise `milp` within the time limit of `request`."""
    from scipy.optimize import Bounds, LinearConstraint
    from scipy.optimize import milp as scipy_milp

    result = scipy_milp(
        -milp.cost,
        integrality=milp.integer.astype(int),
        bounds=Bounds(milp.lower, milp.upper),
        constraints=LinearConstraint(milp.rows, milp.row_lower, milp.row_upper) if milp.rows.shape[0] else None,
        options={"time_limit": request.time_limit, "mip_rel_gap": 0.0},
    )
    ending = ENDINGS.get(result.status, Ending.FAILED)
    return Outcome(ending, _values(result.x), _bound(milp, result, ending), str(result.message))


def _values(x: Floats | None) -> Floats | None:
    return None if x is None or not np.isfinite(x).all() else np.asarray(x, dtype=np.float64)


def _bound(milp: Milp, result: object, ending: Ending) -> float:
    """Return the dual bound; without integer columns scipy gives none, and the LP optimum is its own bound."""
    dual = getattr(result, "mip_dual_bound", None)
    if dual is None and ending is Ending.OPTIMAL and not milp.integer.any():
        dual = getattr(result, "fun", None)
    return float("inf") if dual is None or not np.isfinite(dual) else milp.constant - float(dual)
