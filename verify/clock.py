"""The clock: wall-clock seconds of a question, and those left of its limit."""

from __future__ import annotations

from time import perf_counter

# Seconds that first bounds may take whatever the limit.
MOMENT = 0.2


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

    def overdue(self) -> bool:
        """Whether no time is left, a moment allowed for in any case: small questions are answered at a limit of 0."""
        return self.seconds >= max(self.limit, MOMENT)

    def past(self, moment: float) -> bool:
        """Whether as many seconds have gone by."""
        return self.seconds >= moment

    def left_until(self, moment: float) -> float:
        """Return the seconds until some moment, at least 0."""
        return max(0.0, moment - self.seconds)
