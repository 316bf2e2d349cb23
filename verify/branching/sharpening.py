"""Sharper pre-activation bounds: CROWN's with the slopes of every neuron's own bound improved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from convexnn.network import SparseReLUNetwork
from verify.branching.relaxation import Relaxation
from verify.intervals import Interval
from verify.regions import Box

# Gradient steps, and the first one in multipliers, of which there are none here.
STEPS, RATE = 20, 1.0

# Rows bounded at a time.
BATCH = 512


def sharpen(
    network: SparseReLUNetwork, region: Box, known: Sequence[Interval], stop: Callable[[], bool]
) -> tuple[Interval, ...]:
    """Return pre-activation bounds at least as tight as those `known`, sound under rounding.

    Parameters
    ----------
    network : SparseReLUNetwork
        L layers.
    region : Box
        Any region.
    known : sequence of Interval
        Finite bounds of all layers, from :func:`verify.bound`.
    stop : callable
        Asked before each step; true where no time is left.

    Notes
    -----
    Layer by layer from the second on, for the neurons that can switch: the slopes in [0, 1] of the lower lines of the
    layers before are improved for each bound alone (alpha-CROWN: Xu et al. 2021).
    """
    result = list(known)
    for index in range(1, len(network.layers) - 1):
        if stop():
            break
        loose = np.flatnonzero((result[index].lower < 0.0) & (result[index].upper > 0.0))
        if len(loose):
            result[index] = _sharper(SparseReLUNetwork(network.layers[: index + 1]), region, result, loose, stop)
    return tuple(result)


def _sharper(
    network: SparseReLUNetwork, region: Box, known: list[Interval], loose: np.ndarray, stop: Callable[[], bool]
) -> Interval:
    """Return the bounds of the last layer of a network, better at the outputs `loose`."""
    last = known[len(network.layers) - 1]
    lower, upper = last.lower.copy(), last.upper.copy()
    for start in range(0, len(loose), BATCH // 2):
        if stop():
            break
        some = loose[start : start + BATCH // 2]
        rows = np.zeros((2 * len(some), network.n_outputs))
        rows[np.arange(len(some)), some], rows[np.arange(len(some), 2 * len(some)), some] = 1.0, -1.0
        relaxation = Relaxation(network, region, rows, np.zeros(len(rows)), known)
        found = relaxation.improved(relaxation.start(), STEPS, RATE, stop).upper.numpy()
        upper[some] = np.minimum(upper[some], found[: len(some)])
        lower[some] = np.maximum(lower[some], -found[len(some) :])
    return Interval(lower, upper)
