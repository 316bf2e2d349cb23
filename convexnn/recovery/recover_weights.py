"""The engine of a recovery: data at unit scale in, weights in the data's own units out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from convexnn.checks import Floats
from convexnn.linear.operator import as_device
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.significance import drop_dust, drop_insignificant
from convexnn.recovery.memory import estimate_peak_bytes
from convexnn.recovery.options import RecoveryOptions, RecoveryProgress
from convexnn.recovery.restarts import StartSearch, nothing
from convexnn.recovery.search import EXACT, Candidate
from convexnn.solution import Status
from convexnn.solvers.common.certificate import RunRecord
from convexnn.solvers.common.deadline import SentDeadline
from convexnn.tiles import row_tiles
from convexnn.workers import is_spread, spread, streams

# Rounds of the last fit, on all rows in float64.
LAST_ROUNDS = 50


def recover_weights(
    rows: Floats, target: Floats, options: RecoveryOptions, rng: np.random.Generator
) -> tuple[Floats, Floats, RunRecord]:
    """Return the gates and signed weights (p, D) of a network for rows (n, D) and a target (n,), and how it went."""
    n_rows, n_inputs = rows.shape
    memory = estimate_peak_bytes(n_rows, n_inputs, options.budget, options.width)
    scale, height = root_mean_squares(rows), float(root_mean_squares(target[:, None])[0])
    device = as_device(options.device)
    problem = Problem(torch.as_tensor(rows / scale, device=device), torch.as_tensor(target / height, device=device))
    course = _Course(options, 0.5 * height**2, nothing(problem))
    status = course.run(problem, rng)
    hidden, history = course.best.hidden, course.history
    try:
        hidden = _finished(problem, hidden, options)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    gates = hidden.weights.cpu().numpy() * (height / scale)
    run = RunRecord("recover", status, len(history), options.deadline.seconds, np.array(history), memory)
    return gates, gates * hidden.signs.cpu().numpy()[:, None], run


def _finished(problem: Problem, hidden: HiddenLayer, options: RecoveryOptions) -> HiddenLayer:
    """Return the layer fitted to all rows, without the weights that rounding, or noise, explains."""
    hidden, loss = polish(problem, hidden, rounds=LAST_ROUNDS, stop=options.deadline.is_over)
    if loss <= EXACT:
        hidden = drop_dust(problem, hidden, EXACT, options.deadline.is_over)
    if options.significant:
        hidden = drop_insignificant(problem, hidden, options.width * problem.rows.shape[1])
    return hidden.compact(options.width)


@dataclass(eq=False)
class _Course:
    """How a recovery goes: the best network of all starts, and the lowest loss after each candidate."""

    options: RecoveryOptions
    unit: float
    best: Candidate
    at_noise_floor: bool = False
    history: list[float] = field(default_factory=list)

    def run(self, problem: Problem, rng: np.random.Generator) -> Status:
        """Go through the starts, here or spread over workers, until one is exact or at the noise; return the end."""
        count, jobs = self.options.n_restarts, self.options.n_jobs
        rngs = streams(rng, count)
        try:
            starts = self._spread if count > 1 and is_spread(jobs) else self._in_turn
            for start in starts(problem, rngs):
                self.at_noise_floor = start.at_noise_floor
                if self.best.loss <= EXACT or start.at_noise_floor:
                    break
        except KeyboardInterrupt:
            return Status.EXACT if self.best.loss <= EXACT else Status.INTERRUPTED
        if self.best.loss <= EXACT:
            return Status.EXACT
        if self.options.deadline.is_over():
            return Status.TIME_LIMIT
        return Status.CONVERGED if self.at_noise_floor else Status.SEARCH_ENDED

    def _in_turn(self, problem: Problem, rngs: list[np.random.Generator]) -> Iterator[StartSearch]:
        """Yield starts as they end; none begins when time is up."""
        for number, rng in enumerate(rngs):
            search = StartSearch(problem, self.options, rng)
            try:
                for candidate in search.candidates():
                    self._note(number, candidate.loss, search.best.loss, candidate.source)
            finally:
                try:
                    search.rejoin()
                finally:
                    self._keep_if_best(search.best)
            yield search
            if self.options.deadline.is_over():
                return

    def _spread(self, problem: Problem, rngs: list[np.random.Generator]) -> Iterator[_Start]:
        """Yield the starts in their order, run by workers: what is not waited for after an exact one is given up."""
        options, deadline = replace(self.options, callback=None), self.options.deadline.sent()
        asked = [(problem, options, deadline, rng) for rng in rngs]
        for number, start in spread(_run_start, asked, options.n_jobs, ordered=True):
            for told in start.candidates:
                self._note(number, *told)
            self._keep_if_best(start.best)
            rngs[number].bit_generator.state = start.state
            yield start

    def _note(self, number: int, loss: float, best: float, source: str) -> None:
        """Write down a candidate of a start whose best network by then has the loss `best`."""
        self.history.append(self.unit * min(self.best.loss, best))
        if self.options.callback is not None:
            count, seconds = len(self.history), self.options.deadline.seconds
            progress = RecoveryProgress(count, self.unit * loss, self.history[-1], seconds, number, source)
            self.options.callback(progress)

    def _keep_if_best(self, candidate: Candidate) -> None:
        self.best = candidate if candidate.loss < self.best.loss else self.best


@dataclass(frozen=True, eq=False)
class _Start:
    """What a worker tells of a start: its best network, its candidates, and where its random numbers ended."""

    best: Candidate
    at_noise_floor: bool
    candidates: list[tuple[float, float, str]]
    state: Any


def _run_start(problem: Problem, options: RecoveryOptions, deadline: SentDeadline, rng: np.random.Generator) -> _Start:
    search = StartSearch(problem, replace(options, deadline=deadline.received()), rng)
    told = [(candidate.loss, search.best.loss, candidate.source) for candidate in search.candidates()]
    return _Start(search.best, search.at_noise_floor, told, rng.bit_generator.state)


def root_mean_squares(columns: Floats) -> Floats:
    """Return the root mean square of each column, 1 for columns of zeros; large entries do not overflow."""
    peaks = np.maximum(columns.max(axis=0), -columns.min(axis=0))
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    total = np.zeros(columns.shape[1])
    for part in row_tiles(*columns.shape):
        total += np.square(columns[part] / peaks).sum(axis=0)
    level: Floats = np.sqrt(total / len(columns))
    return peaks * np.where(level > 0.0, level, 1.0)
