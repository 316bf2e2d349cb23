"""The engine HiGHS by its own package highspy: needs no licence, hears of incumbents, can be interrupted.

It is given no start, for the reason that :mod:`verify.backends.mathopt_highs` states.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convexnn.checks import Floats, require
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Milp
from verify.milp.request import Request


def maximise(milp: Milp, request: Request) -> EngineResult:
    """Maximise `milp` within the limits of `request`."""
    highspy = require("highspy", "highspy", "the backend 'highspy'")
    engine = highspy.Highs()
    engine.silent()
    for option, value in _options(request).items():
        _accepted(highspy, engine.setOptionValue(option, value), f"the option {option}")
    _accepted(highspy, hand_over(highspy, engine, milp), "the model")
    stopped = _listen(engine, request)
    run(highspy, engine)
    return _outcome(highspy, engine, milp, bool(stopped))


def hand_over(highspy: Any, engine: Any, milp: Milp) -> Any:
    """Give the model to HiGHS as arrays, many times faster than entry by entry; return the status of that."""
    rows, whole = milp.rows, highspy.HighsVarType.kInteger.value
    return engine.passModel(
        len(milp.cost),
        rows.shape[0],
        rows.nnz,
        highspy.MatrixFormat.kRowwise.value,
        highspy.ObjSense.kMaximize.value,
        milp.constant,
        milp.cost,
        milp.lower,
        milp.upper,
        milp.row_lower,
        milp.row_upper,
        rows.indptr.astype(np.int32),
        rows.indices.astype(np.int32),
        rows.data,
        np.where(milp.integer, whole, 0).astype(np.int32),
    )


def run(highspy: Any, engine: Any) -> None:
    """Let HiGHS run, whatever the number of threads that it was used with before.

    Who uses it first chooses the threads of all that it does in this process: it refuses other numbers, but for 0.
    """
    if engine.run() == highspy.HighsStatus.kError:
        engine.setOptionValue("threads", 0)
        engine.run()


def _options(request: Request) -> dict[str, Any]:
    return {
        "time_limit": request.time_limit,
        "threads": request.threads,
        "parallel": "off" if request.threads == 1 else "choose",
        "mip_rel_gap": 0.0,
        "mip_abs_gap": 1e-9,
        **(dict.fromkeys(("primal_feasibility_tolerance", "mip_feasibility_tolerance"), 1e-9) if request.tight else {}),
    }


def _accepted(highspy: Any, status: Any, what: str) -> None:
    if status == highspy.HighsStatus.kError:
        raise ValueError(f"HiGHS refuses {what}")


def _listen(engine: Any, request: Request) -> list[bool]:
    """Stop the engine where `request` says so; return a list that is not empty once it has."""
    stopped: list[bool] = []

    def improved(event: Any) -> None:
        stopped.extend([True] * request.stops_at(np.array(event.data_out.mip_solution, dtype=np.float64)))

    def asked(event: Any) -> None:
        if stopped or request.halt.is_set():
            event.interrupt()

    if request.on_incumbent is not None:
        engine.cbMipImprovingSolution.subscribe(improved)
    engine.cbMipInterrupt.subscribe(asked)
    engine.cbSimplexInterrupt.subscribe(asked)
    return stopped


def _outcome(highspy: Any, engine: Any, milp: Milp, stopped: bool) -> EngineResult:
    own_status, info = engine.getModelStatus(), engine.getInfo()
    kinds = highspy.HighsModelStatus
    statuses = {
        kinds.kOptimal: EngineStatus.OPTIMAL,
        kinds.kInfeasible: EngineStatus.INFEASIBLE,
        kinds.kTimeLimit: EngineStatus.LIMIT,
        kinds.kInterrupt: EngineStatus.STOPPED if stopped else EngineStatus.LIMIT,
    }
    status = statuses.get(own_status, EngineStatus.FAILED)
    # Statuses decide, never values: without an incumbent the solution is garbage.
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = np.array(engine.getSolution().col_value, dtype=np.float64) if found else None
    bound = _bound(info, milp, status) if status.has_bound else float("inf")
    duals = _duals(engine, milp) if status is EngineStatus.OPTIMAL else None
    return EngineResult.reported(status, values, bound, engine.modelStatusToString(own_status).lower(), duals)


def _duals(engine: Any, milp: Milp) -> Floats | None:
    solution = engine.getSolution()
    known = solution.dual_valid and not milp.integer.any()
    return np.array(solution.row_dual, dtype=np.float64) if known else None


def _bound(info: Any, milp: Milp, status: EngineStatus) -> float:
    """Return the dual bound; without integer variables HiGHS has none, and the optimum of the LP is its own."""
    if milp.integer.any():
        return float(info.mip_dual_bound)
    return float(info.objective_function_value) if status is EngineStatus.OPTIMAL else float("inf")
