"""Results of bounding: intervals, and whether Ctrl-C cut them short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from convexnn.records import Record
from verify.regions.intervals import Interval


class Bounding(Enum):
    """How bounds came about; the name is stable, the value is a sentence.

    Examples
    --------
    >>> import verify
    >>> verify.Bounding.COMPLETE.value
    'The bounds are those of the method, as far as it goes within its limit.'
    """

    COMPLETE = "The bounds are those of the method, as far as it goes within its limit."
    INTERRUPTED = "It was interrupted; the bounds that were proven by then are returned."


class LayerBounds(Record, tuple[Interval, ...]):
    """Bounds of the pre-activations of every layer: a tuple of intervals, the last for the outputs.

    Attributes
    ----------
    status : Bounding
        COMPLETE or INTERRUPTED. The bounds are proven in either case.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> bounds = verify.bound(network, verify.Box([-1.0], [2.0]))
    >>> len(bounds), bounds.status.name
    (2, 'COMPLETE')
    """

    status: Bounding

    def __new__(cls, layers: Iterable[Interval], status: Bounding = Bounding.COMPLETE) -> LayerBounds:
        found = super().__new__(cls, layers)
        found.status = status
        return found

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self.status

    def to_dict(self) -> dict[str, Any]:
        """Return the status and the layers, each with its bounds, as JSON has them."""
        return {"status": self.status.name, "layers": [layer.to_dict() for layer in self]}

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

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> halved = network.with_layers([network.layers[0], ([[0.5, 0.5]], None)])
    >>> apart = verify.difference(network, halved, verify.Box([-1.0], [2.0]))
    >>> apart.status.name, apart.upper.round(6).tolist()
    ('COMPLETE', [1.0])
    """

    status: Bounding = Bounding.COMPLETE

    def __str__(self) -> str:
        return f"{self.status.name}: {self.status.value}\n  {_spans(self)}"


def _spans(interval: Interval) -> str:
    """Return the first bounds, readable."""
    ends = np.stack([interval.lower, interval.upper], axis=1)[:5].tolist()
    more = ", ..." if len(interval.lower) > len(ends) else ""
    return ", ".join(f"[{low:.6g}, {high:.6g}]" for low, high in ends) + more
