"""How well a model meets a target of numbers: the share that is missed, R2 and decibels, from its squared loss."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf, log10

import numpy as np

from convexnn.checks import Floats
from convexnn.records import Record


@dataclass(frozen=True)
class Accuracy(Record):
    """How well numbers are met.

    Attributes
    ----------
    relative_error : float
        Share of the target's mean square that is missed, sum (y - p)^2 / sum y^2, over all outputs together.
    r2 : float
        1 - sum (y - p)^2 / sum (y - mean y)^2, the mean that of each output; minus infinity where no output varies and
        the target is missed.
    """

    relative_error: float
    r2: float

    @classmethod
    def of_loss(cls, loss: float, target: Floats, weights: Floats | None = None) -> Accuracy:
        """Return the accuracy of a squared loss 1/(2n) ||p - y||^2 to the target (n,) or (n, k), rows weighted (n,)."""
        missed, values = 2.0 * loss, target.reshape(len(target), -1)
        centre = np.average(values, axis=0, weights=weights)
        size = float(np.average(np.square(values).sum(axis=1), weights=weights))
        spread = float(np.average(np.square(values - centre).sum(axis=1), weights=weights))
        return cls(_share(missed, size), 1.0 - _share(missed, spread))

    @property
    def decibels(self) -> float:
        """-10 log10 of the relative error; infinity where it is 0."""
        return -10.0 * log10(self.relative_error) if self.relative_error > 0.0 else inf

    def __str__(self) -> str:
        # Rounded down: 1.00000 is said of 1 alone.
        return f"{self.decibels:.1f} dB, R2 {floor(self.r2 * 1e5) / 1e5:.5f}" if self.r2 > -inf else "R2 -inf"


def _share(part: float, whole: float) -> float:
    if part == 0.0:
        return 0.0
    return part / whole if whole > 0.0 else inf
