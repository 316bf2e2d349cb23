"""Results of bounding: intervals, and whether Ctrl-C cut them short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from verify.regions.intervals import Interval


class Bounding(Enum):
    """How bounds came about; the name is stable, the value is a sentence."""

    COMPLETE = "The bounds are those of the method, as far as it goes within its limit."
    INTERRUPTED = "It was interrupted; the bounds that were proven by then are returned."


class LayerBounds(tuple[Interval, ...]):
    """Bounds of the pre-activations of every layer: a tuple of intervals, the last for the outputs.

    Attributes
    ----------
    status : Bounding
        COMPLETE or INTERRUPTED. The bounds are proven in either case.
    """

    status: Bounding

    def __new__(cls, layers: Iterable[Interval], status: Bounding = Bounding.COMPLETE) -> LayerBounds:
        found = super().__new__(cls, layers)
        found.status = status
        return found

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self.status

    def __str__(self) -> str:
        sizes = "-".join(str(len(layer.lower)) for layer in self)
        return f"{self.status.name}: {self.status.value}\n  layers of {sizes}; outputs {_spans(self[-1])}"


@dataclass(frozen=True, eq=False, repr=False)
class Difference(Interval):
    """Bounds of the difference of two networks: an interval.

    Attributes
    ----------
    status : Bounding
        COMPLETE or INTERRUPTED. The bounds are proven in either case.
    """

    status: Bounding = Bounding.COMPLETE

    def __str__(self) -> str:
        return f"{self.status.name}: {self.status.value}\n  {_spans(self)}"


def _spans(interval: Interval) -> str:
    """Return the first bounds, readable."""
    ends = np.stack([interval.lower, interval.upper], axis=1)[:5].tolist()
    more = ", ..." if len(interval.lower) > len(ends) else ""
    return ", ".join(f"[{low:.6g}, {high:.6g}]" for low, high in ends) + more
