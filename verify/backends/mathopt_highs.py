"""The engine HiGHS inside ortools' MathOpt: needs no licence.

It is given no start: HiGHS 1.12 can take a hinted point for the optimum, with a dual bound to match, while a better one
exists (a model of 8 variables with coefficients between 0.2 and 1 is in the tests). Without a hint it is right there.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from convexnn.checks import require
from verify.encoding import Milp
from verify.outcome import Ending, Outcome


def maximise(milp: Milp, time_limit: float) -> Outcome:
    """Maximise `milp` within `time_limit` seconds."""
    mathopt = require("ortools.math_opt.python.mathopt", "ortools", "the backend 'highs'")
    model = mathopt.Model.from_model_proto(_proto(milp))
    parameters = mathopt.SolveParameters(
        time_limit=datetime.timedelta(seconds=time_limit), relative_gap_tolerance=0.0, absolute_gap_tolerance=1e-9
    )
    try:
        result = mathopt.solve(model, mathopt.SolverType.HIGHS, params=parameters)
    except AttributeError as error:
        # ortools 9.15 hides every solver error behind an AttributeError of its status class.
        return Outcome(Ending.FAILED, None, float("inf"), _hidden_error(error))
    return _outcome(mathopt, milp, model, result)


def _proto(milp: Milp) -> Any:
    """Return the model as a proto: filled field by field, many times faster than term by term."""
    from ortools.math_opt import model_pb2

    proto = model_pb2.ModelProto()
    proto.variables.ids.extend(range(len(milp.cost)))
    proto.variables.lower_bounds.extend(milp.lower.tolist())
    proto.variables.upper_bounds.extend(milp.upper.tolist())
    proto.variables.integers.extend(milp.integer.tolist())
    used = np.flatnonzero(milp.cost)
    proto.objective.maximize = True
    proto.objective.offset = milp.constant
    proto.objective.linear_coefficients.ids.extend(used.tolist())
    proto.objective.linear_coefficients.values.extend(milp.cost[used].tolist())
    proto.linear_constraints.ids.extend(range(milp.rows.shape[0]))
    proto.linear_constraints.lower_bounds.extend(milp.row_lower.tolist())
    proto.linear_constraints.upper_bounds.extend(milp.row_upper.tolist())
    entries = milp.rows.sorted_indices().tocoo()
    proto.linear_constraint_matrix.row_ids.extend(entries.row.tolist())
    proto.linear_constraint_matrix.column_ids.extend(entries.col.tolist())
    proto.linear_constraint_matrix.coefficients.extend(entries.data.tolist())
    return proto


def _hidden_error(error: AttributeError) -> str:
    cause = error.__context__
    return str(cause.args[0] if cause is not None and cause.args else error)


def _outcome(mathopt: Any, milp: Milp, model: Any, result: Any) -> Outcome:
    reason = mathopt.TerminationReason
    endings = {
        reason.OPTIMAL: Ending.OPTIMAL,
        reason.INFEASIBLE: Ending.INFEASIBLE,
        reason.FEASIBLE: Ending.LIMIT,
        reason.NO_SOLUTION_FOUND: Ending.LIMIT,
    }
    termination = result.termination
    values = None
    if result.has_primal_feasible_solution():
        found = result.variable_values()
        values = np.array([found[variable] for variable in model.variables()])
    bound = float(termination.objective_bounds.dual_bound)
    return Outcome(
        endings.get(termination.reason, Ending.FAILED),
        values if values is not None and np.isfinite(values).all() else None,
        bound if np.isfinite(bound) else float("inf"),
        f"{termination.reason.name.lower()} {termination.detail}".strip(),
    )
