"""The course of a recovery: its starts, here or on workers, the best of them, and what a checkpoint keeps."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convexnn.files import replacing
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.options import RecoveryOptions, RecoveryProgress
from convexnn.recovery.restarts import StartSearch
from convexnn.recovery.search import EXACT, Candidate
from convexnn.solution import Status
from convexnn.solvers.common.deadline import SentDeadline
from convexnn.workers import Streams, is_spread, spread

# What a checkpoint begins with: the form of the file.
FORM = "convexnn recovery 1"


@dataclass(frozen=True, eq=False)
class Start:
    """A start that has ended.

    Attributes
    ----------
    best : Candidate
        Its best network.
    at_noise_floor : bool
        Whether the network's residual is noise.
    is_cut : bool
        Whether it ran out of time.
    candidates : list
        Of each its loss, the lowest loss by then on all rows, and where it came from.
    state : dict
        Of its random numbers, at the end.
    """

    best: Candidate
    at_noise_floor: bool
    is_cut: bool
    candidates: list[tuple[float, float, str]]
    state: Any


@dataclass(eq=False)
class Course:
    """How a recovery goes.

    Attributes
    ----------
    options : RecoveryOptions
        What is asked for.
    unit : float
        The loss in the units of the data, over that at unit scale.
    best : Candidate
        The best network of all starts; at first none.
    history : list of float
        The lowest loss after each candidate.
    """

    options: RecoveryOptions
    unit: float
    best: Candidate
    at_noise_floor: bool = False
    history: list[float] = field(default_factory=list)

    def run(self, problem: Problem, rng: np.random.Generator) -> Status:
        """Go through the starts, here or spread over workers, until one is exact or at the noise; return the end."""
        rngs = Streams(rng, self.options.n_restarts)
        checkpoint = None if self.options.checkpoint is None else Checkpoint(self.options, problem, rngs)
        kept = [] if checkpoint is None else checkpoint.read()
        is_alone = len(rngs) - len(kept) < 2 or not is_spread(self.options.n_jobs) or self.options.deadline.is_over()
        try:
            for number, start in enumerate(kept):
                self._take(number, start, rngs[number], told=False)
            if not self._is_over:
                with closing((self._in_turn if is_alone else self._spread)(problem, rngs, len(kept))) as starts:
                    for start in starts:
                        if checkpoint is not None and not start.is_cut:
                            checkpoint.add(start)
                        if self._is_over:
                            break
        except KeyboardInterrupt:
            return Status.EXACT if self.best.loss <= EXACT else Status.INTERRUPTED
        if self.best.loss <= EXACT:
            return Status.EXACT
        if self.options.deadline.is_over():
            return Status.TIME_LIMIT
        return Status.CONVERGED if self.at_noise_floor else Status.SEARCH_ENDED

    @property
    def _is_over(self) -> bool:
        """Whether no further start is wanted."""
        return self.best.loss <= EXACT or self.at_noise_floor

    def _in_turn(self, problem: Problem, rngs: Streams, first: int) -> Generator[Start]:
        """Yield starts as they end; none begins when time is up."""
        for number in range(first, len(rngs)):
            search, told = StartSearch(problem, self.options, rngs[number]), list[tuple[float, float, str]]()
            try:
                for candidate in search.candidates():
                    told.append((candidate.loss, search.best.loss, candidate.source))
                    self._note(number, *told[-1])
            finally:
                try:
                    search.rejoin()
                finally:
                    self._keep_if_best(search.best)
            self.at_noise_floor = search.at_noise_floor
            yield _ended(search, told)
            if self.options.deadline.is_over():
                return

    def _spread(self, problem: Problem, rngs: Streams, first: int) -> Generator[Start]:
        """Yield the starts in their order, run by workers: what is not waited for after an exact one is given up."""
        options, deadline = replace(self.options, callback=None, group=None), self.options.deadline.sent()
        asked = [(problem, options, deadline, rng) for rng in rngs[first:]]
        with closing(spread(run_start, asked, options.n_jobs, ordered=True)) as found:
            for place, start in found:
                self._take(first + place, start, rngs[first + place])
                yield start

    def _take(self, number: int, start: Start, rng: np.random.Generator, told: bool = True) -> None:
        """Go through a start that ran elsewhere, or earlier; the callback hears of it where it is to be told."""
        for loss, best, source in start.candidates:
            self._note(number, loss, best, source, told)
        self._keep_if_best(start.best)
        self.at_noise_floor, rng.bit_generator.state = start.at_noise_floor, start.state

    def _note(self, number: int, loss: float, best: float, source: str, told: bool = True) -> None:
        """Write down a candidate of a start whose best network by then has the loss `best`."""
        self.history.append(self.unit * min(self.best.loss, best))
        if told and self.options.callback is not None:
            count, seconds = len(self.history), self.options.deadline.seconds
            progress = RecoveryProgress(count, self.unit * loss, self.history[-1], seconds, number, source)
            self.options.callback(progress)

    def _keep_if_best(self, candidate: Candidate) -> None:
        self.best = candidate if candidate.loss < self.best.loss else self.best


def run_start(problem: Problem, options: RecoveryOptions, deadline: SentDeadline, rng: np.random.Generator) -> Start:
    """Return a start from nothing: the work of a worker."""
    search = StartSearch(problem, replace(options, deadline=deadline.received()), rng)
    told = [(candidate.loss, search.best.loss, candidate.source) for candidate in search.candidates()]
    return _ended(search, told)


def _ended(search: StartSearch, told: list[tuple[float, float, str]]) -> Start:
    is_cut, state = search.options.deadline.is_over(), search.rng.bit_generator.state
    return Start(search.best, search.at_noise_floor, is_cut, told, state)


@dataclass(eq=False)
class Checkpoint:
    """A file of the starts that have ended, written whole or not at all: another call goes on after them.

    It is JSON, which keeps every bit of a float. A run is known by its data, its options and its random numbers; the
    number of starts, the limit and the workers may be others.
    """

    options: RecoveryOptions
    problem: Problem
    rngs: Streams
    starts: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        asked = self.options
        words = (asked.budget, asked.width, asked.signs, asked.patience, asked.significant)
        digest = sha256(repr((words, tuple(self.problem.rows.shape))).encode())
        for array in (self.problem.rows, self.problem.target):
            digest.update(array.cpu().numpy().tobytes())
        self.digest, self.path = digest.hexdigest(), Path(str(asked.checkpoint))
        self.begun = [sha256(repr(rng.bit_generator.state).encode()).hexdigest() for rng in self.rngs]

    def read(self) -> list[Start]:
        """Return the starts that the file holds, none where there is no file.

        Raises
        ------
        ValueError
            The file is no checkpoint, or one of another run.
        """
        if not self.path.exists():
            self._write()
            return []
        expected = "expected that of the same data, options and seed, or a path where there is no file"
        try:
            told = json.loads(self.path.read_text(encoding="utf-8"))
            form, digest, self.starts = told["form"], told["run"], told["starts"][: len(self.rngs)]
            begun = [start["begun"] for start in self.starts]
            starts = [self._start(start) for start in self.starts]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError(f"checkpoint {self.path} is no checkpoint of a recovery; {expected}") from None
        if (form, digest, begun) != (FORM, self.digest, self.begun[: len(begun)]):
            raise ValueError(f"checkpoint {self.path} is that of another run; {expected}")
        return starts

    def add(self, start: Start) -> None:
        """Write a start down, after those that are there."""
        layer, best = start.best.hidden, start.best
        self.starts.append(
            {
                "begun": self.begun[len(self.starts)],
                "layer": [part.cpu().tolist() for part in (layer.weights, layer.signs, layer.gates)],
                "best": [best.loss, best.source, best.one_sided],
                "at_noise_floor": start.at_noise_floor,
                "candidates": start.candidates,
                "state": start.state,
            }
        )
        self._write()

    def _write(self) -> None:
        told = {"form": FORM, "run": self.digest, "starts": self.starts}
        with replacing(self.path, "w", encoding="utf-8") as file:
            # Of generators whose state holds arrays.
            json.dump(told, file, default=lambda array: array.tolist())

    def _start(self, told: dict[str, Any]) -> Start:
        rows = self.problem.rows
        weights, signs, gates = (torch.tensor(part, dtype=rows.dtype, device=rows.device) for part in told["layer"])
        # No neurons leave no trace of how many inputs they would have.
        layer = HiddenLayer(weights.reshape(-1, rows.shape[1]), signs, gates.reshape(-1, rows.shape[1]))
        loss, source, one_sided = told["best"]
        candidates = [(float(loss), float(best), str(source)) for loss, best, source in told["candidates"]]
        return Start(
            Candidate(layer, loss, source, one_sided), told["at_noise_floor"], False, candidates, told["state"]
        )
