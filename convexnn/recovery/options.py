"""What is asked of a recovery, and what is told while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from convexnn.solvers.common.descent import Progress


@dataclass(frozen=True)
class RecoveryProgress(Progress):
    """State after one candidate, handed to ``callback(state)``.

    Attributes
    ----------
    iteration, objective, best, seconds
        As in :class:`convexnn.solvers.common.descent.Progress`: the candidate's number, its loss (on the rows it was
        made on), the lowest loss so far on all rows, and the time.
    restart : int
        The start that the candidate belongs to, from 0.
    source : str
        How the candidate was made.
    """

    restart: int
    source: str


@dataclass(frozen=True)
class Wish:
    """The arguments of :func:`convexnn.recover`, checked; `began` is the clock at its start."""

    budget: int
    width: int
    signs: str
    n_restarts: int
    patience: int
    significant: bool
    time_limit: float | None
    began: float
    device: str
    callback: Callable[[RecoveryProgress], None] | None

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self.began

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.time_limit is not None and self.seconds >= self.time_limit
