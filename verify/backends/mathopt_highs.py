"""The engine HiGHS inside ortools' MathOpt: needs no licence.

It is given no start: HiGHS 1.12 can take a hinted point for the optimum, with a dual bound to match, while a better one
exists (a model of 8 variables with coefficients between 0.2 and 1 is in the tests). Without a hint it is right there.
It hears no callback (registered ones are ignored without a word) and refuses a number of threads.
"""

from __future__ import annotations

from verify.backends import mathopt
from verify.milp.engine_result import EngineResult
from verify.milp.model import Milp
from verify.milp.request import Request


def maximise(milp: Milp, request: Request) -> EngineResult:
    """Maximise `milp` within the time limit of `request`."""
    return mathopt.solve(milp, "HIGHS", request, hears=False)
