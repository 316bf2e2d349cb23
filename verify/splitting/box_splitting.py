"""Halving boxes on an inquiry: its goals searched for in parts of its region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Proof
from verify.branching.box_bounds import BoxNetwork
from verify.branching.box_search import BoxSearch, Conditions
from verify.crew import LATER
from verify.points.ascent import ascend
from verify.regions.box import Box
from verify.splitting.dealt_boxes import Scout, search_boxes
from verify.splitting.goals import Goal
from verify.splitting.inquired import Inquired
from verify.splitting.schedule import SCHEDULE, expected

# Numbers in the weights beyond which boxes are not halved: making ready takes a tenth of a second for so many.
LARGEST = 1 << 21

# Seconds after which what is proven is kept, so that Ctrl-C does not lose it.
KEPT = 1.0

# Open boxes a worker from which on they are dealt out.
DEALT = 16


def can_halve(inquiry: Inquired) -> bool:
    """Whether boxes of an inquiry can be bounded: finite bounds, weights of moderate size."""
    finite = all(layer.finite for layer in inquiry.layers[:-1])
    return finite and sum(weight.nnz for weight, _ in inquiry.functions.network.layers) <= LARGEST


class BoxSplitting:
    """The search for goals of an inquiry by halving boxes; it goes on where it stopped.

    Parameters
    ----------
    inquiry : Inquired
        What is known; points are evaluated there.
    goals : sequence of Goal
        What is searched for; what is proven of them is kept there and in the inquiry.
    accept : callable
        Takes a point (d,) that meets a goal up to rounding; returns whether the search may end.
    level : float
        What the functions are to exceed, in place of 0.
    """

    def __init__(
        self, inquiry: Inquired, goals: Sequence[Goal], accept: Callable[[Floats], bool], level: float = 0.0
    ) -> None:
        self.inquiry, self.goals, self.accept = inquiry, list(goals), accept
        self.used = sorted({index for goal in goals for index in goal.chosen})
        functions, region = inquiry.functions, inquiry.region
        rows, offsets = functions.rows[self.used].toarray(), functions.offsets[self.used]
        net = functions.network
        linear = [net.linear_units(index) for index in range(len(net.layers) - 1)]
        network = BoxNetwork(net.layers, inquiry.layers, region.lower, region.upper, rows, offsets, linear)
        place = {index: position for position, index in enumerate(self.used)}
        members, strict = np.zeros((2, len(self.goals), len(self.used)), dtype=bool)
        for number, goal in enumerate(self.goals):
            at = [place[index] for index in goal.chosen]
            members[number, at], strict[number, at] = True, goal.strict
        self.refused = False
        self.search = BoxSearch(network, region, Conditions(members, strict), self, inquiry.resources.rng, level)

    def climb(self, condition: int, lower: Floats, upper: Floats) -> bool:
        """Climb towards a goal from all over a box; return whether the search may end."""
        functions, region, chosen = self.inquiry.functions, self.inquiry.region, self.goals[condition].chosen
        rows, offsets = functions.rows[chosen].toarray(), functions.offsets[chosen]
        rng, stop = self.inquiry.resources.rng, self.inquiry.clock.over
        point, _ = ascend(functions.network, Box(lower, upper), rows, rng, stop, offsets)
        return self.accept(point if region.is_box else region.project(point))

    @property
    def over(self) -> bool:
        """Whether no box can be halved."""
        return not len(self.search.open)

    @property
    def bound(self) -> float:
        """A proven upper bound of the least function of every goal where it is searched for."""
        return float(self.search.ceilings.max(initial=-np.inf))

    @property
    def left(self) -> float:
        """How much is left: the share of the region that is open, times how far above the level bounds are there."""
        return (1.0 - self.search.closed) * max(self.bound - self.search.level, 0.0)

    @property
    def expected(self) -> float:
        """How many seconds it is expected to need still, by what it has closed."""
        return expected(self.search.spent, self.search.closed) / self.hands

    @property
    def hands(self) -> int:
        """How many processes search boxes: those of the crew once it was worth its while."""
        crew = self.inquiry.resources.crew
        return crew.size if crew.ready else 1

    @property
    def promising(self) -> bool:
        """Whether it is worth more time, judged by what it has closed, or by how many halvings that would take."""
        search = self.search
        if len(search.stuck):
            return False
        if not search.count or search.closed >= SCHEDULE.progress:
            return True
        halvings = 2.0 ** min(search.spread, 200.0)
        reach = max(self.inquiry.clock.left, 0.0) * search.pace * self.hands
        return halvings <= reach * (SCHEDULE.doubt if search.count < SCHEDULE.enough_boxes else 1.0)

    def run(self, until: float, patient: bool = False) -> bool:
        """Go on until some time, or, unless `patient`, until it promises nothing; return whether a point was taken."""
        clock = self.inquiry.clock
        for number, goal in enumerate(self.goals):
            if goal.ruled_out:
                self.search.drop(number)
        found = False
        while not (found or self.over or self.search.full or clock.past(until) or clock.over()):
            # The first box may show that there is no chance at all.
            if self._deals():
                found = self._run_together(self.inquiry.resources.crew.round_within(clock.left_until(until)))
            else:
                found = self.search.run(partial(self._pauses, min(until, clock.seconds + KEPT), patient))
            self._keep()
            if self._is_vain(patient):
                break
        if found or len(self.search.open):
            rest = f"{self.search.closed:.4g} of the region is closed; margin at most {self.bound:.6g}"
        else:
            rest = "every box is closed" if not len(self.search.stuck) else f"{len(self.search.stuck)} cannot be halved"
        self.inquiry.note("input splitting", f"{self.search.count} boxes, {rest}")
        return found

    def _deals(self) -> bool:
        """Whether open boxes are dealt out to workers now."""
        search, crew, left = self.search, self.inquiry.resources.crew, self.inquiry.clock.left
        enough = len(search.open) >= DEALT * crew.size and search.spent >= LATER
        return enough and crew.pays(min(left, expected(search.spent, search.closed)))

    def _run_together(self, seconds: float) -> bool:
        """Search with the crew; return whether a point was taken."""
        functions, region, chosen = self.inquiry.functions, self.inquiry.region, [goal.chosen for goal in self.goals]
        scout = Scout(functions, region, chosen, self.search.level, self.search.rng, not self.refused)
        crew = self.inquiry.resources.crew
        came = search_boxes(self.search, crew, scout, seconds, self.inquiry.clock.left)
        if crew.trouble:
            self.inquiry.note("workers", crew.trouble)
        points = [point for part in came for point in part.points]
        # A point that meets a goal but for rounding may be none: the next round goes on past such points.
        self.refused = bool(points) and not any(self.accept(point) for point in points)
        if points and not self.refused:
            return True
        return any(self.accept(part.nearest) for part in came if part.nearest is not None)

    def _pauses(self, moment: float, patient: bool) -> bool:
        return self.inquiry.clock.past(moment) or self._is_vain(patient)

    def _is_vain(self, patient: bool) -> bool:
        return not patient and self.search.count == 1 and not self.promising

    def _keep(self) -> None:
        """Keep what is proven."""
        level = self.search.level
        for goal, ceiling in zip(self.goals, self.search.ceilings.tolist(), strict=True):
            goal.ruled_out |= ceiling == -np.inf
            # What is closed is not above the level.
            bound = max(ceiling, level)
            if bound < goal.ceiling:
                goal.ceiling = bound
            if len(goal.chosen) == 1 and bound < self.inquiry.upper[goal.chosen[0]]:
                self.inquiry.upper[goal.chosen[0]] = bound
                self.inquiry.proof = Proof.BRANCHED
            if goal.ruled_out:
                self.inquiry.proof = Proof.BRANCHED
