"""From raw weights to a Solution: objective and lower bound recomputed in float64, whoever solved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.program import ConvexProgram
from convexnn.solution import Solution, Status


def certify(
    program: ConvexProgram,
    support: NDArray[np.int64],
    values: Floats,
    *,
    adjoint: Callable[[Floats], Floats] | None = None,
    solver: str,
    status: Status,
    iterations: int,
    seconds: float,
    history: Floats,
) -> Solution:
    """Return the Solution with `values` at flat indices `support`; zeros among them are dropped.

    `adjoint` maps theta (n,) to A^T theta (m, d) in float64; with it, a convex program gets its duality gap at
    theta = -dL/dA(W), scaled to be feasible.
    """
    order = np.argsort(support, kind="stable")
    order = order[values[order] != 0.0]
    kept, entries = support[order], values[order]
    if not program.patterns.features.flat[kept].all():
        raise RuntimeError("a weight lies on a feature that its pattern does not own: a defect of the solver")
    weights = np.zeros(program.patterns.generators.shape)
    weights.flat[kept] = entries
    prediction = program.columns(kept) @ entries
    objective, gap = program.objective(prediction, weights), None
    if program.penalty is not None and adjoint is not None:
        theta = -program.loss.gradient(prediction, program.y)
        gap = max(0.0, objective - program.lower_bound(theta, adjoint(theta)))
    return Solution(program, solver, kept, entries, objective, gap, status, iterations, seconds, history)
