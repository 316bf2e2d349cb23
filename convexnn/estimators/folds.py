"""Which rows are held out: folds whose targets are spread alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Ints

FOLDS = 3

# Fewest rows of which some are held out, and from how many on a single fold tells enough.
HELD_OUT, MANY = 30, 3000


def fold_of(target: NDArray[np.float64], seed: int = 0) -> Ints:
    """Return the fold (n,) of each row for a target (n,) or (n, k): of FOLDS rows next to each other in the order of
    the (first) target each fold gets one, so that a large value is not missed by chance more often than it must be.
    """
    first = target.reshape(len(target), -1)[:, 0]
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(first)), first))
    blocks = rng.permuted(np.tile(np.arange(FOLDS), (len(first) // FOLDS + 1, 1)), axis=1)
    folds = np.empty(len(first), dtype=np.int64)
    folds[order] = blocks.ravel()[: len(first)]
    return folds


def held_out_folds(n_rows: int) -> range:
    """Return the folds that are held out in turn: all of them, or one of many rows."""
    return range(FOLDS if n_rows < MANY else 1)
