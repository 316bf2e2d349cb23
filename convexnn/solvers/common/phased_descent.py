"""Several descents as one run: limits, iterations, seconds and the callback count over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from convexnn.solution import Status
from convexnn.solvers.common.descent import Callback, Descent, Limits, Progress, T, descend


class PhasedDescent:
    """A run of descents, one after the other: why it ended (CONVERGED until then), the objective of each iteration."""

    def __init__(self, limits: Limits, callback: Callback | None) -> None:
        self.limits, self.callback = limits, callback
        self.began = perf_counter()
        self.status = Status.CONVERGED
        self.history = list[float]()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return perf_counter() - self.began

    @property
    def ended(self) -> bool:
        """Whether a limit, an interruption or a value that is not finite has ended the run."""
        return self.status is not Status.CONVERGED

    def descend(self, begin: Callable[[], T], step: Callable[[T], T], most: int | None = None) -> Descent[T]:
        """Apply a step until it is final or a limit is met, at most `most` times.

        The first iterate is made by `begin`, so that nobody else holds its arrays while the others come and go.
        """
        left = self.limits.left(len(self.history), self.seconds)
        if most is not None:
            left = replace(left, max_iterations=min(most, left.max_iterations))
        descent = descend(begin(), step, left, self._counted_callback())
        self.history += descent.history
        spent = len(self.history) >= self.limits.max_iterations
        if descent.status is not Status.MAX_ITERATIONS or spent:
            self.status = descent.status
        return descent

    def _counted_callback(self) -> Callback | None:
        """Return the callback with iterations and seconds counted over all descents."""
        callback, done, seconds = self.callback, len(self.history), self.seconds
        if callback is None:
            return None

        def tell(progress: Progress) -> None:
            callback(replace(progress, iteration=done + progress.iteration, seconds=seconds + progress.seconds))

        return tell
