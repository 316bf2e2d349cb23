"""Pre-activation bounds of all layers of a network, from the inputs on: intervals, and CROWN where it is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from convexnn.network import SparseReLUNetwork
from verify.bounds.crown import RelaxedLayer, crown_interval, relax_layer
from verify.regions.box import Box
from verify.regions.intervals import Interval, affine_interval


def interval_bounds(network: SparseReLUNetwork, region: Box) -> tuple[Interval, ...]:
    """Return the interval bounds of every layer; the first is exact over the region, up to rounding."""
    values, result = Interval(region.lower, region.upper), list[Interval]()
    for index, (weight, bias) in enumerate(network.layers):
        known = replace(affine_interval(weight, bias, values), floor=network.floor(index))
        if not result and not region.is_box:
            known = known.meet(crown_interval(weight, bias, [], region))
        result.append(known)
        values = known.activated()
    return tuple(result)


def of_units(network: SparseReLUNetwork, known: Sequence[Interval]) -> tuple[Interval, ...]:
    """Return bounds of the layers of a network that know its units, whoever made them."""
    floors = [network.floor(index) for index in range(len(known))]
    return tuple(
        layer if isinstance(floor, float) and isinstance(layer.floor, float) else replace(layer, floor=floor)
        for layer, floor in zip(known, floors, strict=True)
    )


def crown_bounds(
    network: SparseReLUNetwork,
    region: Box,
    known: Sequence[Interval] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Interval, ...]:
    """Return the CROWN bounds of every layer, met with interval arithmetic; see :func:`verify.bound`.

    `known` are bounds of :func:`interval_bounds`, which are not computed again. Once `stop` says so, the layers that
    are left keep them.
    """
    return deque(crown_layers(network, region, known, stop), maxlen=1).pop()


def crown_layers(
    network: SparseReLUNetwork,
    region: Box,
    known: Sequence[Interval] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Interval, ...]]:
    """Yield the bounds of :func:`crown_bounds` after each layer: those that come later have what is known of them."""
    result = list(interval_bounds(network, region) if known is None else of_units(network, known))
    values, sizes = Interval(region.lower, region.upper), region.reach
    hidden: list[RelaxedLayer] = []
    for index, layer in enumerate(network.layers):
        if index and not stop():
            # The values before are better known than to intervals alone.
            result[index] = result[index].meet(affine_interval(*layer, values))
            result[index] = result[index].meet(crown_interval(*layer, hidden, region, stop))
        yield tuple(result)
        if stop() or index == len(network.layers) - 1:
            break
        hidden.append(relax_layer(layer, result[index], sizes))
        values, sizes = result[index].activated(), hidden[-1].heights


def check_sizes(network: SparseReLUNetwork, region: Box) -> None:
    """Raise ValueError where a region has not as many inputs as the network."""
    if not isinstance(region, Box):
        raise TypeError(
            f"region is a {type(region).__name__}; expected a Box, LinfBall, L1Ball or L2Ball, such as "
            "verify.LinfBall(x, radius) or verify.Box(lower, upper)"
        )
    if region.size != network.n_inputs:
        raise ValueError(f"region has {region.size} inputs; expected {network.n_inputs}, as the network has")
