"""Boxes: the parts of a region that a search has still to look at."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from convexnn.checks import Floats
from verify.branching.box_layers import Flags, Signs


@dataclass(frozen=True, eq=False)
class Boxes:
    """r boxes, each with what is known of it.

    Attributes
    ----------
    lower, upper : ndarray (r, d)
        Their ends.
    phases : ndarray (r, u) of int8
        As in :class:`verify.branching.box_bounds.BoxBounds`.
    open : ndarray (r, c) of bool
        The conditions that may be met there.
    worst : ndarray (r,)
        Upper bounds of how far any of these is met: of the least of its functions.
    volume : ndarray (r,)
        Their shares of the region, by volume.
    """

    lower: Floats
    upper: Floats
    phases: Signs
    open: Flags
    worst: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.worst)

    @property
    def numbers(self) -> int:
        """Bytes held, in float64 numbers."""
        return sum(getattr(self, field.name).nbytes for field in fields(self)) // 8

    def take(self, index: object) -> Boxes:
        """Return some of the boxes."""
        return Boxes(*(getattr(self, field.name)[index] for field in fields(self)))

    def join(self, other: Boxes) -> Boxes:
        """Return these boxes and others."""
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return Boxes(*(np.concatenate(pair) for pair in pairs))

    def halved(self, axes: np.ndarray, middles: Floats) -> Boxes:
        """Return both halves of every box, cut at `middles` (r,) across `axes` (r,)."""
        every = np.arange(len(self))
        upper, lower = self.upper.copy(), self.lower.copy()
        upper[every, axes], lower[every, axes] = middles, middles
        rest = self.phases, self.open, self.worst, 0.5 * self.volume
        return Boxes(self.lower, upper, *rest).join(Boxes(lower, self.upper, *rest))
