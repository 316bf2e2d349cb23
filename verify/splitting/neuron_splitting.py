"""Splitting neurons on an inquiry: branch and bound for single functions, with bounds of neurons that get sharper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Proof
from verify.regions.intervals import EPS
from verify.splitting.inquired import Inquired
from verify.splitting.schedule import SCHEDULE, takes_programs
from verify.splitting.settling import Settling


class NeuronSplitting:
    """Branch and bound on functions of an inquiry: searches of subproblems and sharper bounds of neurons in turns.

    `bound` is what the last search proved of the largest function; `ended` says that none is worth while any more.
    """

    def __init__(self, inquiry: Inquired, accept: Callable[[Floats], bool], level: float) -> None:
        self.inquiry, self.accept, self.level = inquiry, accept, level
        self.spent, self.rounds, self.ended, self.bound = 0.0, 0, False, np.inf

    def able(self, chosen: Sequence[int]) -> bool:
        """Whether there is something to split for."""
        if not chosen or self.ended:
            return False
        from verify.branching.relaxation import can_branch  # torch takes its time to import

        return can_branch(self.inquiry.functions.network, self.inquiry.layers)

    def run(self, chosen: list[int], until: float) -> bool:
        """Go on for chosen functions until some time; return whether a point was accepted."""
        from verify.branching.torch_modes import TorchModes

        callers = TorchModes.now()

        def visit(point: Floats) -> bool:
            with callers.applied():
                return self.accept(point)

        with TorchModes().applied():
            return self._search_in_stages(chosen, visit, until)

    def _search_in_stages(self, chosen: list[int], visit: Callable[[Floats], bool], until: float) -> bool:
        """Search and sharpen in turns, in torch's modes as they should be."""
        from verify.branching.sharpening import sharpen

        inquiry, clock = self.inquiry, self.inquiry.clock
        net, began = inquiry.functions.network, clock.seconds - self.spent
        settling = Settling(inquiry.region, clock, began, until)
        while self.able(chosen) and clock.seconds < until:
            stop = partial(clock.past, until)
            then = settling.layer if self.rounds else None
            inquiry.take_layers(sharpen(net, inquiry.region, inquiry.layers, stop, self.rounds, then))
            inquiry.proof = Proof.BRANCHED
            if self.rounds:
                self._settle(above(inquiry, chosen, self.level), settling)
            left = above(inquiry, chosen, self.level)
            if not self.able(left):
                break
            pause = until
            if len(net.layers) > 2:  # else there is nothing to sharpen between searches
                pause = clock.seconds + SCHEDULE.searched * (clock.seconds - began) + SCHEDULE.first_neurons
                pause = min(pause, until)
            if self._search_subproblems(left, visit, pause):
                return True
            self.ended = clock.seconds < pause or not above(inquiry, left, self.level)
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

    def _search_subproblems(self, chosen: list[int], accept: Callable[[Floats], bool], until: float) -> bool:
        """Search the subproblems of chosen functions until some time; return whether a point was accepted."""
        from verify.branching.relaxation import Relaxation
        from verify.branching.tree import branch

        inquiry, level = self.inquiry, self.level
        functions = inquiry.functions
        rows, offsets = functions.rows[chosen].toarray(), functions.offsets[chosen]
        relaxation = Relaxation(functions.network, inquiry.region, rows, offsets - level, inquiry.layers)

        def keep(upper: Floats) -> None:
            # Where there is a level, it was taken off and comes back with rounding.
            lost = 4.0 * EPS * (np.abs(upper) + np.abs(offsets) + abs(level)) if level else 0.0
            inquiry.upper[chosen] = np.minimum(inquiry.upper[chosen], upper + level + lost)

        found = branch(relaxation, accept, partial(inquiry.clock.past, until), keep)
        keep(found.upper)
        self.bound = float(found.upper.max()) + level
        margin = f"margin at most {inquiry.upper[chosen].max():.6g}"
        inquiry.note("branch and bound", f"{found.count} subproblems, {found.reason}; {margin}")
        return found.point is not None


def above(inquiry: Inquired, chosen: Sequence[int], level: float) -> list[int]:
    """Return the chosen functions that are not proven to be at most `level`."""
    return [index for index in chosen if inquiry.upper[index] > level]
