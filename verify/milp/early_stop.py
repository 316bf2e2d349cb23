"""Early stop: the same MILP with one more point, of the value that suffices, so that an engine may end there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from verify.milp.model import Milp
from verify.milp.scaling import ROW_TOLERANCE, Scaled, scale

# What the level is held below what suffices, in units of what an engine's tolerances can amount to; 1 is the least.
MARGIN = 1.25

# How often a level is tried; what a proof needs hardly depends on it.
TRIES = 4


def with_early_stop(milp: Milp, level: float, top: float) -> Milp:
    """Return the model of max t over the points v of `milp` and a point to stop at; t and s come last.

    Parameters
    ----------
    milp : Milp
        Every variable finitely bounded.
    level : float
        The value of the point to stop at.
    top : float
        Above `level`; an upper bound on the objective of `milp`.

    Notes
    -----
    t <= c . v + c0 + (level - l) s and t <= top - (top - level) s, with level <= t <= top, s binary and l a lower
    bound on c . v + c0: where s = 0 the objective t is that of `milp`, where s = 1 it is `level`. The maximum is the
    larger of the two. An engine has the stop as its first point and prunes all that lies below it, which saves
    most of the search for an optimum; yet the model has a point for certain, so that no proof rests on an engine's
    word that there is none. Tolerances on s only add points.
    """
    ends = np.where(milp.cost > 0.0, milp.lower, milp.upper)
    least = float(milp.cost @ ends) + milp.constant
    # Larger than needed by more than any rounding: that only adds points.
    drop = max(level - least, 0.0) * (1.0 + 1e-9) + 1e-9 * float(np.abs(milp.cost) @ np.abs(ends))
    count = len(milp.cost)
    height = max(drop, float(np.abs(milp.cost * (milp.upper - milp.lower)).max(initial=0.0)), top - level)
    return Milp(
        cost=np.append(np.zeros(count), [1.0, 0.0]),
        constant=0.0,
        # An engine may break the first new row by its tolerance, which goes straight into the objective.
        error=milp.error + ROW_TOLERANCE * 2.0 * height,
        rows=_with_rows(milp, drop, top - level),
        row_lower=np.append(milp.row_lower, [-np.inf, -np.inf]),
        row_upper=np.append(milp.row_upper, [milp.constant, top]),
        lower=np.append(milp.lower, [level, 0.0]),
        upper=np.append(milp.upper, [top, 1.0]),
        integer=np.append(milp.integer, [False, True]),
        conditions=milp.conditions.beside(2),
    )


@np.errstate(all="ignore")
def scaled_with_early_stop(milp: Milp, enough: float, top: float) -> Scaled | None:
    """Return the scaled model whose stop lies just as far below `enough` as a proof needs; None if `top` is below.

    What a proof needs follows from the scaled model, and hardly from the level.
    """
    ends = np.where(milp.cost > 0.0, milp.upper, milp.lower)
    # A sum of the size of float64 numbers: a share of it is more than its rounding.
    highest = float(milp.cost @ ends) + milp.constant + 1e-9 * float(np.abs(milp.cost) @ np.abs(ends))
    top, level = min(top, highest), enough
    for _ in range(TRIES):
        if not level < top:
            return None
        scaled = scale(with_early_stop(milp, level, top))
        if level + scaled.error < enough - (1.0 + MARGIN) / 2.0 * scaled.allowance:
            # Points come back without t and s.
            return replace(scaled, original=milp, width=scaled.width[: len(milp.cost)])
        level = enough - MARGIN * scaled.allowance - 2.0 * scaled.error
    return None


def _with_rows(milp: Milp, drop: float, range_above: float) -> sp.csr_matrix:
    """Return the rows of `milp` and those of t and s, filled in by hand: stacking would copy them twice."""
    rows, used, count = milp.rows, np.flatnonzero(milp.cost), len(milp.cost)
    data = np.concatenate([rows.data, -milp.cost[used], [1.0, -drop, 1.0, range_above]])
    indices = np.concatenate([rows.indices, used, [count, count + 1, count, count + 1]])
    ends = rows.nnz + len(used) + np.array([2, 4])
    shape = (rows.shape[0] + 2, count + 2)
    return sp.csr_matrix((data, indices, np.concatenate([rows.indptr, ends])), shape=shape)
