"""The runs of a fit: starts, short and long, each trained and refitted; the best network so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from convexnn.fitting.joint import InterruptedPolishError, penalised_loss
from convexnn.fitting.layers import Layers
from convexnn.fitting.layerwise import layer_by_layer
from convexnn.fitting.linear import LinearCandidate, linear_candidate
from convexnn.fitting.polish import refit
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.schedule import Schedule
from convexnn.fitting.training import train
from convexnn.network import SparseReLUNetwork
from convexnn.recovery.options import RecoveryOptions
from convexnn.solution import Status
from convexnn.solvers.common.deadline import Deadline, SentDeadline
from convexnn.solvers.common.descent import Callback, Progress
from convexnn.workers import Streams, is_spread, spread

# A loss, as a share of the target's mean square, that float64 alone can show.
EXACT = 1e-20

# With a time limit, shorter runs come first in the first start, so that there is a network when time is up: shares of
# the passes.
LADDER = (1 / 16, 1 / 4, 1.0)

# Share of a time limit that a search may take.
SEARCH_SHARE = 0.5

# Every other start trains layers with so many times the neurons first, in turn, but not above so many.
WIDENINGS, WIDEST = (10, 3), 100


@dataclass(eq=False)
class MultistartFit:
    """A fit from several starts, of which each is one run or more.

    Attributes
    ----------
    problem : FitProblem
        The data at unit scale, for the squared loss in float64; training is in float32, refits are in float64.
    measure : callable
        network -> its mean loss on the data as given, or that of the worst case: the lowest is the best. The ridge is
        left out: counted, it made no better predictions of several starts (docs/guides/estimators.md).
    sizes : tuple of int
        Inputs, hidden neurons of each layer, outputs.
    bias : bool
        Whether there are biases.
    schedule : Schedule
        Of a full run.
    patience : int
        Candidates without a better one that end a search; 0 for no search.
    deadline : Deadline
        When the runs began, and how long they may take.
    callback : callable or None
        Told of each pass.
    linear : bool
        Whether the linear model of the same ridge is a candidate.
    polish : bool
        Whether layers are refitted on their support.
    n_jobs : int or None
        Starts at a time, as :func:`convexnn.workers.spread` takes it.
    best, objective
        The best network so far and its loss; after :meth:`run` there is one, never worse than the best constant.
    history : list of float
        Mean loss over each pass.
    """

    problem: FitProblem
    measure: Callable[[SparseReLUNetwork], float]
    sizes: tuple[int, ...]
    bias: bool
    schedule: Schedule
    patience: int
    deadline: Deadline
    callback: Callback | None
    linear: bool = True
    polish: bool = True
    n_jobs: int | None = 1
    best: SparseReLUNetwork = field(init=False)
    objective: float | None = None
    history: list[float] = field(default_factory=list)

    @cached_property
    def problem_float32(self) -> FitProblem:
        """The data at unit scale, float32."""
        return self.problem.to(torch.float32)

    def run(self, n_restarts: int, start: SparseReLUNetwork | None, rng: np.random.Generator) -> Status:
        """Run all starts; return how they ended."""
        status, rngs = Status.SEARCH_ENDED, Streams(rng, n_restarts)
        start = start if start is None or self._has_signs(start) else None
        try:
            # First, since training takes all the time that there is.
            linear = self._linear()
            starts = self._spread if n_restarts > 1 and is_spread(self.n_jobs) else self._in_turn
            for status in starts(start, rngs):
                if status is not Status.SEARCH_ENDED or self.is_exact:
                    break
            if linear is not None and status is not Status.INTERRUPTED and not self.is_exact:
                self._judge(linear)
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
        self.keep_if_best(self.problem.network(self.problem.constant(self.sizes, self.bias)))
        return Status.EXACT if self.is_exact and status is not Status.INTERRUPTED else status

    def _in_turn(self, start: SparseReLUNetwork | None, rngs: Streams) -> Iterator[Status]:
        """Yield how each run of each start ended."""
        for number, rng in enumerate(rngs):
            yield from (attempt() for attempt in self._attempts(number, start, rng))

    def _spread(self, start: SparseReLUNetwork | None, rngs: Streams) -> Iterator[Status]:
        """Yield how the starts ended that workers ran, in their order: those that time cuts short all count."""
        alone = replace(self, callback=None, n_jobs=1)
        asked = [(alone, self.deadline.sent(), number, start, rng) for number, rng in enumerate(rngs)]
        ended = Status.SEARCH_ENDED
        for number, found in spread(_run_start, asked, self.n_jobs, ordered=True):
            for loss in found.history:
                self._note(loss)
            self._offer(found.best, found.objective)
            rngs[number].bit_generator.state = found.state
            ended = found.status if ended is Status.SEARCH_ENDED else ended
            if found.status is Status.INTERRUPTED or self.is_exact:
                break
        yield ended

    def _offer(self, network: SparseReLUNetwork, value: float) -> None:
        if self.objective is None or value < self.objective:
            self.best, self.objective = network, value

    def keep_if_best(self, network: SparseReLUNetwork) -> None:
        """Make a network the best if its loss on the data is the lowest, or it is the first."""
        self._offer(network, self.measure(network))

    @property
    def is_exact(self) -> bool:
        """Whether the best network fits numbers up to rounding."""
        level = EXACT * self.problem.units.height**2
        return self.problem.loss.name == "squared" and self.objective is not None and self.objective <= level

    def _attempts(
        self, number: int, start: SparseReLUNetwork | None, rng: np.random.Generator
    ) -> list[Callable[[], Status]]:
        """Return the runs of a start: a search and training, or, every other time, training of wider layers."""
        most = WIDENINGS[number // 2 % len(WIDENINGS)] * self.sizes[1]
        if start is None and number % 2 and self.sizes[1] < WIDEST:
            return [partial(self._train_wide, min(most, WIDEST), rng)]
        shares = (1.0,) if self.deadline.time_limit is None or number else LADDER
        return [partial(self._search, rng), *(partial(self._train, share, start, rng) for share in shares)]

    def _train(self, share: float, start: SparseReLUNetwork | None, rng: np.random.Generator) -> Status:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        schedule = replace(self.schedule, epochs=max(1, round(share * self.schedule.epochs)))
        if start is None:
            layers = self._random(self.sizes, generator)
        else:
            layers = self.problem_float32.layers(start, self.sizes, self.bias)
            schedule = replace(schedule, slack=max(1.0, float(layers.nnz) / schedule.budget))
        return self._trained(layers, schedule, generator)

    def _has_signs(self, start: SparseReLUNetwork) -> bool:
        """Whether a start has the signs that are asked for; of one without its others little may be left."""
        layers = self.problem.layers(start, self.sizes, self.bias)
        signs = self.problem.signs(layers)
        return signs is None or not bool((layers.parameters * signs < 0.0).any())

    def _train_wide(self, width: int, rng: np.random.Generator) -> Status:
        """Train layers of more neurons, among which those of the network are found more easily, down to the width."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        ends, hidden = (self.sizes[0], self.sizes[-1]), len(self.sizes) - 2
        layers = self._random((ends[0], *[width] * hidden, ends[1]), generator)
        weights = sum(before * after for before, after in pairwise(self.sizes))
        return self._trained(layers, self.schedule.narrowing(self.sizes[1], weights), generator)

    def _random(self, sizes: tuple[int, ...], generator: torch.Generator) -> Layers:
        layers = Layers.random(sizes, self.bias, self.problem_float32.rows, generator)
        return layers if self.problem.monotonic is None else layers.turned(self.problem.monotonic)

    def _trained(self, layers: Layers, schedule: Schedule, generator: torch.Generator) -> Status:
        status = train(self.problem_float32, layers, schedule, generator, self._after_epoch)
        self._keep_refitted(layers.narrowed(self.sizes[1]), status)
        return status

    def _search(self, rng: np.random.Generator) -> Status:
        """Search hidden layers one by one, each in a random combination of the outputs; not for labels, nor signs."""
        if not self.patience or self.problem.loss.name != "squared" or self.problem.monotonic is not None:
            return Status.SEARCH_ENDED
        options = RecoveryOptions(
            budget=self.schedule.budget,
            width=self.sizes[1],
            signs="both",
            n_restarts=1,
            patience=self.patience,
            significant=False,
            deadline=Deadline(self.deadline.share(SEARCH_SHARE)),
            device=str(self.problem.rows.device),
            callback=None,
        )
        layers, status = layer_by_layer(self.problem, options, self.schedule, len(self.sizes) - 2, self.bias, rng)
        if layers is not None:
            self._keep_refitted(layers, status)
        # A search that is out of its share of the time, or exact on a part of the rows, leaves the rest to training.
        return status if status is Status.INTERRUPTED else Status.SEARCH_ENDED

    def _keep_refitted(self, layers: Layers, status: Status) -> None:
        """Offer layers fitted on their support; as they are after an interruption, or as far as one lets them come."""
        try:
            layers = layers if status is Status.INTERRUPTED else self._refitted(layers)
        except InterruptedPolishError as stopped:
            self.keep_if_best(self.problem.network(stopped.layers))
            raise
        self.keep_if_best(self.problem.network(layers))

    def _refitted(self, layers: Layers) -> Layers:
        # Labels with a margin are fitted on the worst case, which a refit does not see.
        if not self.polish or self.problem.reach is not None or self.deadline.is_over():
            return layers
        return refit(self.problem, layers, self.schedule.ridge, self.deadline.share(1.0), self.deadline.is_over)

    def _linear(self) -> LinearCandidate | None:
        """Return the linear candidate, where it is asked for and there is time."""
        if not self.linear or self.problem.reach is not None or self.deadline.is_over():
            return None
        schedule, stop = self.schedule, self.deadline.is_over
        return linear_candidate(self.problem, self.sizes, self.bias, schedule.budget, schedule.ridge, stop)

    def _judge(self, linear: LinearCandidate) -> None:
        """Keep the linear candidate where its loss is below the best's: fitted as a network, or the whole one as it is.

        Fitted as a network it is to be ahead with the ridge as well. The whole one needs not: a ridge on two layers is
        stronger than that on one, and the network is never to lie behind the linear model.
        """
        network = self.problem.network(linear.layers)
        if self.objective is not None and self.measure(network) >= self.objective:
            return
        ridge, best = self.schedule.ridge, self.problem.layers(self.best, self.sizes, self.bias)
        layers = self._refitted(linear.layers)
        if penalised_loss(self.problem, layers, ridge) < penalised_loss(self.problem, best, ridge):
            self.keep_if_best(self.problem.network(layers))
        if linear.is_whole:
            self.keep_if_best(network)

    def _after_epoch(self, loss: float) -> bool:
        self._note(loss * self.problem.units.height**2)
        return self.deadline.is_over()

    def _note(self, loss: float) -> None:
        self.history.append(loss)
        if self.callback is not None:
            self.callback(Progress(len(self.history), self.history[-1], min(self.history), self.deadline.seconds))


@dataclass(frozen=True, eq=False)
class _Start:
    """What a worker tells of a start: its best network, its passes, and where its random numbers ended."""

    best: SparseReLUNetwork
    objective: float
    status: Status
    history: list[float]
    state: Any


def _run_start(
    fit: MultistartFit, deadline: SentDeadline, number: int, start: SparseReLUNetwork | None, rng: np.random.Generator
) -> _Start:
    """Run a start until one of its runs is cut short, or exact."""
    fit, status = replace(fit, deadline=deadline.received(), history=[]), Status.SEARCH_ENDED
    for attempt in fit._attempts(number, start, rng):
        status = attempt()
        if status is not Status.SEARCH_ENDED or fit.is_exact:
            break
    if fit.objective is None:
        raise KeyboardInterrupt  # it came before there was a network
    return _Start(fit.best, fit.objective, status, fit.history, rng.bit_generator.state)
