"""Duals: what any multipliers of the rows of a linear program prove of its maximum, rounded outward.

Whoever computed the multipliers need not be believed: good ones give a good bound, wrong ones a poor bound, none of
them a false one (Neumaier and Shcherbina 2004).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.milp.input_variables import InputVariables
from verify.milp.model import Milp
from verify.regions.balls import NormBall
from verify.regions.intervals import EPS, TINY


def dual_bounds(
    costs: Floats,
    rows: sp.csr_matrix,
    sides: tuple[Floats, Floats],
    duals: Floats,
    reach: Floats,
    peak: Callable[[Floats], Floats],
) -> Floats:
    """Return upper bounds (q,) of max cost . v over lower <= rows v <= upper and v in a set, rounded outward.

    Parameters
    ----------
    costs : ndarray (q, v)
        One objective a bound.
    rows, sides : csr_matrix (r, v), pair of ndarray (r,)
        The rows and their lower and upper sides, infinite where a side is free.
    duals : ndarray (q, r)
        Any multipliers y of the rows, those of the upper sides positive; NaN, infinite ones and those of the wrong
        sign for a free side count as 0.
    reach : ndarray (v,)
        The largest size of each variable over the set, finite.
    peak : callable
        Upper bounds (q,) of the maxima of linear functions (q, v) of the variables over the set.

    Returns
    -------
    ndarray (q,)
        Infinite where something overflows.

    Notes
    -----
    cost . v = y . rows v + (cost - rows' y) . v <= sum (y+ upper - y- lower) + max (cost - rows' y) . v for every v.
    The difference in floating point is off by at most gamma times its sum of magnitudes, which times `reach` is added.
    """
    with np.errstate(all="ignore"):
        duals = _usable(duals, *sides)
        left = costs - (rows.T @ duals.T).T
        sizes = np.abs(costs) + (abs(rows).T @ np.abs(duals).T).T
        count = np.bincount(rows.indices, minlength=rows.shape[1])
        off = ((count + 8) * EPS * sizes + (count + 2.0) * TINY) @ reach * (1.0 + 2.0 * (len(reach) + 8) * EPS)
        return _total(_sides(duals, *sides), peak(left), off + 2.0 * len(reach) * TINY)


def box_peak(slopes: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return upper bounds (q,) of max slopes . v over lower <= v <= upper, `slopes` (q, v), rounded outward."""
    with np.errstate(all="ignore"):
        total = np.maximum(slopes, 0.0) @ upper + np.minimum(slopes, 0.0) @ lower
        sizes = np.abs(slopes) @ np.maximum(np.abs(lower), np.abs(upper))
        return np.nextafter(total + (len(lower) + 8) * EPS * sizes + 4.0 * (len(lower) + 1.0) * TINY, np.inf)


def milp_bound(milp: Milp, duals: Floats, inputs: InputVariables | None = None) -> float:
    """Return what `duals` prove of the linear relaxation of a model, and so of the network that it encodes.

    Parameters
    ----------
    milp : Milp
        Its variables finitely bounded; that they are whole numbers is not used.
    duals : ndarray (s,)
        Multipliers of at least its r rows; those of further rows, such as cuts of a ball, are left out.
    inputs : InputVariables, optional
        The meaning of the first variables: over a ball these are maximised over the ball itself, and the model's own
        rows for it are not needed.

    Notes
    -----
    The rows are wide enough for every point of the network. `milp.error`, what rounding can have taken from its
    objective, is added.
    """
    count = milp.rows.shape[0]
    if len(duals) < count:
        return float("inf")
    used = np.array(duals[None, :count], dtype=np.float64)
    reach = np.maximum(np.abs(milp.lower), np.abs(milp.upper))
    ball = inputs is not None and isinstance(inputs.region.base, NormBall)

    def peak(slopes: Floats) -> Floats:
        if inputs is None or not ball:
            return box_peak(slopes, milp.lower, milp.upper)
        own = inputs.count
        rest = box_peak(slopes[:, own:], milp.lower[own:], milp.upper[own:])
        return _total(moves_peak(slopes[:, :own], inputs), rest)

    if inputs is not None:
        used[:, : len(inputs.row_upper) - len(inputs.region.constraints)] = 0.0  # those of the ball come first
    found = dual_bounds(milp.cost[None], milp.rows, (milp.row_lower, milp.row_upper), used, reach, peak)
    return float(_total(found, np.array([milp.constant]), np.array([milp.error]))[0])


def moves_peak(slopes: Floats, inputs: InputVariables) -> Floats:
    """Return upper bounds (q,) of max slopes . v over the variables v of the inputs of a ball, rounded outward.

    Notes
    -----
    An input moves up or down, never both: a . up + b . down = a . (up - down) + (a + b) . down, where up - down is what
    x moves from the center, and `region.support` knows the maximum of a . x.
    """
    region, moved, center = inputs.region.base, inputs.moved, inputs.region.base.center
    up, down = np.flatnonzero(inputs.signs > 0.0), np.flatnonzero(inputs.signs < 0.0)
    along = np.zeros((len(slopes), region.size))
    along[:, moved[down]] = -slopes[:, down]
    along[:, moved[up]] = slopes[:, up]
    both = np.maximum(along[:, moved[down]] + slopes[:, down], 0.0)
    with np.errstate(all="ignore"):
        shift, sizes = along @ center, np.abs(along) @ np.abs(center)
        lost = both @ inputs.upper[down] * (1.0 + 2.0 * (len(down) + 8) * EPS) + 2.0 * len(down) * TINY
        error = (region.size + 8) * EPS * sizes + 2.0 * region.size * TINY
        return _total(region.support(along), -shift, lost + 4.0 * EPS * lost, error)


def _usable(duals: Floats, lower: Floats, upper: Floats) -> Floats:
    wrong = ~np.isfinite(duals) | ((duals > 0.0) & ~np.isfinite(upper)) | ((duals < 0.0) & ~np.isfinite(lower))
    return np.where(wrong, 0.0, duals)


def _sides(duals: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return upper bounds (q,) of sum (y+ upper - y- lower)."""
    terms = duals * np.where(duals > 0.0, upper, np.where(duals < 0.0, lower, 0.0))
    count = terms.shape[1]
    error = (count + 8) * EPS * np.abs(terms).sum(axis=1) + 2.0 * (count + 1.0) * TINY
    return np.asarray(np.nextafter(terms.sum(axis=1) + error, np.inf))


def _total(*parts: Floats) -> Floats:
    """Return an upper bound of the sum of parts (q,), infinite where it overflows."""
    with np.errstate(all="ignore"):
        total, sizes = sum(parts[1:], parts[0]), sum(map(np.abs, parts[1:]), np.abs(parts[0]))
        total = np.nextafter(total + (len(parts) + 4) * EPS * sizes, np.inf)
    return np.where(np.isfinite(total), total, np.inf)
