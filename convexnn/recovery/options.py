"""What is asked of a recovery, and what is told while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convexnn.solvers.common.deadline import Deadline
from convexnn.solvers.common.descent import Progress


@dataclass(frozen=True)
class RecoveryProgress(Progress):
    """State after one candidate, handed to ``callback(state)``.

    Attributes
    ----------
    iteration, objective, best, seconds
        As in :class:`convexnn.solvers.common.descent.Progress`: the candidate's number, its loss (on the rows it was
        made on), the lowest loss so far on the rows of the search, and the time.
    restart : int
        The start that the candidate belongs to, from 0.
    source : str
        How the candidate was made.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> seen = []
    >>> _ = cx.recover(X, np.maximum(X[:, 0] - X[:, 1], 0), budget=2, callback=seen.append)
    >>> seen[-1].restart, seen[-1].iteration == len(seen), bool(seen[-1].best < 1e-12)
    (0, True, True)
    """

    restart: int
    source: str


@dataclass(frozen=True)
class RecoveryOptions:
    """The arguments of :func:`convexnn.recover`, checked; the `deadline` is its time limit and when it began."""

    budget: int
    width: int
    signs: str
    n_restarts: int
    patience: int
    significant: bool
    deadline: Deadline
    device: str
    callback: Callable[[RecoveryProgress], None] | None
    n_jobs: int | None = 1
    checkpoint: Path | None = None
    group: Any = None
