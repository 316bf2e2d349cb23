"""The tree: subproblems whose bound is not yet at or below zero are halved at the neuron that gains the most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from verify.branching.leaves import solve_leaves
from verify.branching.relaxation import LinearBounds, Relaxation
from verify.branching.subproblems import Subproblems

# Steps on the slopes of the whole region, and of each half of a subproblem.
ROOT_STEPS, STEPS = 50, 10

# Steps on subproblems whose neurons are all split: what is left there is a linear program, whose dual these steps, some
# times as long as others, descend.
LAST_STEPS, LONGER = 200, 5.0

# Subproblems halved at a time, and the neurons of each that are tried.
BATCH, TRIED = 256, 6

# Numbers in open subproblems (a gigabyte in all) beyond which the search ends.
LARGEST = 1 << 26


@dataclass(frozen=True, eq=False)
class BranchingResult:
    """What a search found.

    Attributes
    ----------
    upper : ndarray (t,)
        Proven bounds of the functions over the region, sound under rounding.
    count : int
        How many subproblems were bounded.
    point : ndarray (d,) or None
        An input that `visit` took.
    reason : str
        Why it ended.
    """

    upper: Floats
    count: int
    point: Floats | None
    reason: str


def branch(
    relaxation: Relaxation,
    visit: Callable[[Floats], bool],
    stop: Callable[[], bool],
    keep: Callable[[Floats], None] | None = None,
) -> BranchingResult:
    """Prove the functions of a relaxation to be at most zero over its region, or find a point where `visit` is true.

    Parameters
    ----------
    relaxation : Relaxation
        The functions.
    visit : callable
        Takes an input (d,) of the region where a function is positive up to float32; returns whether the search may
        end there.
    stop : callable
        Asked before each step; true where no time is left.
    keep : callable, optional
        Takes what is proven of the functions (t,) before each step: it is not lost where Ctrl-C ends the search.

    Notes
    -----
    A subproblem supposes p >= 0 or p <= 0 of some neurons. Its bound takes lines p and 0 for these, with a multiplier
    of each supposition, and lines of slope between 0 and 1 below the others; all are improved by gradient steps, those
    of the halves from those of the subproblem (beta-CROWN: Wang et al. 2021). The neuron to split is, of those whose
    lines miss their ReLU most at the peak of the bound, the one whose halves have the lowest bounds before any step.
    """
    tree = Tree(relaxation, stop)
    if not stop() and not tree.open.upper.isfinite().all():
        return tree.result("a bound is not finite")
    while len(tree.open) and not stop():
        if keep is not None:
            keep(tree.upper)
        now = tree.pop_worst()
        bounds, reached, gaps = tree.evaluate(now)
        point = _best_point(relaxation, bounds.peaks, reached)
        if point is not None and visit(point):
            tree.open = tree.open.join(now)
            return tree.result("a point was found", point)
        tree.halve(now, gaps)
        best = next(filter(visit, tree.take_points()), None)
        if best is not None:
            return tree.result("a point was found", best)
        if tree.open.phase.numel() + tree.open.weights.numel() > LARGEST:
            return tree.result("there were too many subproblems")
    if len(tree.open):
        return tree.result("it was stopped")
    return tree.result("subproblems without a free neuron are left" if tree.stuck else "every subproblem is proven")


class Tree:
    """The open subproblems, how many are stuck since they cannot be split further, and the bounds of all others.

    `points` are the best inputs of subproblems that are stuck.
    """

    def __init__(self, relaxation: Relaxation, stop: Callable[[], bool]) -> None:
        first = relaxation.roots()
        self.relaxation, self.stop, self.rate = relaxation, stop, 1.0
        self.closed = torch.full((len(first),), -float("inf"), dtype=torch.float64)
        self.count = self.stuck = 0
        self.points: list[Floats] = []
        self.open = first.take(torch.arange(0))
        for some in torch.arange(len(first)).split(BATCH):
            batch = first.take(some)
            if not stop():
                # Multipliers have the units of the functions.
                self.rate = 0.01 * float(relaxation.linear_bounds(batch).value.detach().abs().mean()) or 1.0
                batch = relaxation.improved(batch, ROOT_STEPS, self.rate, stop)
            self.add(batch)

    def pop_worst(self) -> Subproblems:
        """Take the subproblems with the largest bounds."""
        order = torch.argsort(self.open.upper, descending=True, stable=True)
        now, self.open = self.open.take(order[:BATCH]), self.open.take(order[BATCH:])
        return now

    def pop_worst_of_each(self) -> Subproblems:
        """Take the subproblem with the largest bound of every function."""
        order = torch.argsort(self.open.upper, descending=True, stable=True)
        _, first = np.unique(self.open.target[order].numpy(), return_index=True)
        taken = torch.zeros(len(order), dtype=torch.bool)
        taken[order[first]] = True
        now, self.open = self.open.take(taken), self.open.take(~taken)
        return now

    def evaluate(self, batch: Subproblems) -> tuple[LinearBounds, Tensor, Tensor]:
        """Return the linear bounds of subproblems, the functions at their peaks, and the gaps of neurons there."""
        with torch.no_grad():
            bounds = self.relaxation.with_peaks_inside(self.relaxation.linear_bounds(batch))
            return bounds, *self.relaxation.gaps(batch, bounds)

    def halve(self, batch: Subproblems, gaps: Tensor) -> None:
        """Split subproblems, each at the neuron that gains the most, and bound the halves."""
        split = (batch.phase != 0.0).all(dim=1)
        self.finish(batch.take(split))
        batch, gaps = batch.take(~split), gaps[~split]
        if len(batch):
            halves = batch.halved(_best_split(self.relaxation, batch, gaps))
            self.add(self.relaxation.improved(halves, STEPS, self.rate, self.stop))

    def add(self, batch: Subproblems) -> None:
        """Keep the subproblems that are open, and the bounds of the others."""
        self.count += len(batch)
        done = batch.upper <= 0.0
        self._close(batch.take(done))
        self.open = self.open.join(batch.take(~done))

    def finish(self, batch: Subproblems) -> None:
        """Improve subproblems that cannot be split further once more; those that stay open are stuck."""
        if len(batch):
            batch = self.relaxation.improved(batch, LAST_STEPS, LONGER * self.rate, self.stop)
            above = batch.upper > 0.0
            leaves, points = solve_leaves(self.relaxation, batch.take(above), self.stop)
            self.points += points
            batch = leaves.join(batch.take(~above))
            self.stuck += int((batch.upper > 0.0).sum())
            self._close(batch)

    def take_points(self) -> list[Floats]:
        """Return the best inputs of leaves that stay open, each once."""
        points, self.points = self.points, []
        return points

    def _close(self, batch: Subproblems) -> None:
        self.closed.scatter_reduce_(0, batch.target, batch.upper, "amax")

    def result(self, reason: str, point: Floats | None = None) -> BranchingResult:
        return BranchingResult(self.upper, self.count, point, reason)

    @property
    def upper(self) -> Floats:
        """Proven bounds (t,) of the functions: the largest of their subproblems, open or closed."""
        upper = self.closed.clone()
        upper.scatter_reduce_(0, self.open.target, self.open.upper, "amax")
        return np.asarray(upper.numpy())


def _best_point(relaxation: Relaxation, peaks: Tensor, reached: Tensor) -> Floats | None:
    leader = int(reached.argmax())
    return relaxation.region.project(peaks[leader].double().numpy()) if reached[leader] > 0.0 else None


def _best_split(relaxation: Relaxation, batch: Subproblems, gaps: Tensor) -> Tensor:
    """Return the neuron (r,) to split each subproblem at."""
    most = gaps.topk(min(TRIED, gaps.shape[1]), dim=1)
    count = most.indices.shape[1]
    if count == 1:
        return most.indices[:, 0]
    halves = batch.take(torch.arange(len(batch)).repeat_interleave(count)).halved(most.indices.flatten())
    with torch.no_grad():
        found = relaxation.linear_bounds(halves).value.double()
    before = batch.upper[:, None]
    after = torch.minimum(found.reshape(len(batch), count, 2), before[:, :, None]).clamp(min=0.0)
    gain = (before - after.amax(dim=2)) + 0.3 * (before - after.amin(dim=2))
    gain = torch.where(most.values < 0.0, -np.inf, gain)
    return most.indices.gather(1, gain.argmax(dim=1, keepdim=True))[:, 0]
