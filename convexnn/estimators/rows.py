"""Rows as a fit takes them: dense, those that count, repeated where weights are counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from convexnn.checks import Floats, Ints
from convexnn.fitting.fit_network import as_weights

# Bytes of sparse rows that are made dense: all at once for a fit, some rows at a time for outputs.
MOST_BYTES, TILE_BYTES = 1 << 30, 1 << 26

# Rows, for each that counts, up to which weights that are whole numbers become repetitions.
REPEATED = 8


def dense(X: Any) -> Floats:
    """Return validated rows (n, d) as an array; sparse ones are refused where they would take more than 1 GiB."""
    if not sp.issparse(X):
        return np.asarray(X)
    size = 8 * X.shape[0] * X.shape[1]
    if size > MOST_BYTES:
        shape, most = " x ".join(map(str, X.shape)), f"at most {MOST_BYTES / 2**30:g} GiB"
        raise ValueError(
            f"X is sparse, and takes {size / 2**30:.3g} GiB as a dense {shape} array; expected {most}: take fewer rows "
            "or features"
        )
    return np.asarray(X.toarray())


def by_tiles(outputs: Callable[[Floats], Floats], X: Any) -> Floats:
    """Return the outputs for rows (n, d), which are made dense some at a time where they are sparse."""
    if not sp.issparse(X):
        return outputs(X)
    size = max(1, TILE_BYTES // (8 * X.shape[1]))
    return np.concatenate([outputs(X[begin : begin + size].toarray()) for begin in range(0, X.shape[0], size)])


def counted_rows(sample_weight: ArrayLike, n_rows: int) -> tuple[Ints, Floats | None]:
    """Return indices of rows, and their weights at a mean of 1; None where they count alike.

    Weights that are small whole numbers are counts: rows are repeated as often, in their order, so that the fit, and
    what is chosen by the number of rows, is that of the repeated rows.
    """
    given = np.full(n_rows, sample_weight) if isinstance(sample_weight, int | float) else sample_weight
    kept, weights = as_weights(given, n_rows)
    counts = np.asarray(given, dtype=np.float64)[kept]
    if (counts == np.round(counts)).all() and counts.sum() <= REPEATED * len(kept):
        return np.repeat(kept, counts.astype(np.int64)), None
    return kept, weights
