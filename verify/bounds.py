"""Bounds on the pre-activations of a network over a region, sound in floating point."""

from __future__ import annotations

from convexnn.checks import as_known
from convexnn.network import SparseReLUNetwork
from verify.crown import Relaxed, crown_interval, relax
from verify.intervals import Interval, affine_interval
from verify.regions import Box

METHODS = ("interval", "crown")


def bound(network: SparseReLUNetwork, region: Box, method: str = "crown") -> tuple[Interval, ...]:
    """Bound the pre-activations of every layer over a region.

    Parameters
    ----------
    network : SparseReLUNetwork
        L layers.
    region : Box
        Over as many inputs as the network has.
    method : {"crown", "interval"}, default "crown"
        CROWN, a linear relaxation from each neuron back to the inputs, met with interval arithmetic; or interval
        arithmetic alone, layer by layer: faster, looser from the second layer on.

    Returns
    -------
    tuple of Interval
        One a layer, the last for the outputs; each `lower` and `upper` has shape (out,).

    Notes
    -----
    Intervals: lower = W+ l + W- u + b and upper = W+ u + W- l + b. CROWN (Zhang et al. 2018): see
    :func:`verify.crown.crown_interval`. Both are moved outward by more than the rounding error of their sums, so they
    hold for the real-number network with these float64 weights. The first layer is exact over the region, up to that
    rounding. CROWN costs the products of each layer with all before it: time quadratic in the depth.
    """
    as_known(method, "method", METHODS)
    check_sizes(network, region)
    values, sizes = Interval(region.lower, region.upper), region.reach
    result: list[Interval] = []
    hidden: list[Relaxed] = []
    for weight, bias in network.layers:
        known = affine_interval(weight, bias, values)
        if (method == "crown") if result else not region.is_box:
            known = known.meet(crown_interval(weight, bias, hidden, region))
        if method == "crown" and len(hidden) < len(network.layers) - 1:
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
