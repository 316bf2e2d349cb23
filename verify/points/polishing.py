"""Polishing: the best point with the activation pattern of a point found, by one linear program."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.backends.engine_chain import EngineChain
from verify.bounds.layer_bounds import crown_bounds
from verify.encoding.encode import encode
from verify.milp.request import Request
from verify.points.ascent import densify_layers, values_and_slopes
from verify.regions.balls import L1Ball, LinfBall
from verify.regions.box import Box
from verify.regions.intervals import EPS

# Inputs that may move; the others stay where they are. Entries of the weights beyond which nothing is polished.
FREE, MOST_WEIGHTS = 300, 1 << 20

# Linear programs in a row, each from the point of the one before.
ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Restricted:
    """A network over a region with some inputs fixed: the network and the region of the others, and which they are."""

    network: SparseReLUNetwork
    region: Box
    free: NDArray[np.int64]

    def point(self, x: Floats, part: Floats) -> Floats:
        """Return `x` (d,) with its free inputs replaced."""
        moved = x.copy()
        moved[self.free] = part
        return moved


def polish(
    network: SparseReLUNetwork, region: Box, objective: Floats, x: Floats, engine: EngineChain, time: float
) -> Floats:
    """Return a point where c . outputs is at least as large as at `x`, up to rounding: the best near it.

    Parameters
    ----------
    network : SparseReLUNetwork
        k outputs.
    region : Box
        A box or an L1 ball; over others `x` comes back.
    objective : ndarray (k,)
        c.
    x : ndarray (d,)
        A point of the region.
    engine : EngineChain
        Solves the linear programs.
    time : float
        Seconds for each of them.

    Notes
    -----
    Where every neuron keeps its state the network is affine, so the best such point is a vertex of a polytope. Inputs
    at an end of the region with a steep slope would stay there: of more than 300 inputs those that are inside or have
    the smallest slopes may move.
    """
    for _ in range(ROUNDS):
        part = restrict(network, region, x, _choose_free(network, region, objective, x))
        if part is None or sum(weight.nnz for weight, _ in part.network.layers) > MOST_WEIGHTS:
            return x
        moved = _best_with_pattern(part, objective, x[part.free], engine, time)
        better = x if moved is None else region.project(part.point(x, moved))
        values = network.activations(np.stack([x, better]))[-1] @ objective
        if not values[1] > values[0] + 1e-9 * abs(values[0]):
            return x
        x = better
    return x


def restrict(network: SparseReLUNetwork, region: Box, x: Floats, free: NDArray[np.int64]) -> Restricted | None:
    """Return the network over the region with all inputs but the `free` ones fixed as in `x`; None over other regions.

    An L1 ball becomes one of the radius that the fixed inputs leave.
    """
    fixed = np.setdiff1d(np.arange(region.size), free)
    weight, bias = network.layers[0]
    smaller = network.with_layers([(weight[:, free], bias + weight[:, fixed] @ x[fixed]), *network.layers[1:]])
    ends = region.lower[free], region.upper[free]
    if isinstance(region, L1Ball):
        spent = float(np.abs(x - region.center)[fixed].sum()) * (1.0 + region.size * EPS)
        part: Box = L1Ball(region.center[free], max(0.0, region.radius - spent), clip=ends)
    elif type(region) in (Box, LinfBall):
        part = Box(*ends)
    else:
        return None
    return Restricted(smaller, part, free)


def _choose_free(network: SparseReLUNetwork, region: Box, objective: Floats, x: Floats) -> NDArray[np.int64]:
    with np.errstate(all="ignore"):
        _, slopes = values_and_slopes(densify_layers(network), x[None], objective)
    inside = (x > region.lower) & (x < region.upper)
    if isinstance(region, L1Ball):
        inside &= x != region.center
    order = np.argsort(np.where(inside, -1.0, np.abs(slopes[0])), kind="stable")
    return np.sort(order[:FREE])


def _best_with_pattern(
    part: Restricted, objective: Floats, x: Floats, engine: EngineChain, time: float
) -> Floats | None:
    known = crown_bounds(part.network, part.region)
    if not all(layer.finite for layer in known[:-1]):
        return None
    encoding = encode(part.network, part.region, objective, known)
    values, binary = encoding.complete(x), encoding.milp.integer
    fixed = np.where(binary, values, encoding.milp.lower), np.where(binary, values, encoding.milp.upper)
    milp = replace(encoding.milp, lower=fixed[0], upper=fixed[1])
    outcome = engine.maximise(milp, Request(time))
    return None if outcome.values is None else encoding.point(outcome.values)
