"""What the hard thresholding solvers share: settings, phases on whitened or plain rows, the best support so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convexnn.checks import as_count, as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.memory import ITERATES, memory_estimate
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import Run, certify_support
from convexnn.solvers.common.descent import Callback, Iterate, Limits, Progress, descend
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.common.warm_start import Start, start_neurons
from convexnn.solvers.thresholding.dictionary import Dictionary, open_dictionary, root_mean_squares
from convexnn.solvers.thresholding.sparse_iterate import SparseIterate, first_iterate
from convexnn.solvers.thresholding.support_fit import fit_support
from convexnn.solvers.thresholding.whitening import (
    LEAST_RIDGE,
    SPEED,
    affordable_rows,
    ridge_for,
    setup_flops,
    whitening_bytes,
)

Step = Callable[[Dictionary, SparseIterate], SparseIterate]
Indices = NDArray[np.int64]

# A subsample of rows needs this many for each entry of the budget and output.
ROWS_PER_WEIGHT = 3

# A noise-aware ridge below this many times the first one is not worth a second run.
ANOTHER_RIDGE = 2.0

# A fit with a residual of this share of the target's norm (200 dB) cannot be bettered.
EXACT = 1e-10


@dataclass(frozen=True)
class Settings:
    """The options that the hard thresholding solvers share; see :func:`convexnn.solvers.thresholding.htp.htp`."""

    max_iterations: int
    time_limit: float | None
    whiten: bool | str
    ridge: float | str
    start: Start
    device: str
    dtype: str
    memory_limit: int
    seed: int
    callback: Callback | None

    def __post_init__(self) -> None:
        if not isinstance(self.whiten, bool) and self.whiten != "auto":
            raise ValueError(f"whiten is {self.whiten!r}; expected 'auto', True or False")
        if self.ridge != "auto" and as_nonnegative(self.ridge, "ridge") == 0.0:
            raise ValueError("ridge is 0; expected a number above 0, or 'auto'")
        as_count(self.seed, "seed", at_least=0)

    def dictionary(self, program: ConvexProgram, rows: Indices | None = None) -> Dictionary:
        """Return the program's dictionary on all rows, or some."""
        limit = self.memory_limit
        return open_dictionary(program, device=self.device, dtype=self.dtype, memory_limit=limit, rows=rows)

    def room(self, program: ConvexProgram) -> int:
        """Return the bytes that the limit leaves beside a run on plain rows; negative where that does not fit."""
        try:
            memory = memory_estimate(program, dtype=self.dtype, memory_limit=self.memory_limit, device=self.device)
        except ValueError:
            return -1
        return self.memory_limit - memory.total

    def rows_to_whiten(self, program: ConvexProgram) -> Indices | None:
        """Return the rows whose whitening the limits allow, ascending; None for no whitening.

        ``auto`` whitens for the squared loss, where enough rows are left and the time limit allows the set-up.
        """
        n, n_columns = len(program.rows), int(program.patterns.features.sum())
        count = affordable_rows(n, n_columns, self.room(program))
        if self.whiten == "auto":
            enough = count == n or count * program.n_outputs >= ROWS_PER_WEIGHT * (program.budget or 0)
            in_time = self.time_limit is None or setup_flops(count, n_columns) < self.time_limit * SPEED
            if program.loss.name != "squared" or not enough or not in_time:
                return None
        elif not self.whiten:
            return None
        needed = min(n, 1 + (program.budget or 0) // program.n_outputs)
        if count < needed:
            raise UnsuitedError(
                f"whiten is True, and memory_limit and a few seconds of work allow {count} rows; "
                f"expected at least {needed}, or whiten=False"
            )
        return self.drawn_rows(n, count)

    def drawn_rows(self, n: int, count: int) -> Indices:
        """Return `count` of n rows, drawn by the seed, ascending."""
        if count == n:
            return np.arange(n)
        return np.sort(np.random.default_rng(self.seed).choice(n, count, replace=False))


class Supported(Iterate, Protocol):
    """An iterate with a support."""

    @property
    def support(self) -> Tensor:
        """Flat indices, ascending."""


T = TypeVar("T", bound=Supported)


class Trail:
    """The course of a solve through its phases: limits over all of them, and the best support on all rows."""

    def __init__(self, program: ConvexProgram, settings: Settings, arrays: int = 0) -> None:
        self.program, self.callback, self.arrays = program, settings.callback, arrays
        self.limits = Limits(settings.max_iterations, settings.time_limit)
        self.began = perf_counter()
        self.status = Status.CONVERGED
        self.history = list[float]()
        self.support = np.zeros(0, dtype=np.int64)
        self.weights = np.zeros(0)
        self.objective = program.zero_loss
        self.partial = False
        self.memory = 0

    @property
    def over(self) -> bool:
        """Whether a limit, an interruption or a value that is not finite has ended the solve."""
        return self.status is not Status.CONVERGED

    @property
    def exact(self) -> bool:
        """Whether the best support fits the target to rounding."""
        return self.program.loss.name == "squared" and self.objective <= EXACT**2 * self.program.zero_loss

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.over or self.exact

    @property
    def noise(self) -> float:
        """The share of the target that the best support leaves unexplained, ||residual|| / ||target||."""
        return float(np.sqrt(self.objective / self.program.zero_loss))

    @property
    def seconds(self) -> float:
        """Seconds since the solve began."""
        return perf_counter() - self.began

    def run(self, step: Callable[[T], T], begin: Callable[[], T], most: int | None = None) -> None:
        """Apply a step until it is final or a limit is met, at most `most` times; offer its best.

        The first iterate is made by `begin`, so that nobody else holds its arrays while the others come and go.
        """
        left = self.limits.left(len(self.history), self.seconds)
        if most is not None:
            left = replace(left, max_iterations=min(most, left.max_iterations))
        run = descend(begin(), step, left, self._told())
        self.history += run.history
        spent = len(self.history) >= self.limits.max_iterations
        if run.status is not Status.MAX_ITERATIONS or spent:
            self.status = run.status
        self.offer(run.best.support.cpu().numpy())

    def offer(self, support: Indices) -> bool:
        """Keep a support if its best fit on all rows, in float64, is better than that of the best so far."""
        program = self.program
        columns, outputs = program.support_columns(support), support % program.n_outputs
        weights = fit_support(columns, outputs, program.targets, program.loss)
        prediction = columns.predict(weights, outputs, program.n_outputs)
        objective = program.loss.value(prediction, program.targets)
        if not objective < self.objective and len(self.support):
            return False
        self.support, self.weights, self.objective = support, weights, objective
        return True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """End the solve at an interruption between iterations too, once there is a support to return."""
        try:
            yield
        except KeyboardInterrupt:
            if not len(self.support):
                raise
            self.status = Status.INTERRUPTED

    def holds(self, dictionary: Dictionary, more: int = 0) -> None:
        """State what a phase is to hold, before it: its dictionary's account, more (n, s) arrays, `more` bytes."""
        arrays = self.arrays * dictionary.memory.columns // ITERATES
        self.memory = max(self.memory, dictionary.memory.total + arrays + more)

    def solution(self, solver: str) -> Solution:
        """Return the best support with its weights."""
        story = Run(solver, self.status, len(self.history), self.seconds, np.array(self.history), self.memory or None)
        return certify_support(self.program, self.support, self.weights, story)

    def _told(self) -> Callback | None:
        """Return the callback with iterations and seconds counted over all phases."""
        callback, done, seconds = self.callback, len(self.history), self.seconds
        if callback is None:
            return None

        def tell(progress: Progress) -> None:
            counted = replace(progress, iteration=done + progress.iteration, seconds=seconds + progress.seconds)
            callback(counted)

        return tell


def threshold(program: ConvexProgram, name: str, step: Step, settings: Settings, arrays: int = 0) -> Solution:
    """Solve a program by one method: on whitened rows where they are asked for and enough, else on plain ones.

    `arrays` is how many (n, s) arrays the method holds beyond the three of normalised IHT.
    Where the limits allow to whiten a part of the rows only, plain iterations on all rows go on from its support. A
    ridge ``auto`` starts low; where the fit says that the target is noisy, a second run has the ridge for that noise.
    """
    trail, rows = Trail(program, settings, arrays), settings.rows_to_whiten(program)
    with trail.interruptible():
        if rows is not None:
            on_whitened_rows(trail, step, settings, rows)
        if not trail.over and (rows is None or len(rows) < len(program.rows)):
            on_all_rows(trail, step, settings)
    return trail.solution(name)


def on_whitened_rows(trail: Trail, step: Step, settings: Settings, rows: Indices, most: int | None = None) -> None:
    """Run a method on whitened rows; after the least ridge, where it is ``auto``, with that for the noise."""
    trail.partial = len(rows) < len(trail.program.rows)
    plain = settings.dictionary(trail.program, rows if trail.partial else None)
    start = given_support(trail.program, settings.start, plain)
    ridge = LEAST_RIDGE if isinstance(settings.ridge, str) else settings.ridge
    trail.holds(plain, whitening_bytes(len(rows), plain.operator.size))
    dictionary = plain.whitened(ridge)
    trail.run(partial(step, dictionary), partial(first_iterate, dictionary, start), most)
    noisy = ridge_for(trail.noise)
    if settings.ridge == "auto" and noisy > ANOTHER_RIDGE * ridge and not trail.over:
        dictionary = plain.whitened(noisy)
        trail.run(partial(step, dictionary), partial(first_iterate, dictionary, start), most)


def on_all_rows(trail: Trail, step: Step, settings: Settings, most: int | None = None, *, afresh: bool = False) -> None:
    """Run a method on the plain rows, from the best support so far if there is one, or else `afresh`."""
    dictionary = settings.dictionary(trail.program)
    trail.holds(dictionary)
    start = given_support(trail.program, settings.start, dictionary)
    if len(trail.support) and not afresh:
        start = torch.as_tensor(trail.support, device=dictionary.operator.device)
    trail.run(partial(step, dictionary), partial(first_iterate, dictionary, start), most)


def given_support(program: ConvexProgram, start: Start, dictionary: Dictionary) -> Tensor | None:
    """Return the support of a warm start, of its largest contributions if there are more than the budget; or None."""
    neurons = start_neurons(program, start)
    if neurons is None:
        return None
    units = root_mean_squares(program.rows)
    weights = program.parts(neurons * units)[0].ravel()
    shares = torch.as_tensor(weights, device=dictionary.operator.device) * dictionary.norms
    chosen = dictionary.largest(shares, min(dictionary.budget, int((shares != 0.0).sum())))
    return chosen if len(chosen) else None
