"""Second derivatives of the losses on supports, many supports at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convexnn.checks import Floats, Ints


def hessians(loss: str, columns: Floats, outputs: Ints, predictions: Floats) -> Floats:
    """Return the Hessian of the mean loss in the weights of b supports, (b, s, s).

    Parameters: the name of a loss, `columns` (b, n, s), the output that each column acts on (b, s), the predictions
    (b, n, k).
    """
    return _HESSIANS[loss](columns, outputs, predictions) / columns.shape[1]


def _squared(columns: Floats, outputs: Ints, predictions: Floats) -> Floats:
    return _same(outputs) * (columns.transpose(0, 2, 1) @ columns)


def _logistic(columns: Floats, outputs: Ints, predictions: Floats) -> Floats:
    share = 0.5 + 0.5 * np.tanh(0.5 * predictions)
    return columns.transpose(0, 2, 1) @ (columns * (share * (1.0 - share)))


def _softmax(columns: Floats, outputs: Ints, predictions: Floats) -> Floats:
    """Return sum_i z_ia z_ib (p_ic [c = c'] - p_ic p_ic') for columns a and b of outputs c and c'."""
    powers = np.exp(predictions - predictions.max(axis=2, keepdims=True))
    shares = powers / powers.sum(axis=2, keepdims=True)
    weighted = columns * np.take_along_axis(shares, outputs[:, None, :], axis=2)
    return _same(outputs) * (weighted.transpose(0, 2, 1) @ columns) - weighted.transpose(0, 2, 1) @ weighted


def _same(outputs: Ints) -> Floats:
    return (outputs[:, :, None] == outputs[:, None, :]).astype(np.float64)


_HESSIANS: dict[str, Callable[[Floats, Ints, Floats], Floats]] = {
    "squared": _squared,
    "logistic": _logistic,
    "softmax": _softmax,
}
