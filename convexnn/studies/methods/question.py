"""A question about a dense network, and the single methods that may answer it, each by itself.

A question is max c . outputs of a dense network over a region, and whether it exceeds a level. A method sees every
point it finds evaluated in the dense network as it is, unpolished; its time counts from nothing, bounds and model
included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.backends.engine_chain import sound_chain
from verify.backends.registry import candidates
from verify.points.ascent import ascend
from verify.points.surrogates import stream_incumbents


@dataclass(frozen=True)
class Question:
    """A dense network, a region, the weights c (k,) of its outputs, and the level to exceed (infinite: none)."""

    network: cx.SparseReLUNetwork
    region: verify.Box
    row: Floats
    level: float
    limit: float
    seed: int


@dataclass
class Record:
    """What one method found: the best value, and the seconds at which it came and at which the level was exceeded."""

    question: Question
    began: float = field(default_factory=perf_counter)
    best: float = -np.inf
    best_at: float = np.nan
    first: float = np.nan

    def seconds(self) -> float:
        """Return the seconds since the method began."""
        return perf_counter() - self.began

    def left(self) -> float:
        """Return the seconds left."""
        return max(0.0, self.question.limit - self.seconds())

    def show(self, point: Floats) -> bool:
        """Evaluate a point in the dense network; return whether it exceeds the level."""
        value = float(self.question.network.activations(point[None])[-1][0] @ self.question.row)
        if value > self.best:
            self.best, self.best_at = value, self.seconds()
        if value > self.question.level and np.isnan(self.first):
            self.first = self.seconds()
        return value > self.question.level

    def row(self) -> dict[str, Any]:
        """Return the columns of a study."""
        return {
            "found": int(np.isfinite(self.first)),
            "first": self.first if np.isfinite(self.first) else None,
            "best": self.best,
            "best_at": self.best_at if np.isfinite(self.best_at) else None,
            "seconds": self.seconds(),
        }


def by_milp(question: Question, copy: cx.SparseReLUNetwork, engine: str) -> dict[str, Any]:
    """Return what the MILP of one network, the dense one or a copy, finds: every incumbent counts."""
    record = Record(question)
    chain, trouble = sound_chain(candidates(engine))
    if chain is None:
        raise ImportError(trouble)
    known = verify.bound(copy, question.region)
    unstable = sum(len(layer.switching) for layer in known[:-1])
    built = verify.encode(copy, question.region, question.row, known)
    building = record.seconds()
    stream_incumbents(built, chain, record.left, record.show, rounds=1)
    more = {"unstable": unstable, "nonzeros": built.milp.rows.nnz, "building": building}
    return record.row() | more


def by_ascent(question: Question) -> dict[str, Any]:
    """Return what gradient ascent finds that begins anew, anywhere, until the time is over."""
    record, rng = Record(question), np.random.default_rng(question.seed)
    done = False
    while not done and record.left() > 0.0:
        point, _ = ascend(question.network, question.region, question.row, rng, stop=lambda: record.left() <= 0.0)
        done = record.show(point)
    return record.row()


def by_relaxation(question: Question, engine: str) -> dict[str, Any]:
    """Return what the point of the dense network's linear relaxation is worth."""
    record = Record(question)
    encoding = verify.encode(question.network, question.region, question.row)
    outcome = candidates(engine)[0].maximise(encoding.milp.relaxed(), record.left())
    if outcome.values is not None:
        record.show(encoding.point(outcome.values))
    return record.row()


# What a study writes of each method; seconds stand in the table anyway.
FIELDS = ("found", "first", "best", "best_at", "unstable", "nonzeros", "building", "note")
