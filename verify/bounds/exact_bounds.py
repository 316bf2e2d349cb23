"""Exact bounds: linear relaxation from the back to the inputs in rational arithmetic, for ties that rounding hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Bools, Floats
from verify.bounds.dyadics import Dyadics, float_array, stacked
from verify.bounds.functions import Functions
from verify.regions.balls import L1Ball
from verify.regions.box import Box

# Products of whole numbers that the bounds of all layers may take together, and bits that they may have.
MOST_PRODUCTS, MOST_BITS = 1_000_000, 4096

# The bits of the slope of a chord: any slope in [0, 1] is right, and short ones keep the numbers short.
SLOPE_BITS = 10


@dataclass(frozen=True, eq=False)
class ExactLines:
    """A hidden layer p = W h' + b between two lines: `lower_slope` p <= h <= `upper_slope` p + `intercept`.

    `weight` (n, k), `bias`, `lower_slope`, `upper_slope` and `intercept` (n,) hold as they are.
    """

    weight: Dyadics
    bias: Dyadics
    lower_slope: Dyadics
    upper_slope: Dyadics
    intercept: Dyadics


def exact_upper(functions: Functions, region: Box, chosen: Sequence[int]) -> list[Fraction] | None:
    """Return upper bounds of the chosen functions over a region without any rounding; None where that is much work.

    Notes
    -----
    Pre-activations are bounded layer by layer as :func:`verify.bounds.crown.crown_interval` does, in whole numbers
    times powers of two. Over a box or an L1 ball linear functions have their exact maxima; other regions lie within
    their box, and linear constraints count with multipliers that are rounded to few bits.
    """
    if not _affordable([weight.shape for weight, _ in functions.network.layers], len(chosen)):
        return None
    exact = [(Dyadics.of(weight.toarray()), Dyadics.of(bias)) for weight, bias in functions.network.layers]
    hidden: list[ExactLines] = []
    values = Dyadics.of(region.lower), Dyadics.of(region.upper)
    for index, (weight, bias) in enumerate(exact[:-1]):
        low, high = _layer_bounds(weight, bias, values, hidden, region)
        linear = functions.network.linear_units(index)
        hidden.append(_lines(weight, bias, low, high, linear))
        values = low.activated(linear), high.activated(linear)
        if max(high.bits, low.bits) > MOST_BITS:
            return None
    rows = Dyadics.of(functions.rows[list(chosen)].toarray())
    weight, bias = rows @ exact[-1][0], rows @ exact[-1][1] + Dyadics.of(functions.offsets[list(chosen)])
    ways = [_pass(weight, bias, lines, region).fractions() for lines in _ways(hidden)]
    return [min(found) for found in zip(_interval_upper(weight, bias, values).fractions(), *ways, strict=True)]


def _affordable(shapes: Sequence[tuple[int, int]], functions: int) -> bool:
    """Whether the backward passes of all layers are little work."""
    total, passes = 0, 0
    for rows, columns in shapes:
        total += 2 * rows * passes
        passes += rows * columns
    return total + 3 * functions * passes <= MOST_PRODUCTS


def _layer_bounds(
    weight: Dyadics, bias: Dyadics, values: tuple[Dyadics, Dyadics], hidden: Sequence[ExactLines], region: Box
) -> tuple[Dyadics, Dyadics]:
    """Return lower and upper bounds of W h + b, the better ones of intervals and of lines."""
    both, shifts = stacked([weight, -weight]), stacked([bias, -bias])
    upper = _interval_upper(both, shifts, values).smaller(_pass(both, shifts, hidden, region))
    count = len(bias.units)
    return -upper[count:], upper[:count]


def _interval_upper(weight: Dyadics, bias: Dyadics, values: tuple[Dyadics, Dyadics]) -> Dyadics:
    low, high = values
    zero = Dyadics.of(np.zeros(()))
    return weight.clipped() @ high + weight.chosen(~weight.positive, zero) @ low + bias


def _pass(slope: Dyadics, offset: Dyadics, hidden: Sequence[ExactLines], region: Box) -> Dyadics:
    """Return upper bounds of slope h + offset (r,), h the values of the last of the layers."""
    for lines in reversed(hidden):
        rising = slope.positive
        offset = offset + slope.clipped() @ lines.intercept
        slope = slope * lines.upper_slope.chosen(rising, lines.lower_slope)
        offset = offset + slope @ lines.bias
        slope = slope @ lines.weight
    return _support(slope, region) + offset


def _lines(weight: Dyadics, bias: Dyadics, low: Dyadics, high: Dyadics, linear: Bools | None) -> ExactLines:
    """Return the lines of a layer with bounds of its pre-activations."""
    active, dead = ~(-low).positive, ~high.positive
    if linear is not None:
        active, dead = active | linear, dead & ~linear
    grid = 2**SLOPE_BITS
    ends = zip(low.fractions(), high.fractions(), active.tolist(), dead.tolist(), strict=True)
    shares = np.array(
        [float(on) if on or off else round(top / (top - end) * grid) / grid for end, top, on, off in ends]
    )
    chord, ones = Dyadics.of(shares), Dyadics.of(np.ones(len(shares)))
    lift = (-(chord * low)).larger(high - chord * high)
    flat = Dyadics.of(np.zeros(len(shares)))
    steep = (high + low).positive | ~(-(high + low)).positive
    lower = ones.chosen((active | steep) & ~(dead & ~active), flat)
    return ExactLines(weight, bias, lower, chord, lift.chosen(~(active | dead), flat))


def _ways(hidden: Sequence[ExactLines]) -> list[list[ExactLines]]:
    """Return the lines as they are, and with the lower lines 0 and p where a neuron can switch."""
    ways = [list(hidden)]
    if not any(np.any(lines.intercept.units) for lines in hidden):
        return ways
    for value in (0.0, 1.0):
        ways.append([_with_lower(lines, value) for lines in hidden])
    return ways


def _with_lower(lines: ExactLines, value: float) -> ExactLines:
    switching: NDArray[np.bool_] = np.asarray(lines.intercept.units != 0, dtype=bool)
    other = Dyadics.of(np.full(len(switching), value))
    lower = other.chosen(switching, lines.lower_slope)
    return ExactLines(lines.weight, lines.bias, lower, lines.upper_slope, lines.intercept)


def _support(slopes: Dyadics, region: Box) -> Dyadics:
    """Return upper bounds (r,) of slopes (r, d) . x over a region: exact maxima but for L2 balls and constraints."""
    best = _base_support(slopes, region.base)
    cut = region.constraints
    if not len(cut):
        return best
    held = Dyadics.of(_short(region.vertex_multipliers(_as_floats(slopes))))
    left = slopes - held @ Dyadics.of(cut.rows.toarray())
    return best.smaller(_base_support(left, region.base) + held @ Dyadics.of(cut.upper))


def _base_support(slopes: Dyadics, region: Box) -> Dyadics:
    nothing = Dyadics.of(np.zeros(len(slopes.units)))
    box = _interval_upper(slopes, nothing, (Dyadics.of(region.lower), Dyadics.of(region.upper)))
    return box.smaller(_knapsack(slopes, region)) if isinstance(region, L1Ball) else box


def _knapsack(slopes: Dyadics, ball: L1Ball) -> Dyadics:
    """Return the maxima over an L1 ball in its box: the largest slopes move first, until the radius is spent."""
    center, radius = Dyadics.of(ball.center), Dyadics.of(np.array([ball.radius]))
    rooms = stacked([Dyadics.of(ball.upper) - center, center - Dyadics.of(ball.lower), radius])
    gains, size = [], len(ball.center)
    for row in slopes.units:
        total, left = 0, rooms.units[-1]
        for index in sorted(range(size), key=lambda index: -abs(row[index])):
            move = min(rooms.units[index if row[index] > 0 else size + index], left)
            total, left = total + abs(row[index]) * move, left - move
        gains.append(total)
    return slopes @ center + Dyadics(np.array(gains, dtype=object), slopes.exponent + rooms.exponent)


def _short(multipliers: Floats) -> Floats:
    """Return multipliers >= 0 of few bits beside the largest."""
    grid = 2.0 ** (np.frexp(np.abs(multipliers).max(initial=1e-300))[1] - 20)
    return np.maximum(np.round(multipliers / grid) * grid, 0.0)


def _as_floats(slopes: Dyadics) -> Floats:
    return np.stack([float_array(slopes[row].fractions()) for row in range(len(slopes.units))])
