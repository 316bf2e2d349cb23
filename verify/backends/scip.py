"""The engine SCIP by its own package pyscipopt: needs no licence, hears of incumbents, takes a start."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats, require
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Milp
from verify.milp.request import Request


def maximise(milp: Milp, request: Request) -> EngineResult:
    """Maximise `milp` within the limits of `request`."""
    scip = require("pyscipopt", "pyscipopt", "the backend 'scip'")
    model = scip.Model()
    model.hideOutput()
    variables = _fill(scip, model, milp)
    # Wall clock, and no gap: clocktype 2 is that of the wall.
    model.setParams(
        {"timing/clocktype": 2, "limits/time": request.time_limit, "limits/gap": 0.0, "limits/absgap": 1e-9}
    )
    if request.tight:
        model.setParam("numerics/feastol", 1e-9)
    if request.start is not None:
        _begin(model, variables, request.start)
    listener = _listener(scip, variables, request)
    model.includeEventhdlr(listener, "incumbents", "hears of better points and may end the run")
    # Releases the interpreter while SCIP works, so that Ctrl-C is heard.
    model.optimizeNogil()
    return _outcome(model, variables, listener.stopped)


def _fill(scip: Any, model: Any, milp: Milp) -> list[Any]:
    kinds = np.where(milp.integer, "I", "C")
    kinds[milp.conditions.binaries] = "B"
    variables = [
        model.addVar(lb=_end(low), ub=_end(high), vtype=kind, obj=cost)
        for low, high, kind, cost in zip(
            milp.lower.tolist(), milp.upper.tolist(), kinds.tolist(), milp.cost.tolist(), strict=True
        )
    ]
    model.setMaximize()
    model.addObjoffset(milp.constant)
    for row, (low, high) in enumerate(zip(milp.row_lower.tolist(), milp.row_upper.tolist(), strict=True)):
        model.addCons(_row(scip, variables, milp.rows, row, low, high))
    held = milp.conditions
    for row, (high, binary, at) in enumerate(zip(held.upper.tolist(), held.binaries, held.at, strict=True)):
        model.addConsIndicator(_row(scip, variables, held.rows, row, -np.inf, high), variables[binary], bool(at))
    return variables


def _row(scip: Any, variables: list[Any], rows: sp.csr_matrix, row: int, low: float, high: float) -> Any:
    ends = slice(rows.indptr[row], rows.indptr[row + 1])
    terms = {scip.scip.Term(variables[i]): c for i, c in zip(rows.indices[ends], rows.data[ends], strict=True)}
    return scip.scip.ExprCons(scip.Expr(terms), lhs=_end(low), rhs=_end(high))


def _end(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _begin(model: Any, variables: list[Any], start: Floats) -> None:
    point = model.createSol()
    for variable, value in zip(variables, start.tolist(), strict=True):
        model.setSolVal(point, variable, value)
    model.addSol(point)


def _listener(scip: Any, variables: list[Any], request: Request) -> Any:
    class Listener(scip.Eventhdlr):  # type: ignore[misc]
        stopped = False

        def eventinit(self) -> None:
            self.model.catchEvent(scip.SCIP_EVENTTYPE.BESTSOLFOUND, self)
            self.model.catchEvent(scip.SCIP_EVENTTYPE.NODESOLVED, self)

        def eventexit(self) -> None:
            self.model.dropEvent(scip.SCIP_EVENTTYPE.BESTSOLFOUND, self)
            self.model.dropEvent(scip.SCIP_EVENTTYPE.NODESOLVED, self)

        def eventexec(self, event: Any) -> None:
            if event.getType() == scip.SCIP_EVENTTYPE.BESTSOLFOUND and request.on_incumbent is not None:
                best = self.model.getBestSol()
                values = np.array([self.model.getSolVal(best, variable) for variable in variables])
                self.stopped = self.stopped or request.stops_at(values)
            if self.stopped or request.halt.is_set():
                self.model.interruptSolve()

    return Listener()


def _outcome(model: Any, variables: list[Any], stopped: bool) -> EngineResult:
    detail = model.getStatus()
    statuses = {"optimal": EngineStatus.OPTIMAL, "infeasible": EngineStatus.INFEASIBLE, "timelimit": EngineStatus.LIMIT}
    statuses["userinterrupt"] = EngineStatus.STOPPED if stopped else EngineStatus.LIMIT
    status = statuses.get(detail, EngineStatus.FAILED)
    values = None
    if model.getNSols():
        best = model.getBestSol()
        values = np.array([model.getSolVal(best, variable) for variable in variables])
    bound = float(model.getDualbound()) if status.has_bound else float("inf")
    return EngineResult.reported(status, values, bound if abs(bound) < model.infinity() else float("inf"), detail)
