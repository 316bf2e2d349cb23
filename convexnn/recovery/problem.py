"""The data of a recovery, at unit scale on a torch device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Inputs from which products leave out those that no weight reads, where these are at least so many times the others.
MANY_INPUTS, SPARE = 256, 4


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows (n, d) with columns of root mean square 1 (or 0), and a target (n,) of root mean square 1."""

    rows: Tensor
    target: Tensor

    @cached_property
    def columns(self) -> Tensor:
        """X^T (d, n), contiguous: the columns of a support are rows of it."""
        return self.rows.T.contiguous()

    @cached_property
    def squares(self) -> Tensor:
        """X^2 entry by entry, (n, d)."""
        return self.rows.square()

    def linear(self, weights: Tensor) -> Tensor:
        """Return X W^T, (n, p)."""
        n_inputs = weights.shape[1]
        if n_inputs >= MANY_INPUTS:
            read = torch.nonzero((weights != 0.0).any(0))[:, 0]
            if SPARE * len(read) <= n_inputs:
                return self.columns[read].T @ weights[:, read].T
        return self.rows @ weights.T

    def residual(self, weights: Tensor, signs: Tensor) -> Tensor:
        """Return y - sum_j signs_j relu(X w_j), (n,)."""
        return self.target - torch.relu(self.linear(weights)) @ signs

    def loss(self, weights: Tensor, signs: Tensor) -> float:
        """Return the mean square of the residual: the share of the target's mean square that is missed."""
        return mean_square(self.residual(weights, signs))

    def take(self, index: Tensor) -> Problem:
        """Return the problem on some rows."""
        return Problem(self.rows[index], self.target[index])

    def to(self, dtype: torch.dtype) -> Problem:
        """Return this problem in another precision."""
        return Problem(self.rows.to(dtype), self.target.to(dtype))


def mean_square(residual: Tensor) -> float:
    """Return the mean of the squares."""
    return float(residual.square().mean())
