"""The engine Gurobi, for those who have its package gurobipy: its licence is of a limited size, or the user's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from convexnn.checks import Floats, require
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Conditions, Milp
from verify.milp.request import Request

# Gurobi's codes of errors that are about its licence; 10010 is a model too large for a limited one.
TOO_LARGE, NO_LICENCE = 10010, 10009


def maximise(milp: Milp, request: Request) -> EngineResult:
    """Maximise `milp` within the limits of `request`."""
    gurobi = require("gurobipy", "gurobipy", "the backend 'gurobi'")
    try:
        with gurobi.Env(empty=True) as environment:
            environment.setParam("OutputFlag", 0)
            environment.start()
            with gurobi.Model(env=environment) as model:
                return _solve(gurobi, model, milp, request)
    except gurobi.GurobiError as error:
        return EngineResult(EngineStatus.FAILED, None, float("inf"), _words(error, milp))


def _solve(gurobi: Any, model: Any, milp: Milp, request: Request) -> EngineResult:
    variables = _fill(gurobi.GRB, model, milp)
    options = {"TimeLimit": request.time_limit, "Threads": request.threads, "MIPGap": 0.0, "MIPGapAbs": 1e-9}
    if request.tight:
        options |= {"FeasibilityTol": 1e-9, "IntFeasTol": 1e-9}
    for name, value in options.items():
        model.setParam(name, value)
    if request.start is not None:
        variables.Start = request.start
    stopped: list[bool] = []

    def heard(running: Any, where: int) -> None:
        if where == gurobi.GRB.Callback.MIPSOL and request.on_incumbent is not None:
            stopped.extend([True] * request.stops_at(np.asarray(running.cbGetSolution(variables))))
        if stopped or request.halt.is_set():
            running.terminate()

    model.optimize(heard)
    return replace(_outcome(gurobi.GRB, model, variables, bool(stopped)), duals=_duals(gurobi.GRB, model, milp))


def _fill(grb: Any, model: Any, milp: Milp) -> Any:
    kinds = np.where(milp.integer, grb.INTEGER, grb.CONTINUOUS)
    kinds[milp.conditions.binaries] = grb.BINARY
    variables = model.addMVar(len(milp.cost), lb=milp.lower, ub=milp.upper, vtype=kinds)
    model.setMObjective(None, milp.cost, milp.constant, xc=variables, sense=grb.MAXIMIZE)
    for sense, sides in ((">", milp.row_lower), ("<", milp.row_upper)):
        kept = np.isfinite(sides)
        if kept.any():
            model.addMConstr(milp.rows[kept], variables, sense, sides[kept])
    _add_conditions(grb, model, variables.tolist(), milp.conditions)
    return variables


def _add_conditions(grb: Any, model: Any, variables: list[Any], conditions: Conditions) -> None:
    rows, gurobi = conditions.rows, require("gurobipy", "gurobipy", "the backend 'gurobi'")
    for row, (upper, binary, at) in enumerate(zip(conditions.upper, conditions.binaries, conditions.at, strict=True)):
        ends = slice(rows.indptr[row], rows.indptr[row + 1])
        left = gurobi.LinExpr(rows.data[ends].tolist(), [variables[index] for index in rows.indices[ends]])
        model.addGenConstrIndicator(variables[binary], bool(at), left, grb.LESS_EQUAL, float(upper))


def _outcome(grb: Any, model: Any, variables: Any, stopped: bool) -> EngineResult:
    statuses = {
        grb.OPTIMAL: EngineStatus.OPTIMAL,
        grb.INFEASIBLE: EngineStatus.INFEASIBLE,
        grb.TIME_LIMIT: EngineStatus.LIMIT,
        grb.INTERRUPTED: EngineStatus.STOPPED if stopped else EngineStatus.LIMIT,
    }
    status = statuses.get(model.Status, EngineStatus.FAILED)
    values = np.asarray(variables.X, dtype=np.float64) if model.SolCount else None
    bound = _bound(model) if status.has_bound else float("inf")
    bound = bound if abs(bound) < grb.INFINITY else float("inf")
    return EngineResult.reported(status, values, bound, f"status {model.Status}, {int(model.NodeCount)} nodes")


def _bound(model: Any) -> float:
    """Return the dual bound; without integer variables Gurobi has one at the optimum alone."""
    try:
        return float(model.ObjBound)
    except AttributeError:
        return float("inf")


def _duals(grb: Any, model: Any, milp: Milp) -> Floats | None:
    """Return the multipliers of the rows of a linear program: those of its lower sides come first, then the upper."""
    if model.Status != grb.OPTIMAL or milp.integer.any():
        return None
    duals, given = np.zeros(len(milp.row_lower)), np.asarray(model.getAttr("Pi", model.getConstrs()), dtype=np.float64)
    below, above = np.flatnonzero(np.isfinite(milp.row_lower)), np.flatnonzero(np.isfinite(milp.row_upper))
    duals[below] += given[: len(below)]
    duals[above] += given[len(below) :]
    return duals


def _words(error: Any, milp: Milp) -> str:
    if error.errno == TOO_LARGE:
        size = f"{len(milp.cost):,} variables and {milp.rows.shape[0]:,} rows"
        return f"a model of {size} is too large for Gurobi's size-limited licence"
    if error.errno == NO_LICENCE:
        return f"Gurobi has no valid licence: {str(error).splitlines()[0]}"
    return f"Gurobi error {error.errno}: {error}"
