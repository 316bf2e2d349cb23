"""What a MILP engine says, in one form for all engines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf, isfinite

import numpy as np

from convexnn.checks import Floats


class EngineStatus(Enum):
    """How an engine ended; the value is a sentence."""

    OPTIMAL = "The engine reports an optimum within its gap tolerance."
    STOPPED = "The engine stopped early: its bound was low enough, or whoever asked had a point that was good enough."
    INFEASIBLE = "The engine reports that no point satisfies the rows."
    LIMIT = "The engine stopped at its time limit."
    FAILED = "The engine failed."

    @property
    def has_bound(self) -> bool:
        """Whether the dual bound of an engine that ended so counts."""
        return self in (EngineStatus.OPTIMAL, EngineStatus.STOPPED, EngineStatus.LIMIT)


@dataclass(frozen=True, eq=False)
class EngineResult:
    """The outcome of one maximisation.

    Attributes
    ----------
    status : EngineStatus
        How the engine ended.
    values : ndarray (v,) or None
        Its best point; to be checked, never trusted.
    bound : float
        Its proven upper bound on the objective (constant included); infinite where it gave none.
    detail : str
        The engine's own words.
    allowance : float
        What the engine's tolerances can amount to in the bound; infinite unless the model was scaled to say.
    duals : ndarray (r,) or None
        For a model without integer variables, where the engine gives them: multipliers of its rows, positive ones of
        their upper sides; to be evaluated by :func:`verify.bounds.duals.milp_bound`, never trusted.
    """

    status: EngineStatus
    values: Floats | None
    bound: float
    detail: str
    allowance: float = inf
    duals: Floats | None = None

    @classmethod
    def reported(
        cls, status: EngineStatus, values: Floats | None, bound: float, detail: str, duals: Floats | None = None
    ) -> EngineResult:
        """Return what an engine says, without a point or a bound that is not finite."""
        point = values if values is not None and np.isfinite(values).all() else None
        return cls(status, point, bound if isfinite(bound) else inf, detail, duals=duals)
