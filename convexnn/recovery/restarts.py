"""One start of a recovery: stages over more and more rows, and the best network so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np
import torch

from convexnn.recovery.candidates.bandit import Bandit
from convexnn.recovery.candidates.proposals import Proposals
from convexnn.recovery.candidates.rounds import InterruptedRoundsError
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.linear_part import is_uncentred, unfold
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem, mean_square
from convexnn.recovery.layer.significance import drop_dust, drop_to, is_noise
from convexnn.recovery.options import RecoveryOptions
from convexnn.recovery.search import EXACT, FINE, Candidate, CandidatePlan, Search
from convexnn.solvers.common.deadline import Deadline

# Rows of the first stage: many a weight of the budget, between the two limits, but never fewer than the least a weight.
# Each stage has four times the rows.
ROWS_A_WEIGHT, LEAST_ROWS_A_WEIGHT, FIRST_ROWS, GROWTH = 15, 5, (2000, 6000), 4

# Rows of the last stage; where there are more, all of them serve the final fit and the judgement.
MOST_ROWS = 20_000

# Candidates without a better one after which a stage, but for the last, is left.
STAGE_PATIENCE = 15

# Times the patience that a start has whose network is nearly exact: a few weights are missing, and a start costs more.
NEARLY_EXACT_PATIENCE = 5

# Share of the patience, 1 / so many, that is left at the noise. A budget that is ample fits noise too: there the first
# such network is not yet the best.
NOISE_IMPATIENCE = 4

# Gates that have to find nothing in a residual of noise.
NOISE_KINDS, NOISE_GATES = ("dense", "sparse", "single", "moment"), 300

# Share of the time that is left which a start has beside a linear function.
DETOUR_SHARE = 0.6

# Candidates without a thinner network after which none is looked for, at most.
THIN_PATIENCE = 30

# A candidate is better if its loss is below this share of the best.
BETTER = 0.999


@dataclass(eq=False)
class StartSearch:
    """A search from nothing, over stages of more and more rows.

    Attributes
    ----------
    problem : Problem
        All rows at unit scale, float64.
    options : RecoveryOptions
        What is asked for.
    rng : numpy.random.Generator
        The only source of randomness.
    best : Candidate
        The best network so far by its loss on all rows; at first none, of no neurons.
    at_noise_floor : bool
        Whether the best network's residual is noise, as far as random gates can tell (asked where insignificant weights
        are to be dropped): the start is given up sooner.
    detour : StartSearch, optional
        The search beside a linear function while it is under way; see :meth:`rejoin`.
    """

    problem: Problem
    options: RecoveryOptions
    rng: np.random.Generator
    best: Candidate = field(init=False)
    at_noise_floor: bool = False
    detour: StartSearch | None = None

    def __post_init__(self) -> None:
        self.best = nothing(self.problem)

    def candidates(self) -> Iterator[Candidate]:
        """Yield candidates stage by stage, until time is up, one is exact, or none was better for long."""
        sizes = stage_sizes(len(self.problem.target), self.options.budget)
        current, bandit = None, Bandit()
        if self._is_uncentred:
            yield from self._detour()
            if self.best.loss <= EXACT or self.options.deadline.is_over() or self.at_noise_floor:
                return
            current = self.best
        for size in sizes:
            patience = self.options.patience if size == sizes[-1] else STAGE_PATIENCE
            for candidate, best in self._stage(self._sample(size), current, bandit, patience):
                current = best
                yield candidate
                if self.best.loss <= EXACT or self.options.deadline.is_over():
                    return
            if self.best.loss <= EXACT:
                # The fit to the rows of the stage, before any candidate of it.
                return

    @property
    def _is_uncentred(self) -> bool:
        return not self.problem.modulo_linear and is_uncentred(self.problem, self.options.budget)

    def _detour(self) -> Iterator[Candidate]:
        """Yield a first network, so that there is one, and the candidates of a start beside a linear function.

        What they end in becomes a network of neurons alone, which is the best if it is better.
        """
        deadline = self.options.deadline
        rows = self._sample(stage_sizes(len(self.problem.target), self.options.budget)[0])
        search = self._search(rows.to(torch.float32), Bandit())
        candidate = self._run(search, search.start(*search.starts[-1]), float("inf"))
        self._keep_if_best(candidate)
        yield candidate
        limit = Deadline(deadline.share(DETOUR_SHARE))
        options = replace(self.options, deadline=limit)
        rows = self._sample(min(len(self.problem.target), MOST_ROWS))
        self.detour = StartSearch(rows.without_linear(), options, self.rng)
        yield from self.detour.candidates()
        yield from self._thinned(self.detour)
        self.rejoin()

    def _thinned(self, detour: StartSearch) -> Iterator[Candidate]:
        """Yield candidates for fewer weights than the exact network of a detour has, until it is exact without one.

        Or until none was thinner for long, there are no neurons, or the time of the detour is up.
        """
        search, stale = detour._search(detour.problem, Bandit()), 0
        patience = min(THIN_PATIENCE, NEARLY_EXACT_PATIENCE * self.options.patience)
        while detour.best.loss <= EXACT and stale < patience and not search.stop():
            if stale == 0:
                dustless = drop_dust(detour.problem, detour.best.hidden, EXACT, self.options.deadline.is_over)
                detour.best = replace(detour.best, hidden=dustless)
                self._keep_if_best(self._alone(detour.best))
                if self.best.loss <= EXACT or not dustless.nnz:
                    return
            search = replace(search, budget=detour.best.hidden.nnz - 1)
            candidate = detour._run(search, search.thinner(detour.best), EXACT)
            is_thinner = candidate.loss <= EXACT and candidate.hidden.nnz < detour.best.hidden.nnz
            detour.best = candidate if is_thinner else detour.best
            stale = 0 if is_thinner else stale + 1
            yield candidate

    def rejoin(self) -> None:
        """Make a network of neurons alone of what the search beside a linear function has found, if it is under way."""
        detour, self.detour = self.detour, None
        if detour is None or not len(detour.best.hidden.signs) or self.best.loss <= EXACT:
            return
        best, stop = detour.best, self.options.deadline.is_over
        if best.loss <= EXACT:
            best = replace(best, hidden=drop_dust(detour.problem, best.hidden, EXACT, stop))
        self._keep_if_best(self._alone(best))

    def _alone(self, beside: Candidate) -> Candidate:
        """Return the network of neurons alone that is nearest to one beside a linear function."""
        stop = self.options.deadline.is_over
        hidden, loss = polish(self.problem, unfold(self.problem, beside.hidden, self.options.signs), stop=stop)
        if loss <= EXACT:
            hidden = drop_dust(self.problem, hidden, EXACT, stop)
        hidden = drop_to(self.problem, hidden, self.options.budget, stop=stop).compact(self.options.width)
        hidden, loss = polish(self.problem, hidden, stop=stop)
        return replace(beside, hidden=hidden, loss=loss)

    def _sample(self, size: int) -> Problem:
        n = len(self.problem.target)
        if size == n:
            return self.problem
        index = np.sort(self.rng.choice(n, size=size, replace=False))
        return self.problem.take(torch.as_tensor(index, device=self.problem.rows.device))

    def _stage(
        self, rows: Problem, current: Candidate | None, bandit: Bandit, patience: int
    ) -> Iterator[tuple[Candidate, Candidate | None]]:
        """Yield candidates on some rows, each with the best of them, until one is exact or none was better for long.

        The search goes on in float64 once float32 cannot tell its candidates apart.
        """
        search = self._search(rows.to(torch.float32), bandit)
        if current is not None:
            current = _refitted(search, current)
            if current.loss < FINE:
                search = self._search(rows, bandit)
                current = _refitted(search, current)
                self._keep_if_best(current)
        waiting, stale = search.starts if current is None else [], 0
        while stale < self._patience(patience, current) and not (current is not None and current.loss <= EXACT):
            if not waiting and current is None:
                return
            plan = search.start(*waiting.pop(0)) if current is None or waiting else search.move(current)
            least = float("inf") if current is None else current.loss
            candidate = self._run(search, plan, least)
            stale = 0 if waiting or candidate.loss < BETTER * least else stale + 1
            if isfinite(candidate.loss) and candidate.loss < least:
                current = candidate
                if current.loss < FINE and search.problem.rows.dtype == torch.float32:
                    search = self._search(rows, bandit)
                    current = _refitted(search, current)
                self._keep_if_best(current)
            yield candidate, current

    def _run(self, search: Search, plan: CandidatePlan, least: float) -> Candidate:
        """Return what becomes of a plan; what is there when it is interrupted is kept."""
        try:
            return search.run(plan, least)
        except InterruptedRoundsError as cut:
            self._keep_if_best(Candidate(cut.hidden.compact(self.options.width), least, plan.source))
            raise

    def _search(self, problem: Problem, bandit: Bandit) -> Search:
        options = self.options
        return Search(problem, options.budget, options.width, options.signs, self.rng, options.deadline.is_over, bandit)

    def _keep_if_best(self, candidate: Candidate) -> None:
        """Make a network the best if its loss on all rows is the lowest."""
        exact = candidate.hidden.to(torch.float64)
        loss = self.problem.loss(exact.weights, exact.signs)
        if loss < self.best.loss:
            self.best = replace(candidate, hidden=exact, loss=loss)
            self.at_noise_floor = self.options.significant and self._is_noise(exact)

    def _is_noise(self, hidden: HiddenLayer) -> bool:
        """Whether gates of all kinds, on some rows where there are many, find nothing in what a network leaves."""
        rows = self._sample(min(len(self.problem.target), MOST_ROWS))
        residual = rows.residual(hidden.weights, hidden.signs)
        return is_noise(rows, hidden, Proposals(rows, self.rng).mixed(NOISE_KINDS, NOISE_GATES, residual))

    def _patience(self, patience: int, current: Candidate | None) -> int:
        if self.at_noise_floor:
            # Beside a linear function the rest of the weights is still to come.
            return 0 if self.problem.modulo_linear else max(1, patience // NOISE_IMPATIENCE)
        nearly_exact = current is not None and current.loss < FINE
        return NEARLY_EXACT_PATIENCE * patience if nearly_exact else patience


def nothing(problem: Problem) -> Candidate:
    """Return the network of no neurons."""
    none = problem.rows[:0]
    return Candidate(HiddenLayer(none, none[:, 0], none), mean_square(problem.target), "nothing")


def _refitted(search: Search, candidate: Candidate) -> Candidate:
    """Return a network fitted to the rows, and in the precision, of a search."""
    hidden, loss = polish(search.problem, candidate.hidden.to(search.problem.rows.dtype), stop=search.stop)
    return replace(candidate, hidden=hidden, loss=loss)


def stage_sizes(n_rows: int, budget: int) -> list[int]:
    """Return the numbers of rows that a search goes through; one stage where it would hardly be shorter than all."""
    size = max(min(max(FIRST_ROWS[0], ROWS_A_WEIGHT * budget), FIRST_ROWS[1]), LEAST_ROWS_A_WEIGHT * budget)
    last = min(n_rows, max(MOST_ROWS, size))
    sizes = []
    while 2 * size < last:
        sizes.append(size)
        size *= GROWTH
    return [*sizes, last]
