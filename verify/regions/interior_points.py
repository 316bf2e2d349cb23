"""Insides: points that lie deep within linear constraints, of a box by a linear program, of a ball by ascent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.regions.halfspaces import Halfspaces
from verify.regions.multipliers import Dual, lengths

# Depths tried for a point well inside a ball, in widths, and the steps on the way there.
DEPTHS, STEPS = (0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-6), 200


# Points of a region without interior are rounded to multiples of its reach times this power of two.
GRID = -30


@dataclass(frozen=True, eq=False)
class Inside:
    """A point `x` (d,) of a box, how deep it lies within m half-spaces, and what proves that none lies deeper.

    `depth` is the least distance from their rims, in widths of the box; negative where one is violated. `multipliers`
    (m,) >= 0 are those of the program's rows.
    """

    x: Floats
    depth: float
    multipliers: Floats


def deepest(lower: Floats, upper: Floats, cut: Halfspaces, live: NDArray[np.bool_]) -> Inside:
    """Return the point of the box lower <= x <= upper that lies deepest within the cut; at most one width counts.

    Rows that are not `live` (m,) are constant over the box: they count where they are violated alone.
    """
    middle = lower / 2 + upper / 2
    wrong = ~live & (cut.excess(middle) > 0.0)
    if wrong.any():
        return Inside(middle, -np.inf, np.eye(len(cut))[np.argmax(wrong)])
    if not live.any():
        return Inside(middle, 1.0, np.zeros(len(cut)))
    kept = Halfspaces(cut.rows[live], cut.upper[live])
    x, depth, multipliers = _program(middle, upper - lower, kept)
    if depth > 0.0:
        # Away from the walls of the box too.
        x, depth, _ = _program(middle, upper - lower, kept, walls=True)
    held = np.zeros(len(cut))
    held[live] = multipliers
    return Inside(np.clip(x, lower, upper), depth, held)


def _program(middle: Floats, units: Floats, cut: Halfspaces, walls: bool = False) -> tuple[Floats, float, Floats]:
    """Return the deepest point, its depth, and the multipliers of the rows; with `walls` these count as rims too."""
    from scipy.optimize import linprog

    used, norms = cut.mentioned, lengths(cut, units)
    scaled = sp.csr_matrix(sp.diags(1.0 / norms) @ cut.rows @ sp.diags(units))[:, used]
    rows, sides = sp.hstack([scaled, np.ones((len(cut), 1))], format="csr"), -cut.excess(middle) / norms
    limits = [*[(-0.5, 0.5)] * len(used), (0.0 if walls else None, 1.0)]
    if walls:
        eye = sp.eye(len(used), format="csr")[units[used] > 0.0]
        rim = sp.hstack([sp.vstack([eye, -eye]), np.ones((2 * eye.shape[0], 1))])
        rows, sides = sp.vstack([rows, rim], format="csr"), np.append(sides, np.full(2 * eye.shape[0], 0.5))
    cost = np.append(np.zeros(len(used)), -1.0)
    found = linprog(cost, A_ub=rows, b_ub=sides, bounds=limits, method="highs")
    if found.status != 0:
        return middle, -np.inf, np.zeros(len(cut))
    x = middle.copy()
    x[used] += units[used] * found.x[:-1]
    return x, float(found.x[-1]), np.maximum(-found.ineqlin.marginals[: len(cut)], 0.0) / norms


def prices(lower: Floats, upper: Floats, cut: Halfspaces, rows: Floats) -> Floats:
    """Return the multipliers (r, k) of the maxima of `rows` (r, c) . x over a box, by a linear program each.

    All constraints must have a row of positive length; those of a program that fails are 0.
    """
    from scipy.optimize import linprog

    middle, units = lower / 2 + upper / 2, upper - lower
    norms = lengths(cut, units)
    scaled, sides = sp.csr_matrix(sp.diags(1.0 / norms) @ cut.rows @ sp.diags(units)), -cut.excess(middle) / norms
    result = np.zeros((len(rows), len(cut)))
    for held, along in zip(result, rows * units, strict=True):
        size = np.abs(along).max(initial=0.0)
        if 0.0 < size < np.inf:
            found = linprog(-along / size, A_ub=scaled, b_ub=sides, bounds=(-0.5, 0.5), method="highs")
            held[:] = -found.ineqlin.marginals * size / norms if found.status == 0 else 0.0
    return result


def sunk(dual: Dual, start: Floats) -> tuple[Floats, float]:
    """Return a point (c,) well inside a set and its cut, near `start` (1, c), and its depth; `start` and 0 if none."""
    if not len(dual.cut):
        return start[0], 1.0
    for depth in DEPTHS:
        x = dual.nearest(start, depth, STEPS)[1][0]
        reached = float((-dual.cut.excess(x) / dual.norms).min())
        if reached > 0.5 * depth:
            return x, reached
    return start[0], 0.0


def on_grid(points: Floats, reach: float) -> Floats:
    """Return points (n, d) moved to a grid, whose sums and differences are exact: they meet simple equalities."""
    grid = float(np.ldexp(1.0, int(np.frexp(reach)[1]) + GRID))
    return np.asarray(np.round(points / grid) * grid)
