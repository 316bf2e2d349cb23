"""Witnesses: what a point must show before it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.answers.replay import Replay
from verify.bounds.dyadics import float_array
from verify.bounds.functions import Functions
from verify.bounds.margins import Margins, margins_of
from verify.regions.box import Box
from verify.regions.intervals import Interval

# Whether values (t,) of the functions asked about make their point a witness; larger values never harm.
WitnessTest = Callable[[Floats], bool]


@dataclass(frozen=True, eq=False)
class CheckedPoint:
    """A point that was tried: whether it counts, and why not.

    Attributes
    ----------
    point : ndarray (d,)
        The input, in the precision of the model that replays it.
    holds : bool
        Whether it counts.
    replayed : ndarray (t,) or None
        The functions by the model as given; None without one.
    caveat : str
        What speaks against it, where it passed in the float64 network and not in the model as given.
    tie : bool
        Whether exactly 0 is reached where it has to be above: the point counts for nothing, but nothing is missing.
    close : bool
        Whether rounding left open what it is.
    """

    point: Floats
    holds: bool
    replayed: Floats | None = None
    caveat: str = ""
    tie: bool = False
    close: bool = False


def check_point(
    functions: Functions, region: Box, point: Floats, test: WitnessTest, replay: Replay | None, exact: bool = True
) -> CheckedPoint:
    """Try a point: inside the region to the last bit, proven in real arithmetic, and true in the model as given.

    With a `replay` the point is rounded to the precision of that model first, and must pass as rounded. What rounding
    leaves open is decided in rational arithmetic, where that is little work and `exact`.
    """
    if not region.contains(point):
        return CheckedPoint(point, False)
    known = functions.proven_at(point)
    values = _sharpened(functions, point, test, known) if exact else known.lower
    if not test(values):
        return CheckedPoint(point, False, tie=exact and _is_tie(values, test), close=test(known.upper))
    if replay is None:
        return CheckedPoint(point, True)
    reason = "it has no neighbor in the precision of the model that lies in the region and is a witness too"
    for rounded in replay.rounded(region, point):
        if region.contains(rounded) and test(known_at(functions, rounded, test)):
            values = functions.of(replay.outputs(rounded)[None])[0]
            if np.isfinite(values).all() and test(values):
                return CheckedPoint(rounded, True, values)
            reason = f"{replay.name} does not confirm it"
    return CheckedPoint(point, False, caveat=f"A point found is a witness in float64, but {reason}.")


def known_at(functions: Functions, point: Floats, test: WitnessTest) -> Floats:
    """Return proven lower bounds (t,) of the functions at a point: their exact values where that may change the test.

    Exact values are rounded to nearest, which keeps their signs.
    """
    return _sharpened(functions, point, test, functions.proven_at(point))


def _sharpened(functions: Functions, point: Floats, test: WitnessTest, known: Interval) -> Floats:
    if test(known.lower) or not test(known.upper):
        return known.lower
    # A network that overflows there shows nothing to whoever runs it.
    finite = bool(np.isfinite(functions.at(point[None])).all())
    values = functions.exactly_at(point) if finite else None
    return known.lower if values is None else float_array(values)


def _is_tie(values: Floats, test: WitnessTest) -> bool:
    """Whether a test fails for zeros alone."""
    return bool((values == 0.0).any()) and test(np.where(values == 0.0, np.finfo(np.float64).tiny, values))


def any_positive(values: Floats) -> bool:
    """Whether some function is positive, strictly: the question of an attack."""
    return bool((values > 0.0).any())


def misclassified_at_center(margins: Margins, region: Box) -> bool:
    """Whether the center of a region is misclassified for certain, whichever targets the margins are of.

    The center of a hollow region is outside by rounding, and says nothing.
    """
    every = margins if margins.of_all else margins_of(margins.network, margins.label)
    return not region.is_hollow and any_positive(known_at(every, region.center, any_positive))


def all_hold(chosen: NDArray[np.int64], strict: NDArray[np.bool_]) -> WitnessTest:
    """Return the test that all `chosen` functions are at least 0, and the `strict` ones among them above it."""

    def test(values: Floats) -> bool:
        return bool(np.where(strict, values[chosen] > 0.0, values[chosen] >= 0.0).all())

    return test
