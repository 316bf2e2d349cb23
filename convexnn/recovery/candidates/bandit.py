"""What to try next in a search: what has paid is taken more often, and nothing is ever out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from convexnn.checks import Floats
from convexnn.recovery.candidates.moves import MOVES_OF_FEW_ROWS
from convexnn.recovery.candidates.step_rules import STEP_RULES


class Kind(IntEnum):
    """Kinds of candidates: rounds over all neurons, neurons one after the other, parts searched anew."""

    ROUNDS = 0
    PURSUIT = 1
    PARTS = 2


# What a candidate of each kind costs, and the least share of each kind.
COSTS, LEAST_SHARE = np.array([1.0, 12.0, 2.0]), 0.15

# Decibels above which a gain counts as so many, and what is left of earlier ones after each candidate.
MOST_GAIN, MEMORY = 10.0, 0.97


@dataclass
class Gains:
    """What some choices have gained, in decibels, and their work; what is long past counts less."""

    count: int

    def __post_init__(self) -> None:
        self.gains, self.works = np.ones(self.count), np.ones(self.count)

    @property
    def rates(self) -> Floats:
        """Decibels a unit of work."""
        return self.gains / self.works

    def credit(self, index: int, gain: float, work: float) -> None:
        """Credit a candidate to choice `index`."""
        self.gains, self.works = MEMORY * self.gains, MEMORY * self.works
        self.gains[index] += min(gain, MOST_GAIN)
        self.works[index] += work


@dataclass
class Bandit:
    """What step rules, moves and kinds of candidates have gained, and what to try next: none is ever out."""

    rules: Gains = field(default_factory=lambda: Gains(len(STEP_RULES)))
    moves: Gains = field(default_factory=lambda: Gains(len(MOVES_OF_FEW_ROWS)))
    kinds: Gains = field(default_factory=lambda: Gains(len(Kind)))

    def draw_rule(self, rng: np.random.Generator, costs: list[float]) -> int:
        """Return the index of a rule: each has work in proportion to what it gains by it."""
        rates = self.rules.rates
        chances = (0.1 + rates / rates.sum()) / costs
        return int(rng.choice(len(STEP_RULES), p=chances / chances.sum()))

    def draw_move(self, rng: np.random.Generator, count: int) -> int:
        """Return the index of one of the first `count` moves: the more a candidate gains by it, the likelier."""
        rates = self.moves.rates[:count]
        chances = 0.1 + rates / rates.sum()
        return int(rng.choice(count, p=chances / chances.sum()))

    def draw_kind(self, rng: np.random.Generator, kinds: list[Kind]) -> Kind:
        """Return one of some kinds: the more it gains at its cost, the likelier."""
        rates = self.kinds.rates[kinds] / COSTS[kinds]
        chances = LEAST_SHARE + (1.0 - len(kinds) * LEAST_SHARE) * rates / rates.sum()
        return kinds[int(rng.choice(len(kinds), p=chances))]
