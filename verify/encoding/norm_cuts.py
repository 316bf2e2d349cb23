"""Cuts of an L2 ball by its gradient: search over neurons by conic relaxations, for an engine to prove what it found.

A cut u . v <= r with ||u|| <= 1 holds for all moves v of the ball. One such row makes a linear relaxation as tight as
the conic one that has u as its multiplier, to the accuracy of u. So a search that splits neurons and solves conic
relaxations leaves an engine with the rows to close all of its nodes, at tolerances of one row, not of one a move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.encoding.conic_relaxation import FREE, OFF, ON, ConicModel
from verify.milp.model import Milp
from verify.regions.intervals import EPS, TINY

# What a node may be worth more than the best point, as a share of its value, and still be left.
GAP = 1e-7

# Relaxations in a search; each may leave a row.
MOST = 1000

# How far from 0 and 1 a binary must be for its neuron to be split.
WHOLE = 1e-9


# Minus its value, its number, the states of its neurons, the neuron to split, and the number of its cut from 1.
Node = tuple[float, int, NDArray[np.int64], int, int]


@dataclass(eq=False)
class CutSearch:
    """A best-first search over the neurons of a model over an L2 ball for the largest value, above `level`.

    `found` is shown the inputs of all points; True ends the search. What it leaves are `cuts`, the multipliers of the
    ball in all relaxations, those of nodes that were split `spent`, and `best` and `point`, the largest value of an
    input in the network and that input.
    """

    conic: ConicModel
    found: Callable[[Floats], bool]
    level: float = -inf
    cuts: list[Floats] = field(default_factory=list)
    best: float = -inf
    point: Floats | None = None
    settled: bool = False
    spent: set[int] = field(default_factory=set)

    def run(self, left: Callable[[], float]) -> None:
        """Search until no node is worth more than the best point, `found` is content, or no time is `left`."""
        values, _, _ = self.conic.neurons
        nodes: list[Node] = []
        number = self._visit(nodes, 0, np.full(len(values), FREE), left())
        while nodes and not self.settled and len(self.cuts) < MOST and left() > 0.0:
            worth, _, states, neuron, cut = heappop(nodes)
            if self._low(-worth):
                return
            self.spent.add(cut)
            for choice in (OFF, ON):
                split = states.copy()
                split[neuron] = choice
                number = self._visit(nodes, number, split, left())

    def with_cuts(self, first: int | None = None) -> Milp:
        """Return the MILP with the `first` cuts; all so far by default."""
        milp = self.conic.milp
        cuts = [cut for number, cut in enumerate(self.cuts, 1) if number == 1 or number not in self.spent][:first]
        if not cuts:
            return milp
        beside = sp.csr_matrix((len(cuts), len(milp.cost) - self.conic.moves))
        # The length of u, and so the side, is off by its rounding.
        side = self.conic.radius * (1.0 + (self.conic.moves + 16.0) * EPS) + TINY
        return milp.with_rows(sp.hstack([sp.csr_matrix(np.stack(cuts)), beside]), np.full(len(cuts), side))

    def add_cut_of(self, values: Floats, seconds: float) -> bool:
        """Add the cut of the pattern of a MILP's point; return whether there was one that is new."""
        _, binaries, _ = self.conic.neurons
        states = np.where(values[binaries] > 0.5, ON, OFF)
        before = len(self.cuts)
        self._visit([], 0, states, seconds)
        new = self.cuts[before:]
        return any(all(float(np.abs(cut - old).max()) > WHOLE for old in self.cuts[:before]) for cut in new)

    def values(self) -> Floats | None:
        """Return the variables of the MILP at the best point."""
        return None if self.point is None else self._complete(self.point)

    def _visit(self, nodes: list[Node], number: int, states: NDArray[np.int64], seconds: float) -> int:
        """Relax a node, keep what it says, and put it with the others if it is to be split; return how many were."""
        optimum = self.conic.optimum(states, seconds)
        if optimum is None:
            return number
        cut = 0
        if optimum.direction is not None:
            self.cuts.append(optimum.direction)
            cut = len(self.cuts)
        if not optimum.feasible:
            return number
        self._try(self.conic.encoding.point(optimum.values))
        values, binaries, _ = self.conic.neurons
        share = optimum.values[binaries]
        open_ = np.where(states == FREE, np.minimum(share, 1.0 - share) * self.conic.milp.upper[values], 0.0)
        if self._low(optimum.value) or not open_.max(initial=0.0) > WHOLE:
            return number
        # What a neuron gains comes first, how far its binary is from whole decides where none gains.
        score = np.where(open_ > WHOLE, optimum.worth, 0.0) + 1e-9 * open_
        heappush(nodes, (-optimum.value, number, states, int(score.argmax()), cut))
        return number + 1

    def _low(self, value: float) -> bool:
        return value <= max(self.level, self.best + GAP * abs(self.best))

    def _try(self, point: Floats) -> None:
        milp, values = self.conic.milp, self._complete(point)
        worth = float(milp.cost @ values) + milp.constant
        if worth > self.best:
            self.best, self.point = worth, point
        self.settled = self.settled or self.found(point)

    def _complete(self, point: Floats) -> Floats:
        """Return the variables at an input; one more than the encoding has is the least of several functions."""
        milp, values = self.conic.milp, self.conic.encoding.complete(point)
        if len(values) == len(milp.cost):
            return values
        last = milp.rows[:, len(values)].toarray()[:, 0] > 0.0
        room = milp.row_upper[last] - milp.rows[last][:, : len(values)] @ values
        return np.append(values, min(float(room.min()), float(milp.upper[-1])))
