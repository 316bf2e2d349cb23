"""Goals: functions of an inquiry that are to be at least 0 together, and what is proven of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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


def goals_of(chosen: Sequence[int]) -> list[Goal]:
    """Return one goal for each function: that it is positive."""
    return [Goal([index], [True]) for index in chosen]
