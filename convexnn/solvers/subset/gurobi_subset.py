"""Best subset by Gurobi: a second opinion for those who have its licence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from convexnn.checks import Floats, require
from convexnn.linear.least_squares import least_squares
from convexnn.solution import Status
from convexnn.solvers.subset.best_subset import BestSubset
from convexnn.solvers.subset.subset_problem import Indices, SubsetProblem, working_form


def gurobi_subset(
    A: Floats,
    y: Floats,
    size: int,
    *,
    groups: Indices | None = None,
    per_group: int | None = None,
    start: Iterable[int] = (),
    time_limit: float = 60.0,
) -> BestSubset:
    """Minimise 1/(2n) ||A w - y||^2 over ||w||_0 <= size as a mixed-integer quadratic program.

    Parameters are those of :func:`convexnn.solvers.subset.best_subset.best_subset`, with y nonzero. The bound is
    Gurobi's own, good to its tolerances (1e-6 or so of ||y||^2, since it gets y at unit norm).

    Raises
    ------
    ImportError
        gurobipy is missing.
    RuntimeError
        Gurobi failed, for instance since its licence does not take the size; its words are in the message.

    Notes
    -----
    min ||y - C w||^2 over w free and z binary with z_i = 0 => w_i = 0 (indicator constraints: no constant that
    bounds w is guessed), sum z <= size, and sum z <= per_group over each group.
    """
    gurobi = require("gurobipy", "gurobipy", "the engine 'gurobi'")
    problem = working_form(A, y, size, groups, per_group)
    try:
        model, switches = _model(gurobi, problem, np.isin(problem.names, list(start)))
        model.Params.TimeLimit = time_limit
        model.optimize()
        taken = np.asarray(switches.X) > 0.5 if model.SolCount else np.zeros(len(problem.names), dtype=bool)
        relative, nodes, code = float(model.ObjBound), int(model.NodeCount), model.Status
    except gurobi.GurobiError as error:
        raise RuntimeError(f"gurobi failed: {error}") from None
    support = problem.names[taken]
    weights = least_squares(A[:, support], y)
    rest, zero = A[:, support] @ weights - y, float(y @ y) / (2 * len(y))
    objective = float(rest @ rest) / (2 * len(y))
    bound = min(objective, zero * max(0.0, relative))
    return BestSubset(support, weights, objective, bound, nodes, _status(gurobi.GRB, code))


def _model(gurobi: Any, problem: SubsetProblem, start: Any) -> tuple[Any, Any]:
    """Return the model and its binary variables z."""
    grb, columns = gurobi.GRB, problem.columns
    count = columns.shape[1]
    model = gurobi.Model()
    model.Params.OutputFlag = 0
    weights = model.addMVar(count, lb=-grb.INFINITY)
    switches = model.addMVar(count, vtype=grb.BINARY)
    switches.Start = start.astype(float)
    for index in range(count):
        model.addGenConstrIndicator(switches[index].item(), False, weights[index].item(), grb.EQUAL, 0.0)
    model.addMConstr(np.ones((1, count)), switches, "<", np.array([float(problem.size)]))
    if problem.per_group is not None:
        members = (np.arange(int(problem.groups.max()) + 1)[:, None] == problem.groups).astype(float)
        model.addMConstr(members, switches, "<", np.full(len(members), float(problem.per_group)))
    gram, slopes = columns.T @ columns, columns.T @ problem.target
    model.setMObjective(gram, -2.0 * slopes, 1.0, xQ_L=weights, xQ_R=weights, xc=weights, sense=grb.MINIMIZE)
    return model, switches


def _status(grb: Any, code: int) -> Status:
    known = {grb.OPTIMAL: Status.CONVERGED, grb.TIME_LIMIT: Status.TIME_LIMIT, grb.INTERRUPTED: Status.INTERRUPTED}
    return known.get(code, Status.INACCURATE)
