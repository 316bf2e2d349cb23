"""Weights of a linear function that neurons can hold, being active wherever a feature is not zero.

On features of 0 and 1 a neuron is often active on all rows where a feature is 1, and on some others. There its weight
of this feature counts as that of a linear function does, and one of the two is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats

# What is below 0 by no more than this share of a weight is 0.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Absorption:
    """What neurons (p, d) on rows, as they are or turned round, can hold of a linear function beside them.

    Attributes
    ----------
    weights : numpy.ndarray (p, d)
        Of the neurons as they are.
    outputs : numpy.ndarray (p,)
        Their signs in the output.
    room : numpy.ndarray (2, p, d)
        By how much each weight of a neuron may fall, as it is or turned round, before a row with this feature is no
        longer active; below 0 where some row is not, or there is no such weight.
    """

    weights: Floats
    outputs: Floats
    room: Floats

    @classmethod
    def of(cls, rows: Floats, weights: Floats, outputs: Floats) -> Absorption:
        """Return it from the rows (n, d)."""
        room = np.full((2, *weights.shape), -1.0)
        for feature in _partial(rows):
            least, most = _span(rows, weights, feature)
            room[:, :, feature] = np.where(weights[:, feature] != 0.0, np.stack([least, -most]), -1.0)
        return cls(weights, outputs, room)

    def takes(self, linear: Floats, turned: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which entries of a linear function (d,) a neuron can hold, (p, d), some of them being turned (p,)."""
        room = np.where(turned[:, None], self.room[1], self.room[0])
        slack = ROUNDING * np.abs(self.weights).max(initial=0.0)
        return (room >= -slack) & (self.outputs[:, None] * linear >= -room - slack) & (linear != 0.0)

    def count(self, linear: Floats, turned: NDArray[np.bool_]) -> int:
        """Return the number of entries of a linear function (d,) that no neuron can hold."""
        return int((linear != 0.0).sum() - self.takes(linear, turned).any(axis=0).sum())

    def absorbed(self, rows: Floats, linear: Floats, turned: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return the linear function without what neurons hold, and the neurons (p, d), turned, that hold it."""
        linear, weights = linear.copy(), np.where(turned[:, None], -self.weights, self.weights)
        for neuron, feature in np.argwhere(self.takes(linear, turned)):
            moved = weights[neuron].copy()
            moved[feature] += self.outputs[neuron] * linear[feature]
            # Others that it holds by now may have taken the room.
            slack = ROUNDING * np.abs(moved).max()
            if linear[feature] and _span(rows, moved[None], feature)[0][0] >= -slack:
                weights[neuron], linear[feature] = moved, 0.0
        return linear, weights


def tightened(rows: Floats, weights: Floats) -> Floats:
    """Return neurons (p, d) of the same outputs on rows (n, d), but for a linear function, that bend as far as may be.

    A weight that keeps its neuron off, or on, wherever its feature is not zero does so at the least size that serves.
    """
    weights = weights.copy()
    for feature in _partial(rows):
        least, most = _span(rows, weights, feature)
        spare = np.where(most <= 0.0, most, np.where(least >= 0.0, least, 0.0))
        weights[:, feature] -= np.where(weights[:, feature] != 0.0, spare, 0.0)
    return weights


def _partial(rows: Floats) -> NDArray[np.intp]:
    """Return the features of rows (n, d) that are at least 0, and 0 on some rows but not on all."""
    return np.flatnonzero((rows >= 0.0).all(axis=0) & (rows == 0.0).any(axis=0) & (rows > 0.0).any(axis=0))


def _span(rows: Floats, weights: Floats, feature: int) -> tuple[Floats, Floats]:
    """Return the least and the most (p,) that goes into neurons (p, d) a unit of a feature, on rows where it is."""
    seen = rows[rows[:, feature] > 0.0]
    # By a feature that is next to nothing a share is infinite: no bound, and no reason to warn.
    with np.errstate(over="ignore"):
        shares = (seen @ weights.T) / seen[:, feature][:, None]
    return shares.min(axis=0), shares.max(axis=0)
