"""Witnesses: what a point must show before it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.answers.replay import Replay
from verify.bounds.functions import Functions
from verify.bounds.margins import Margins, margins_of
from verify.regions.box import Box

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
    """

    point: Floats
    holds: bool
    replayed: Floats | None = None
    caveat: str = ""


def check_point(
    functions: Functions, region: Box, point: Floats, test: WitnessTest, replay: Replay | None
) -> CheckedPoint:
    """Try a point: inside the region to the last bit, proven in real arithmetic, and true in the model as given.

    With a `replay` the point is rounded to the precision of that model first, and must pass as rounded.
    """
    if not _proven(functions, region, point, test):
        return CheckedPoint(point, False)
    if replay is None:
        return CheckedPoint(point, True)
    reason = "it has no neighbor in the precision of the model that lies in the region and is a witness too"
    for rounded in replay.rounded(region, point):
        if _proven(functions, region, rounded, test):
            values = functions.of(replay.outputs(rounded)[None])[0]
            if np.isfinite(values).all() and test(values):
                return CheckedPoint(rounded, True, values)
            reason = f"{replay.name} does not confirm it"
    return CheckedPoint(point, False, caveat=f"A point found is a witness in float64, but {reason}.")


def _proven(functions: Functions, region: Box, point: Floats, test: WitnessTest) -> bool:
    return region.contains(point) and test(functions.proven_at(point).lower)


def any_positive(values: Floats) -> bool:
    """Whether some function is positive, strictly: the question of an attack."""
    return bool((values > 0.0).any())


def misclassified_at_center(margins: Margins, region: Box) -> bool:
    """Whether the center of a region is misclassified for certain, whichever targets the margins are of.

    The center of a hollow region is outside by rounding, and says nothing.
    """
    every = margins if margins.of_all else margins_of(margins.network, margins.label)
    return not region.is_hollow and any_positive(every.proven_at(region.center).lower)


def all_hold(chosen: NDArray[np.int64], strict: NDArray[np.bool_]) -> WitnessTest:
    """Return the test that all `chosen` functions are at least 0, and the `strict` ones among them above it."""

    def test(values: Floats) -> bool:
        return bool(np.where(strict, values[chosen] > 0.0, values[chosen] >= 0.0).all())

    return test
