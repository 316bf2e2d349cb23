"""The engine of a recovery: data at unit scale in, weights in the data's own units out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats
from convexnn.linear.operator import as_device
from convexnn.recovery.course import Course
from convexnn.recovery.layer.all_rows import AllRows
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.linear_part import is_uncentred
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.ranks import ALONE, Ranks
from convexnn.recovery.layer.significance import drop_dust, drop_insignificant
from convexnn.recovery.memory import estimate_peak_bytes
from convexnn.recovery.options import RecoveryOptions
from convexnn.recovery.restarts import nothing, stage_sizes
from convexnn.recovery.search import EXACT
from convexnn.solution import Status
from convexnn.solvers.common.certificate import RunRecord
from convexnn.tiles import row_tiles

# Rounds of the last fit, on all rows in float64.
LAST_ROUNDS = 50

# Rows times squared weights, the work of a step, from which there is no last fit once time is up, or after an
# interruption: some 0.1 s.
LATE_WORK = 500_000_000

# Bits of the scale of many rows: whatever their number of ranks, it is the same, and so is the search.
BITS = 26


def recover_weights(
    rows: Floats, target: Floats, options: RecoveryOptions, rng: np.random.Generator
) -> tuple[Floats, Floats, RunRecord]:
    """Return the gates and signed weights (p, D) of a network for rows (n, D) and a target (n,), and how it went.

    The search sees all rows, or a sample where there are many: then the network is fitted to all of them, in blocks, at
    the end. Where time is up already the sample is small, and scaled by itself: all rows take longer than is left. Of
    several ranks the first one searches.
    """
    task = open_task(rows, target, options, rng)
    outcome = task.every.ranks.searched(lambda: search_weights(task.problem, task.every.height, options, rng))
    return task.answer(outcome, options)


@dataclass(frozen=True)
class Outcome:
    """What a search has found: a network at unit scale, how it ended, the lowest losses on the way."""

    hidden: HiddenLayer
    status: Status
    history: list[float]


@dataclass(frozen=True, eq=False)
class Task:
    """The rows of a recovery, all of them and, at unit scale, those that its search sees."""

    every: AllRows
    problem: Problem

    def answer(self, found: Outcome, options: RecoveryOptions) -> tuple[Floats, Floats, RunRecord]:
        """Return gates, signed weights and the record of a search, its network fitted to all rows."""
        hidden, status, every = found.hidden, found.status, self.every
        late = status is Status.INTERRUPTED and _work(every.n_rows, hidden) > LATE_WORK
        if len(self.problem.target) < every.n_rows and not late:
            hidden, status = _fitted(every, hidden, status)
        gates = hidden.weights.cpu().numpy() * (every.height / every.scale)
        history, (n_rows, n_inputs) = np.array(found.history), every.rows.shape
        uncentred = is_uncentred(self.problem, options.budget)
        memory = estimate_peak_bytes(n_rows, n_inputs, options.budget, options.width, uncentred)
        run = RunRecord("recover", status, len(history), options.deadline.seconds, history, memory)
        return gates, gates * hidden.signs.cpu().numpy()[:, None], run


def open_task(rows: Floats, target: Floats, options: RecoveryOptions, rng: np.random.Generator) -> Task:
    """Return the task of a recovery; all ranks of a group call this."""
    ranks, device = Ranks(options.group), as_device(options.device)
    hurried = ranks.agreed(options.deadline.is_over)
    every = AllRows(rows, target, sum(ranks.counts(len(rows))), device, ranks, options.deadline.is_over)
    size = stage_sizes(every.n_rows, options.budget)[0 if hurried else -1]
    inputs, outputs = every.sample(size, rng)
    seen = (inputs, outputs) if hurried or size == every.n_rows else (rows, target)
    common = ranks if seen[0] is rows else ALONE
    every = replace(every, scale=root_mean_squares(seen[0], common))
    every = replace(every, height=float(root_mean_squares(seen[1][:, None], common)[0]))
    if seen[0] is rows:
        every = replace(every, scale=in_few_bits(every.scale), height=float(in_few_bits(every.height)))
    return Task(every, every.scaled(inputs, outputs))


def search_weights(problem: Problem, height: float, options: RecoveryOptions, rng: np.random.Generator) -> Outcome:
    """Return the best network for the rows of a problem, whose target has the given root mean square."""
    course = Course(options, 0.5 * height**2, nothing(problem))
    status, hidden = course.run(problem, rng), course.best.hidden
    try:
        return Outcome(_finished(problem, hidden, options, status), status, course.history)
    except KeyboardInterrupt:
        return Outcome(hidden, Status.INTERRUPTED, course.history)


def _fitted(every: AllRows, hidden: HiddenLayer, status: Status) -> tuple[HiddenLayer, Status]:
    """Return a network that was found on some rows fitted to all of them, and what is known then.

    Of several ranks an interruption is raised: the others are in the middle of an exchange with this one.
    """
    hurried = status is Status.INTERRUPTED
    try:
        hidden, loss = polish(every, hidden, LAST_ROUNDS, stop=lambda: hurried or every.ranks.agreed(every.stop))
    except KeyboardInterrupt:
        if every.ranks.group is not None:
            raise
        return hidden, Status.INTERRUPTED
    if status is Status.EXACT and loss > EXACT:
        # A row that was not seen is missed: the search has ended all the same.
        status = Status.TIME_LIMIT if every.ranks.agreed(every.stop) else Status.SEARCH_ENDED
    return hidden, status


def _finished(problem: Problem, hidden: HiddenLayer, options: RecoveryOptions, status: Status) -> HiddenLayer:
    """Return the layer fitted to the rows of the search, without the weights that rounding, or noise, explains.

    Where time is up, or the search was interrupted, and a step of the fit is much work, the layer is as it was found.
    """

    def is_over() -> bool:
        return status is Status.INTERRUPTED or options.deadline.is_over()

    if is_over() and _work(len(problem.rows), hidden) > LATE_WORK:
        return hidden.compact(options.width)
    hidden, loss = polish(problem, hidden, rounds=LAST_ROUNDS, stop=is_over)
    if loss <= EXACT:
        hidden = drop_dust(problem, hidden, EXACT, is_over)
    if options.significant:
        hidden = drop_insignificant(problem, hidden, options.width * problem.rows.shape[1])
    return hidden.compact(options.width)


def _work(n_rows: int, hidden: HiddenLayer) -> int:
    """Return the work of a step of a fit: rows times squared weights."""
    return n_rows * hidden.nnz**2


def in_few_bits(values: ArrayLike) -> Floats:
    """Return values rounded to a few bits: sums that other ranks take in another order come to the same then."""
    fractions, exponents = np.frexp(values)
    result: Floats = np.ldexp(np.round(fractions * 2.0**BITS), exponents - BITS)
    return result


def root_mean_squares(columns: Floats, ranks: Ranks = ALONE) -> Floats:
    """Return the root mean square of each column, 1 for columns of zeros; large entries do not overflow.

    Of several ranks that hold rows, over all of them.
    """
    peaks = ranks.largest(np.maximum(columns.max(axis=0), -columns.min(axis=0)))
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    total = np.zeros(columns.shape[1])
    for part in row_tiles(*columns.shape):
        total += np.square(columns[part] / peaks).sum(axis=0)
    level: Floats = np.sqrt(ranks.summed(total) / sum(ranks.counts(len(columns))))
    return peaks * np.where(level > 0.0, level, 1.0)
