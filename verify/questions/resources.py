"""Resources: what a question may use, checked once for all questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from convexnn.checks import as_generator, as_nonnegative
from verify.answers.replay import Replay
from verify.backends import registry as backends
from verify.backends.registry import Backend
from verify.clock import Clock
from verify.points.surrogates import Surrogate

# The share of the time left that branch and bound may take, for the backends that split at all.
BRANCHING_SHARES = {"auto": 0.8, "branching": 1.0}

# What remains of that share where surrogates have a part of the time.
BESIDE_SURROGATES = 0.5


# Why an answer is none yet after Ctrl-C.
INTERRUPTION = "It was interrupted; what was known by then is returned."

Result = TypeVar("Result")


def unless_interrupted(work: Callable[[], Result], by_then: Callable[[], Result]) -> Result:
    """Return what a question comes to, or what is known `by_then` where KeyboardInterrupt ends it.

    Here alone the first Ctrl-C is heard; a second one, while the answer is put together, ends the process as usual.
    """
    try:
        return work()
    except KeyboardInterrupt:
        return by_then()


@dataclass(frozen=True, eq=False)
class Resources:
    """What a question may use: time, a backend by name, a source of starts, and the model as given.

    `branching_share` is that of the time left that branch and bound may take before an engine is asked; `surrogates`
    are sparse copies to take points from.
    """

    clock: Clock
    backend: str
    rng: np.random.Generator
    replay: Replay | None = None
    branching_share: float = 0.0
    surrogates: tuple[Surrogate, ...] = ()

    @cached_property
    def engines(self) -> list[Backend]:
        """The engines in order of preference; looked for once they are needed, which they seldom are."""
        return backends.candidates(self.backend)


def resources_of(
    time_limit: float,
    backend: str,
    seed: int | np.random.Generator,
    replay: Replay | None = None,
    surrogates: tuple[Surrogate, ...] = (),
) -> Resources:
    """Return the resources of a question from its arguments, checked."""
    clock = Clock(as_nonnegative(time_limit, "time_limit"))
    if backend != "auto":
        backends.candidates(backend)  # raises where the name is unknown or its package missing
    share = BRANCHING_SHARES.get(backend, 0.0) * (BESIDE_SURROGATES if surrogates else 1.0)
    return Resources(clock, backend, as_generator(seed), replay, share, surrogates)
