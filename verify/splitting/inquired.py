"""What splitting needs of an inquiry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from convexnn.checks import Floats
from verify.answers.answer import Proof
from verify.bounds.functions import Functions
from verify.clock import Clock
from verify.crew import Crew
from verify.regions.box import Box
from verify.regions.intervals import Interval


class Allowed(Protocol):
    """What a question may use: a source of starts, the share of its time for splitting, workers, sparse copies."""

    @property
    def rng(self) -> np.random.Generator: ...

    @property
    def branching_share(self) -> float: ...

    @property
    def crew(self) -> Crew: ...

    @property
    def surrogates(self) -> tuple[object, ...]: ...


class Inquired(Protocol):
    """What is known of some functions of a network over a region; see :class:`verify.questions.inquiry.Inquiry`."""

    functions: Functions
    region: Box
    clock: Clock
    layers: tuple[Interval, ...]
    upper: Floats
    reached: Floats
    points: Floats
    reach: Floats
    tied: bool
    proof: Proof

    @property
    def resources(self) -> Allowed: ...

    def take_layers(self, layers: tuple[Interval, ...]) -> None:
        """Take bounds of the pre-activations, and what they say of the functions."""

    def record(self, point: Floats) -> Floats:
        """Evaluate a point in the network, keep it where it is the best yet, and return the functions (t,) there."""

    def climb(self, chosen: Sequence[int], near: Floats | None = None) -> Floats:
        """Return the best point of gradient ascent on the least of the chosen functions, begun anywhere or `near`."""

    def note(self, source: str, finding: str) -> None:
        """Write a step down."""
