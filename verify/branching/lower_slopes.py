"""Lower slopes: the lines below neurons moved to where a bound is least, for each function of each box on its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convexnn.checks import Floats
from verify.branching.backward import Places, raised
from verify.branching.box_layers import BoxLayer, Flags, Lines, product

# Means of slopes and of their squares, and what keeps quotients finite, as in Adam (Kingma and Ba 2015).
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-30

# The first step, and by what each later one is shorter.
RATE, DECAY = 0.4, 0.8


class LowerSlopes:
    """Linear functions of the last hidden values, bounded over boxes by lines whose slopes below 0 are free.

    Parameters
    ----------
    hidden, lines : sequence of BoxLayer, sequence of Lines
        The hidden layers, and the lines around them in r boxes.
    slope, offset : ndarray (p, n), ndarray (p,)
        The functions.
    owner : ndarray (p,) of int
        The box of each.
    """

    def __init__(
        self, hidden: Sequence[BoxLayer], lines: Sequence[Lines], slope: Floats, offset: Floats, owner: Places
    ) -> None:
        self.hidden, self.slope, self.offset = hidden, slope, offset
        self.low = [line.low[owner] for line in lines]
        self.high = [own + line.rise[owner] for own, line in zip(self.low, lines, strict=True)]
        self.lift = [line.lift[owner] for line in lines]
        self.free = [line.drop[owner] > 0.0 for line in lines]
        zeros = [np.zeros_like(own) for own in self.low]
        self.mean, self.square = zeros, [np.zeros_like(own) for own in self.low]
        self.met: list[Floats] = []
        # The functions as they are of the first layer's values.
        self.front, self.side = slope, offset
        self.step = 0

    def back(self) -> tuple[Floats, Floats]:
        """Return the functions as linear functions of the inputs that are at least as large, offsets rounded up.

        A product with a slope between 0 and 1 is rounded to one with another such slope.
        """
        slope, offset, self.met = self.slope, self.offset, []
        parts = zip(self.hidden[::-1], self.low[::-1], self.high[::-1], self.lift[::-1], strict=True)
        with np.errstate(all="ignore"):
            for layer, low, high, lift in parts:
                self.met.insert(0, slope)
                self.front, self.side = slope, offset
                lifted = np.einsum("ij,ij->i", np.maximum(slope, 0.0), lift)
                slope = slope * np.where(slope > 0.0, high, low)
                offset = raised(layer, offset, lifted, slope @ layer.bias, np.abs(slope) @ layer.reach)
                slope = product(slope, layer.weight)
        return slope, offset

    def move(self, points: Floats) -> None:
        """Move the slopes against the derivative of the bounds, which the functions have at `points` (p, d)."""
        self.step += 1
        values, rate = points, RATE * DECAY ** (self.step - 1)
        with np.errstate(all="ignore"):
            for index, layer in enumerate(self.hidden):
                before, met = product(values, layer.weight, True) + layer.bias, self.met[index]
                rising = met > 0.0
                values = np.where(rising, self.high[index] * before + self.lift[index], self.low[index] * before)
                slope = np.where(self.free[index] & ~rising, met * before, 0.0)
                self._descend(index, np.nan_to_num(slope), rate)

    def _descend(self, index: int, slope: Floats, rate: float) -> None:
        self.mean[index] = BETA_1 * self.mean[index] + (1.0 - BETA_1) * slope
        self.square[index] = BETA_2 * self.square[index] + (1.0 - BETA_2) * slope**2
        mean = self.mean[index] / (1.0 - BETA_1**self.step)
        square = self.square[index] / (1.0 - BETA_2**self.step)
        moved = np.clip(self.low[index] - rate * mean / (np.sqrt(square) + EPSILON), 0.0, 1.0)
        self.low[index] = np.where(self.free[index], moved, self.low[index])

    def keep(self, rows: Flags) -> None:
        """Go on with some of the functions."""
        self.slope, self.offset = self.slope[rows], self.offset[rows]
        for name in ("low", "high", "lift", "free", "mean", "square"):
            setattr(self, name, [own[rows] for own in getattr(self, name)])
