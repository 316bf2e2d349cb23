"""The course of a training: budget and learning rate, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, pi

# Steps over which the learning rate rises, and the share of the highest that is left at the end of its cosine.
WARM_UP, LAST_RATE = 200, 0.002

# Share of the steps after which the budget has fallen where layers are wider at first.
WIDE_FALLING = 0.75


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
    width : int or None
        Most neurons of a hidden layer at the end, to which wider layers fall before the budget does; None where layers
        have no more from the beginning.
    narrow : float
        Share of the steps after which wider layers have fallen.
    """

    budget: int
    epochs: int
    batch: int
    rate: float = 1e-2
    slack: float = 40.0
    falling: float = 0.6
    settled: float = 0.85
    ridge: float = 0.0
    width: int | None = None
    narrow: float = 0.4

    def narrowing(self, width: int, weights: int) -> Schedule:
        """Return the schedule of layers that are wider at first, and have so many neurons and weights once narrow."""
        return replace(self, width=width, slack=max(1.0, weights / self.budget), falling=WIDE_FALLING)

    def budget_at(self, progress: float) -> int | None:
        """Return the budget at a share of the steps, s + (slack - 1) s (1 - p)^3, p from 0 to 1; None for all weights.

        p is the share of the way to `falling`, from the beginning or from where wider layers are narrow.
        """
        begin = 0.0 if self.width is None else self.narrow
        if progress < begin:
            return None
        left = max(0.0, 1.0 - (progress - begin) / (self.falling - begin))
        return round(self.budget * (1.0 + (self.slack - 1.0) * left**3))

    def width_at(self, progress: float, neurons: int) -> int:
        """Return how many of so many neurons a hidden layer has at a share of the steps."""
        if self.width is None or neurons <= self.width:
            return neurons
        left = max(0.0, 1.0 - progress / self.narrow)
        return round(self.width + (neurons - self.width) * left**2)

    def margin_at(self, progress: float) -> float:
        """Return the share of the margin at a share of the steps: it grows until the budget has fallen."""
        return min(1.0, progress / self.falling)

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step: it rises for a while, then falls as a cosine."""
        rise = min(1.0, (step + 1) / min(WARM_UP, max(1, steps // 10)))
        return self.rate * rise * (0.5 * (1.0 + cos(pi * step / steps)) + LAST_RATE)
