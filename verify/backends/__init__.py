"""MILP engines: one file each behind ``maximise(milp, time_limit) -> Outcome``; tested before first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from threading import Thread
from time import perf_counter

import numpy as np
import scipy.sparse as sp

from convexnn.checks import as_known
from verify.encoding import Milp
from verify.outcome import Ending, Outcome
from verify.scaling import closed_form, scale

# Seconds; engines take no infinite limit, and some none beyond what an integer of microseconds holds.
LONGEST = 1e6

# Seconds beyond its limit after which an engine is not waited for any longer.
GRACE = 10.0


@dataclass(frozen=True)
class Backend:
    """Where an engine lives and which package brings it; its file is imported at first use."""

    name: str
    module: str
    package: str

    def maximise(self, milp: Milp, time_limit: float) -> Outcome:
        """Maximise `milp` within `time_limit` seconds.

        The engine sees a scaled model; its bound comes back with every rounding error added.
        """
        if not milp.rows.shape[0]:
            return closed_form(milp)
        if time_limit <= 0.0:
            return Outcome(Ending.LIMIT, None, float("inf"), "no time was left")
        scaled = scale(milp)
        return scaled.restore(self.run(scaled.milp, min(time_limit, LONGEST)))

    def run(self, milp: Milp, time_limit: float) -> Outcome:
        """Hand a model to the engine as it is.

        The engine works in a thread of its own, so that Ctrl-C is heard at once and our own clock has the last word.
        Whatever it raises is an Outcome that failed: an error must never pass for an answer.
        """
        outcomes: list[Outcome] = []
        work = Thread(target=lambda: outcomes.append(self._tried(milp, time_limit)), daemon=True)
        work.start()
        deadline = perf_counter() + time_limit + GRACE
        while work.is_alive() and perf_counter() < deadline:
            work.join(0.1)
        return outcomes[0] if outcomes else _failed("it did not stop at its time limit")

    def _tried(self, milp: Milp, time_limit: float) -> Outcome:
        try:
            outcome: Outcome = import_module(self.module).maximise(milp, time_limit)
        except Exception as error:
            return _failed(f"{type(error).__name__}: {error}")
        return outcome

    @property
    def installed(self) -> bool:
        """Whether the package that the engine needs is there."""
        return find_spec(self.package) is not None


def _failed(detail: str) -> Outcome:
    return Outcome(Ending.FAILED, None, float("inf"), detail)


# In order of preference. CP-SAT is not here and must not be: it rounds continuous variables, so through MathOpt it
# calls feasible models infeasible, which would be a false proof.
BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("highs", "verify.backends.mathopt_highs", "ortools"),
        Backend("scipy", "verify.backends.scipy_milp", "scipy"),
    )
}


def candidates(name: str) -> list[Backend]:
    """Return the backend of that name, or for ``auto`` all that are installed, in order of preference.

    Raises
    ------
    ValueError
        An unknown name; the message lists the known ones.
    ImportError
        The package of the backend is missing; the message names it.
    """
    if as_known(name, "backend", ("auto", *BACKENDS)) == "auto":
        return [backend for backend in BACKENDS.values() if backend.installed]
    if not BACKENDS[name].installed:
        package = BACKENDS[name].package
        raise ImportError(f"backend {name!r} needs the package {package}; install it with: pip install {package}")
    return [BACKENDS[name]]


def first_sound(backends: list[Backend]) -> tuple[Backend | None, str]:
    """Return the first backend that passes its self-test, and what was wrong with those before it."""
    troubles: list[str] = []
    for backend in backends:
        trouble = self_test(backend.name)
        if trouble is None:
            return backend, " ".join(troubles)
        troubles.append(f"The backend {backend.name} failed its self-test: {trouble}.")
    return None, " ".join(troubles)


@cache
def self_test(name: str) -> str | None:
    """Solve two tiny models once with a backend; return None if it is right, else what was wrong.

    The first is one that HiGHS 1.14 gets wrong (15 instead of 9); the second a single ReLU with its big-M.
    """
    for milp, expected in _known_models():
        outcome = BACKENDS[name].run(milp, 10.0)
        if outcome.ending is not Ending.OPTIMAL or outcome.values is None:
            return f"a model with optimum {expected:g} ended as {outcome.ending.name} ({outcome.detail})"
        found = float(milp.cost @ outcome.values) + milp.constant
        if abs(found - expected) > 1e-6 or abs(outcome.bound - expected) > 1e-6:
            return f"a model with optimum {expected:g} got {found:g} with bound {outcome.bound:g}"
    return None


def _known_models() -> list[tuple[Milp, float]]:
    infinite = np.array([np.inf])
    presolve = Milp(
        cost=np.array([-2.0, -3.0]),
        constant=0.0,
        error=0.0,
        rows=sp.csr_matrix([[1.0, 1.0]]),
        row_lower=np.array([4.5]),
        row_upper=infinite,
        lower=np.zeros(2),
        upper=np.full(2, np.inf),
        integer=np.array([False, True]),
    )
    # max 2 relu(x) - x + 0.5 over x in [-1, 1]: variables x, a, z; the optimum 1.5 is at both ends.
    relu = Milp(
        cost=np.array([-1.0, 2.0, 0.0]),
        constant=0.5,
        error=0.0,
        rows=sp.csr_matrix([[-1.0, 1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, -1.0]]),
        row_lower=np.array([0.0, -np.inf, -np.inf]),
        row_upper=np.array([np.inf, 1.0, 0.0]),
        lower=np.array([-1.0, 0.0, 0.0]),
        upper=np.ones(3),
        integer=np.array([False, False, True]),
    )
    return [(presolve, -9.0), (relu, 1.5)]
