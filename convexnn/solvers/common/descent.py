"""The loop that the iterative solvers share: limits, best so far, interruption; the step is theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from convexnn.checks import as_count, as_nonnegative
from convexnn.records import Record
from convexnn.solution import Status


class Iterate(Protocol):
    """What a step takes and returns."""

    @property
    def objective(self) -> float:
        """The objective at this iterate."""

    @property
    def final(self) -> bool:
        """Whether the solver's own stopping rule is met here."""


@dataclass(frozen=True)
class Progress(Record):
    """State after one iteration, handed to ``callback(progress)``.

    Attributes
    ----------
    iteration : int
        Iterations done, from 1.
    objective, best : float
        Objective at the present weights, and the lowest so far.
    seconds : float
        Wall-clock time since the iterations began.
    """

    iteration: int
    objective: float
    best: float
    seconds: float


Callback = Callable[[Progress], None]


@dataclass(frozen=True)
class Limits:
    """Most iterations, and most seconds (None: no limit) of a run."""

    max_iterations: int
    time_limit: float | None = None

    def __post_init__(self) -> None:
        as_count(self.max_iterations, "max_iterations")
        if self.time_limit is not None:
            as_nonnegative(self.time_limit, "time_limit")

    def left(self, iterations: int, seconds: float) -> Limits:
        """Return what is left of the limits after those iterations and seconds, at least one iteration."""
        rest = None if self.time_limit is None else max(0.0, self.time_limit - seconds)
        return Limits(max(1, self.max_iterations - iterations), rest)


T = TypeVar("T", bound=Iterate)


@dataclass(frozen=True)
class Descent(Generic[T]):
    """How a run went: its best and its last iterate, why it ended, the objective after each iteration."""

    best: T
    last: T
    status: Status
    history: list[float]

    @property
    def answer(self) -> T:
        """The last iterate where it met the stopping rule, else the best."""
        return self.last if self.status is Status.CONVERGED else self.best


def descend(start: T, step: Callable[[T], T], limits: Limits, callback: Callback | None = None) -> Descent[T]:
    """Apply `step` from `start` until an iterate is final or a limit is met; keep the best iterate.

    KeyboardInterrupt, raised by the callback or from outside, ends the run with what it has.
    """
    best, now, history = start, start, list[float]()
    del start  # the arrays that it carries go with the last of its names
    began = perf_counter()
    try:
        while len(history) < limits.max_iterations:
            if limits.time_limit is not None and perf_counter() - began >= limits.time_limit:
                return Descent(best, now, Status.TIME_LIMIT, history)
            now = step(now)
            if not isfinite(now.objective):
                return Descent(best, best, Status.NOT_FINITE, history)
            history.append(now.objective)
            best = now if now.objective < best.objective else best
            if callback is not None:
                callback(Progress(len(history), now.objective, best.objective, perf_counter() - began))
            if now.final:
                return Descent(best, now, Status.CONVERGED, history)
    except KeyboardInterrupt:
        return Descent(best, now, Status.INTERRUPTED, history)
    return Descent(best, now, Status.MAX_ITERATIONS, history)
