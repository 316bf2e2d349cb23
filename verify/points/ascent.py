"""Gradient ascent on a margin: projected sign steps from many starts at once. Finds witnesses, proves nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.bounds.crown import DENSE
from verify.regions.box import Box
from verify.regions.intervals import stored_whole

# A weight, sparse or dense, a bias, and the floor of the layer's units: 0, or (out,) with -inf where they are linear.
MixedLayer = tuple[sp.csr_matrix | Floats, Floats, Floats | float]

# Points moved at once, and steps of each.
STARTS, STEPS = 32, 40


class InterruptedAscentError(KeyboardInterrupt):
    """An interruption of an ascent, with the best point met before it."""

    def __init__(self, point: Floats) -> None:
        super().__init__()
        self.point = point


def ascend(
    network: SparseReLUNetwork,
    region: Box,
    objective: Floats,
    rng: np.random.Generator,
    stop: Callable[[], bool] | None = None,
    offsets: Floats | float = 0.0,
    near: Floats | None = None,
) -> tuple[Floats, float]:
    """Return the best point found for max c . outputs over a region, or of the least of several, and its value.

    Parameters
    ----------
    network : SparseReLUNetwork
        k outputs.
    region : Box
        Where to search.
    objective : ndarray (k,) or (m, k)
        c, or one row for each of several functions of which the least is to be large.
    rng : numpy.random.Generator
        Source of the starts.
    stop : callable, optional
        Asked before each step; True ends the search with what it has.
    offsets : ndarray (m,), optional
        Constants of the functions; default 0.
    near : ndarray (d,), optional
        A point to start at and around, with shorter steps; default the center and points all over the region.

    Notes
    -----
    On a box x <- project(x + t (upper - lower) sign(grad)), t falling geometrically from 1/2 to 1/200: the best point
    of a linear function is a corner, which sign steps reach at once. On a ball x <- x + 2 t (p - x), p the best point
    of the linear function. An interruption comes out as an :class:`InterruptedAscentError`.
    """
    points = random_starts(network, region, rng, STARTS) if near is None else _points_around(near, region, rng, STARTS)
    layers = densify_layers(network)
    best, value = points[0], -np.inf
    longest, shortest = (0.5, 0.005) if near is None else (0.1, 0.002)
    try:
        for length in [*np.geomspace(longest, shortest, STEPS), 0.0]:
            if stop is not None and stop():
                break
            with np.errstate(all="ignore"):
                values, slopes = values_and_slopes(layers, points, objective, offsets)
            values, slopes = np.nan_to_num(values, nan=-np.inf), np.nan_to_num(slopes)
            leader = int(np.argmax(values))
            if values[leader] > value:
                best, value = points[leader].copy(), float(values[leader])
            points = region.step(points, slopes, length)
    except KeyboardInterrupt:
        raise InterruptedAscentError(best) from None
    return best, value


def random_starts(network: SparseReLUNetwork, region: Box, rng: np.random.Generator, count: int) -> Floats:
    """Return the center, random corners and random points; inputs that the network does not read stay as they are."""
    draws = rng.random((count, region.size))
    draws[1::2] = np.round(draws[1::2])
    points = region.project(region.lower + draws * (region.upper - region.lower))
    points[0] = region.center
    unread = np.bincount(network.layers[0][0].indices, minlength=region.size) == 0
    points[:, unread] = region.center[unread]
    return region.project(points)


def _points_around(point: Floats, region: Box, rng: np.random.Generator, count: int) -> Floats:
    """Return a point and others around it, a third of the region's width off in the mean of squares."""
    noise = rng.standard_normal((count, region.size)) * (region.upper - region.lower) / 3.0
    points = region.project(point + noise)
    points[0] = region.project(point)
    return points


def densify_layers(network: SparseReLUNetwork) -> list[MixedLayer]:
    """Return the layers with weights that are hardly sparse as dense arrays, whose products are faster."""
    return [(_as_dense(weight), bias, network.floor(index)) for index, (weight, bias) in enumerate(network.layers)]


def _as_dense(weight: sp.csr_matrix) -> sp.csr_matrix | Floats:
    if weight.nnz <= DENSE * np.prod(weight.shape):
        return weight
    whole = stored_whole(weight)
    return weight.toarray() if whole is None else whole


def values_and_slopes(
    layers: list[MixedLayer], points: Floats, objective: Floats, offsets: Floats | float = 0.0
) -> tuple[Floats, Floats]:
    """Return c . outputs (n,) at `points` (n, d) and its gradient (n, d), with derivative 0 of relu at 0.

    Of several rows c in `objective` (m, k) it is the least function, with its `offsets`, at each point.
    """
    before, hidden = [], points
    for weight, bias, floor in layers:
        before.append(_product(weight, hidden) + bias)
        hidden = np.maximum(before[-1], floor)
    rows = np.atleast_2d(objective)
    values = before[-1] @ rows.T + offsets
    least = values.argmin(axis=1)
    slopes = rows[least]
    for (weight, _, _), (*_, floor), inner in zip(layers[:0:-1], layers[-2::-1], before[-2::-1], strict=True):
        slopes = _product(weight.T, slopes) * (inner > floor)
    return values[np.arange(len(points)), least], _product(layers[0][0].T, slopes)


def _product(weight: sp.csr_matrix | Floats, rows: Floats) -> Floats:
    """Return W x for every row x."""
    return np.asarray(rows @ weight.T if isinstance(weight, np.ndarray) else (weight @ rows.T).T)
