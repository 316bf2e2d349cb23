"""Parts: subproblems that suppose some neurons active and others inactive, each with a bound of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Parts:
    """r parts of a question over a network with u neurons that can switch.

    Attributes
    ----------
    upper : Tensor (r,)
        Proven bounds of the function over each part.
    target : Tensor (r,) of int
        Which function.
    side : Tensor (r, u)
        1 where a neuron is supposed active, -1 inactive, 0 neither.
    low : Tensor (r, u)
        Slopes in [0, 1] of the lower lines of neurons that are not split.
    push : Tensor (r, u)
        Multipliers >= 0 of what is supposed.
    hold : Tensor (r, m)
        Multipliers >= 0 of the linear constraints of the region, of their rows over the norms.
    """

    upper: Tensor
    target: Tensor
    side: Tensor
    low: Tensor
    push: Tensor
    hold: Tensor

    def __len__(self) -> int:
        return len(self.upper)

    def take(self, index: Tensor) -> Parts:
        """Return some of the parts."""
        return Parts(*(field[index] for field in self._fields()))

    def join(self, other: Parts) -> Parts:
        """Return these parts and others."""
        return Parts(*(torch.cat(pair) for pair in zip(self._fields(), other._fields(), strict=True)))

    def halved(self, neurons: Tensor) -> Parts:
        """Return two halves of each part in a row: with its neuron of `neurons` (r,) active, and inactive."""
        halves = self.take(torch.arange(len(self)).repeat_interleave(2))
        signs = torch.tensor([1.0, -1.0], dtype=self.side.dtype).repeat(len(self))
        halves.side[torch.arange(2 * len(self)), neurons.repeat_interleave(2)] = signs
        return halves

    def _fields(self) -> tuple[Tensor, ...]:
        return self.upper, self.target, self.side, self.low, self.push, self.hold
