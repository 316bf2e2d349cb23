"""The sum of some columns of A, with none of them made: products over whole gates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convexnn.linear.masks import Masks
from convexnn.tiles import row_tiles


@dataclass(frozen=True, eq=False)
class Combination:
    """The sums of the columns of a support, over the gates and outputs, p pairs, that occur in it.

    `rows` (n, d), `masks` and `entries` of a tile are those of the operator. `place` (s,) and `features` (s,) say where
    a weight is among p x d, `heads` (p, k) which output a pair has, `gates` (g,) are those that occur, `position` (p,)
    that of each pair among them, None where each has its own.
    """

    rows: Tensor
    masks: Masks
    entries: int
    place: Tensor
    features: Tensor
    heads: Tensor
    gates: Tensor
    position: Tensor | None

    def weighted(self, weights: Tensor) -> Tensor:
        """Return the sum (n, k) of the columns by weights (s,)."""
        dense = weights.new_zeros((len(self.heads), self.rows.shape[1]))
        dense[self.place, self.features] = weights
        result = self.rows.new_empty((len(self.rows), self.heads.shape[1]))
        for tile in row_tiles(len(self.rows), len(self.heads), self.entries):
            active, linear = self.masks.columns(self.gates, tile), self.rows[tile] @ dense.T
            linear.mul_(active if self.position is None else active.index_select(1, self.position))
            torch.mm(linear, self.heads, out=result[tile])
        return result
