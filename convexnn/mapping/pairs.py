"""Cone pairs: a gated block D X w written as the difference of two ReLU neurons, for many blocks at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Bools, Floats
from convexnn.mapping.cones import least_distance
from convexnn.patterns.activation_patterns import gate_tiles

# A pair whose values are further than this from the block's, over the block's largest product, is no pair; below the
# second share nothing better is looked for.
PAIR, CLOSE = 1e-6, 1e-12

# Products this small against the largest of their block count as zero.
SLACK = 1e-12


@dataclass(frozen=True, eq=False)
class ConePairs:
    """Pairs u_j, v_j with D_j X w_j = relu(X u_j) - relu(X v_j) on the data.

    Attributes
    ----------
    plus, minus : ndarray (b, D)
        u_j and v_j, zero outside the owned features; both zero where there is no pair.
    paired : ndarray (b,) of bool
        Whether block j has a pair.
    """

    plus: Floats
    minus: Floats
    paired: Bools


def cone_pairs(
    rows: Floats, active: Bools, weights: Floats, features: Bools, generators: Floats | None = None
) -> ConePairs:
    """Write each gated block D_j X w_j as the difference of at most two ReLU neurons with the same values on the data.

    One of the two is 0 where w or -w lies in the gate's cone (2D - I) X u >= 0; a gate that is active on every row
    needs no cone, X w = relu(X w) - relu(-X w); else both are the pair of least ||u||^2 + ||v||^2 in the cone.

    Parameters
    ----------
    rows : ndarray (n, D)
        The data.
    active : ndarray (n, b) of bool
        The mask of the gate of each block.
    weights : ndarray (b, D)
        w_j, zero outside the owned features.
    features : ndarray (b, D) of bool
        The features that the gate owns; the pair uses no other.
    generators : ndarray (b, D), optional
        Vectors h_j that cut out the masks, for blocks whose shortest pair is out of reach or inaccurate.

    Returns
    -------
    ConePairs

    Notes
    -----
    With z = u - w/2 = v + w/2 both cones read (2D - I) X z >= |X w| / 2, so the shortest pair is the nearest point to
    0 above levels (:func:`convexnn.mapping.cones.least_distance`). On features with an offset the cones are thin and
    that point is far off: the second way is the pair u = w + t h, v = t h of Mishkin, Sahiner and Pilanci (ICML 2022),
    with the least t that brings both into the cone, which is there if x_i.h != 0 wherever x_i.w has the wrong sign.
    Of the pairs found the one counts whose values on the data are nearest to the block's, whatever its length: a long
    one costs accuracy by cancellation, and that is what is measured.
    """
    plus, minus, paired = np.zeros(weights.shape), np.zeros(weights.shape), np.zeros(len(weights), dtype=bool)
    for tile in gate_tiles(len(rows), len(weights)):
        some = None if generators is None else generators[tile]
        plus[tile], minus[tile], paired[tile] = _pairs(rows, active[:, tile], weights[tile], features[tile], some)
    return ConePairs(plus, minus, paired)


def _pairs(
    rows: Floats, active: Bools, weights: Floats, features: Bools, generators: Floats | None
) -> tuple[Floats, Floats, Bools]:
    reach = np.where(active, 1.0, -1.0) * (rows @ weights.T)
    slack = SLACK * np.abs(reach).max(axis=0, initial=0.0)
    inside, outside = (reach >= -slack).all(axis=0), (reach <= slack).all(axis=0)
    linear = active.all(axis=0) & ~inside & ~outside
    plus = np.where((inside | linear)[:, None], weights, 0.0)
    minus = np.where(((outside & ~inside) | linear)[:, None], -weights, 0.0)
    paired = inside | outside | linear
    rest = np.flatnonzero(~paired)
    shifts, errors = _shortest(rows, active[:, rest], reach[:, rest], weights[rest], features[rest])
    if generators is not None and (poor := np.flatnonzero(errors > CLOSE)).size:
        far = rest[poor]
        along = _along(rows, reach[:, far], weights[far], features[far], generators[far])
        found = _error(rows, active[:, far], weights[far], along)
        nearer = found < errors[poor]
        shifts[poor[nearer]], errors[poor[nearer]] = along[nearer], found[nearer]
    held = errors <= PAIR
    near, shift = rest[held], shifts[held]
    plus[near], minus[near], paired[near] = weights[near] + shift, shift, True
    return plus, minus, paired


def _shortest(rows: Floats, active: Bools, reach: Floats, weights: Floats, features: Bools) -> tuple[Floats, Floats]:
    """Return v (b, D) of the shortest pairs, and their errors (b,), infinite where there is none in reach."""
    found = least_distance(rows, active, np.zeros(weights.shape), np.abs(reach) / 2, features)
    shifts = np.where(found.feasible[:, None], found.points - weights / 2, 0.0)
    return shifts, np.where(found.feasible, _error(rows, active, weights, shifts), np.inf)


def _along(rows: Floats, reach: Floats, weights: Floats, features: Bools, generators: Floats) -> Floats:
    """Return v = t h (b, D) for the least t with w + t h in the cone; not a number where there is none."""
    heights, lack = np.abs(rows @ generators.T), np.maximum(-reach, 0.0)
    ratios = np.divide(lack, heights, out=np.where(lack > 0.0, np.inf, 0.0), where=heights > 0.0).max(axis=0)
    ratios[((generators != 0.0) & ~features).any(axis=1)] = np.inf
    # A little more, so that the row that asks for the most is not below 0 by rounding.
    ratios *= 1.0 + 8.0 * np.finfo(np.float64).eps
    with np.errstate(all="ignore"):
        return np.asarray(np.where(np.isfinite(ratios), ratios, np.nan)[:, None] * generators)


def _error(rows: Floats, active: Bools, weights: Floats, shifts: Floats) -> Floats:
    """Return the worst |relu(X (w + v)) - relu(X v) - D X w| of each pair over max |X w|; infinity for NaN."""
    blocks = rows @ weights.T
    with np.errstate(all="ignore"):
        pairs = np.maximum(rows @ (weights + shifts).T, 0.0) - np.maximum(rows @ shifts.T, 0.0)
        errors = np.abs(pairs - blocks * active).max(axis=0, initial=0.0) / np.abs(blocks).max(axis=0, initial=0.0)
    return np.asarray(np.where(np.isfinite(errors), errors, np.inf))
