"""What is asked of a MILP engine beside the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from threading import Event

from convexnn.checks import Floats


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of an engine beside the model; what it cannot do it ignores.

    Attributes
    ----------
    time_limit : float
        Seconds of wall clock.
    threads : int
        How many threads the engine may use.
    enough : float or None
        Where the bound has no need to be lower: once the objective is proven to lie below, tolerances included, the
        engine is done. None asks for the optimum.
    top : float
        An upper bound on the objective that is proven already.
    start : ndarray (v,) or None
        A point to begin with.
    on_incumbent : callable or None
        Called with the values (v,) of every better point as it is found, in the engine's thread; True ends the run.
    tight : bool
        Whether rows and whole numbers are to hold to 1e-9, as far as the engine can, and not to its default of 1e-6.
    halt : threading.Event
        Set once nobody waits for the engine any more; every run gets its own.
    """

    time_limit: float
    threads: int = 1
    enough: float | None = None
    top: float = inf
    start: Floats | None = None
    on_incumbent: Callable[[Floats], bool] | None = None
    tight: bool = False
    halt: Event = field(default_factory=Event)

    def stops_at(self, values: Floats) -> bool:
        """Whether the run is to end at a better point."""
        return self.halt.is_set() or (self.on_incumbent is not None and bool(self.on_incumbent(values)))
