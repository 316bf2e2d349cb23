"""Coverage and separation of a set of patterns: the assumption on which recovery by hard thresholding rests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Bools
from convexnn.patterns.activation_patterns import ActivationPatterns, gate_tiles
from convexnn.records import Record

# Products of 0 and 1 are summed exactly in float32 up to this many rows.
EXACT_ROWS = 1 << 24


@dataclass(frozen=True)
class SeparationAndCoverage(Record):
    """The largest epsilon and gamma for which the patterns satisfy the assumption.

    Attributes
    ----------
    coverage : float
        epsilon, the least share of rows that a pattern is active on.
    least_active : int
        The pattern that has it.
    separation : float
        gamma, the least share of rows that two patterns differ on; 1 for a single pattern.
    nearest : (int, int) or None
        The two patterns that have it.
    n_rows, n_patterns : int
        How many rows and patterns there are.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.array([[1.0], [-1.0], [2.0], [-3.0]])
    >>> print(cx.theory.separation_and_coverage(cx.sample_patterns(X, kind="single"), X))
    coverage epsilon = 0.5 (pattern 0), separation gamma = 1 (patterns 0 and 1); 2 patterns on 4 rows
    """

    coverage: float
    least_active: int
    separation: float
    nearest: tuple[int, int] | None
    n_rows: int
    n_patterns: int

    def __str__(self) -> str:
        pair = "" if self.nearest is None else f" (patterns {self.nearest[0]} and {self.nearest[1]})"
        return (
            f"coverage epsilon = {self.coverage:.4g} (pattern {self.least_active}), separation gamma = "
            f"{self.separation:.4g}{pair}; {self.n_patterns:,} patterns on {self.n_rows:,} rows"
        )


def separation_and_coverage(patterns: ActivationPatterns, X: ArrayLike) -> SeparationAndCoverage:
    """Return epsilon = min_j tr(D_j) / n and gamma = min_{i != j} tr(|D_i - D_j|) / n.

    Parameters
    ----------
    patterns : ActivationPatterns
        From :func:`convexnn.sample_patterns`.
    X : array_like (n, d)
        The data; on other rows than those of the patterns two masks may be equal, and one may be empty.

    Returns
    -------
    SeparationAndCoverage

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or shape.

    Notes
    -----
    Assumption 2 of arXiv 2509.20323 asks for epsilon > 0 and gamma > 0. All pairs are compared, m^2 n flops, in tiles.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.array([[1.0], [-1.0], [2.0], [-3.0]])
    >>> found = cx.theory.separation_and_coverage(cx.sample_patterns(X, kind="single"), X)
    >>> found.coverage, found.separation
    (0.5, 1.0)
    """
    if not isinstance(patterns, ActivationPatterns):
        raise TypeError(f"patterns is a {type(patterns).__name__}; expected ActivationPatterns from sample_patterns")
    active = patterns.masks(X)
    counts = active.sum(axis=0)
    distance, nearest = _nearest(active)
    n, least = len(active), int(counts.argmin())
    return SeparationAndCoverage(
        coverage=float(counts[least]) / n,
        least_active=least,
        separation=1.0 if nearest is None else distance / n,
        nearest=nearest,
        n_rows=n,
        n_patterns=len(patterns),
    )


def _nearest(active: Bools) -> tuple[int, tuple[int, int] | None]:
    """Return the least number of rows that two of the masks (n, m) differ on, and the two; None for one mask."""
    n, m = active.shape
    numbers: NDArray[np.floating[Any]] = active.astype(np.float32 if n <= EXACT_ROWS else np.float64)
    counts, best, pair = active.sum(axis=0), n + 1, None
    for tile in gate_tiles(m, m):
        common = (numbers[:, tile].T @ numbers).astype(np.int64)
        apart = counts[tile, None] + counts - 2 * common
        apart[np.arange(tile.stop - tile.start), np.arange(tile.start, tile.stop)] = n + 1
        i, j = divmod(int(apart.argmin()), m)
        if apart[i, j] < best:
            best, pair = int(apart[i, j]), (min(i + tile.start, j), max(i + tile.start, j))
    return best, pair
