"""Goals: functions of an inquiry that are to be at least 0 together, and what is proven of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats


class Goal:
    """Chosen functions of an inquiry that are to be at least 0 together, above 0 where `strict`.

    Attributes
    ----------
    chosen : list of int
        The functions, by their index in the inquiry.
    strict : ndarray of bool
        One a function.
    ceiling : float
        A proven upper bound of the least of them; infinite where only the bounds of the functions are known.
    ruled_out : bool
        Whether splitting proves that no input meets them.
    """

    def __init__(self, chosen: Sequence[int], strict: Sequence[bool] | NDArray[np.bool_]) -> None:
        self.chosen, self.strict = list(chosen), np.array(strict, dtype=bool)
        self.ceiling, self.ruled_out = np.inf, False

    def settled(self, upper: Floats, level: float) -> bool:
        """Whether no input meets it with more than `level` in place of 0, by what is proven; `upper` bounds functions.

        At the level itself those functions are settled that are to be above it.
        """
        own = upper[self.chosen]
        return self.ruled_out or bool(((own < level) | (self.strict & (own == level))).any())

    def bound(self, upper: Floats) -> float:
        """Return a proven upper bound of the least of its functions; `upper` are those of all functions."""
        return float(upper[self.chosen].min(initial=self.ceiling))

    def take(self, bound: float, level: float) -> None:
        """Take a proven upper bound of the least of its functions."""
        self.ceiling = min(self.ceiling, bound)
        self.ruled_out |= bound < level or (bound <= level and bool(self.strict.all()))


def goals_of(chosen: Sequence[int]) -> list[Goal]:
    """Return one goal for each function: that it is positive."""
    return [Goal([index], [True]) for index in chosen]
