"""The best weights on a support, for any loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from convexnn.checks import Floats
from convexnn.linear.columns import SupportColumns
from convexnn.linear.least_squares import Columns, least_squares
from convexnn.program.losses import Loss

# Labels that a support separates have no best weights, only ever longer ones: there the fit stops.
MAX_ITERATIONS = 500

# A fit with a residual of this share of the target's norm (200 dB) cannot be bettered.
EXACT = 1e-10


def fit_support(columns: Columns, outputs: NDArray[np.int64], targets: Floats, loss: Loss) -> Floats:
    """Return weights (s,) that minimise the loss of the model whose column i acts on output ``outputs[i]``, float64.

    Parameters: `columns` (n, s), an array or :class:`convexnn.linear.columns.SupportColumns`, `outputs` (s,), `targets`
    (n, k). Squared loss: least squares of least norm, output by output, a tile of rows at a time
    (:func:`convexnn.linear.least_squares.least_squares`). Other losses: L-BFGS over unit columns, which are held, at
    most 500 iterations.
    """
    if not columns.shape[1]:
        return np.zeros(0)
    if loss.name != "squared":
        matrix = columns.whole() if isinstance(columns, SupportColumns) else np.array(columns, dtype=np.float64)
        return _smooth_fit(matrix, outputs, targets, loss)
    weights = np.zeros(columns.shape[1])
    for output in np.unique(outputs):
        own = outputs == output
        weights[own] = least_squares(columns if own.all() else _part(columns, own), targets[:, output])
    return weights


def _part(columns: Columns, chosen: NDArray[np.bool_]) -> Columns:
    return columns.part(chosen) if isinstance(columns, SupportColumns) else columns[:, chosen]


def _smooth_fit(unit: Floats, outputs: NDArray[np.int64], targets: Floats, loss: Loss) -> Floats:
    """Return the weights by L-BFGS on the columns `unit` (n, s), which are brought to unit mean square in place."""
    norms = np.sqrt(np.einsum("ij,ij->j", unit, unit))
    norms[norms == 0.0] = 1.0
    unit *= np.sqrt(len(unit)) / norms
    spread = np.zeros((unit.shape[1], targets.shape[1]))
    place = np.arange(len(outputs)), outputs

    def value_and_slope(weights: Floats) -> tuple[float, Floats]:
        spread[place] = weights
        prediction = unit @ spread
        return loss.value(prediction, targets), (unit.T @ loss.gradient(prediction, targets))[place]

    options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(value_and_slope, np.zeros(len(outputs)), jac=True, method="L-BFGS-B", options=options)
    weights: Floats = found.x * (np.sqrt(len(unit)) / norms)
    return weights
