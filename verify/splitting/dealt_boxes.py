"""Boxes dealt out: the open boxes of a search in parts, one a worker, for a round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.bounds.functions import Functions
from verify.branching.box_search import BoxSearch
from verify.branching.boxes import Boxes
from verify.clock import Clock
from verify.crew import POINTS, Crew
from verify.points.ascent import ascend
from verify.regions.box import Box

# Of a search: what its parts add to, and what they find out for those after them.
COUNTS = ("count", "spent", "improving", "climbed")
LEARNT = ("lines", "envelopes", "fall", "halved")


@dataclass(eq=False)
class Scout:
    """Is shown the points of a part, and keeps them for the question's own process to judge.

    Attributes
    ----------
    functions, region
        What is asked about, and where.
    chosen : sequence of list of int
        The functions of each condition.
    level : float
        What they are to reach.
    rng : numpy.random.Generator
        Of the climbs.
    stops : bool
        Whether a point ends the round.
    """

    functions: Functions
    region: Box
    chosen: Sequence[list[int]]
    level: float
    rng: np.random.Generator
    stops: bool

    def __post_init__(self) -> None:
        self.points: list[Floats] = []
        self.nearest: Floats | None = None
        self.least = -np.inf
        self.stop: Callable[[], bool] | None = None

    def accept(self, point: Floats) -> bool:
        """Keep a point."""
        if len(self.points) < POINTS:
            self.points.append(point)
        return self.stops

    def climb(self, condition: int, lower: Floats, upper: Floats) -> bool:
        """Climb towards a condition from all over a box; keep the best point of all climbs."""
        chosen, functions = self.chosen[condition], self.functions
        rows, offsets = functions.rows[chosen].toarray(), functions.offsets[chosen]
        point, _ = ascend(functions.network, Box(lower, upper), rows, self.rng, self.stop, offsets)
        point = point if self.region.is_box else self.region.project(point)
        least = float(functions.at(point[None])[0, chosen].min())
        if least > self.level:
            return self.accept(point)
        if least > self.least:
            self.nearest, self.least = point, least
        return False


@dataclass(frozen=True, eq=False)
class PartSearched:
    """What a worker brings back of its boxes.

    Attributes
    ----------
    open, stuck : Boxes
        As of :class:`verify.branching.box_search.BoxSearch`.
    counts : list of float
        What it adds to the `COUNTS` of the search.
    learnt : tuple
        The `LEARNT` of the search.
    points : list of ndarray (d,)
        Points that meet a condition up to rounding.
    nearest : ndarray (d,) or None
        The best point of climbs that met none.
    """

    open: Boxes
    stuck: Boxes
    counts: list[float]
    learnt: tuple[Any, ...]
    points: list[Floats]
    nearest: Floats | None


def search_boxes(search: BoxSearch, crew: Crew, scout: Scout, seconds: float, left: float) -> list[PartSearched]:
    """Search the open boxes for some seconds, each worker its part; return what comes back.

    What does not come back, `left` seconds from now at the latest, stays open as it was.
    """
    parts, came = deal(search.open, crew.size), dict[int, PartSearched]()
    asked = [(part_of(search, boxes, scout), seconds) for boxes in parts]
    try:
        for number, found in crew.share(search_part, asked, left):
            came[number] = found
    finally:
        still = [came[number].open if number in came else own for number, own in enumerate(parts)]
        search.stuck = reduce(Boxes.join, (found.stuck for found in came.values()), search.stuck)
        # Last: what Ctrl-C interrupts here is at most open twice.
        search.open = reduce(Boxes.join, still)
    for found in came.values():
        for name, more in zip(COUNTS, found.counts, strict=True):
            setattr(search, name, getattr(search, name) + more)
        for name, value in zip(LEARNT, found.learnt, strict=True):
            setattr(search, name, value)
    return list(came.values())


def deal(boxes: Boxes, count: int) -> list[Boxes]:
    """Return boxes in so many parts, the worst ones spread over all."""
    order = np.argsort(-boxes.worst, kind="stable")
    return [boxes.take(order[first::count]) for first in range(min(count, len(boxes)))]


def part_of(search: BoxSearch, boxes: Boxes, scout: Scout) -> BoxSearch:
    """Return a search of some of its boxes alone, that begins with what is learnt."""
    part = copy(search)
    part.open, part.stuck = boxes, boxes.take(slice(0))
    part.rng = np.random.default_rng(search.rng.integers(1 << 63))
    part.visitor = replace(scout, rng=part.rng)
    part.drawn = True
    return part


def search_part(part: BoxSearch, seconds: float) -> PartSearched:
    """Search the boxes of a part for some seconds: the work of a worker."""
    before, scout, clock = [getattr(part, name) for name in COUNTS], part.visitor, Clock(seconds)
    if not isinstance(scout, Scout):
        raise TypeError(f"a part is searched by a {type(scout).__name__}; expected a Scout")
    scout.stop = clock.over
    part.run(clock.over)
    counts = [getattr(part, name) - known for name, known in zip(COUNTS, before, strict=True)]
    learnt = tuple(getattr(part, name) for name in LEARNT)
    return PartSearched(part.open, part.stuck, counts, learnt, scout.points, scout.nearest)
