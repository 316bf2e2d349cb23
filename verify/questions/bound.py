"""Bounds on the pre-activations of a network over a region, sound in floating point."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from convexnn.checks import as_known, as_nonnegative
from convexnn.network import SparseReLUNetwork
from verify.answers.proven_bounds import Bounding, LayerBounds
from verify.bounds.layer_bounds import check_sizes, crown_layers, interval_bounds
from verify.bounds.tightening import tightened
from verify.clock import Clock
from verify.questions.resources import answer_of
from verify.regions.box import Box
from verify.regions.intervals import Interval

METHODS = ("interval", "crown", "lp")


def bound(network: SparseReLUNetwork, region: Box, method: str = "crown", *, time_limit: float = 10.0) -> LayerBounds:
    """Bound the pre-activations of every layer over a region.

    Parameters
    ----------
    network : SparseReLUNetwork
        L layers.
    region : Box
        Over as many inputs as the network has.
    method : {"crown", "interval", "lp"}, default "crown"
        CROWN, a linear relaxation from each neuron back to the inputs, met with interval arithmetic; interval
        arithmetic alone, layer by layer: faster, looser from the second layer on; or CROWN and then linear programs.
    time_limit : float, default 10
        Seconds, at least 0, of method ``lp``: once they are over, what is left keeps the bounds that it has. CROWN has
        a moment at least, so that small networks have its bounds at 0.

    Returns
    -------
    LayerBounds
        A tuple of intervals, one a layer, the last for the outputs; each `lower` and `upper` has shape (out,). Its
        `status` is INTERRUPTED after Ctrl-C: layers that were not done have interval bounds, or those of CROWN.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or range; the message names it.

    Notes
    -----
    Intervals: lower = W+ l + W- u + b and upper = W+ u + W- l + b. CROWN (Zhang et al. 2018): see
    :func:`verify.bounds.crown.crown_interval`. Linear programs, two for a neuron that can switch, over the tightest
    relaxation of each neuron before it (Ehlers 2017): see :func:`verify.bounds.tightening.tightened`. All are moved
    outward by more than the rounding error of their sums, so they hold for the real-number network with these float64
    weights; of a linear program only its multipliers are used. The first layer is exact over the region, up to that
    rounding. CROWN costs the products of each layer with all before it: time quadratic in the depth.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> hidden, outputs = verify.bound(network, verify.Box([-1.0], [2.0]))
    >>> hidden.lower.round(6).tolist(), hidden.upper.round(6).tolist(), hidden.switching.tolist()
    ([-1.0, -2.0], [2.0, 1.0], [0, 1])
    >>> bool(outputs.lower[0] <= 0.0), bool(outputs.upper[0] >= 2.0)
    (True, True)
    """
    as_known(method, "method", METHODS)
    limit = as_nonnegative(time_limit, "time_limit")
    check_sizes(network, region)
    begin = partial(_LayerBounding, network, region, method, limit)
    return answer_of(begin, lambda seconds: LayerBounds(interval_bounds(network, region), Bounding.INTERRUPTED))


class _LayerBounding:
    """Bounds on their way, those of intervals at first."""

    def __init__(self, network: SparseReLUNetwork, region: Box, method: str, limit: float) -> None:
        self.network, self.region, self.method, self.clock = network, region, method, Clock(limit)
        self.best = interval_bounds(network, region)

    def decide(self) -> LayerBounds:
        """Go through the method."""
        for better in self._better():
            self.best = better
        return LayerBounds(self.best)

    def by_now(self) -> LayerBounds:
        """Return what is proven by now."""
        return LayerBounds(self.best, Bounding.INTERRUPTED)

    def _better(self) -> Iterator[tuple[Interval, ...]]:
        """Yield ever better bounds."""
        if self.method == "crown":
            yield from crown_layers(self.network, self.region, self.best)
        if self.method == "lp":
            yield from crown_layers(self.network, self.region, self.best, self.clock.overdue)
            yield from tightened(self.network, self.region, self.best, self.clock)
