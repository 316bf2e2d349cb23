"""What the hard thresholding solvers share: phases on whitened or plain rows, and the best support so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats, Ints
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.memory import fit_bytes, memory_estimate
from convexnn.program.support_fit import EXACT, fit_support
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import RunRecord, certify_support
from convexnn.solvers.common.descent import Iterate, Limits
from convexnn.solvers.common.phased_descent import PhasedDescent
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.common.warm_start import Start, begun, start_neurons
from convexnn.solvers.thresholding.dictionary import Dictionary, open_dictionary, root_mean_squares
from convexnn.solvers.thresholding.options import Options
from convexnn.solvers.thresholding.sparse_iterate import SparseIterate, first_iterate
from convexnn.solvers.thresholding.whitening import (
    LEAST_RIDGE,
    SPEED,
    affordable_rows,
    ridge_for,
    setup_flops,
    whitening_bytes,
)

Step = Callable[[Dictionary, SparseIterate], SparseIterate]

# A subsample of rows needs this many for each entry of the budget and output.
ROWS_PER_WEIGHT = 3

# A noise-aware ridge below this many times the first one is not worth a second run.
ANOTHER_RIDGE = 2.0


class HasSupport(Iterate, Protocol):
    """An iterate with a support."""

    @property
    def support(self) -> Tensor:
        """Flat indices, ascending."""


T = TypeVar("T", bound=HasSupport)


class SupportSearch(PhasedDescent):
    """A solve in phases: limits over all of them, and the best support on all rows so far, with its best weights.

    `arrays` is how many (n, s) arrays a method holds beyond those of normalised IHT, `subsampled` whether the best
    support came from a part of the rows, `memory` the bytes that the phases so far were to hold at most.
    """

    def __init__(self, program: ConvexProgram, options: Options, arrays: int = 0) -> None:
        super().__init__(Limits(options.max_iterations, options.time_limit), options.callback)
        self.program, self.start, self.arrays = program, options.start, arrays
        self.support = np.zeros(0, dtype=np.int64)
        self.weights = np.zeros(0)
        self.objective = program.zero_loss
        self.subsampled = False
        self.memory = 0

    @property
    def exact(self) -> bool:
        """Whether the best support fits the target to rounding."""
        return self.program.loss.name == "squared" and self.objective <= EXACT**2 * self.program.zero_loss

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.ended or self.exact

    @property
    def noise(self) -> float:
        """The share of the target that the best support leaves unexplained, ||residual|| / ||target||."""
        return float(np.sqrt(self.objective / self.program.zero_loss))

    def run(self, step: Callable[[T], T], begin: Callable[[], T], most: int | None = None) -> None:
        """Descend from the iterate that `begin` makes, at most `most` steps; offer the best support."""
        self.offer(self.descend(begin, step, most).best.support.cpu().numpy())

    def offer(self, support: Ints) -> bool:
        """Keep a support if its best fit on all rows, in float64, is better than that of the best so far."""
        weights, objective = self._fitted(support)
        if not objective < self.objective and len(self.support):
            return False
        self.support, self.weights, self.objective = support, weights, objective
        return True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """End the solve at an interruption between iterations too."""
        try:
            yield
        except KeyboardInterrupt:
            self.status = Status.INTERRUPTED

    def account_for(self, dictionary: Dictionary, more: int = 0) -> None:
        """State what a phase is to hold, before it: its dictionary's account, more (n, s) arrays, `more` bytes.

        A method with more such arrays holds them for a fit of as many budgets at a time.
        """
        array = dictionary.operator.X.itemsize * len(self.program.X) * dictionary.budget
        wider = fit_bytes(self.program, self.arrays * dictionary.budget) - dictionary.memory.work
        self.memory = max(self.memory, dictionary.memory.total + self.arrays * array + max(0, wider) + more)

    def solution(self, solver: str, ended: Status = Status.CONVERGED) -> Solution:
        """Return the best support with its weights; `ended` is what a run says that nothing cut short.

        An interruption before there is one leaves the start, or zero weights.
        """
        if self.exact and len(self.support):
            with self.interruptible():
                self._drop_dust()
        history = np.array(self.history)
        status = self.status if self.ended else ended
        record = RunRecord(solver, status, len(history), self.seconds, history, self.memory or None)
        if not len(self.support):
            return begun(self.program, self.start, record)
        return certify_support(self.program, self.support, self.weights, record)

    def _drop_dust(self) -> None:
        """Drop the weights of an exact fit whose contributions are rounding together, if it stays exact without."""
        columns = self.program.support_columns(self.support)
        squares = sum(np.square(tile).sum(axis=0) for _, tile in columns.tiles())
        least = EXACT * float(np.linalg.norm(self.program.targets)) / len(self.support)
        support = self.support[np.abs(self.weights) * np.sqrt(squares) > least]
        weights, objective = self._fitted(support)
        if objective <= EXACT**2 * self.program.zero_loss:
            self.support, self.weights, self.objective = support, weights, objective

    def _fitted(self, support: Ints) -> tuple[Floats, float]:
        """Return the best weights on a support on all rows, in float64, and the objective there."""
        program = self.program
        columns, outputs = program.support_columns(support), support % program.n_outputs
        weights = fit_support(columns, outputs, program.targets, program.loss)
        prediction = columns.predict(weights, outputs, program.n_outputs)
        return weights, program.loss.value(prediction, program.targets)


def threshold(program: ConvexProgram, name: str, step: Step, options: Options, arrays: int = 0) -> Solution:
    """Solve a program by one method: on whitened rows where they are asked for and enough, else on plain ones.

    `arrays` is how many (n, s) arrays the method holds beyond those of normalised IHT.
    Where the limits allow to whiten a part of the rows only, plain iterations on all rows go on from its support. A
    ridge ``auto`` starts low; where the fit says that the target is noisy, a second run has the ridge for that noise.
    """
    search, rows = SupportSearch(program, options, arrays), rows_to_whiten(program, options)
    with search.interruptible():
        if rows is not None:
            on_whitened_rows(search, step, options, rows)
        if not search.ended and (rows is None or len(rows) < len(program.rows)):
            on_all_rows(search, step, options)
    return search.solution(name)


def on_whitened_rows(search: SupportSearch, step: Step, options: Options, rows: Ints, most: int | None = None) -> None:
    """Run a method on whitened rows; after the least ridge, where it is ``auto``, with that for the noise."""
    search.subsampled = len(rows) < len(search.program.rows)
    plain = make_dictionary(search.program, options, rows if search.subsampled else None)
    start = given_support(search.program, options.start, plain)
    ridge = LEAST_RIDGE if isinstance(options.ridge, str) else options.ridge
    search.account_for(plain, whitening_bytes(len(rows), plain.operator.size))
    dictionary = plain.whitened(ridge)
    search.run(partial(step, dictionary), partial(first_iterate, dictionary, start), most)
    noisy = ridge_for(search.noise)
    if options.ridge == "auto" and noisy > ANOTHER_RIDGE * ridge and not search.ended:
        dictionary = plain.whitened(noisy)
        search.run(partial(step, dictionary), partial(first_iterate, dictionary, start), most)


def on_all_rows(
    search: SupportSearch, step: Step, options: Options, most: int | None = None, *, afresh: bool = False
) -> None:
    """Run a method on the plain rows, from the best support so far if there is one, or else `afresh`."""
    dictionary = make_dictionary(search.program, options)
    search.account_for(dictionary)
    start = given_support(search.program, options.start, dictionary)
    if len(search.support) and not afresh:
        start = torch.as_tensor(search.support, device=dictionary.operator.device)
    search.run(partial(step, dictionary), partial(first_iterate, dictionary, start), most)


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


def make_dictionary(program: ConvexProgram, options: Options, rows: Ints | None = None) -> Dictionary:
    """Return the program's dictionary on all rows, or some."""
    limit = options.memory_limit
    return open_dictionary(program, device=options.device, dtype=options.dtype, memory_limit=limit, rows=rows)


def spare_bytes(program: ConvexProgram, options: Options) -> int:
    """Return the bytes that the limit leaves beside a run on plain rows; negative where that does not fit."""
    limit = options.memory_limit
    try:
        memory = memory_estimate(program, dtype=options.dtype, memory_limit=limit, device=options.device)
    except ValueError:
        return -1
    return limit - memory.total


def rows_to_whiten(program: ConvexProgram, options: Options) -> Ints | None:
    """Return the rows whose whitening the limits allow, ascending; None for no whitening.

    ``auto`` whitens for the squared loss, where enough rows are left and the time limit allows the set-up.
    """
    n, n_columns = len(program.rows), int(program.patterns.features.sum())
    count = affordable_rows(n, n_columns, spare_bytes(program, options))
    if options.whiten == "auto":
        enough = count == n or count * program.n_outputs >= ROWS_PER_WEIGHT * (program.budget or 0)
        in_time = options.time_limit is None or setup_flops(count, n_columns) < options.time_limit * SPEED
        if program.loss.name != "squared" or not enough or not in_time:
            return None
    elif not options.whiten:
        return None
    needed = min(n, 1 + (program.budget or 0) // program.n_outputs)
    if count < needed:
        raise UnsuitedError(
            f"whiten is True, and memory_limit and a few seconds of work allow {count} rows; "
            f"expected at least {needed}, or whiten=False"
        )
    return draw_rows(n, count, options.seed)


def draw_rows(n: int, count: int, seed: int) -> Ints:
    """Return `count` of n rows, drawn by the seed, ascending."""
    if count == n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, count, replace=False))
