"""Sharper pre-activation bounds: the slopes of every neuron's own bound improved, its question split at neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.bounds.layer_bounds import of_units
from verify.branching.relaxation import Relaxation
from verify.branching.tree import Tree
from verify.regions.box import Box
from verify.regions.intervals import Interval

# Rows bounded at a time.
BATCH = 512


def sharpen(
    network: SparseReLUNetwork,
    region: Box,
    known: Sequence[Interval],
    stop: Callable[[], bool],
    rounds: int = 0,
    then: Callable[[SparseReLUNetwork, Sequence[Interval]], Interval] | None = None,
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
    rounds : int, default 0
        How often the worst subproblem of every bound is halved.
    then : callable, optional
        Takes a network and bounds of all its layers, and returns bounds of the last that are at least as tight: asked
        of every layer once it is done, so that the layers behind it gain too.

    Notes
    -----
    Layer by layer from the second on, for the neurons that can switch: the slopes in [0, 1] of the lower lines of the
    layers before are improved for each bound alone (alpha-CROWN: Xu et al. 2021). With `rounds` every bound is then one
    of branch and bound, as far as these go: layers that are bounded so let the next ones be bounded better.
    """
    result = list(of_units(network, known))
    for index in range(1, len(network.layers) - 1):
        if stop():
            break
        loose = result[index].switching
        if len(loose):
            upto = network.upto(index)
            result[index] = _sharper(upto, region, result, loose, stop, rounds)
            if then is not None:
                result[index] = then(upto, result[: index + 1])
    return tuple(result)


def _sharper(
    network: SparseReLUNetwork,
    region: Box,
    known: list[Interval],
    loose: NDArray[np.int64],
    stop: Callable[[], bool],
    rounds: int,
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
        found = _uppers(relaxation, stop, rounds)
        upper[some] = np.minimum(upper[some], found[: len(some)])
        lower[some] = np.maximum(lower[some], -found[len(some) :])
    return replace(last, lower=lower, upper=upper)


def _uppers(relaxation: Relaxation, stop: Callable[[], bool], rounds: int) -> Floats:
    tree = Tree(relaxation, stop)
    for _ in range(rounds):
        if stop() or not len(tree.open) or not tree.open.upper.isfinite().all():
            break
        now = tree.pop_worst_of_each()
        tree.halve(now, tree.evaluate(now)[2])
    return tree.result("").upper
