"""Engines in order of preference as one: each tested before its first use, the next one asked where one fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import inf
from time import perf_counter

import numpy as np
import scipy.sparse as sp

from verify.backends.registry import BACKENDS, Backend
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Milp
from verify.milp.request import Request

NONE_SOUND = "no engine passes its self-test"


class EngineChain:
    """Engines in order of preference as one: where an engine fails on a model, the next one gets it.

    An engine joins once it has passed its self-test. `name` is that of the engine asked last, `notes` says for the last
    model which engines failed on it and why.
    """

    def __init__(self, backends: list[Backend]) -> None:
        self._waiting, self._sound = list(backends), list[Backend]()
        self.troubles: list[str] = []
        self.notes: list[str] = []
        self.name = ""

    def first(self) -> Backend | None:
        """Return the first engine that passes its self-test; None if none does."""
        return next(self._engines(), None)

    def maximise(self, milp: Milp, request: Request | float) -> EngineResult:
        """Maximise `milp` by the first engine that does not fail, all within the time limit of `request`."""
        asked = request if isinstance(request, Request) else Request(float(request))
        began, outcome = perf_counter(), EngineResult(EngineStatus.FAILED, None, inf, NONE_SOUND)
        self.notes = []
        for engine in self._engines():
            left = asked.time_limit - (perf_counter() - began)
            if self.notes and left <= 0.0:
                break
            outcome, self.name = engine.maximise(milp, replace(asked, time_limit=left)), engine.name
            if outcome.status is not EngineStatus.FAILED:
                break
            self.notes.append(f"{engine.name} failed: {outcome.detail}")
        return outcome

    def _engines(self) -> Iterator[Backend]:
        yield from self._sound
        while self._waiting:
            engine = self._waiting.pop(0)
            trouble = self_test(engine.name)
            if trouble is not None:
                self.troubles.append(f"The backend {engine.name} failed its self-test: {trouble}.")
                continue
            self._sound.append(engine)
            yield engine


def sound_chain(backends: list[Backend]) -> tuple[EngineChain | None, str]:
    """Return the engines as a chain that begins with one that passes its self-test, and what was wrong before it."""
    chain = EngineChain(backends)
    engine = chain.first()
    if engine is None:
        return None, " ".join(chain.troubles)
    chain.name = engine.name
    return chain, " ".join(chain.troubles)


@cache
def self_test(name: str) -> str | None:
    """Solve two tiny models once with a backend; return None if it is right, else what was wrong.

    The first is one that HiGHS 1.14 gets wrong (15 instead of 9); the second a single ReLU with its big-M.
    """
    for milp, expected in _known_models():
        outcome = BACKENDS[name].run(milp, Request(10.0))
        if outcome.status is not EngineStatus.OPTIMAL or outcome.values is None:
            return f"a model with optimum {expected:g} ended as {outcome.status.name} ({outcome.detail})"
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
