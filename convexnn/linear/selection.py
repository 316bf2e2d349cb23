"""Selection: the largest entries of an array seen a piece at a time, and what of a gradient a step can choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Ints

# sizes (e,), count -> the places of the largest, ascending.
Pick = Callable[[Tensor, int], Tensor]


def largest(sizes: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` largest of `sizes` (e,), ascending; of equal ones the first.

    Negative sizes are never among them: where they would be, fewer come back.
    """
    likely = likely_largest(sizes, count)
    return likely.places if likely is not None and is_distinct(*likely.top[-2:].tolist()) else settled(sizes, count)


@dataclass(frozen=True)
class Chosen:
    """The `places` (s,) of the largest sizes, ascending, and the same on the host: `known` (s,).

    `most` and `least` are the largest and the smallest of them where both are at least 0, else nan.
    """

    places: Tensor
    known: Ints
    most: float = nan
    least: float = nan


def read_largest(sizes: Tensor, count: int) -> Chosen:
    """Return what :func:`largest` does, on the host too: of distinct sizes the host waits for it once."""
    likely = likely_largest(sizes, count)
    if likely is not None:
        told = torch.cat([likely.places.double(), likely.top.double()]).cpu().numpy()
        if is_distinct(*told[-2:]):
            return Chosen(likely.places, told[:count].astype(np.int64), float(told[count]), float(told[-2]))
    places = settled(sizes, count)
    return Chosen(places, places.cpu().numpy())


def settled(sizes: Tensor, count: int) -> Tensor:
    """Return what :func:`largest` does where sizes are equal or negative, in more passes, and more waits."""
    if count >= len(sizes):
        return torch.nonzero(sizes >= 0.0).flatten()
    if count == 0:
        return torch.zeros(0, dtype=torch.int64, device=sizes.device)
    least = torch.topk(sizes, count).values[-1]
    above, level = sizes > least, torch.nonzero(sizes == least).flatten()
    above[level[: count - int(above.sum())]] = True
    return torch.nonzero(above & (sizes >= 0.0)).flatten()


@dataclass(frozen=True)
class Likely:
    """The `places` (s,), ascending, that are most likely the largest, and the `top` (s + 1,) sizes, falling.

    Whether they are is for the host to decide, by :func:`is_distinct` of the last two: it can read them with others.
    Of sizes that are not all finite the first is not.
    """

    places: Tensor
    top: Tensor


def likely_largest(sizes: Tensor, count: int) -> Likely | None:
    """Return the `count` largest of `sizes` (e,) unless some are equal or negative; None where that is all or none."""
    if not 0 < count < len(sizes):
        return None
    top = torch.topk(sizes, count + 1)
    return Likely(top.indices[:-1].sort().values, top.values)


def is_distinct(least: float, after: float) -> bool:
    """Whether the least of the largest sizes is at least 0 and above what comes after it."""
    return bool(least >= 0.0 and after < least)


class Unseen:
    """Selections that are taken for the largest without a look, and what decides whether all of them are: one look."""

    def __init__(self) -> None:
        self._ends = list[Tensor]()

    def largest(self, sizes: Tensor, count: int) -> Tensor:
        """Return what :func:`largest` does unless sizes are equal or negative."""
        likely = likely_largest(sizes, count)
        if likely is None:
            return settled(sizes, count)
        self._ends.append(likely.top[-2:])
        return likely.places

    def are_right(self) -> bool:
        """Whether all selections so far are the largest; the host waits for it."""
        return not self._ends or all(is_distinct(*ends) for ends in torch.stack(self._ends).tolist())


def distinct(ascending: Tensor, count: int) -> Tensor:
    """Return the `count` different ones of ascending numbers, as the host knows how many there are."""
    begins = torch.ones_like(ascending)
    begins[1:] = ascending[1:] != ascending[:-1]
    return ascending.new_empty(count).scatter_(0, begins.cumsum(0) - 1, ascending)


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
    `is_whole` where they are all entries, so that an index is a place among them.
    """

    indices: Tensor
    values: Tensor
    is_whole: bool = False

    def places(self, support: Tensor) -> Tensor:
        """Return where the entries of a support are that is among them."""
        return support if self.is_whole else torch.searchsorted(self.indices, support)

    def support(self, places: Tensor) -> Tensor:
        """Return the indices at those places."""
        return places if self.is_whole else self.indices.index_select(0, places)

    def moved(self, step_size: float | Tensor, places: Tensor, weights: Tensor) -> Candidates:
        """Return weights (s,) at `places` plus `step_size` times the gradient."""
        values = step_size * self.values
        values[places] += weights
        return replace(self, values=values)

    def merged(self, indices: Tensor, values: Tensor, count: int, pick: Pick = largest) -> Candidates:
        """Return the `count` largest of these entries and of others, whose indices all come after."""
        every = Candidates(torch.cat([self.indices, indices]), torch.cat([self.values, values]))
        return every if len(every.indices) <= count else every.take(pick(every.values.abs(), count))

    def take(self, places: Tensor) -> Candidates:
        """Return the entries at those ascending places."""
        return Candidates(self.indices[places], self.values[places])

    def with_entries(self, indices: Tensor, values: Tensor) -> Candidates:
        """Return these entries and others, none of which is among them."""
        every, order = torch.cat([self.indices, indices]).sort()
        return Candidates(every, torch.cat([self.values, values])[order])

    def sizes(self, groups: Tensor | None = None, cap: int | None = None) -> Tensor:
        """Return the sizes of the entries; with `groups` (e,) of them, -1 beyond the `cap` largest of each."""
        sizes = self.values.abs()
        return sizes if groups is None or cap is None else torch.where(_ranks(sizes, groups) < cap, sizes, -1.0)


def _ranks(sizes: Tensor, groups: Tensor) -> Tensor:
    """Return for each entry how many of its group are larger, or equal and before it."""
    order = sizes.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]
    sorted_groups, place = groups[order], torch.arange(len(order), device=order.device)
    begins = torch.ones_like(place, dtype=torch.bool)
    begins[1:] = sorted_groups[1:] != sorted_groups[:-1]
    ranks = torch.empty_like(order)
    ranks[order] = place - torch.where(begins, place, 0).cummax(0).values
    return ranks
