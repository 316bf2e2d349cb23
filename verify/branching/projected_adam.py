"""Adam on a field that is kept between bounds; torch's own takes over a second to import."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the means of slopes and of their squares; keeps quotients finite.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-12


class ProjectedAdam:
    """`steps` of Adam (Kingma and Ba 2015) on entries between 0 and `highest`; lengths fall from `rate` to 1 % of it.

    Few steps fall by a tenth each.
    """

    def __init__(self, rate: float, highest: float, steps: int) -> None:
        self.rate, self.highest, self.decay = rate, highest, max(0.9, 0.01 ** (1.0 / max(steps, 1)))
        self.mean: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def moved(self, field: Tensor, slope: Tensor, step: int) -> Tensor:
        """Return the field after step number `step`, from 0 on."""
        self.mean = BETA_1 * self.mean + (1.0 - BETA_1) * slope
        self.square = BETA_2 * self.square + (1.0 - BETA_2) * slope.square()
        mean, square = self.mean / (1.0 - BETA_1 ** (step + 1)), self.square / (1.0 - BETA_2 ** (step + 1))
        length = self.rate * self.decay**step
        return torch.clamp(field - length * mean / (square.sqrt() + EPSILON), 0.0, self.highest)
