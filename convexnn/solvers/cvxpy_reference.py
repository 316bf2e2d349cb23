"""The convex programs by cvxpy: the reference that the project's own solvers are held against."""

from __future__ import annotations

import warnings
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats, as_known, as_nonnegative, require
from convexnn.program import ConvexProgram
from convexnn.solution import Solution, Status
from convexnn.solvers.certificate import certify

ENGINES = ("CLARABEL", "SCS")

# A gap of this share of the loss at zero weights is called converged.
GAP = 1e-6


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
        With ``gap``, the duality gap at the rounded weights; INACCURATE where it is above 1e-6 of the loss at zero.

    Raises
    ------
    RuntimeError
        The engine failed or returned no point (its own words are in the message).
    KeyboardInterrupt
        As it came: an engine cannot be interrupted for its best point.

    Notes
    -----
    A is handed over as one dense constant of n times :attr:`ConvexProgram.n_weights` numbers.
    """
    began = perf_counter()
    cp = require("cvxpy", "cvxpy", "the solver 'cvxpy'")
    as_known(engine, "engine", ENGINES)
    threshold = as_nonnegative(round_below, "round_below")
    owned = np.flatnonzero(program.patterns.features)
    matrix = program.columns(owned)
    weights, status, iterations = _solved(cp, program, matrix, engine)
    shares = np.abs(weights) * np.linalg.norm(matrix, axis=0)
    weights[shares <= threshold * shares.max(initial=0.0)] = 0.0
    solution = certify(
        program,
        owned,
        weights,
        adjoint=lambda theta: _blocks(program, matrix.T @ theta),
        solver=f"cvxpy ({engine})",
        status=Status.CONVERGED,
        iterations=iterations,
        seconds=perf_counter() - began,
        history=np.empty(0),
    )
    zero_loss = program.loss.value(np.zeros_like(program.y), program.y)
    near = status == cp.OPTIMAL and solution.gap is not None and solution.gap <= GAP * zero_loss
    return solution if near else replace(solution, status=Status.INACCURATE)


def _solved(cp: Any, program: ConvexProgram, matrix: Floats, engine: str) -> tuple[Floats, str, int]:
    """Return the owned weights, flat, cvxpy's status and the engine's iterations.

    The engine sees A and y at unit scale, since its tolerances are absolute: with y = s y' and A = a A' the weights are
    (s / a) w', and a penalty of degree p has the strength times (s / a)^p / s^2.
    """
    assert program.penalty is not None
    assert program.strength is not None
    scale_y = float(np.sqrt(np.mean(np.square(program.y))))
    scale_x = float(np.linalg.norm(matrix, axis=0).max()) / np.sqrt(len(matrix)) or 1.0
    strength = program.strength * (scale_y / scale_x) ** program.penalty.degree / scale_y**2
    weights = cp.Variable(matrix.shape[1])
    loss = program.loss.expression((matrix / scale_x) @ weights, program.y / scale_y)
    problem = cp.Problem(cp.Minimize(loss + strength * program.penalty.expression(_grid(cp, program, weights))))
    with warnings.catch_warnings():
        # cvxpy warns of reduced accuracy; here that is a status, with the gap beside it.
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            problem.solve(solver=engine)
        except cp.error.SolverError as error:
            raise RuntimeError(f"cvxpy with {engine} failed: {error}") from None
    if weights.value is None:
        raise RuntimeError(f"cvxpy with {engine} returned no weights; its status is {problem.status}")
    return weights.value * (scale_y / scale_x), problem.status, int(problem.solver_stats.num_iters or 0)


def _grid(cp: Any, program: ConvexProgram, weights: Any) -> Any:
    """Return the owned weights as the (m, d) blocks, by one sparse constant."""
    features = program.patterns.features
    owned = np.flatnonzero(features)
    scatter = sp.csc_array((np.ones(len(owned)), (owned, np.arange(len(owned)))), (features.size, len(owned)))
    return cp.reshape(scatter @ weights, features.shape, order="C")


def _blocks(program: ConvexProgram, values: Floats) -> Floats:
    full = np.zeros(program.patterns.features.shape)
    full[program.patterns.features] = values
    return full
