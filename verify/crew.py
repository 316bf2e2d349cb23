"""The crew: workers that search the open subproblems of one question side by side, in rounds of seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import process_time
from typing import Any

import numpy as np

from convexnn.workers import as_jobs, count_workers, spread

# Seconds that work is expected to take here from which on it is worth handing out: a new worker imports the package
# first, and of what takes less the way there and back is a large part.
FIRST, LATER = 2.0, 0.3

# Seconds of a round: between rounds clocks are heard, points judged, and what is open is dealt out anew.
ROUND = 1.0

# Points that a worker brings back from a round at most.
POINTS = 8

# Seconds after the limit of a question up to which parts are waited for: what starts or ends late is left.
LATE = 0.3


class Crew:
    """The workers of a question; without more than one, all is done by the question's own process.

    Parameters
    ----------
    n_jobs : int, optional
        As :func:`convexnn.workers.as_jobs` takes it.

    Attributes
    ----------
    size : int
        How many workers there are.
    critical, total : float
        Seconds of CPU of the busiest worker of each round, and of all, added up.
    trouble : str
        Why there are no workers any more; empty where nothing happened.
    """

    def __init__(self, n_jobs: int | None = 1) -> None:
        self.n_jobs = as_jobs(n_jobs)
        self.size, self.ready, self.trouble = count_workers(self.n_jobs), False, ""
        self.critical, self.total = 0.0, 0.0

    def pays(self, seconds: float) -> bool:
        """Whether work that is expected to take so many seconds here is worth handing out."""
        return self.size > 1 and seconds >= (LATER if self.ready else FIRST)

    def round_within(self, left: float) -> float:
        """Return the seconds of a round where so many are left; the first one is short, since workers start in it."""
        return min(ROUND if self.ready else LATER, max(left, LATER))

    def share(
        self, work: Callable[..., Any], parts: Sequence[tuple[Any, ...]], left: float = np.inf
    ) -> Iterator[tuple[int, Any]]:
        """Yield the number of a part and ``work(*part)`` as it is there, `left` seconds before the limit.

        Parts whose worker was interrupted do not come back, nor do those that no worker could be found for in time.
        """
        self.ready, spent, calls = True, [0.0], [(work, part) for part in parts]
        patience = max(left, LATER) + LATE if np.isfinite(left) else None
        try:
            for number, (found, seconds) in spread(_timed, calls, self.n_jobs, patience=patience):
                spent.append(seconds)
                if found is not None:
                    yield number, found
        except OSError as error:
            self.size, self.trouble = 1, str(error)
        self.critical, self.total = self.critical + max(spent), self.total + sum(spent)


def _timed(work: Callable[..., Any], part: tuple[Any, ...]) -> tuple[Any, float]:
    """Return what work comes to, None where it was interrupted, and the seconds of CPU that it took."""
    began = process_time()
    try:
        found = work(*part)
    except KeyboardInterrupt:
        found = None
    return found, process_time() - began
