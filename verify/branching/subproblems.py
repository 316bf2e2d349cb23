"""Subproblems: questions that suppose some neurons active and others inactive, each with a bound of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Subproblems:
    """r subproblems of a question over a network with u neurons that can switch.

    Attributes
    ----------
    upper : Tensor (r,)
        Proven bounds of the function over each subproblem.
    target : Tensor (r,) of int
        Which function, or which conjunction of functions.
    phase : Tensor (r, u)
        1 where a neuron is supposed active, -1 inactive, 0 neither.
    alpha : Tensor (r, u)
        Slopes in [0, 1] of the lower lines of neurons that are not split.
    beta : Tensor (r, u)
        Multipliers >= 0 of what is supposed.
    multipliers : Tensor (r, m)
        Multipliers >= 0 of the linear constraints of the region, of their rows over the norms.
    weights : Tensor (r, t)
        How much each function counts, from 0 to 1, where a target is several functions together; else (r, 0).
    """

    upper: Tensor
    target: Tensor
    phase: Tensor
    alpha: Tensor
    beta: Tensor
    multipliers: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.upper)

    def take(self, index: Tensor) -> Subproblems:
        """Return some of the subproblems."""
        return Subproblems(*(field[index] for field in self._fields()))

    def join(self, other: Subproblems) -> Subproblems:
        """Return these subproblems and others."""
        return Subproblems(*(torch.cat(pair) for pair in zip(self._fields(), other._fields(), strict=True)))

    def halved(self, neurons: Tensor) -> Subproblems:
        """Return two halves of each subproblem in a row: with its neuron of `neurons` (r,) active, and inactive."""
        halves = self.take(torch.arange(len(self)).repeat_interleave(2))
        signs = torch.tensor([1.0, -1.0], dtype=self.phase.dtype).repeat(len(self))
        halves.phase[torch.arange(2 * len(self)), neurons.repeat_interleave(2)] = signs
        return halves

    def _fields(self) -> tuple[Tensor, ...]:
        return self.upper, self.target, self.phase, self.alpha, self.beta, self.multipliers, self.weights
