"""Linear programs on an inquiry: branch and bound for single functions of small networks over boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Proof
from verify.bounds.functions import Functions
from verify.programs.program_tree import ProgramTree
from verify.programs.relaxed import relax
from verify.regions.box import Box
from verify.splitting.dealt_programs import solve_programs
from verify.splitting.inquired import Inquired
from verify.splitting.schedule import SCHEDULE, expected, takes_programs

# Seconds after which what is proven is kept for the first time, so that Ctrl-C does not lose it.
KEPT = 1.0

# Open nodes a worker from which on they are dealt out.
DEALT = 8


class ProgramSplitting:
    """Branch and bound by linear programs on functions of an inquiry; it goes on where it stopped.

    `spent` are its seconds, and `closed` is the share of the trees that is closed.
    """

    def __init__(self, inquiry: Inquired, accept: Callable[[Floats], bool], level: float) -> None:
        self.inquiry, self.accept, self.level, self.spent = inquiry, accept, level, 0.0
        self.trees: dict[int, ProgramTree] = {}
        self.polished: dict[int, Floats] = {}
        self.fits, self.sharpened, self.refused = takes_programs(inquiry), False, False

    def able(self, chosen: Sequence[int]) -> bool:
        """Whether there is something to be done for chosen functions."""
        return self.fits and any(not self._is_done(index) for index in chosen)

    def _is_done(self, index: int) -> bool:
        return index in self.trees and (self.trees[index].over or self.trees[index].full)

    @property
    def closed(self) -> float:
        """The share of the trees begun that is closed; 0 without one."""
        return float(np.mean([tree.closed for tree in self.trees.values()])) if self.trees else 0.0

    @property
    def expected(self) -> float:
        """How many seconds they are expected to need still, by what they have closed."""
        return expected(self.spent, self.closed)

    def take(self, accept: Callable[[Floats], bool], level: float) -> None:
        """Go on with another test of points, and for a level at least as high."""
        self.accept = accept
        if level > self.level:
            self.level = level
            for tree in self.trees.values():
                tree.raise_to(level)

    def run(self, chosen: Sequence[int], until: float) -> bool:
        """Go on for chosen functions until some time; return whether a point was accepted."""
        if self._wants_sharper():
            self._sharpen(until)
        left = [index for index in chosen if not self._is_done(index)]
        for number, index in enumerate(left):
            began = self.inquiry.clock.seconds
            found = self._search(index, began + (until - began) / (len(left) - number))
            self.spent += self.inquiry.clock.seconds - began
            if found:
                return True
        return False

    def _wants_sharper(self) -> bool:
        """Whether sharper bounds of hidden neurons are worth a new beginning: they stand in every row."""
        deep = len(self.inquiry.functions.network.layers) > 2
        begun = sum(tree.count for tree in self.trees.values()) >= SCHEDULE.enough_programs
        vain = begun and self.closed < 0.5 and self.expected >= SCHEDULE.sharpened
        return deep and vain and not self.sharpened

    def _sharpen(self, until: float) -> None:
        """Sharpen the bounds of hidden neurons, and begin anew."""
        from verify.branching.sharpening import sharpen
        from verify.branching.torch_modes import TorchModes

        inquiry, stop = self.inquiry, partial(self.inquiry.clock.past, until)
        with TorchModes().applied():
            net = inquiry.functions.network
            inquiry.take_layers(sharpen(net, inquiry.region, inquiry.layers, stop, SCHEDULE.rounds))
        inquiry.proof, self.sharpened = Proof.BRANCHED, True
        self.trees, self.polished, self.spent = {}, {}, 0.0
        self.fits = takes_programs(inquiry)

    def _search(self, index: int, until: float) -> bool:
        inquiry, clock = self.inquiry, self.inquiry.clock
        if clock.past(until):
            return False
        if index not in self.trees:
            relaxed = relax(inquiry.functions, index, inquiry.region, inquiry.layers)
            self.trees[index] = ProgramTree(relaxed, partial(self._visit, index), self.level)
        tree, began = self.trees[index], clock.seconds
        found = self._polish(index, tree)
        while not (found or self._is_done(index) or clock.past(until)):
            if self._deals(tree):
                crew = inquiry.resources.crew
                found = self._go_on_together(index, tree, crew.round_within(clock.left_until(until)))
            else:
                pause = min(until, clock.seconds + max(KEPT, clock.seconds - began))
                found = tree.run(partial(clock.past, pause), partial(clock.left_until, until))
            self._keep(index, tree)
        rest = "every one is closed" if tree.over and not tree.stuck else f"{tree.closed:.4g} of the tree is closed"
        margin = f"margin at most {inquiry.upper[index]:.6g}"
        inquiry.note("linear programs", f"{tree.count} subproblems, {rest}; {margin}")
        return found

    def _polish(self, index: int, tree: ProgramTree) -> bool:
        """Try the best point with the pattern of the best one known, where that is a new one."""
        point, before = self.inquiry.points[index], self.polished.get(index)
        known = before is not None and np.array_equal(point, before)
        if known or not np.isfinite(self.inquiry.reached[index]):
            return False
        self.polished[index] = point.copy()
        phases = tree.program.relaxed.neurons.phases(self.inquiry.functions.network, point)
        return tree.polish(phases, lambda: self.inquiry.clock.left)

    def _visit(self, index: int, points: Floats) -> bool:
        best = best_above(self.inquiry.functions, index, self.inquiry.region, self.level, points)
        return best is not None and self.accept(best)

    def _deals(self, tree: ProgramTree) -> bool:
        """Whether the nodes of a tree are dealt out to workers now."""
        crew, left = self.inquiry.resources.crew, self.inquiry.clock.left
        enough = crew.size > 1 and tree.begun and len(tree.heap) >= DEALT * crew.size
        return enough and crew.pays(min(left, self.expected))

    def _go_on_together(self, index: int, tree: ProgramTree, seconds: float) -> bool:
        """Go on with the crew; return whether a point was accepted."""
        functions, region = self.inquiry.functions, self.inquiry.region
        judge, crew = partial(best_above, functions, index, region, self.level), self.inquiry.resources.crew
        points = solve_programs(tree, crew, judge, seconds, self.inquiry.clock.left, not self.refused)
        if crew.trouble:
            self.inquiry.note("workers", crew.trouble)
        found = any(self.accept(point) for point in points)
        # A point that is above the level by rounding alone may be refused: the next round goes on past such points.
        self.refused = bool(points) and not found
        return found

    def _keep(self, index: int, tree: ProgramTree) -> None:
        """Keep what is proven."""
        upper = tree.upper
        if upper < self.inquiry.upper[index]:
            self.inquiry.upper[index], self.inquiry.proof = upper, Proof.BRANCHED


def best_above(functions: Functions, index: int, region: Box, level: float, points: Floats) -> Floats | None:
    """Return the point (d,) of some (q, d), drawn into a box, where a function is largest, if that is above a level."""
    inside = np.clip(points, region.lower, region.upper)
    values = functions.at(inside)[:, index]
    best = int(values.argmax())
    return inside[best] if values[best] > level else None
