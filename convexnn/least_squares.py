"""Least squares on a support: the one place where coherent or dependent columns are dealt with."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lstsq

from convexnn.checks import Floats

# With two equal columns and rounding, a cut at machine precision lets weights of 1e11 and -1e11 through.
RCOND = 1e-10


def least_squares(columns: Floats, target: Floats) -> Floats:
    """Return weights w (s,) that minimise ||columns w - target||, float64, of least norm over unit columns.

    Parameters: `columns` (n, s), `target` (n,). Columns that are zero or depend on others are no error: singular
    values below 1e-10 of the largest are cut, and the cut does not depend on the units of a column.
    """
    if not columns.shape[1]:
        return np.zeros(0)
    norms = np.linalg.norm(columns, axis=0)
    norms[norms == 0.0] = 1.0
    weights: Floats = lstsq(columns / norms, target, cond=RCOND, lapack_driver="gelsd", check_finite=False)[0]
    return weights / norms
