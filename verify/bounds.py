"""Bounds on the pre-activations of a network over a region, sound in floating point."""

from __future__ import annotations

from convexnn.checks import as_known, as_nonnegative
from convexnn.network import SparseReLUNetwork
from verify.crown import Relaxed, crown_interval, relax
from verify.intervals import Interval, affine_interval
from verify.regions import Box

METHODS = ("interval", "crown", "lp")


def bound(
    network: SparseReLUNetwork, region: Box, method: str = "crown", *, time_limit: float = 10.0
) -> tuple[Interval, ...]:
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
        Seconds, at least 0, for the linear programs, by their own clock; at 0 the bounds are those of CROWN.

    Returns
    -------
    tuple of Interval
        One a layer, the last for the outputs; each `lower` and `upper` has shape (out,).

    Notes
    -----
    Intervals: lower = W+ l + W- u + b and upper = W+ u + W- l + b. CROWN (Zhang et al. 2018): see
    :func:`verify.crown.crown_interval`. Linear programs, two for a neuron that can switch, over the tightest relaxation
    of each neuron before it (Ehlers 2017): see :func:`verify.tightening.tighten`. All are moved outward by more than
    the rounding error of their sums, so they hold for the real-number network with these float64 weights; of a linear
    program only its multipliers are used. The first layer is exact over the region, up to that rounding. CROWN costs
    the products of each layer with all before it: time quadratic in the depth.
    """
    as_known(method, "method", METHODS)
    limit = as_nonnegative(time_limit, "time_limit")
    check_sizes(network, region)
    if method == "lp":
        from verify.tightening import tighten  # it builds on encodings, which build on bounds

        return tighten(network, region, _bounds(network, region, crown=True), limit)
    return _bounds(network, region, crown=method == "crown")


def _bounds(network: SparseReLUNetwork, region: Box, crown: bool) -> tuple[Interval, ...]:
    values, sizes = Interval(region.lower, region.upper), region.reach
    result: list[Interval] = []
    hidden: list[Relaxed] = []
    for weight, bias in network.layers:
        known = affine_interval(weight, bias, values)
        if crown if result else not region.is_box:
            known = known.meet(crown_interval(weight, bias, hidden, region))
        if crown and len(hidden) < len(network.layers) - 1:
            hidden.append(relax((weight, bias), known, sizes))
        result.append(known)
        values = known.relu()
        sizes = values.upper
    return tuple(result)


def check_sizes(network: SparseReLUNetwork, region: Box) -> None:
    """Raise ValueError where a region has not as many inputs as the network."""
    if not isinstance(region, Box):
        raise TypeError(f"region is a {type(region).__name__}; expected a Box, LinfBall, L1Ball or L2Ball")
    if region.size != network.n_inputs:
        raise ValueError(f"region has {region.size} inputs; expected {network.n_inputs}, as the network has")
