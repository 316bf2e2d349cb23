"""A question about a dense network, and the single methods that may answer it, each by itself.

A question is max c . outputs of a dense network over a region, and whether it exceeds a level. A method sees every
point it finds evaluated in the dense network as it is, unpolished; its time counts from nothing, bounds and model
included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

import convexnn as cx
import verify
from convexnn.checks import Floats
from convexnn.studies.harness.study import Run
from verify.backends.engine_chain import sound_chain
from verify.backends.registry import candidates
from verify.bounds.layer_bounds import crown_bounds
from verify.points.ascent import MixedLayer, ascend, densify_layers, values_and_slopes
from verify.points.surrogates import stream_incumbents

# Methods: `verify` with surrogates, ascent from many starts and from perturbed points, the linear relaxation, the
# network's own MILP, those of pruned copies.
PORTFOLIO, ASCENT, PERTURBED, RELAXATION, DENSE = "portfolio", "pgd", "ppga", "lp", "dense"
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
SPARSE = tuple(f"sparse {share:g}" for share in SPARSITIES)

# The sparsities of the surrogates that `verify` searches through.
SURROGATES = (0.8, 0.9)

# Columns that identify a run beside those of its network.
KEYS = ("limit", "engine", "method")

# Steps of the perturbed ascent as shares of the region's diagonal: the longest, and the one at which it stands still.
# Then one of the perturbations is drawn, in the region's widths: these two did best of five sets on three networks.
LONGEST, SHORTEST, PERTURBATIONS = 0.1, 1e-5, (0.3, 1.0)

# What a study writes of each method; seconds stand in the table anyway.
FIELDS = ("found", "first", "best", "best_at", "unstable", "nonzeros", "building", "note")


@dataclass(frozen=True)
class Question:
    """A dense network, a region, the objective c (k,) on its outputs, and the level to exceed (infinite: none)."""

    network: cx.SparseReLUNetwork
    region: verify.Box
    objective: Floats
    level: float
    limit: float
    seed: int


@dataclass
class SearchRecord:
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

    def evaluate(self, point: Floats) -> bool:
        """Evaluate a point in the dense network; return whether it exceeds the level."""
        value = float(self.question.network.activations(point[None])[-1][0] @ self.question.objective)
        if value > self.best:
            self.best, self.best_at = value, self.seconds()
        if value > self.question.level and np.isnan(self.first):
            self.first = self.seconds()
        return value > self.question.level

    def columns(self) -> dict[str, Any]:
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
    record = SearchRecord(question)
    chain, trouble = sound_chain(candidates(engine))
    if chain is None:
        raise ImportError(trouble)
    known = crown_bounds(copy, question.region)
    unstable = sum(len(layer.switching) for layer in known[:-1])
    built = verify.encode(copy, question.region, question.objective, known)
    building = record.seconds()
    stream_incumbents(built, chain, record.left, record.evaluate, rounds=1)
    more = {"unstable": unstable, "nonzeros": built.milp.rows.nnz, "building": building}
    return record.columns() | more


def by_ascent(question: Question) -> dict[str, Any]:
    """Return what gradient ascent finds that begins anew, anywhere, until the time is over."""
    record, rng = SearchRecord(question), np.random.default_rng(question.seed)
    done = False
    while not done and record.left() > 0.0:
        point, _ = ascend(question.network, question.region, question.objective, rng, stop=lambda: record.left() <= 0.0)
        done = record.evaluate(point)
    return record.columns()


def by_perturbed_ascent(question: Question) -> dict[str, Any]:
    """Return what projected gradient ascent of one point finds that is perturbed wherever it stands still.

    The idea is that of Tong et al., arXiv 2512.24295; steps and perturbations are ours. Their second algorithm, which
    uses the linear regions, is not rebuilt.
    """
    record, rng, region = SearchRecord(question), np.random.default_rng(question.seed), question.region
    best, start, layers = -np.inf, region.center, densify_layers(question.network)
    done = False
    while not done and record.left() > 0.0:
        end, value = _climb(question, layers, start, record.left)
        done = record.evaluate(end)
        if value > best:
            best, leader = value, end
        noise = rng.choice(PERTURBATIONS) * rng.standard_normal(region.size)
        start = region.project(leader + noise * (region.upper - region.lower))
    return record.columns()


def _climb(
    question: Question, layers: list[MixedLayer], point: Floats, left: Callable[[], float]
) -> tuple[Floats, float]:
    """Return where x <- project(x + t grad) ends, and its value; t doubles where the value rises, else it is halved."""
    region = question.region
    diagonal = float(np.linalg.norm(region.upper - region.lower))
    (value,), slopes = values_and_slopes(layers, point[None], question.objective)
    length = LONGEST
    while length > SHORTEST and left() > 0.0 and slopes.any():
        next_point = region.project(point + length * diagonal * slopes[0] / np.linalg.norm(slopes))
        (next_value,), next_slopes = values_and_slopes(layers, next_point[None], question.objective)
        if next_value > value:
            point, value, slopes, length = next_point, next_value, next_slopes, min(2.0 * length, LONGEST)
        else:
            length /= 2.0
    return point, float(value)


def by_relaxation(question: Question, engine: str) -> dict[str, Any]:
    """Return what the point of the dense network's linear relaxation is worth."""
    record = SearchRecord(question)
    encoding = verify.encode(question.network, question.region, question.objective)
    outcome = candidates(engine)[0].maximise(encoding.milp.relaxed(), record.left())
    if outcome.values is not None:
        record.evaluate(encoding.point(outcome.values))
    return record.columns()


def by_whole_network(method: str, question: Question, engine: str) -> dict[str, Any] | None:
    """Return what a method finds that needs no copy; None where it is another one."""
    if method == ASCENT:
        return by_ascent(question)
    if method == PERTURBED:
        return by_perturbed_ascent(question)
    if method == RELAXATION:
        return by_relaxation(question, engine)
    return by_milp(question, question.network, engine) if method == DENSE else None


def run_of(network: Mapping[str, int], limit: float, engine: str, method: str) -> Run:
    """Return the run of a method on a network that these columns name."""
    return {**network, "limit": limit, "engine": engine, "method": method}
