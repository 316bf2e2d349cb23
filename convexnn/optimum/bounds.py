"""What a dual point proves about all patterns: the training optimum from below, rounded outwards."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Floats
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.penalties import row_norms

# Half the distance of 1 to the next float64.
UNIT = 2.0**-53

# Halvings of the interval in which a level is sought.
HALVINGS = 60


def proven_bound(program: ConvexProgram, theta: Floats, most: float) -> float:
    """Return a lower bound of the optimum over all patterns, from M <= `most`.

    Parameters
    ----------
    program : ConvexProgram
        Its loss, targets and strength; its patterns play no part.
    theta : ndarray (n, k)
        A dual point t (-dL/dp), 0 <= t <= 1, at any prediction p.
    most : float
        An upper bound of M = max over neurons u with penalty 1 of |sum_i theta_ic relu(x_i . u)|; of a gated program
        of the largest dual norm of X^T D theta over all patterns D.

    Notes
    -----
    theta' = theta min(1, strength / M) is feasible in the dual of the program over all patterns, so -L*(-theta') is a
    bound. Losses are at least 0, and so is the bound.
    """
    assert program.strength is not None
    # The rows of theta may sum to 0 up to rounding alone where the softmax needs 0; the shift that mends it moves M.
    reach = most + 8.0 * UNIT * program.n_outputs * float(np.abs(theta).max(axis=1) @ row_norms(program.rows))
    factor = 1.0 if reach <= program.strength else program.strength / reach
    scaled = theta * (factor * (1.0 - 4.0 * UNIT))
    value = program.loss.dual(scaled, program.targets)
    return max(0.0, value - _rounding(program, scaled, value))


def _rounding(program: ConvexProgram, theta: Floats, value: float) -> float:
    """Return what rounding can add to the dual's value: a sum of n k terms, whose sizes add up to `size`."""
    n, k = theta.shape
    size = abs(value) + k
    if program.loss.name == "squared":
        size = float((np.abs(theta * program.targets)).sum() + 0.5 * n * np.square(theta).sum())
    return 8.0 * (n * k + 64) * UNIT * size


def objective_rounding(program: ConvexProgram, objective: float) -> float:
    """Return what rounding can hide of an objective: sums of n k and of q d terms at least 0."""
    terms = program.targets.size + program.n_weights * program.n_parts
    return 8.0 * (terms + 64) * UNIT * objective


def level_for(program: ConvexProgram, theta: Floats, bound: float) -> float | None:
    """Return the largest M, at least the strength, at which theta still proves the bound; None where none does."""
    assert program.strength is not None
    low, high = program.strength, 4.0 * program.strength
    if proven_bound(program, theta, low) < bound:
        return None
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if proven_bound(program, theta, middle) >= bound else (low, middle)
    return low
