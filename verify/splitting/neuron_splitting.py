"""Splitting neurons on an inquiry: branch and bound for its goals, with bounds of neurons that get sharper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.answers.answer import Proof
from verify.regions.intervals import EPS
from verify.splitting.goals import Goal
from verify.splitting.inquired import Inquired
from verify.splitting.schedule import SCHEDULE, takes_programs
from verify.splitting.settling import Settling

# Goals times functions beyond which goals of several functions are not split for: each subproblem has a weight for all.
LARGEST = 1 << 24


class NeuronSplitting:
    """Branch and bound on goals of an inquiry: searches of subproblems and sharper bounds of neurons in turns.

    `bound` is what the last search proved of the largest goal; `ended` says that none is worth while any more.
    """

    def __init__(self, inquiry: Inquired, accept: Callable[[Floats], bool], level: float) -> None:
        self.inquiry, self.accept, self.level = inquiry, accept, level
        self.spent, self.rounds, self.ended, self.bound = 0.0, 0, False, np.inf

    def able(self, goals: Sequence[Goal]) -> bool:
        """Whether there is something to split for."""
        if not self._above(goals) or self.ended:
            return False
        from verify.branching.relaxation import can_branch  # torch takes its time to import

        return can_branch(self.inquiry.functions.network, self.inquiry.layers)

    def run(self, goals: Sequence[Goal], until: float) -> bool:
        """Go on for goals until some time; return whether a point was accepted."""
        from verify.branching.torch_modes import TorchModes

        callers = TorchModes.now()

        def visit(point: Floats) -> bool:
            with callers.applied():
                return self.accept(point)

        with TorchModes().applied():
            return self._search_in_stages(goals, visit, until)

    def _above(self, goals: Sequence[Goal]) -> list[Goal]:
        """Return the goals that may be met above the level, those of one function alone where there are too many."""
        left = [goal for goal in goals if not goal.ruled_out and goal.bound(self.inquiry.upper) > self.level]
        single = [goal for goal in left if len(goal.chosen) == 1]
        several = len(single) < len(left)
        return single if several and len(left) * len(_used_by(left)) > LARGEST else left

    def _search_in_stages(self, goals: Sequence[Goal], visit: Callable[[Floats], bool], until: float) -> bool:
        """Search and sharpen in turns, in torch's modes as they should be."""
        from verify.branching.sharpening import sharpen

        inquiry, clock = self.inquiry, self.inquiry.clock
        net, began = inquiry.functions.network, clock.seconds - self.spent
        settling = Settling(inquiry.region, clock, began, until)
        while self.able(goals) and clock.seconds < until:
            stop = partial(clock.past, until)
            then = settling.layer if self.rounds else None
            inquiry.take_layers(sharpen(net, inquiry.region, inquiry.layers, stop, self.rounds, then))
            inquiry.proof = Proof.BRANCHED
            if self.rounds:
                self._settle([goal.chosen[0] for goal in self._above(goals) if len(goal.chosen) == 1], settling)
            left = self._above(goals)
            if not self.able(left):
                break
            pause = until
            if len(net.layers) > 2:  # else there is nothing to sharpen between searches
                pause = clock.seconds + SCHEDULE.searched * (clock.seconds - began) + SCHEDULE.first_neurons
                pause = min(pause, until)
            if self._search_subproblems(left, visit, pause):
                return True
            self.ended = clock.seconds < pause or not self._above(left)
            self.rounds = max(SCHEDULE.first_rounds, 2 * self.rounds)
        self.spent = clock.seconds - began
        return False

    def _settle(self, chosen: list[int], settling: Settling) -> None:
        """Bound chosen functions by a few linear programs each; small networks have whole trees of them."""
        inquiry = self.inquiry
        if not chosen or takes_programs(inquiry) or not settling.able(inquiry.functions.network, inquiry.layers[:-1]):
            return
        for index in chosen:
            found = settling.function(inquiry.functions, index, inquiry.layers[:-1], self.level)
            inquiry.upper[index] = min(inquiry.upper[index], found)
        closed = len(chosen) - len(above(inquiry, chosen, self.level))
        inquiry.note("linear programs", f"{closed} of {len(chosen)} functions are proven")

    def _search_subproblems(self, goals: list[Goal], accept: Callable[[Floats], bool], until: float) -> bool:
        """Search the subproblems of goals until some time; return whether a point was accepted."""
        from verify.branching.relaxation import Relaxation
        from verify.branching.tree import branch

        inquiry, level = self.inquiry, self.level
        functions = inquiry.functions
        chosen, members = _functions_of(goals)
        rows, offsets = functions.rows[chosen].toarray(), functions.offsets[chosen]
        relaxation = Relaxation(functions.network, inquiry.region, rows, offsets - level, inquiry.layers, members)

        def keep(upper: Floats) -> None:
            # Where there is a level, it was taken off and comes back with rounding.
            sizes = np.abs(offsets) if members is None else np.abs(offsets).max()
            lost = 4.0 * EPS * (np.abs(upper) + sizes + abs(level)) if level else 0.0
            for goal, bound in zip(goals, (upper + level + lost).tolist(), strict=True):
                goal.take(bound, level)
                if len(goal.chosen) == 1:
                    inquiry.upper[goal.chosen[0]] = min(inquiry.upper[goal.chosen[0]], bound)

        found = branch(relaxation, accept, partial(inquiry.clock.past, until), keep)
        keep(found.upper)
        self.bound = float(found.upper.max()) + level
        margin = f"margin at most {max(goal.bound(inquiry.upper) for goal in goals):.6g}"
        inquiry.note("branch and bound", f"{found.count} subproblems, {found.reason}; {margin}")
        return found.point is not None


def _functions_of(goals: list[Goal]) -> tuple[list[int], NDArray[np.bool_] | None]:
    """Return the functions of goals, and which each has (g, t); None where each has one, in this order."""
    if all(len(goal.chosen) == 1 for goal in goals):
        return [goal.chosen[0] for goal in goals], None
    used = _used_by(goals)
    place = {index: position for position, index in enumerate(used)}
    members = np.zeros((len(goals), len(used)), dtype=bool)
    for number, goal in enumerate(goals):
        members[number, [place[index] for index in goal.chosen]] = True
    return used, members


def _used_by(goals: Sequence[Goal]) -> list[int]:
    """Return the functions that goals have, each once."""
    return sorted({index for goal in goals for index in goal.chosen})


def above(inquiry: Inquired, chosen: Sequence[int], level: float) -> list[int]:
    """Return the chosen functions that are not proven to be at most `level`."""
    return [index for index in chosen if inquiry.upper[index] > level]
