"""How far a round of a candidate steps towards least squares: the rules, and a bandit that learns which of them pay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from convexnn.recovery.layer.support_steps import UnitColumns, conjugate_steps, damped_step


@dataclass(frozen=True)
class StepRule:
    """A way of fitting on a support.

    Attributes
    ----------
    name : str
        In words.
    fit : callable
        columns, residual, damping -> the step of the weights.
    dampings : tuple of float
        What a candidate draws its damping from.
    rounds : tuple of int
        The range of its number of rounds.
    work : callable
        Weights on the support -> the work of a fit, in units of n times these weights.
    """

    name: str
    fit: Callable[..., Tensor]
    dampings: tuple[float, ...]
    rounds: tuple[int, int]
    work: Callable[[int], float]


def _descent(columns: UnitColumns, residual: Tensor, damping: float) -> Tensor:
    return conjugate_steps(columns, residual, count=5)


STEP_RULES = (
    StepRule("full steps", damped_step, (1e-2, 1e-2, 1e-3, 1e-4), (4, 26), float),
    StepRule("damped steps", damped_step, (1.0,), (50, 250), float),
    StepRule("short steps", _descent, (0.0,), (50, 250), lambda s: 20.0),
)


# A pursuit takes about as long as so many other candidates; neither has less than this share.
PURSUIT_COST, LEAST_SHARE = 4.0, 0.15


@dataclass
class StepRuleBandit:
    """What each step rule has gained, in decibels a unit of work; what is long past counts less.

    Pursuits, which have no step rule, are weighed against all other candidates by decibels a candidate.
    """

    gains: list[float] = field(default_factory=lambda: [1.0] * len(STEP_RULES))
    works: list[float] = field(default_factory=lambda: [1.0] * len(STEP_RULES))
    pursuit_gains: list[float] = field(default_factory=lambda: [1.0, 1.0])
    pursuit_counts: list[float] = field(default_factory=lambda: [1.0, 1.0])

    def draw(self, rng: np.random.Generator, costs: list[float]) -> int:
        """Return the index of a rule: each has work in proportion to what it gains by it, and none is ever out."""
        rates = np.divide(self.gains, self.works)
        chances = (0.1 + rates / rates.sum()) / costs
        return int(rng.choice(len(STEP_RULES), p=chances / chances.sum()))

    def credit(self, index: int, gain: float, work: float) -> None:
        """Credit a candidate to rule `index`."""
        self.gains = [0.97 * value for value in self.gains]
        self.works = [0.97 * value for value in self.works]
        self.gains[index] += min(gain, 10.0)
        self.works[index] += work

    @property
    def pursuit_share(self) -> float:
        """The share of pursuits among candidates: more where they gain more, a pursuit at its cost in candidates."""
        rates = np.divide(self.pursuit_gains, self.pursuit_counts) / (PURSUIT_COST, 1.0)
        return float(LEAST_SHARE + (1.0 - 2.0 * LEAST_SHARE) * rates[0] / rates.sum())

    def credit_pursuit(self, is_pursuit: bool, gain: float) -> None:
        """Credit a candidate to pursuits, or to all others."""
        self.pursuit_gains = [0.97 * value for value in self.pursuit_gains]
        self.pursuit_counts = [0.97 * value for value in self.pursuit_counts]
        self.pursuit_gains[1 - is_pursuit] += min(gain, 10.0)
        self.pursuit_counts[1 - is_pursuit] += 1.0
