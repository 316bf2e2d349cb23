"""Selection: the largest entries of an array seen a piece at a time, and what of a gradient a step can choose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


def largest(sizes: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` largest of `sizes` (e,), ascending; of equal ones the first.

    Negative sizes are never among them: where they would be, fewer come back.
    """
    if count >= len(sizes):
        return torch.nonzero(sizes >= 0.0).flatten()
    top = torch.topk(sizes, count + 1)
    if count == 0 or (top.values[-2] >= 0.0 and top.values[-1] < top.values[-2]):
        return top.indices[:-1].sort().values
    least = top.values[-2]
    above, level = sizes > least, torch.nonzero(sizes == least).flatten()
    above[level[: count - int(above.sum())]] = True
    return torch.nonzero(above & (sizes >= 0.0)).flatten()


def capped(blocks: Tensor, cap: int) -> Tensor:
    """Return sizes (g, d, k) with all but the `cap` largest of each gate and output, of equal ones the first, at -1."""
    if cap >= blocks.shape[1]:
        return blocks
    top = blocks.topk(cap + 1, dim=1)
    order = top.indices[:, :-1]
    if ((top.values[:, -1] == top.values[:, -2]) & (top.values[:, -1] >= 0.0)).any():
        order = blocks.argsort(dim=1, descending=True, stable=True)[:, :cap]
    return torch.full_like(blocks, -1.0).scatter_(1, order, blocks.gather(1, order))


@dataclass(frozen=True)
class Candidates:
    """Entries of a flat gradient: `indices` (e,), ascending, and the `values` there.

    They are those of a support and the largest elsewhere. A step from the support by any multiple of the gradient
    chooses among them: elsewhere the weights are zero, so the order of sizes there is that of the gradient.
    """

    indices: Tensor
    values: Tensor

    def at(self, support: Tensor) -> Tensor:
        """Return the values at a support that is among the entries."""
        return self.values[torch.searchsorted(self.indices, support)]

    def moved(self, step_size: float, support: Tensor, weights: Tensor) -> Candidates:
        """Return weights (s,) on `support` plus `step_size` times the gradient."""
        values = step_size * self.values
        values[torch.searchsorted(self.indices, support)] += weights
        return replace(self, values=values)

    def merged(self, indices: Tensor, values: Tensor, count: int) -> Candidates:
        """Return the `count` largest of these entries and of others, whose indices all come after."""
        every = Candidates(torch.cat([self.indices, indices]), torch.cat([self.values, values]))
        return every.take(largest(every.values.abs(), count))

    def take(self, places: Tensor) -> Candidates:
        """Return the entries at those ascending places."""
        return Candidates(self.indices[places], self.values[places])

    def with_entries(self, indices: Tensor, values: Tensor) -> Candidates:
        """Return these entries and others, none of which is among them."""
        every, order = torch.cat([self.indices, indices]).sort()
        return Candidates(every, torch.cat([self.values, values])[order])

    def chosen(self, count: int, groups: Tensor | None = None, cap: int | None = None) -> Candidates:
        """Return the `count` largest entries; with `groups` (e,) of the entries, after the `cap` largest of each."""
        sizes = self.values.abs()
        if groups is not None and cap is not None:
            sizes = torch.where(_ranks(sizes, groups) < cap, sizes, -1.0)
        return self.take(largest(sizes, count))


def _ranks(sizes: Tensor, groups: Tensor) -> Tensor:
    """Return for each entry how many of its group are larger, or equal and before it."""
    order = sizes.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]
    _, counts = torch.unique_consecutive(groups[order], return_counts=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device) - starts
    return ranks
