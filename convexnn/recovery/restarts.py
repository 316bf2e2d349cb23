"""The course of a recovery: starts, stages over more and more rows, and the best network so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import torch

from convexnn.recovery.hidden_layer import Hidden
from convexnn.recovery.polish import polish
from convexnn.recovery.problem import Problem
from convexnn.recovery.search import EXACT, FINE, Found, Scores, Search

# Rows of the first stage: many a weight of the budget, between the two limits, but never fewer than the least a weight.
# Each stage has four times the rows.
ROWS_A_WEIGHT, LEAST_ROWS_A_WEIGHT, FIRST_ROWS, GROWTH = 15, 5, (2000, 6000), 4

# Rows of the last stage; where there are more, all of them serve the final fit and the judgement.
MOST_ROWS = 20_000

# Candidates without a better one after which a stage, but for the last, is left.
STAGE_PATIENCE = 15

# Times the patience that a start has whose network is nearly exact: a few weights are missing, and a start costs more.
NEARLY_EXACT_PATIENCE = 5

# A candidate is better if its loss is below this share of the best.
BETTER = 0.999


@dataclass(eq=False)
class Hunt:
    """A run of the search.

    Attributes
    ----------
    problem : Problem
        All rows at unit scale, float64.
    budget, width, signs, rng, stop
        As in :class:`convexnn.recovery.search.Search`.
    n_restarts, patience : int
        Starts, and candidates without a better one that end a start.
    best : Found
        The best network so far by its loss on all rows; at first none, of no neurons.
    restart : int
        The present start, from 0.
    """

    problem: Problem
    budget: int
    width: int
    signs: str
    rng: np.random.Generator
    stop: Callable[[], bool]
    n_restarts: int
    patience: int
    best: Found = field(init=False)
    restart: int = 0

    def __post_init__(self) -> None:
        nothing = self.problem.rows[:0]
        empty = Hidden(nothing, nothing[:, 0], nothing)
        self.best = Found(empty, self.problem.loss(empty.weights, empty.signs), "nothing")

    def candidates(self) -> Iterator[Found]:
        """Yield candidates start by start and stage by stage, until time is up, one is exact, or no start is left."""
        sizes = stages(len(self.problem.target), self.budget)
        for restart in range(self.n_restarts):
            self.restart, current, scores = restart, None, Scores()
            for size in sizes:
                last = size == sizes[-1]
                stage = self._stage(self._sample(size), current, scores, self.patience if last else STAGE_PATIENCE)
                for found, best in stage:
                    current = best
                    yield found
                    if self.best.loss <= EXACT or self.stop():
                        return

    def _sample(self, size: int) -> Problem:
        n = len(self.problem.target)
        if size == n:
            return self.problem
        index = np.sort(self.rng.choice(n, size=size, replace=False))
        return self.problem.take(torch.as_tensor(index, device=self.problem.rows.device))

    def _stage(
        self, rows: Problem, current: Found | None, scores: Scores, patience: int
    ) -> Iterator[tuple[Found, Found | None]]:
        """Yield candidates on some rows, each with the best of them, until one is exact or none was better for long.

        The search goes on in float64 once float32 cannot tell its candidates apart.
        """
        search = self._search(rows.to(torch.float32), scores)
        if current is not None:
            current = self._lifted(search, current)
        waiting, stale = search.starts if current is None else [], 0
        while stale < _patience(patience, current) and not (current is not None and current.loss <= EXACT):
            if not waiting and current is None:
                return
            plan = search.start(*waiting.pop(0)) if current is None or waiting else search.move(current)
            least = float("inf") if current is None else current.loss
            found = search.run(plan, least)
            stale = 0 if waiting or found.loss < BETTER * least else stale + 1
            if isfinite(found.loss) and found.loss < least:
                current = found
                if current.loss < FINE and search.problem.rows.dtype == torch.float32:
                    search = self._search(rows, scores)
                    current = self._lifted(search, current)
                self._keep(current)
            yield found, current

    def _search(self, problem: Problem, scores: Scores) -> Search:
        return Search(problem, self.budget, self.width, self.signs, self.rng, self.stop, scores)

    def _lifted(self, search: Search, found: Found) -> Found:
        """Return a network fitted to the rows, and in the precision, of a search."""
        hidden, loss = polish(search.problem, found.hidden.to(search.problem.rows.dtype), stop=self.stop)
        return Found(hidden, loss, found.source, found.one_sided)

    def _keep(self, found: Found) -> None:
        """Make a network the best if its loss on all rows is the lowest."""
        exact = found.hidden.to(torch.float64)
        loss = self.problem.loss(exact.weights, exact.signs)
        if loss < self.best.loss:
            self.best = Found(exact, loss, found.source, found.one_sided)


def _patience(patience: int, current: Found | None) -> int:
    nearly_exact = current is not None and current.loss < FINE
    return NEARLY_EXACT_PATIENCE * patience if nearly_exact else patience


def stages(n_rows: int, budget: int) -> list[int]:
    """Return the numbers of rows that a search goes through; one stage where it would hardly be shorter than all."""
    size = max(min(max(FIRST_ROWS[0], ROWS_A_WEIGHT * budget), FIRST_ROWS[1]), LEAST_ROWS_A_WEIGHT * budget)
    last = min(n_rows, max(MOST_ROWS, size))
    sizes = []
    while 2 * size < last:
        sizes.append(size)
        size *= GROWTH
    return [*sizes, last]
