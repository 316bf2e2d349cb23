"""Cone pairs: a gated block D X w written as the difference of two ReLU neurons, for many blocks at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Bools, Floats
from convexnn.mapping.cones import least_distance
from convexnn.patterns.activation_patterns import gate_tiles

# Longer than this many times the weights, a pair from a generator is no pair: it would drown the block in rounding.
MODERATE = 1e3

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
        Vectors h_j that cut out the masks, for blocks whose shortest pair is out of reach.

    Returns
    -------
    ConePairs

    Notes
    -----
    With z = u - w/2 = v + w/2 both cones read (2D - I) X z >= |X w| / 2, so the shortest pair is the nearest point to
    0 above levels (:func:`convexnn.mapping.cones.least_distance`). Where the cone is so thin that z is longer than a
    million times the distance asked for, the pair would lose its meaning in rounding and counts as none. The fallback
    is the pair u = w + t h, v = t h of Mishkin, Sahiner and Pilanci (ICML 2022), with the least t that brings both into
    the cone, taken if x_i.h != 0 wherever x_i.w has the wrong sign and t ||h|| is at most a thousand times ||w||.
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
    levels, nothing = np.abs(reach[:, rest]) / 2, np.zeros((len(rest), rows.shape[1]))
    found = least_distance(rows, active[:, rest], nothing, levels, features[rest])
    near, centre = rest[found.feasible], found.points[found.feasible]
    plus[near], minus[near], paired[near] = centre + weights[near] / 2, centre - weights[near] / 2, True
    far = rest[~found.feasible]
    if generators is not None and far.size:
        shift, held = _along(rows, reach[:, far], weights[far], features[far], generators[far])
        far, shift = far[held], shift[held]
        plus[far], minus[far], paired[far] = weights[far] + shift, shift, True
    return plus, minus, paired


def _along(rows: Floats, reach: Floats, weights: Floats, features: Bools, generators: Floats) -> tuple[Floats, Bools]:
    """Return t h, shape (b, D), for the least t with w + t h in the cone, and whether it is there and moderate."""
    heights, lack = np.abs(rows @ generators.T), np.maximum(-reach, 0.0)
    ratios = np.divide(lack, heights, out=np.where(lack > 0.0, np.inf, 0.0), where=heights > 0.0).max(axis=0)
    lengths = ratios * np.linalg.norm(generators, axis=1)
    held = (lengths <= MODERATE * np.linalg.norm(weights, axis=1)) & ~((generators != 0.0) & ~features).any(axis=1)
    return np.where(held, ratios, 0.0)[:, None] * generators, held
