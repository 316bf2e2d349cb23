"""The course of a training: budget and learning rate, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

# Steps over which the learning rate rises, and the share of the highest that is left at the end of its cosine.
WARM_UP, LAST_RATE = 200, 0.002


@dataclass(frozen=True)
class Schedule:
    """How a run goes.

    Attributes
    ----------
    budget : int
        Most nonzero weights at the end.
    epochs, batch : int
        Passes over the rows, and rows a step.
    rate : float
        The highest learning rate.
    slack : float
        The first budget as a multiple of the last.
    falling, settled : float
        Share of the steps after which the budget has fallen, and after which the support stays.
    ridge : float
        Strength of 1/2 ||W||^2 on the weights at unit scale.
    """

    budget: int
    epochs: int
    batch: int
    rate: float = 1e-2
    slack: float = 40.0
    falling: float = 0.6
    settled: float = 0.85
    ridge: float = 0.0

    def budget_at(self, progress: float) -> int:
        """Return the budget at a share of the steps: s + (slack - 1) s (1 - progress / falling)^3."""
        left = max(0.0, 1.0 - progress / self.falling)
        return round(self.budget * (1.0 + (self.slack - 1.0) * left**3))

    def margin_at(self, progress: float) -> float:
        """Return the share of the margin at a share of the steps: it grows while the budget falls."""
        return min(1.0, progress / self.falling)

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step: it rises for a while, then falls as a cosine."""
        rise = min(1.0, (step + 1) / min(WARM_UP, max(1, steps // 10)))
        return self.rate * rise * (0.5 * (1.0 + cos(pi * step / steps)) + LAST_RATE)
