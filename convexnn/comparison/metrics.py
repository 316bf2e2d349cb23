"""Scores: how well predictions fit a target, in the measure that its kind is reported in."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Floats
from convexnn.program.losses import Loss


def score_name(loss: Loss) -> str:
    """Return what :func:`score` measures for targets of that loss: ``R2`` for numbers, ``accuracy`` for labels."""
    return "R2" if loss.name == "squared" else "accuracy"


def score(loss: Loss, prediction: Floats, target: Floats) -> float:
    """Return the fit of predictions (n,) or (n, k) to a target of the same size, as `loss` takes it; 1 at best.

    Squared loss: R2 = 1 - sum_i (p_i - t_i)^2 / sum_i (t_i - mean t)^2, the mean over outputs. Logistic: the share of
    rows with the sign of the target, +1 where p > 0. Softmax: the share with the largest output at the label.
    """
    truth = target.reshape(len(target), -1)
    given = prediction.reshape(truth.shape)
    if loss.name == "softmax":
        return float(np.mean(given.argmax(axis=1) == truth.argmax(axis=1)))
    if loss.name == "logistic":
        return float(np.mean((given > 0.0) == (truth > 0.0)))
    spread = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    varies = spread > 0.0
    shares = np.square(given - truth).sum(axis=0)[varies] / spread[varies]
    return float(1.0 - shares.mean())
