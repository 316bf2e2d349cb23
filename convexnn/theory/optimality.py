"""Epsilon-optimality: how far the objective of a sparse point is from that of a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.records import Record
from convexnn.theory.supports.design import Weights, smooth_part


@dataclass(frozen=True)
class EpsilonOptimality(Record):
    """The least epsilon for which a point is epsilon-optimal.

    Attributes
    ----------
    epsilon : float
        |objective - reference|, in units of the objective.
    relative : float
        `epsilon` as a share of `reference`; infinity for a reference of 0 that is not attained.
    objective, reference : float
        The objective at the point, and that of the reference.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> solution = cx.solve(program)
    >>> found = cx.theory.epsilon_optimality(program, solution, 0.5 * solution.objective)
    >>> round(found.relative, 6)
    1.0
    """

    epsilon: float
    relative: float
    objective: float
    reference: float

    def __str__(self) -> str:
        side = "above" if self.objective >= self.reference else "below"
        share = f" ({self.relative:.2%})" if np.isfinite(self.relative) else ""
        return f"objective {self.objective:.6g}, {self.epsilon:.3g}{share} {side} the reference {self.reference:.6g}"


def epsilon_optimality(program: ConvexProgram, weights: Weights, reference: Weights | float) -> EpsilonOptimality:
    """Return |f(weights) - f(reference)|, the epsilon of arXiv 2404.18414.

    Parameters
    ----------
    program : ConvexProgram
        Without cones; f is its loss and, if there is one, its ridge.
    weights : Solution or array_like
        The sparse point.
    reference : Solution, array_like or float
        The dense point, or the value of f there, at least 0.

    Returns
    -------
    EpsilonOptimality

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 3, seed=0), budget=2)
    >>> solution = cx.solve(program)
    >>> cx.theory.epsilon_optimality(program, solution, solution).epsilon
    0.0
    """
    design = smooth_part(program)
    objective = design.objective(design.values(weights))
    if isinstance(reference, int | float | np.integer | np.floating):
        known = as_nonnegative(reference, "reference")
    else:
        known = design.objective(design.values(reference, "reference"))
    epsilon = abs(objective - known)
    relative = epsilon / known if known > 0.0 else (0.0 if epsilon == 0.0 else float("inf"))
    return EpsilonOptimality(epsilon, relative, objective, known)
