"""The tree: the subproblem whose linear program has the largest optimum is split at a neuron, until none is above."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.programs.node_program import NodeProgram, Solved
from verify.programs.proofs import Phases, proven
from verify.programs.relaxed import Relaxed
from verify.regions.intervals import EPS

# Proofs computed at a time, and numbers in the subproblems kept (half a gigabyte) beyond which the search ends.
BATCH, LARGEST = 64, 1 << 26

# By what share of its largest value a neuron is to be missed to be split.
MISSED = 1e-9


@dataclass(frozen=True, eq=False)
class Node:
    """An open subproblem.

    Attributes
    ----------
    value : float
        The optimum of its linear program, as the engine has it.
    phases : ndarray (u,) of int8
        As in :func:`verify.programs.proofs.proven`.
    duals : ndarray (r,)
        Multipliers of that program, or of one around it.
    basis : object
        Where the engine ended.
    neuron : int
        Where it is to be split; -1 where there is none, or where it is not solved.
    share : float
        1 for the root, half of it for each half.
    """

    value: float
    phases: Phases
    duals: Floats
    basis: Any
    neuron: int
    share: float


class ProgramTree:
    """Branch and bound on one function over a box; it goes on where it stopped.

    Parameters
    ----------
    relaxed : Relaxed
        The function.
    visit : callable
        Is shown the points (q, d) of linear programs that are above the level; returns whether the search may end.
    level : float
        What the function is to exceed.

    Attributes
    ----------
    count : int
        How many linear programs were solved.
    closed, highest : float
        The share of the tree that is closed, each half of a subproblem counted alike, and the largest bound there.
    stuck : list of Node
        Those that cannot be split, and those whose proof is not good enough.

    Notes
    -----
    A linear program per subproblem (Land and Doig 1960) over the triangles of Ehlers (2017), cut at the root by
    :func:`verify.programs.single_cuts.single_cuts`; neurons that only push the function down need no split, since the
    optimum pushes them down as far as they go. The neuron to split is the one whose rows count most, times the
    geometric mean of what both halves take off it: a off the inactive one, a - p off the active one. One half is gone
    into at once, the one with the larger optimum; the other one waits. A subproblem is closed by what its multipliers
    prove.
    """

    def __init__(self, relaxed: Relaxed, visit: Callable[[Floats], bool], level: float) -> None:
        self.program, self.visit, self.level = NodeProgram(relaxed), visit, level
        self.heap: list[tuple[float, int, Node]] = []
        self.now: Node | None = None
        self.stuck: list[Node] = []
        self.pending: list[Node] = []
        self.numbers = count()
        self.count, self.closed, self.highest, self.begun = 0, 0.0, -np.inf, False
        with np.errstate(all="ignore"):
            sizes = float(np.abs(relaxed.cost) @ relaxed.reach + abs(relaxed.constant))
        self.size = relaxed.paid + 64.0 * EPS * sizes

    @property
    def over(self) -> bool:
        """Whether nothing is open but what is stuck."""
        return self.begun and self.now is None and not self.heap and not self.pending

    @property
    def full(self) -> bool:
        """Whether the subproblems that are open or stuck take all the memory that they may."""
        numbers = 3 * len(self.program.heights) + len(self.program.width)
        return (len(self.heap) + len(self.stuck)) * numbers > LARGEST

    def run(self, stop: Callable[[], bool], left: Callable[[], float]) -> bool:
        """Go on until a point is taken, nothing is open, or `stop` says so; `left` tells the seconds for a program."""
        with np.errstate(all="ignore"):
            found = (not self.begun and self._begin(left)) or self._go_on(stop, left)
            self._prove()
        return found

    def polish(self, phases: Phases, left: Callable[[], float]) -> bool:
        """Show the best point where all neurons (u,) have the `phases` given; return whether it was taken."""
        self.program.suppose(phases)
        return self._show([self._solved(None, left)])

    def raise_to(self, level: float) -> None:
        """Search for more than before."""
        self.level = level
        if self.now is not None and self.now.value <= self._least:
            self._close(self.now)
            self.now = None
        for *_, node in [entry for entry in self.heap if entry[2].value <= self._least]:
            self._close(node)
        self.heap = [entry for entry in self.heap if entry[2].value > self._least]
        heapq.heapify(self.heap)
        # What was just above the level before may be below it now.
        self.pending += self.stuck
        self.stuck = []

    @property
    def upper(self) -> float:
        """A proven upper bound of the function."""
        if not self.begun:
            return np.inf
        left = [*self.stuck, *self.pending, *(node for *_, node in self.heap), *([self.now] if self.now else [])]
        return max([self.highest, *self._bounds(left)])

    @property
    def _least(self) -> float:
        """What a program's optimum is not to exceed where its multipliers are to prove that it is below the level."""
        return self.level - self.size

    def _begin(self, left: Callable[[], float]) -> bool:
        """Solve the root, cut it, and open it; return whether its point was taken."""
        phases = np.zeros(len(self.program.relaxed.neurons), dtype=np.int8)
        self.program.suppose(phases)
        root = self._solved(None, left)
        if root is None and left() <= 0.0:
            return False  # it begins next time
        if root is not None:
            root = self.program.cut(root, self._least, left())
        nothing = np.zeros(len(self.program.heights))
        self.begun, basis = True, self.program.engine.basis()
        self.now = self._sorted(Node(np.inf, phases, nothing, basis, -1, 1.0), root)
        return self._show([root])

    def _go_on(self, stop: Callable[[], bool], left: Callable[[], float]) -> bool:
        while not stop() and not self.full:
            if self.now is None:
                if not self.heap:
                    return False
                self.now = self.heap[0][2]
                heapq.heappop(self.heap)
            if self._split(self.now, left):
                return True
        return False

    def _split(self, node: Node, left: Callable[[], float]) -> bool:
        """Solve both halves of a subproblem and go into one of them; return whether a point was taken."""
        halves: list[tuple[Node, Solved | None]] = []
        for sign in (1, -1):
            phases = node.phases.copy()
            phases[node.neuron] = sign
            self.program.suppose(phases)
            solved = self._solved(node.basis, left)
            if solved is None and left() <= 0.0:
                return False  # the subproblem stays open as it was
            basis = self.program.engine.basis() if solved is not None and solved.point is not None else None
            halves.append((replace(node, phases=phases, basis=basis, share=0.5 * node.share), solved))
        found = [own for own in (self._sorted(*half) for half in halves) if own is not None]
        found.sort(key=lambda own: own.value)
        # What Ctrl-C interrupts here is at most open twice.
        for own in found[:-1]:
            heapq.heappush(self.heap, (-own.value, next(self.numbers), own))
        self.now = found[-1] if found else None
        return self._show([solved for _, solved in halves])

    def _solved(self, basis: Any, left: Callable[[], float]) -> Solved | None:
        self.count += 1
        return self.program.solve(self._least, left(), basis) if self.program.able else None

    def _sorted(self, around: Node, solved: Solved | None) -> Node | None:
        """Return a subproblem with what the engine says of it where it is open; others are kept where they belong."""
        if solved is None:
            self.stuck.append(around)
            return None
        if solved.point is None or solved.value <= self._least:
            self._close(replace(around, value=-np.inf, duals=self._best(around.phases, solved.duals)))
            return None
        neuron = self._neuron(around.phases, solved)
        node = replace(around, value=solved.value, duals=solved.duals[0], neuron=neuron)
        if neuron >= 0:
            return node
        self.stuck.append(node)
        return None

    def _show(self, solved: list[Solved | None]) -> bool:
        """Show the points of programs that are above the level; return whether one was taken."""
        size = self.program.relaxed.triangles.region.size
        points = [own.point[:size] for own in solved if own is not None and own.point is not None]
        return bool(points) and self.visit(np.array(points))

    def _neuron(self, phases: Phases, solved: Solved) -> int:
        """Return the neuron to split a subproblem at; -1 where none is missed."""
        neurons, point = self.program.relaxed.neurons, solved.point
        if point is None:
            return -1
        value = point[neurons.value]
        inactive, active = np.maximum(value, 0.0), np.maximum(value - point[neurons.before], 0.0)
        # What rows above a neuron count: its chord, and its cuts.
        duals = np.abs(solved.duals[0])
        first = len(duals) - len(self.program.cut_of)
        weight = duals[neurons.chord] + np.bincount(self.program.cut_of, duals[first:], len(neurons))
        missed = np.minimum(inactive, active) > MISSED * self.program.relaxed.upper[neurons.value]
        able = (phases == 0) & missed
        score = np.where(able, weight * np.sqrt(inactive * active), -1.0)
        return int(score.argmax()) if able.any() else -1

    def _best(self, phases: Phases, duals: list[Floats]) -> Floats:
        """Return the multipliers that prove the most of a subproblem."""
        if len(duals) == 1:
            return duals[0]
        bounds = proven(self.program.relaxed, np.tile(phases, (len(duals), 1)), np.array(duals))
        return duals[int(bounds.argmin())]

    def _close(self, node: Node) -> None:
        """Close a subproblem, once its multipliers prove that it is below the level."""
        self.pending.append(node)
        if len(self.pending) >= BATCH:
            self._prove()

    def _prove(self) -> None:
        """Prove what is to be closed; what is not proven is stuck."""
        for node, bound in zip(self.pending, self._bounds(self.pending), strict=True):
            if bound <= self.level:
                self.closed, self.highest = self.closed + node.share, max(self.highest, bound)
            else:
                self.stuck.append(node)
        self.pending = []

    def _bounds(self, nodes: list[Node]) -> list[float]:
        """Return what the multipliers of subproblems prove."""
        found: list[float] = []
        for start in range(0, len(nodes), BATCH):
            some = nodes[start : start + BATCH]
            duals = np.array([self.program.padded(node.duals) for node in some])
            found += proven(self.program.relaxed, np.array([node.phases for node in some]), duals).tolist()
        return found
