"""Resources: what a question may use, checked once for all questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np

from convexnn.checks import as_generator, as_nonnegative
from verify.answers.replay import Replay
from verify.backends import registry as backends
from verify.backends.registry import Backend
from verify.clock import Clock
from verify.crew import Crew
from verify.points.surrogates import Surrogate

# The share of the time left that branch and bound may take, for the backends that split at all.
BRANCHING_SHARES = {"auto": 0.8, "branching": 1.0}

# What remains of that share where surrogates have a part of the time.
BESIDE_SURROGATES = 0.5


# Why an answer is none yet after Ctrl-C.
INTERRUPTION = "It was interrupted; what was known by then is returned."

Result = TypeVar("Result")
Known = TypeVar("Known", covariant=True)


class Question(Protocol[Known]):
    """A question on its way: it decides, or says what is known by now."""

    def decide(self) -> Known:
        """Return what the question comes to."""

    def by_now(self) -> Known:
        """Return what is known by now, as the answer to a question that was interrupted."""


@dataclass(frozen=True)
class Settled(Generic[Result]):
    """A question that has its answer before it is asked."""

    answer: Result

    def decide(self) -> Result:
        """Return the answer."""
        return self.answer

    def by_now(self) -> Result:
        """Return the answer."""
        return self.answer


def answer_of(begin: Callable[[], Question[Result]], nothing: Callable[[float], Result]) -> Result:
    """Return what a question comes to, or what is known by the time when KeyboardInterrupt ends it.

    `begin` reads what is given and makes the first bounds; where that is interrupted, `nothing` takes the seconds gone
    by. Here alone the first Ctrl-C is heard; a second one, while the answer is put together, ends the process as usual.
    """
    clock, asked = Clock(0.0), None
    try:
        asked = begin()
        return asked.decide()
    except KeyboardInterrupt:
        return nothing(clock.seconds) if asked is None else asked.by_now()


@dataclass(frozen=True, eq=False)
class Resources:
    """What a question may use: time, a backend by name, a source of starts, the model as given, and workers.

    `branching_share` is that of the time left that branch and bound may take before an engine is asked; `surrogates`
    are sparse copies to take points from.
    """

    clock: Clock
    backend: str
    rng: np.random.Generator
    replay: Replay | None = None
    branching_share: float = 0.0
    surrogates: tuple[Surrogate, ...] = ()
    crew: Crew = field(default_factory=Crew)

    def beside(self, surrogates: tuple[Surrogate, ...]) -> Resources:
        """Return the same with sparse copies, which have a part of the time."""
        share = self.branching_share * (BESIDE_SURROGATES if surrogates else 1.0)
        return replace(self, surrogates=surrogates, branching_share=share)

    @cached_property
    def engines(self) -> list[Backend]:
        """The engines in order of preference; looked for once they are needed, which they seldom are."""
        return backends.candidates(self.backend)


def resources_of(
    time_limit: float,
    backend: str,
    seed: int | np.random.Generator,
    replay: Replay | None = None,
    n_jobs: int | None = 1,
) -> Resources:
    """Return the resources of a question from its arguments, checked."""
    limit, crew = as_nonnegative(time_limit, "time_limit"), Crew(n_jobs)
    clock = Clock(limit)  # what is imported to count workers is no part of it
    if backend != "auto":
        backends.candidates(backend)  # raises where the name is unknown or its package missing
    return Resources(clock, backend, as_generator(seed), replay, BRANCHING_SHARES.get(backend, 0.0), crew=crew)
