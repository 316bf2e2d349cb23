"""MILP engines: one file each behind ``maximise(milp, request) -> EngineResult``; tested before first use.

What of a :class:`~verify.milp.request.Request` an engine heeds; what it cannot do it ignores:

========  =============================  =======  =====  ==========  ==========  ===========  ==========
name      engine                         threads  start  incumbents  early halt  multipliers  conditions
========  =============================  =======  =====  ==========  ==========  ===========  ==========
gurobi    Gurobi, of gurobipy            yes      yes    yes         yes         yes          yes
highspy   HiGHS, of highspy              yes      no     yes         yes         yes          refused
highs     HiGHS, of ortools' MathOpt     no       no     no          no          yes          refused
gscip     SCIP, of ortools' MathOpt      yes      yes    yes         no          no           yes
scip      SCIP, of pyscipopt             no       yes    yes         yes         no           yes
scipy     HiGHS, of scipy                no       no     no          no          yes          refused
========  =============================  =======  =====  ==========  ==========  ===========  ==========

The multipliers are those of the rows of a model without integer variables: proofs by linear relaxations need them.

All keep the time limit, give a dual bound, and stop early at a bound that is enough: by a point added to the model
(:mod:`verify.milp.early_stop`), which needs nothing from an engine. HiGHS could take a start, and is given none: it can
take a hinted point for the optimum where a better one exists. HiGHS has no conditions (indicator constraints): a model
with some fails there, in words. Rows hold to 1e-9 where a request is `tight`, but for the engines of ortools and scipy,
which keep to their own tolerances.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import inf
from threading import Event, Lock, Thread
from time import perf_counter

import numpy as np

from convexnn.checks import as_known, missing
from verify.milp.early_stop import scaled_with_early_stop
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Milp
from verify.milp.request import Request
from verify.milp.scaling import closed_form, scale

# Seconds; engines take no infinite limit, and some none beyond what an integer of microseconds holds.
LONGEST = 1e6

# Seconds beyond its limit, or a share of it where that is more, after which an engine is not waited for any longer.
GRACE, GRACE_SHARE = 0.4, 0.08

# Seconds that the end of the process waits at most for an engine that nobody waited for.
FAREWELL = 10.0


@dataclass(frozen=True)
class Backend:
    """Where an engine lives and which package brings it; its file is imported at first use.

    `conditional` says whether it takes a model with conditions.
    """

    name: str
    module: str
    package: str
    conditional: bool = False

    def maximise(self, milp: Milp, request: Request | float) -> EngineResult:
        """Maximise `milp` as `request` asks; a number is a time limit in seconds.

        The engine sees a scaled model, with an early stop where the request has a level that is enough; its bound comes
        back with every rounding error added.
        """
        asked = request if isinstance(request, Request) else Request(float(request))
        if not milp.rows.shape[0]:
            return closed_form(milp)
        if asked.time_limit <= 0.0:
            return EngineResult(EngineStatus.LIMIT, None, inf, "no time was left")
        early = None if asked.enough is None else scaled_with_early_stop(milp, asked.enough, asked.top)
        # The stop is a start by itself, and a start has no values for its variables.
        asked = asked if early is None else replace(asked, start=None)
        scaled = scale(milp) if early is None else early
        outcome = scaled.restore(self.run(scaled.milp, scaled.request(asked)))
        if early is not None and outcome.status is EngineStatus.OPTIMAL:
            return replace(outcome, status=EngineStatus.STOPPED)
        return outcome

    def run(self, milp: Milp, request: Request) -> EngineResult:
        """Hand a model to the engine as it is.

        The engine works in a thread of its own, so that Ctrl-C is heard at once and our own clock has the last word.
        Whatever it raises is an EngineResult that failed: an error must never pass for an answer.
        """
        limited = replace(request, time_limit=min(request.time_limit, LONGEST), halt=Event())
        outcome = _awaited(partial(self._tried, milp, limited), limited)
        late = EngineResult(EngineStatus.LIMIT, None, inf, "it did not stop at its time limit")
        return late if outcome is None else outcome

    def _tried(self, milp: Milp, request: Request) -> EngineResult:
        try:
            # HiGHS of highspy works on a cost that is no number until its time is up.
            ends = (milp.lower, milp.upper, milp.row_lower, milp.row_upper)
            finite = all(np.isfinite(part).all() for part in (milp.cost, milp.rows.data))
            if not finite or any(np.isnan(part).any() for part in ends):
                raise ValueError("the model has coefficients that are no numbers")
            self._check_conditions(milp)
            outcome: EngineResult = import_module(self.module).maximise(milp, request)
        except Exception as error:
            return EngineResult(EngineStatus.FAILED, None, inf, f"{type(error).__name__}: {error}")
        return outcome

    def _check_conditions(self, milp: Milp) -> None:
        if len(milp.conditions) and not self.conditional:
            able = ", ".join(backend.name for backend in BACKENDS.values() if backend.conditional)
            raise ValueError(
                f"the engine {self.name!r} takes no conditions, and the model has {len(milp.conditions)}; "
                f"expected one of: {able}, or a model with formulation='big-m'"
            )

    @property
    def installed(self) -> bool:
        """Whether the package that the engine needs is there."""
        return find_spec(self.package) is not None


def _awaited(work: Callable[[], EngineResult], request: Request) -> EngineResult | None:
    """Return the outcome of an engine that works in a thread of its own; None where it is not waited for any longer."""
    outcomes: list[EngineResult] = []
    # A bare lock, free once the engine has ended: an Event's own lock can stay taken where Ctrl-C is heard amid its
    # methods, and a thread says that it has ended too where Ctrl-C was heard while it was joined.
    running = Lock()
    running.acquire()

    def run() -> None:
        try:
            outcomes.append(work())
        finally:
            running.release()

    deadline = perf_counter() + request.time_limit + max(GRACE, GRACE_SHARE * request.time_limit)
    ended = False
    try:
        Thread(target=run, daemon=True).start()
        while not ended and perf_counter() < deadline:
            ended = running.acquire(timeout=0.1)
    finally:
        # An engine that nobody waits for any more ends where it can hear of it.
        request.halt.set()
        if not (ended or outcomes):
            # Where Python ends below an engine's own threads, the process aborts.
            atexit.register(running.acquire, timeout=FAREWELL)
    return outcomes[0] if outcomes else None


# In order of preference. CP-SAT is not here and must not be: it rounds continuous variables, so through MathOpt it
# calls feasible models infeasible, which would be a false proof.
BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("gurobi", "verify.backends.gurobi", "gurobipy", conditional=True),
        Backend("highspy", "verify.backends.highspy_direct", "highspy"),
        Backend("highs", "verify.backends.mathopt_highs", "ortools"),
        Backend("gscip", "verify.backends.mathopt_gscip", "ortools", conditional=True),
        Backend("scip", "verify.backends.scip", "pyscipopt", conditional=True),
        Backend("scipy", "verify.backends.scipy_milp", "scipy"),
    )
}


def candidates(name: str) -> list[Backend]:
    """Return the backend of that name; all that are installed, best first, for ``auto``; none for ``branching``.

    Raises
    ------
    ValueError
        An unknown name; the message lists the known ones.
    ImportError
        The package of the backend is missing; the message names it.
    """
    if as_known(name, "backend", ("auto", "branching", *BACKENDS)) == "branching":
        return []
    if name == "auto":
        return [backend for backend in BACKENDS.values() if backend.installed]
    if not BACKENDS[name].installed:
        raise ImportError(missing(BACKENDS[name].package, f"backend {name!r}"))
    return [BACKENDS[name]]
