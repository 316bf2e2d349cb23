"""Rising: splitting for what is above the best value of a function, which is climbed from and is then the best."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from convexnn.checks import Floats
from verify.splitting.goals import goals_of
from verify.splitting.inquired import Inquired
from verify.splitting.turns import Splitting

# How often a point that is found above the best one is climbed from, in one search.
CLIMBS = 20


class Rising:
    """Proofs that nothing is above the best value of a function of an inquiry but for a tolerance, or better values.

    Parameters
    ----------
    inquiry : Inquired
        What is known.
    index : int
        The function.
    polish : callable, optional
        Takes the best point further, after climbing.
    """

    def __init__(self, inquiry: Inquired, index: int, polish: Callable[[], None] = lambda: None) -> None:
        self.inquiry, self.index, self.polish = inquiry, index, polish
        self.splitting: Splitting | None = None

    def run(
        self, level: Callable[[], float], closed: Callable[[], bool], share: float, branching: float | None
    ) -> None:
        """Go on for a share of the time left, `branching` as for :meth:`Splitting.run`.

        `level` tells what a better value has to exceed, by what is known then; `closed` whether that is enough.
        """
        for _ in range(CLIMBS):
            known = self.inquiry.upper[self.index], self.inquiry.reached[self.index]
            if not np.isfinite(known).all() or closed():
                return
            above: list[Floats] = []
            if not self._above(level(), above).run(share, branching):
                return
            self.inquiry.climb([self.index], above[-1])
            self.polish()

    @property
    def closing(self) -> bool:
        """Whether boxes close the region."""
        return self.splitting is not None and self.splitting.closing

    def _above(self, level: float, above: list[Floats]) -> Splitting:
        """Return the search for what is above a level, as it stands; a level is never lowered."""
        accept = partial(self._rises, above, level)
        if self.splitting is None:
            self.splitting = Splitting(self.inquiry, goals_of([self.index]), accept, level)
        self.splitting.take(accept, max(level, self.splitting.level))
        return self.splitting

    def _rises(self, above: list[Floats], level: float, point: Floats) -> bool:
        above.append(point)
        return bool(self.inquiry.record(point)[self.index] > level)
