"""A linear model as a program: one gate that is active on every row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import as_matrix, as_moderate
from convexnn.patterns.activation_patterns import ActivationPatterns, sample_patterns

# What the features together add to the 1 of the bias, at most, on the data: on new rows they may be a million times
# larger before the gate is off.
SHARE = 1e-6


def linear_patterns(X: ArrayLike) -> ActivationPatterns:
    """Return one pattern, with bias, that is active on every row of `X` (n, d) and owns every feature.

    A program over it is the linear model X w + b, for k classes (d + 1) k weights: the single layer of arXiv
    2404.18414 with the softmax loss.

    Examples
    --------
    >>> import numpy as np
    >>> patterns = linear_patterns(np.array([[1.0, -1.0], [-1.0, 2.0]]))
    >>> patterns.features, patterns.n_linear
    (array([[ True,  True,  True]]), 1)
    """
    rows = as_moderate(as_matrix(X, "X", min_rows=2), "X")
    peaks = np.abs(rows).max(axis=0)
    slopes = SHARE / (rows.shape[1] * np.where(peaks > 0.0, peaks, 1.0))
    return sample_patterns(rows, generators=np.append(slopes, 1.0)[None], bias=True)
