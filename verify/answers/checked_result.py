"""Checked results: what an engine found for the least of some functions, held against the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Floats
from verify.milp.engine_result import EngineResult, EngineStatus

# The share of its size by which an engine's objective may differ from the network at the engine's own point.
LEAK = 1e-4


@dataclass(frozen=True, eq=False)
class CheckedResult:
    """What an engine found for the least of some functions.

    Attributes
    ----------
    point : ndarray (d,) or None
        Its best input, inside the region.
    bound : float
        Its proven upper bound.
    allowance : float
        What its tolerances can amount to in the bound.
    limited : bool
        Whether it was stopped by the time limit.
    rejection : str or None
        Why it is not to be believed.
    leak : float
        Its objective at its point, minus the value recomputed in the network; 0 without a point. Where the MILP
        holds the region up to its tolerances alone, it is no doubt: the point is drawn into the region first.
    certified : float
        The upper bound that its multipliers of the rows prove, whatever its tolerances; infinite where it gave none.
    """

    point: Floats | None
    bound: float
    allowance: float
    limited: bool
    rejection: str | None
    leak: float = 0.0
    certified: float = np.inf

    def why_unproven(self) -> str | None:
        """Return why it does not prove the functions to be negative together; None if it does."""
        if self.rejection is not None:
            return self.rejection
        if self.bound < -self.allowance:
            return None
        if self.limited:
            if not np.isfinite(self.bound):
                return "the time limit was reached before there was a bound."
            return f"the time limit was reached with the margin at most {self.bound:.6g}."
        known = f"the margin is at most {self.bound:.6g}"
        if self.bound > self.allowance:
            return f"{known}, above zero by more than the tolerance {self.allowance:.2g}."
        return f"{known}, within the tolerance {self.allowance:.2g} of zero."


def rejection_of(result: EngineResult, reached: float) -> str | None:
    """Return why a result is not to be believed; None if nothing speaks against it.

    `reached` is a value of the objective that is reached for certain: a bound below it is wrong.
    """
    if result.status is EngineStatus.INFEASIBLE:
        return "the engine calls a model infeasible that the center of the region satisfies."
    if result.status is EngineStatus.FAILED:
        return f"the engine failed ({result.detail})."
    # A time limit may come before there is a bound; minus infinity or no number is none at any time.
    early = result.status is EngineStatus.LIMIT and result.bound == np.inf
    if not (np.isfinite(result.bound) or early):
        return f"the engine gave no bound ({result.detail})."
    if result.bound < reached - max(result.allowance, 1e-6 * abs(reached)):
        return f"the engine's bound {result.bound:.6g} is below a margin {reached:.6g} that is reached."
    return None


def rejection_at_point(result: EngineResult, leak: float, reached: float, error: float = 0.0) -> str | None:
    """Return why an engine's own point speaks against it: it is worth less in the network than the engine says.

    `error` is what rounding can amount to in the value there.
    """
    if not np.isfinite(leak):
        return "the network overflows at the engine's point."
    if leak <= result.allowance + LEAK * max(abs(reached), abs(result.bound)) + error:
        return None
    return f"the engine's objective at its own point is off by {leak:.3g}, beyond its tolerances."
