"""Warm engines: one linear program for many objectives; each maximum begins at the corner where the last one ended.

They only propose multipliers of the rows, so they pass no self-test: :mod:`verify.bounds.duals` says what these prove.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.backends import scipy_milp
from verify.backends.highspy_direct import hand_over, run
from verify.milp.model import Milp
from verify.milp.request import Request


class WarmEngine(ABC):
    """A linear program at unit scale, held by an engine."""

    @abstractmethod
    def maximise(self, cost: Floats, seconds: float) -> Floats | None:
        """Return multipliers (r,) of the rows for the maximum of `cost` . v; None without them."""

    @abstractmethod
    def confine(self, lower: Floats, upper: Floats) -> None:
        """Change the bounds of the first variables to `lower` and `upper`."""


class WarmHighs(WarmEngine):
    """HiGHS by its own package highspy: only the objective changes, the basis stays."""

    def __init__(self, milp: Milp) -> None:
        import highspy

        self.highspy, self.engine = highspy, highspy.Highs()
        self.engine.silent()
        for option, value in {"threads": 1, "parallel": "off"}.items():
            self.engine.setOptionValue(option, value)
        hand_over(highspy, self.engine, milp)
        self.places = np.arange(len(milp.cost), dtype=np.int32)

    def maximise(self, cost: Floats, seconds: float) -> Floats | None:
        engine: Any = self.engine
        engine.changeColsCost(len(cost), self.places, cost)
        # Its clock runs on from one objective to the next.
        engine.setOptionValue("time_limit", engine.getRunTime() + max(seconds, 0.0))
        run(self.highspy, engine)
        solution = engine.getSolution()
        if engine.getModelStatus() != self.highspy.HighsModelStatus.kOptimal or not solution.dual_valid:
            return None
        return np.array(solution.row_dual, dtype=np.float64)

    def confine(self, lower: Floats, upper: Floats) -> None:
        self.engine.changeColsBounds(len(lower), self.places[: len(lower)], lower, upper)


class ColdScipy(WarmEngine):
    """HiGHS of scipy: it begins anew for every objective."""

    def __init__(self, milp: Milp) -> None:
        self.milp = milp

    def maximise(self, cost: Floats, seconds: float) -> Floats | None:
        return scipy_milp.maximise(replace(self.milp, cost=cost), Request(max(seconds, 0.0))).duals

    def confine(self, lower: Floats, upper: Floats) -> None:
        rest = slice(len(lower), None)
        ends = np.append(lower, self.milp.lower[rest]), np.append(upper, self.milp.upper[rest])
        self.milp = replace(self.milp, lower=ends[0], upper=ends[1])


def warm_engine(milp: Milp) -> WarmEngine:
    """Return the program held by highspy where that can be imported, else by scipy."""
    try:
        return WarmHighs(milp)
    except ImportError:
        return ColdScipy(milp)
