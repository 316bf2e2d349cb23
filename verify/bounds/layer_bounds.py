"""Pre-activation bounds of all layers of a network, from the inputs on: intervals, and CROWN where it is asked for."""

from __future__ import annotations

from convexnn.network import SparseReLUNetwork
from verify.bounds.crown import RelaxedLayer, crown_interval, relax_layer
from verify.regions.box import Box
from verify.regions.intervals import Interval, affine_interval


def interval_bounds(network: SparseReLUNetwork, region: Box) -> tuple[Interval, ...]:
    """Return the interval bounds of every layer; the first is exact over the region, up to rounding."""
    return _layer_bounds(network, region, crown=False)


def crown_bounds(network: SparseReLUNetwork, region: Box) -> tuple[Interval, ...]:
    """Return the CROWN bounds of every layer, met with interval arithmetic; see :func:`verify.bound`."""
    return _layer_bounds(network, region, crown=True)


def _layer_bounds(network: SparseReLUNetwork, region: Box, crown: bool) -> tuple[Interval, ...]:
    values, sizes = Interval(region.lower, region.upper), region.reach
    result: list[Interval] = []
    hidden: list[RelaxedLayer] = []
    for weight, bias in network.layers:
        known = affine_interval(weight, bias, values)
        if crown if result else not region.is_box:
            known = known.meet(crown_interval(weight, bias, hidden, region))
        if crown and len(hidden) < len(network.layers) - 1:
            hidden.append(relax_layer((weight, bias), known, sizes))
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
