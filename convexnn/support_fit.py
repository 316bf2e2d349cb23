"""The best weights on a support, for any loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from convexnn.checks import Floats
from convexnn.least_squares import least_squares
from convexnn.losses import Loss

# Labels that a support separates have no best weights, only ever longer ones: there the fit stops.
MAX_ITERATIONS = 500


def fit_support(columns: Floats, outputs: NDArray[np.int64], targets: Floats, loss: Loss) -> Floats:
    """Return weights (s,) that minimise the loss of the model whose column i acts on output ``outputs[i]``, float64.

    Parameters: `columns` (n, s), `outputs` (s,), `targets` (n, k). Squared loss: least squares of least norm, output
    by output (:func:`convexnn.least_squares.least_squares`). Other losses: L-BFGS over unit columns, at most 500
    iterations.
    """
    if not columns.shape[1]:
        return np.zeros(0)
    if loss.name == "squared":
        weights = np.zeros(columns.shape[1])
        for output in np.unique(outputs):
            own = outputs == output
            weights[own] = least_squares(columns[:, own], targets[:, output])
        return weights
    return _smooth_fit(columns, outputs, targets, loss)


def _smooth_fit(columns: Floats, outputs: NDArray[np.int64], targets: Floats, loss: Loss) -> Floats:
    norms = np.linalg.norm(columns, axis=0)
    norms[norms == 0.0] = 1.0
    unit = columns * (np.sqrt(len(columns)) / norms)
    spread = np.zeros((columns.shape[1], targets.shape[1]))
    place = np.arange(len(outputs)), outputs

    def value_and_slope(weights: Floats) -> tuple[float, Floats]:
        spread[place] = weights
        prediction = unit @ spread
        return loss.value(prediction, targets), (unit.T @ loss.gradient(prediction, targets))[place]

    options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(value_and_slope, np.zeros(len(outputs)), jac=True, method="L-BFGS-B", options=options)
    weights: Floats = found.x * (np.sqrt(len(columns)) / norms)
    return weights
