"""Turns: linear programs, boxes halved, and neurons split, in turns on the goals of an inquiry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from convexnn.checks import Floats
from verify.splitting.box_splitting import BoxSplitting, can_halve
from verify.splitting.goals import Goal, goals_of
from verify.splitting.inquired import Inquired
from verify.splitting.neuron_splitting import NeuronSplitting, above
from verify.splitting.program_splitting import ProgramSplitting
from verify.splitting.schedule import SCHEDULE


def split(
    inquiry: Inquired,
    chosen: Sequence[int],
    accept: Callable[[Floats], bool],
    level: float = 0.0,
    share: float = 1.0,
    branching: float | None = None,
) -> bool:
    """Prove chosen functions to be at most `level` by splitting, for a share of the time that is left.

    It takes `share` of what the resources of the question allow, or of the share `branching` in their place. `accept`
    is shown points where one of the functions seems to be above; True ends the search, and is returned.
    """
    return Splitting(inquiry, goals_of(chosen), accept, level).run(share, branching)


class Splitting:
    """The search for goals of an inquiry by halving boxes and by splitting neurons, in turns; it can be continued.

    In small networks neurons are split by linear programs too, for goals of one function.
    """

    def __init__(
        self, inquiry: Inquired, goals: Sequence[Goal], accept: Callable[[Floats], bool], level: float = 0.0
    ) -> None:
        self.inquiry, self.goals, self.accept, self.level = inquiry, list(goals), accept, level
        self.boxes: BoxSplitting | None = None
        self.begun = False
        self.neurons = NeuronSplitting(inquiry, accept, level)
        self.programs: ProgramSplitting | None = None
        self.program_turn = SCHEDULE.first_programs
        self.box_turn, self.neuron_turn = SCHEDULE.first_boxes, SCHEDULE.first_neurons

    def run(self, share: float = 1.0, branching: float | None = None) -> bool:
        """Go on for a share of the time that is left; return whether a point was accepted."""
        share *= self.inquiry.resources.branching_share if branching is None else branching
        clock = self.inquiry.clock
        if not share or clock.over():
            return False
        until = clock.seconds + share * clock.left
        self.begin()
        while not clock.past(until) and self._open() and not self._is_tie():
            if self._programs_first():
                if self._run_programs(until):
                    return True
                if self._is_near() or not self._open():
                    continue
            if self.boxes is not None and self._halves():
                before = self.boxes.left
                if self.boxes.run(min(clock.seconds + self.box_turn, until), not self.boxes.promising):
                    return True
                self.box_turn *= SCHEDULE.growth
                if (self.boxes.left <= SCHEDULE.halved * before and self._halves()) or self._is_near():
                    continue
            if clock.past(until):
                break
            # Neurons, and torch with them, wait until the others had their first turns.
            others, left = self._halves() or self._has_programs(), self._open()
            if self.neurons.able(left):
                if self.neurons.run(left, min(clock.seconds + self.neuron_turn, until) if others else until):
                    return True
                self.neuron_turn *= SCHEDULE.growth
                self._favour()
            elif not others:
                break
        return False

    def _has_programs(self) -> bool:
        return self.programs is not None and self.programs.able(self._single())

    def _programs_first(self) -> bool:
        """Whether linear programs come next: unless halving boxes is expected to end before them."""
        if self.programs is None or not self._has_programs():
            return False
        return self.boxes is None or not self._halves() or self.programs.expected <= self.boxes.expected

    def _run_programs(self, until: float) -> bool:
        if self.programs is None:
            return False
        turn, self.program_turn = self.program_turn, self.program_turn * SCHEDULE.growth
        return self.programs.run(self._single(), min(self.inquiry.clock.seconds + turn, until))

    def _is_near(self) -> bool:
        """Whether linear programs or boxes are expected to end soon, beside what was spent: neurons wait for that."""
        expected, spent = np.inf, 0.0
        if self.programs is not None:
            spent += self.programs.spent
            expected = self.programs.expected if self._has_programs() else np.inf
        if self.boxes is not None:
            spent += self.boxes.search.spent
            expected = min(expected, self.boxes.expected if self._halves() else np.inf)
        left = self.inquiry.clock.left if self.boxes is None or self.boxes.search.count else 0.0
        return expected <= max(SCHEDULE.ahead * spent, left)

    def begin(self) -> None:
        """Make the searches, once there is time for it: their arrays are as large as the network."""
        if not self.begun and self.goals and can_halve(self.inquiry):
            self.boxes = BoxSplitting(self.inquiry, self.goals, self.accept, self.level)
        if not self.begun:
            self.programs = ProgramSplitting(self.inquiry, self.accept, self.level)
        self.begun = True

    def _is_tie(self) -> bool:
        """Whether a tie is known, and hardly more than its points is open: halving boxes on would never end."""
        if not self.inquiry.tied or self.boxes is None or self.boxes.search.closed < 1.0 - SCHEDULE.tie_open:
            return False
        used = self.boxes.used
        return bool(used) and self.boxes.bound - self.level <= SCHEDULE.tie_bound * float(
            self.inquiry.reach[used].max()
        )

    @property
    def closing(self) -> bool:
        """Whether boxes or linear programs close the region: then engines need not come early."""
        closed = 0.0 if self.programs is None else self.programs.closed
        return max(closed, 0.0 if self.boxes is None else self.boxes.search.closed) >= SCHEDULE.closing

    def _favour(self) -> None:
        """Give the search whose bound is lower longer turns, and the other one shorter ones."""
        if self.boxes is None or self.boxes.bound == self.neurons.bound:
            return
        factor = SCHEDULE.favour if self.boxes.bound < self.neurons.bound else 1.0 / SCHEDULE.favour
        self.box_turn *= factor
        self.neuron_turn /= factor

    def take(self, accept: Callable[[Floats], bool], level: float) -> None:
        """Go on with another test of points, and for a level at least as high, where all goals are strict."""
        self.accept = self.neurons.accept = accept
        if self.boxes is not None:
            self.boxes.accept = accept
            if level > self.level:
                self.boxes.search.raise_to(level)
        if self.programs is not None:
            self.programs.take(accept, level)
        self.level = self.neurons.level = level

    def _halves(self) -> bool:
        """Whether halving boxes is worth more time, or all that is left to be done.

        It is where their bound is below that of the neurons.
        """
        if self.boxes is None or self.boxes.over:
            return False
        if self.boxes.bound < self.neurons.bound < np.inf:
            return True
        if self.boxes.promising or self._single() or self.inquiry.resources.branching_share < 1.0:
            return self.boxes.promising
        return not self.neurons.able(self._open())

    def _open(self) -> list[Goal]:
        return [goal for goal in self.goals if not goal.settled(self.inquiry.upper, self.level)]

    def _single(self) -> list[int]:
        """Return the functions of open goals of one function that may be above the level."""
        single = [goal.chosen[0] for goal in self._open() if len(goal.chosen) == 1]
        return above(self.inquiry, single, self.level)
