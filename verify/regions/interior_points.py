"""Interior points: such as lie deep within linear constraints, of a box by a linear program, of a ball by ascent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.regions.halfspaces import Halfspaces
from verify.regions.multipliers import Dual, lengths

# Depths tried for a point well inside a ball, in widths, and the steps on the way there.
DEPTHS, STEPS = (0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-6), 200

# Further shares of the way to a point well inside, until exact arithmetic takes a point.
SHARES = (0.0, 1e-12, 1e-9, 1e-6)

# Points of a region without interior are rounded to multiples of its reach times this power of two.
GRID = -30


@dataclass(frozen=True, eq=False)
class InteriorPoint:
    """A point `x` (d,) of a box, how deep it lies within m half-spaces, and what proves that none lies deeper.

    `depth` is the least distance from their rims, in widths of the box; negative where one is violated. `multipliers`
    (m,) >= 0 are those of the program's rows.
    """

    x: Floats
    depth: float
    multipliers: Floats


def deepest_point(lower: Floats, upper: Floats, cut: Halfspaces, live: NDArray[np.bool_]) -> InteriorPoint:
    """Return the point of the box lower <= x <= upper that lies deepest within the cut; at most one width counts.

    Rows that are not `live` (m,) are constant over the box: they count where they are violated alone.
    """
    middle = lower / 2 + upper / 2
    wrong = ~live & (cut.excess(middle) > 0.0)
    if wrong.any():
        return InteriorPoint(middle, -np.inf, np.eye(len(cut))[np.argmax(wrong)])
    if not live.any():
        return InteriorPoint(middle, 1.0, np.zeros(len(cut)))
    kept = Halfspaces(cut.rows[live], cut.upper[live])
    x, depth, multipliers = _program(middle, upper - lower, kept)
    if depth > 0.0:
        # Away from the walls of the box too.
        x, depth, _ = _program(middle, upper - lower, kept, walls=True)
    of_all = np.zeros(len(cut))
    of_all[live] = multipliers
    return InteriorPoint(np.clip(x, lower, upper), depth, of_all)


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


def interior_point_near(dual: Dual, start: Floats) -> tuple[Floats, float]:
    """Return a point (c,) well inside a set and its cut, near `start` (1, c), and its depth; `start` and 0 if none."""
    if not len(dual.cut):
        return start[0], 1.0
    for depth in DEPTHS:
        x = dual.nearest(start, depth, STEPS)[1][0]
        reached = float((-dual.cut.excess(x) / dual.norms).min())
        if reached > 0.5 * depth:
            return x, reached
    return start[0], 0.0


def drawn_inside(
    points: Floats,
    first: Sequence[Floats],
    cut: Halfspaces,
    anchor: Floats,
    center: Floats,
    project: Callable[[Floats], Floats],
) -> Floats:
    """Return points (n, d) of a set and its cut: drawn to the anchor as far as each needs, at worst the center.

    Parameters
    ----------
    points : ndarray (n, d)
        Any points.
    first : sequence of ndarray (n, d)
        Points that are tried before.
    cut : Halfspaces
        The constraints, which decide in exact arithmetic.
    anchor, center : ndarray (d,)
        A point well inside, and one to fall back on.
    project : callable
        Takes points, returns the nearest ones of the set without the cut.
    """
    over = np.maximum(cut.at(points) - cut.upper, 0.0)
    room = np.maximum(-cut.excess(anchor), 0.0)
    with np.errstate(all="ignore"):
        share = np.where(over > 0.0, over / (over + room), 0.0).max(axis=1, keepdims=True)
    result, left = np.tile(center, (len(points), 1)), np.arange(len(points))
    for tried in [*first, *(points + np.minimum(share + more, 1.0) * (anchor - points) for more in SHARES)]:
        placed = project(tried[left])
        inside = cut.satisfied_by(placed)
        result[left[inside]], left = placed[inside], left[~inside]
        if not len(left):
            break
    return result


def on_grid(points: Floats, reach: float) -> Floats:
    """Return points (n, d) moved to a grid, whose sums and differences are exact: they meet simple equalities."""
    grid = float(np.ldexp(1.0, int(np.frexp(reach)[1]) + GRID))
    return np.asarray(np.round(points / grid) * grid)
