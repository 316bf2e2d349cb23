"""What tests of sound bounds share: networks and boxes drawn by hypothesis, bounds held against rational arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.bounds.crown import crown_interval, relax_layers

# Entries of any size, and such whose sums and products are moderate.
WILD = st.floats(-1e6, 1e6, allow_subnormal=True)
MILD = st.floats(-4, 4, allow_subnormal=False).map(lambda value: round(value, 3))

# Shares of the way through a region: its ends and points between them.
SHARES = st.sampled_from([0.0, 1.0, 0.5, 0.3])


def drawn_network(data: Any, sizes: Sequence[int], entries: Any) -> cx.SparseReLUNetwork:
    """Return a dense network of those layer sizes."""
    layers = [
        (data.draw(npst.arrays(float, (o, i), elements=entries)), data.draw(npst.arrays(float, o, elements=entries)))
        for i, o in pairwise(sizes)
    ]
    return cx.SparseReLUNetwork(layers)


def drawn_box(data: Any, size: int, entries: Any) -> verify.Box:
    """Return a box around a random center, some of no width."""
    center = data.draw(npst.arrays(float, size, elements=entries))
    width = data.draw(st.sampled_from([0.0, 1e-13, 0.1, 3.0])) * (1.0 + np.abs(center))
    return verify.Box(center - width, center + width)


def drawn_points(data: Any, region: verify.Box) -> Floats:
    """Return points (6, d) of a region, from all of its box, drawn into it."""
    shares = data.draw(npst.arrays(float, (6, region.size), elements=SHARES))
    return region.project(region.lower + shares * (region.upper - region.lower))


def rim_points(data: Any, region: verify.Box) -> Floats:
    """Return points of a region, its rim and its corners among them."""
    points, slopes = drawn_points(data, region), data.draw(npst.arrays(float, (6, region.size), elements=MILD))
    return np.concatenate([points, region.step(points, slopes, 0.5), region.peaks(slopes), region.center[None]])


def crown_alone(network: cx.SparseReLUNetwork, region: verify.Box) -> tuple[verify.Interval, ...]:
    """Return CROWN bounds of every layer that are not met with interval bounds, on intervals before."""
    known = verify.bound(network, region, "interval")
    return tuple(
        crown_interval(*layer, relax_layers(network.layers, known[:index], region), region)
        for index, layer in enumerate(network.layers)
    )


def assert_encloses(
    layers: Sequence[verify.Interval], exact: Sequence[Sequence[Fraction]], finite: bool = True
) -> None:
    """Hold bounds against the exact values of all layers; unless all are to be finite, infinite ones hold too."""
    for layer, values in zip(layers, exact, strict=True):
        for value, low, high in zip(values, layer.lower, layer.upper, strict=True):
            assert (not finite and low == -np.inf) or Fraction(low) <= value
            assert (not finite and high == np.inf) or value <= Fraction(high)


def halfspaces_around(ball: Any, sides: int = 720) -> tuple[Floats, Floats]:
    """Return A, b with A x <= b for an L1 ball, or around an L2 ball of two inputs, 1e-5 of its radius away."""
    if isinstance(ball, verify.L1Ball):
        normals = np.array(list(product([-1.0, 1.0], repeat=ball.size)))
    else:
        angles = np.arange(sides) * 2.0 * np.pi / sides
        normals = np.column_stack([np.cos(angles), np.sin(angles)])
    return normals, normals @ ball.center + ball.radius
