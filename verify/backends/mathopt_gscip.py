"""The engine SCIP inside ortools' MathOpt: needs no licence, hears of incumbents.

Its own limits are left alone: with a limit on the dual bound ortools 9.15 aborts the process (an end of SCIP that it
does not know), with a cutoff its Python layer raises on an end that the same layer has no name for.
"""

from __future__ import annotations

from verify.backends import mathopt
from verify.milp.engine_result import EngineResult
from verify.milp.model import Milp
from verify.milp.request import Request


def maximise(milp: Milp, request: Request) -> EngineResult:
    """Maximise `milp` within the limits of `request`."""
    return mathopt.solve(milp, "GSCIP", request, hears=True, threads=request.threads)
