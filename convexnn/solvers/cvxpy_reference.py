"""The convex programs by cvxpy: the reference that the project's own solvers are held against."""

from __future__ import annotations

import warnings
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats, as_known, require
from convexnn.program import ConvexProgram
from convexnn.solution import Solution, Status
from convexnn.solvers.certificate import certify

ENGINES = ("CLARABEL", "SCS")


def reference(program: ConvexProgram, *, engine: str = "CLARABEL", round_below: float = 1e-7) -> Solution:
    """Solve a convex program with cvxpy.

    Parameters
    ----------
    program : ConvexProgram
        With a penalty.
    engine : {"CLARABEL", "SCS"}, default "CLARABEL"
        The conic solver under cvxpy.
    round_below : float, default 1e-7
        Weights whose contribution |w_ji| * ||column|| is below this share of the largest are set to zero: an
        interior point never ends at exact zeros. Objective and gap are those of the rounded weights.

    Returns
    -------
    Solution
        With ``gap``, the duality gap at the rounded weights.

    Raises
    ------
    RuntimeError
        The engine failed or returned no point (its own words are in the message).

    Notes
    -----
    A is handed over as one dense constant of n times :attr:`ConvexProgram.n_weights` numbers.
    """
    began = perf_counter()
    cp = require("cvxpy", "cvxpy", "the solver 'cvxpy'")
    as_known(engine, "engine", ENGINES)
    owned = np.flatnonzero(program.patterns.features)
    matrix = program.columns(owned)
    problem, weights = _problem(cp, program, owned, matrix)
    with warnings.catch_warnings():
        # cvxpy warns of reduced accuracy; here that is a status, with the gap beside it.
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            problem.solve(solver=engine)
        except cp.error.SolverError as error:
            raise RuntimeError(f"cvxpy with {engine} failed: {error}") from None
    if weights.value is None:
        raise RuntimeError(f"cvxpy with {engine} returned no weights; its status is {problem.status}")
    kept = _rounded(matrix, weights.value, round_below)
    return certify(
        program,
        owned[kept],
        weights.value[kept],
        adjoint=lambda theta: _spread(matrix.T @ theta, program.patterns.features),
        solver=f"cvxpy ({engine})",
        status=Status.CONVERGED if problem.status == cp.OPTIMAL else Status.INACCURATE,
        iterations=int(problem.solver_stats.num_iters or 0),
        seconds=perf_counter() - began,
        history=np.empty(0),
    )


def _problem(cp: Any, program: ConvexProgram, owned: NDArray[np.int64], matrix: Floats) -> tuple[Any, Any]:
    """Return the cvxpy problem and its variable: the owned weights, flat."""
    assert program.penalty is not None
    shape = program.patterns.features.shape
    weights = cp.Variable(len(owned))
    scatter = sp.csc_array((np.ones(len(owned)), (owned, np.arange(len(owned)))), (shape[0] * shape[1], len(owned)))
    blocks = cp.reshape(scatter @ weights, shape, order="C")
    loss = program.loss.expression(matrix @ weights, program.y)
    return cp.Problem(cp.Minimize(loss + program.strength * program.penalty.expression(blocks))), weights


def _rounded(matrix: Floats, values: Floats, round_below: float) -> NDArray[np.bool_]:
    reach = np.abs(values) * np.linalg.norm(matrix, axis=0)
    return reach > round_below * reach.max(initial=0.0)


def _spread(values: Floats, features: NDArray[np.bool_]) -> Floats:
    full = np.zeros(features.shape)
    full[features] = values
    return full
