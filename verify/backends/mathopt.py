"""What the engines inside ortools' MathOpt share: the model as a proto, the call, and what comes back."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats, require
from verify.milp import Milp
from verify.outcome import Ending, Outcome
from verify.request import Request


def parameters(mathopt: Any, request: Request, **more: Any) -> Any:
    """Return solve parameters that ask for the optimum within the time limit."""
    limit = datetime.timedelta(seconds=request.time_limit)
    return mathopt.SolveParameters(
        time_limit=limit, relative_gap_tolerance=0.0, absolute_gap_tolerance=1e-9, enable_output=False, **more
    )


def solve(milp: Milp, engine: str, request: Request, hears: bool, **parameter: Any) -> Outcome:
    """Maximise `milp` by the engine of that name in MathOpt; `hears` says whether it takes callbacks and a start."""
    mathopt = require("ortools.math_opt.python.mathopt", "ortools", f"the engine {engine} of MathOpt")
    model = mathopt.Model.from_model_proto(proto(milp))
    variables = list(model.variables())
    stopped: list[bool] = []

    def heard(data: Any) -> Any:
        stopped.extend([True] * request.stops_at(_values(variables, data.solution)))
        return mathopt.CallbackResult(terminate=bool(stopped))

    more = _more(mathopt, variables, request, heard) if hears else {}
    try:
        settings = parameters(mathopt, request, **parameter)
        result = mathopt.solve(model, mathopt.SolverType[engine], params=settings, **more)
    except AttributeError as error:
        # ortools 9.15 hides every solver error behind an AttributeError of its status class.
        return Outcome(Ending.FAILED, None, float("inf"), _hidden_error(error))
    return _outcome(mathopt, model, result, bool(stopped))


def _more(mathopt: Any, variables: list[Any], request: Request, heard: Callable[[Any], Any]) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if request.on_incumbent is not None:
        more["callback_reg"] = mathopt.CallbackRegistration(events={mathopt.Event.MIP_SOLUTION})
        more["cb"] = heard
    if request.start is not None:
        hint = mathopt.SolutionHint(variable_values=dict(zip(variables, request.start.tolist(), strict=True)))
        more["model_params"] = mathopt.ModelSolveParameters(solution_hints=[hint])
    return more


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
    return filled


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


def _hidden_error(error: AttributeError) -> str:
    cause = error.__context__
    return str(cause.args[0] if cause is not None and cause.args else error)


def _values(variables: list[Any], found: Any) -> Floats:
    return np.array([found[variable] for variable in variables])


def _outcome(mathopt: Any, model: Any, result: Any, stopped: bool) -> Outcome:
    variables = list(model.variables())
    reason = mathopt.TerminationReason
    endings = {
        reason.OPTIMAL: Ending.OPTIMAL,
        reason.INFEASIBLE: Ending.INFEASIBLE,
        reason.FEASIBLE: Ending.STOPPED if stopped else Ending.LIMIT,
        reason.NO_SOLUTION_FOUND: Ending.STOPPED if stopped else Ending.LIMIT,
    }
    termination = result.termination
    values = _values(variables, result.variable_values()) if result.has_primal_feasible_solution() else None
    bound = float(termination.objective_bounds.dual_bound)
    return Outcome(
        endings.get(termination.reason, Ending.FAILED),
        values if values is not None and np.isfinite(values).all() else None,
        bound if np.isfinite(bound) else float("inf"),
        f"{termination.reason.name.lower()} {termination.detail}".strip(),
        duals=_duals(model, result),
    )


def _duals(model: Any, result: Any) -> Floats | None:
    """Return the multipliers of the rows of a linear program; an engine for integers, such as SCIP, gives none."""
    if not result.has_dual_feasible_solution():
        return None
    return np.array(result.dual_values(list(model.linear_constraints())), dtype=np.float64)
