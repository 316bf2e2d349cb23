"""The clock of a run that several stages share: how long it has been on, and whether its time is up."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from time import perf_counter, time

from convexnn.rank_workers import is_cancelled


@dataclass(frozen=True)
class Deadline:
    """A clock with a limit.

    Attributes
    ----------
    time_limit : float or None
        Seconds from `began`; None for no limit.
    began : float
        When the clock was started, of perf_counter; by default now.
    """

    time_limit: float | None
    began: float = field(default_factory=perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self.began

    def is_over(self) -> bool:
        """Whether the time is up, or the result of all this is no longer wanted."""
        return (self.time_limit is not None and self.seconds >= self.time_limit) or is_cancelled()

    def share(self, share: float) -> float | None:
        """Return that share of the time that is left, in seconds; None where there is no limit."""
        return None if self.time_limit is None else share * max(0.0, self.time_limit - self.seconds)

    def sent(self) -> SentDeadline:
        """Return the same end for another process, or another machine, whose counters say something else."""
        left = None if self.time_limit is None else max(0.0, self.time_limit - self.seconds)
        return SentDeadline(left, time() + (left or 0.0))


@dataclass(frozen=True)
class SentDeadline:
    """A deadline on its way to a worker: the seconds that were left, and the end by the clock on the wall."""

    left: float | None
    end: float

    def received(self) -> Deadline:
        """Return the deadline where it arrives: never later than meant, should the two clocks differ."""
        return Deadline(None if self.left is None else max(0.0, min(self.left, self.end - time())))


def seconds_to_import(module: str) -> float:
    """Import a module now and return the seconds that it took: they are no part of a limit, so clocks start later."""
    began = perf_counter()
    import_module(module)
    return perf_counter() - began
