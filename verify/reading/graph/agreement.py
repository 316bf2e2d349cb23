"""Agreement: the rows on which a network that was read is held against its source, and how far apart the two are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from convexnn.checks import Floats

# Rows of a comparison, and the largest difference: of probabilities, or of outputs relative to the activations.
N_ROWS = 16
TOLERANCE = 1e-4


def sample_rows(size: int) -> Floats:
    """Return random rows (N_ROWS, size) of sizes from 0.1 to 10, always the same."""
    scales = np.geomspace(0.1, 10.0, N_ROWS)[:, None]
    return np.asarray(np.random.default_rng(0).standard_normal((N_ROWS, size)) * scales)


def gap_between(expected: Floats, found: Floats) -> float:
    """Return the largest difference of two arrays of one shape."""
    return float(np.abs(expected - found).max())


def largest_size(arrays: Iterable[Floats]) -> float:
    """Return the largest magnitude in some arrays: that of rows and activations, which differences are relative to."""
    return max(float(np.abs(array).max()) for array in arrays)


def finished(scores: Floats, final: str) -> Floats:
    """Return a final function (softmax, log_softmax, sigmoid or tanh) of scores (n, k)."""
    with np.errstate(all="ignore"):
        if final == "sigmoid":
            return np.asarray(1.0 / (1.0 + np.exp(-scores)))
        if final == "tanh":
            return np.asarray(np.tanh(scores))
        shares = scores - scores.max(axis=1, keepdims=True)
        total = np.exp(shares).sum(axis=1, keepdims=True)
        return np.asarray(shares - np.log(total) if final == "log_softmax" else np.exp(shares) / total)
