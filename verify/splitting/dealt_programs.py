"""Linear programs dealt out: the open subproblems of a tree in parts, one a worker, for a round."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from convexnn.checks import Floats
from verify.clock import Clock
from verify.crew import POINTS, Crew
from verify.programs.program_tree import Node, ProgramTree
from verify.programs.relaxed import Places, Relaxed

# Shown the points (q, d) of programs above the level; returns the best where it is above it in the network too.
Judge = Callable[[Floats], Floats | None]


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the open nodes of a tree, with what a worker needs to go on there.

    Attributes
    ----------
    relaxed, cut_of
        The relaxation with its cuts, and the neurons of these.
    nodes : list of Node
        Without their bases, which stay in the engine where they were made.
    level : float
        What the function is to exceed.
    judge : callable
        Says which points are above the level in the network.
    stops : bool
        Whether such a point ends the round.
    """

    relaxed: Relaxed
    cut_of: Places
    nodes: list[Node]
    level: float
    judge: Judge
    stops: bool


@dataclass(frozen=True, eq=False)
class PartSolved:
    """What a worker brings back: nodes that are open and stuck, how many programs it solved, and what it closed.

    `closed` and `highest` are those of :class:`verify.programs.program_tree.ProgramTree`; `points` (d,) are above the
    level.
    """

    nodes: list[Node]
    stuck: list[Node]
    count: int
    closed: float
    highest: float
    points: list[Floats]


def solve_programs(
    tree: ProgramTree, crew: Crew, judge: Judge, seconds: float, left: float, stops: bool = True
) -> list[Floats]:
    """Go on with a tree that is begun for some seconds, each worker its part; return points (d,) above the level.

    Where a point `stops` a worker its round ends there. What does not come back, `left` seconds from now at the latest,
    stays open as it was.
    """
    nodes = sorted(open_nodes(tree), key=lambda node: -node.value)
    dealt = [nodes[first :: crew.size] for first in range(min(crew.size, len(nodes)))]
    relaxed, cut_of, came = tree.program.relaxed, tree.program.cut_of, dict[int, PartSolved]()
    parts = [Part(relaxed, cut_of, [bare(node) for node in own], tree.level, judge, stops) for own in dealt]
    try:
        for number, found in crew.share(solve_part, [(part, seconds) for part in parts], left):
            came[number] = found
    finally:
        for found in came.values():
            tree.stuck += found.stuck
            tree.count, tree.closed = tree.count + found.count, tree.closed + found.closed
            tree.highest = max(tree.highest, found.highest)
        still = [node for number, own in enumerate(dealt) for node in (came[number].nodes if number in came else own)]
        # Last: what Ctrl-C interrupts here is at most open twice.
        tree.now, tree.heap = None, [(-node.value, next(tree.numbers), node) for node in still]
        heapq.heapify(tree.heap)
    return [point for found in came.values() for point in found.points]


def open_nodes(tree: ProgramTree) -> list[Node]:
    """Return the nodes of a tree that are to be split."""
    return [*(node for *_, node in tree.heap), *([] if tree.now is None else [tree.now])]


def bare(node: Node) -> Node:
    """Return a node without its basis."""
    return replace(node, basis=None)


def solve_part(part: Part, seconds: float) -> PartSolved:
    """Go on with some nodes for some seconds: the work of a worker."""
    above: list[Floats] = []

    def visit(points: Floats) -> bool:
        best = part.judge(points)
        if best is not None and len(above) < POINTS:
            above.append(best)
        return best is not None and part.stops

    tree, clock = ProgramTree(part.relaxed, visit, part.level), Clock(seconds)
    tree.program.cut_of, tree.begun = part.cut_of, True
    tree.heap = [(-node.value, next(tree.numbers), node) for node in part.nodes]
    heapq.heapify(tree.heap)
    tree.run(clock.over, partial(clock.left_until, seconds))
    nodes, stuck = [bare(node) for node in open_nodes(tree)], [bare(node) for node in tree.stuck]
    return PartSolved(nodes, stuck, tree.count, tree.closed, tree.highest, above)
