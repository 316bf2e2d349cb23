"""What the engines inside ortools' MathOpt share: the model as a proto, the call, and what comes back."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats, require
from verify.backends.mathopt_calls import MathOptRequest, solve_proto
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Conditions, Milp
from verify.milp.request import Request


def parameters(mathopt: Any, request: Request, **more: Any) -> Any:
    """Return solve parameters that ask for the optimum within the time limit."""
    limit = datetime.timedelta(seconds=request.time_limit)
    return mathopt.SolveParameters(
        time_limit=limit, relative_gap_tolerance=0.0, absolute_gap_tolerance=1e-9, enable_output=False, **more
    )


def solve(milp: Milp, engine: str, request: Request, hears: bool, **parameter: Any) -> EngineResult:
    """Maximise `milp` by the engine of that name in MathOpt; `hears` says whether it takes callbacks and a start."""
    mathopt = require("ortools.math_opt.python.mathopt", "ortools", f"the engine {engine} of MathOpt")
    stopped: list[bool] = []

    def on_incumbent(solution: Any) -> bool:
        stopped.extend([True] * request.stops_at(_values(solution, len(milp.cost))))
        return bool(stopped)

    asked = MathOptRequest(
        model=proto(milp),
        engine=mathopt.SolverType[engine],
        parameters=parameters(mathopt, request, **parameter),
        start=request.start if hears else None,
        on_incumbent=on_incumbent if hears and request.on_incumbent is not None else None,
    )
    return _outcome(mathopt, solve_proto(asked), milp, bool(stopped))


def proto(milp: Milp) -> Any:
    """Return the model as a proto: filled field by field, many times faster than term by term."""
    from ortools.math_opt import model_pb2

    filled = model_pb2.ModelProto()
    filled.variables.ids.extend(range(len(milp.cost)))
    filled.variables.lower_bounds.extend(milp.lower.tolist())
    filled.variables.upper_bounds.extend(milp.upper.tolist())
    filled.variables.integers.extend(milp.integer.tolist())
    used = np.flatnonzero(milp.cost)
    filled.objective.maximize = True
    filled.objective.offset = milp.constant
    filled.objective.linear_coefficients.ids.extend(used.tolist())
    filled.objective.linear_coefficients.values.extend(milp.cost[used].tolist())
    filled.linear_constraints.ids.extend(range(milp.rows.shape[0]))
    filled.linear_constraints.lower_bounds.extend(milp.row_lower.tolist())
    filled.linear_constraints.upper_bounds.extend(milp.row_upper.tolist())
    entries = milp.rows.sorted_indices().tocoo()
    filled.linear_constraint_matrix.MergeFromString(_wire(entries.row, entries.col, entries.data))
    _add_conditions(filled, milp.conditions)
    return filled


def _add_conditions(filled: Any, conditions: Conditions) -> None:
    rows = conditions.rows.sorted_indices()
    for row, (upper, binary, at) in enumerate(zip(conditions.upper, conditions.binaries, conditions.at, strict=True)):
        ends, condition = slice(rows.indptr[row], rows.indptr[row + 1]), filled.indicator_constraints[row]
        condition.indicator_id, condition.activate_on_zero = int(binary), not at
        condition.expression.ids.extend(rows.indices[ends].tolist())
        condition.expression.values.extend(rows.data[ends].tolist())
        condition.lower_bound, condition.upper_bound = -np.inf, float(upper)


def _wire(rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], entries: Floats) -> bytes:
    """Return a SparseDoubleMatrixProto as it is sent: its fields 1, 2 and 3, each packed. A list would be slower."""
    fields = (_varints(rows), _varints(columns), entries.astype("<f8").tobytes())
    packed = 2  # The wire type of packed fields, below the field's number.
    return b"".join(
        _varints(np.array([number << 3 | packed, len(field)])) + field
        for number, field in enumerate(fields, 1)
        if field
    )


def _varints(numbers: NDArray[np.integer[Any]]) -> bytes:
    """Return whole numbers of at least 0 in groups of 7 bits, the lowest first; the top bit says that more follow.

    All get as many groups as the largest needs: leading zeros are allowed, and the same size for all is fast.
    """
    count = max(1, -(-int(numbers.max(initial=0)).bit_length() // 7))
    groups = np.empty((len(numbers), count), dtype=np.uint8)
    for place in range(count):
        groups[:, place] = (numbers >> 7 * place & 127) + (128 if place < count - 1 else 0)
    return groups.tobytes()


def _values(sent: Any, count: int) -> Floats:
    """Return the values (count,) of a SparseDoubleVectorProto."""
    values = np.zeros(count)
    values[list(sent.ids)] = sent.values
    return values


def _first_feasible(result: Any, kind: str) -> Any:
    """Return the solution of a kind, "primal_solution" or "dual_solution", that is the best and so the first.

    None without one that is feasible; an engine for integers, such as SCIP, gives no dual one.
    """
    from ortools.math_opt import solution_pb2

    if not result.solutions or not result.solutions[0].HasField(kind):
        return None
    found = getattr(result.solutions[0], kind)
    return found if found.feasibility_status == solution_pb2.SOLUTION_STATUS_FEASIBLE else None


def _outcome(mathopt: Any, result: Any, milp: Milp, stopped: bool) -> EngineResult:
    reason = mathopt.TerminationReason
    statuses = {
        reason.OPTIMAL: EngineStatus.OPTIMAL,
        reason.INFEASIBLE: EngineStatus.INFEASIBLE,
        reason.FEASIBLE: EngineStatus.STOPPED if stopped else EngineStatus.LIMIT,
        reason.NO_SOLUTION_FOUND: EngineStatus.STOPPED if stopped else EngineStatus.LIMIT,
    }
    termination = result.termination
    ended = reason(termination.reason)
    # A field that is not there reads as 0, which would be a bound that nobody proved.
    bounded = termination.HasField("objective_bounds")
    primal, dual = _first_feasible(result, "primal_solution"), _first_feasible(result, "dual_solution")
    return EngineResult.reported(
        statuses.get(ended, EngineStatus.FAILED),
        None if primal is None else _values(primal.variable_values, len(milp.cost)),
        float(termination.objective_bounds.dual_bound) if bounded else float("inf"),
        f"{ended.name.lower()} {termination.detail}".strip(),
        None if dual is None else _values(dual.dual_values, milp.rows.shape[0]),
    )
