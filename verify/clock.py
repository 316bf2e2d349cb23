"""The clock: wall-clock seconds of a question, and those left of its limit."""

from __future__ import annotations

from time import perf_counter


class Clock:
    """Wall-clock seconds since it was made, and those left of a limit."""

    def __init__(self, limit: float) -> None:
        self.began, self.limit = perf_counter(), limit

    @property
    def seconds(self) -> float:
        return perf_counter() - self.began

    @property
    def left(self) -> float:
        return self.limit - self.seconds

    def over(self) -> bool:
        """Whether no time is left."""
        return self.left <= 0.0

    def past(self, moment: float) -> bool:
        """Whether as many seconds have gone by."""
        return self.seconds >= moment

    def left_until(self, moment: float) -> float:
        """Return the seconds until some moment, at least 0."""
        return max(0.0, moment - self.seconds)
