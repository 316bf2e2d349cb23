"""Adam on a field that is kept between bounds; torch's own takes over a second to import."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the means of slopes and of their squares; keeps quotients finite.
FIRST, SECOND, LEAST = 0.9, 0.999, 1e-12


class Descent:
    """`steps` of Adam (Kingma and Ba 2015) on entries between 0 and `most`; lengths fall from `rate` to 1 % of it.

    Few steps fall by a tenth each.
    """

    def __init__(self, rate: float, most: float, steps: int) -> None:
        self.rate, self.most, self.slowing = rate, most, max(0.9, 0.01 ** (1.0 / max(steps, 1)))
        self.mean: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def moved(self, field: Tensor, slope: Tensor, step: int) -> Tensor:
        """Return the field after step number `step`, from 0 on."""
        self.mean = FIRST * self.mean + (1.0 - FIRST) * slope
        self.square = SECOND * self.square + (1.0 - SECOND) * slope.square()
        mean, square = self.mean / (1.0 - FIRST ** (step + 1)), self.square / (1.0 - SECOND ** (step + 1))
        length = self.rate * self.slowing**step
        return torch.clamp(field - length * mean / (square.sqrt() + LEAST), 0.0, self.most)
