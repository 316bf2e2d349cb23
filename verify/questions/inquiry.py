"""The inquiry: what all questions share, from bounds over gradient ascent to one MILP; every point evaluated anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from convexnn.checks import Floats, as_generator, as_nonnegative
from verify.answers.answer import Event, Proof
from verify.answers.checked_result import CheckedResult, trouble_at_point, trouble_of
from verify.answers.replay import Replay
from verify.answers.witness import Exhibit, Test, exhibit
from verify.backends import registry as backends
from verify.backends.engine_chain import EngineChain, sound_chain
from verify.backends.registry import Backend
from verify.bounds.crown import crown_peaks
from verify.bounds.duals import milp_bound
from verify.bounds.functions import Functions, last_hidden
from verify.bounds.layer_bounds import crown_bounds, interval_bounds
from verify.clock import Clock
from verify.encoding.encode import Encoding, Milp, encode
from verify.encoding.outer_approximation import maximise, with_cube
from verify.milp.conjunction import least_of
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.request import Request
from verify.points.ascent import ascend
from verify.points.surrogates import Surrogate
from verify.regions.balls import L2Ball
from verify.regions.box import Box
from verify.regions.intervals import EPS, Interval

# The share of the time left that branch and bound may take, for the backends that split at all.
SHARES = {"auto": 0.8, "branching": 1.0}

# What remains of that share where surrogates have a part of the time.
BESIDE = 0.5

# Seconds of the first search before the bounds of neurons are sharpened by rounds of splits, and how many at first.
FIRST_STAGE, FIRST_ROUNDS = 1.0, 16


@dataclass(frozen=True, eq=False)
class Means:
    """What a question may use: time, a backend by name, a source of starts, and the model as given.

    `share` is that of the time left that branch and bound may take before an engine is asked; `surrogates` are sparse
    copies to take points from.
    """

    clock: Clock
    backend: str
    rng: np.random.Generator
    replay: Replay | None = None
    share: float = 0.0
    surrogates: tuple[Surrogate, ...] = ()

    @cached_property
    def engines(self) -> list[Backend]:
        """The engines in order of preference; looked for once they are needed, which they seldom are."""
        return backends.candidates(self.backend)


def means_of(
    time_limit: float,
    backend: str,
    seed: int | np.random.Generator,
    replay: Replay | None = None,
    surrogates: tuple[Surrogate, ...] = (),
) -> Means:
    """Return the means of a question from its arguments, checked."""
    clock = Clock(as_nonnegative(time_limit, "time_limit"))
    if backend != "auto":
        backends.candidates(backend)  # raises where the name is unknown or its package missing
    share = SHARES.get(backend, 0.0) * (BESIDE if surrogates else 1.0)
    return Means(clock, backend, as_generator(seed), replay, share, surrogates)


class Inquiry:
    """What is known of some functions of a network over a region.

    Of every function it knows the largest value `reached` (t,), recomputed in the network, the input where (`points`,
    (t, d); the center where nothing is reached), proven bounds `lower` and `upper` (t,), and the `widths` (t,) that
    intervals left between them.
    """

    def __init__(self, functions: Functions, region: Box, means: Means) -> None:
        self.functions, self.region, self.means, self.clock = functions, region, means, means.clock
        self.engine: EngineChain | None = None
        self.asked: str | None = None
        self.trace: list[Event] = []
        self.doubt, self.leak = region.doubt, 0.0
        self.layers = interval_bounds(functions.network, region)
        known = functions.over(last_hidden(region, self.layers))
        self.lower, self.upper, self.proof = known.lower, known.upper, Proof.INTERVAL
        self.widths = self.upper - self.lower
        self.relaxed: set[tuple[int, ...]] = set()
        self.reached = np.full(len(functions), -np.inf)
        self.points = np.tile(region.center, (len(functions), 1))
        self.visit(region.center)

    def tighten(self) -> None:
        """Tighten all bounds by CROWN; intervals are cheaper and often enough, so they come first."""
        self._hold(crown_bounds(self.functions.network, self.region))
        self.proof = Proof.CROWN

    def _hold(self, layers: tuple[Interval, ...]) -> None:
        """Take pre-activation bounds, and what they say of the functions."""
        self.layers = layers
        known = self.functions.over(last_hidden(self.region, layers))
        known = known.meet(self.functions.crown(self.region, layers))
        self.lower, self.upper = np.maximum(self.lower, known.lower), np.minimum(self.upper, known.upper)

    def split(
        self, chosen: Sequence[int], accept: Callable[[Floats], bool], level: float = 0.0, share: float = 1.0
    ) -> bool:
        """Prove chosen functions to be at most `level` by branch and bound, for a share of the time that is left.

        It takes `share` of what the question's means allow. `accept` is shown points where one of the functions seems
        to be above; True ends the search, and is returned.
        """
        if not self.means.share or self.clock.over():
            return False
        from verify.branching.torch_modes import TorchModes  # torch takes its time to import

        callers = TorchModes.now()

        def visit(point: Floats) -> bool:
            with callers.applied():
                return accept(point)

        with TorchModes().applied():
            return self._stages(chosen, visit, level, share * self.means.share)

    def _stages(self, chosen: Sequence[int], accept: Callable[[Floats], bool], level: float, share: float) -> bool:
        """Search and sharpen in turns, in torch's modes as they should be."""
        from verify.branching.relaxation import can_branch
        from verify.branching.sharpening import sharpen

        net, until = self.functions.network, self.clock.seconds + share * self.clock.left
        began, rounds = self.clock.seconds, 0
        while can_branch(net, self.layers) and self.clock.seconds < until:
            self._hold(sharpen(net, self.region, self.layers, partial(self._past, until), rounds))
            self.proof = Proof.BRANCHED
            left = [index for index in chosen if self.upper[index] > level]
            if not left or not can_branch(net, self.layers):
                break
            # Each stage has as long as all before it. Where no layer is deep, there is nothing to sharpen between them.
            pause = began + 2.0 * (self.clock.seconds - began) + FIRST_STAGE if len(net.layers) > 2 else until
            if self._search_parts(left, accept, level, min(pause, until)):
                return True
            if self.clock.seconds < pause or not any(self.upper[index] > level for index in left):
                break
            rounds = max(FIRST_ROUNDS, 2 * rounds)
        return False

    def _search_parts(self, chosen: list[int], accept: Callable[[Floats], bool], level: float, until: float) -> bool:
        """Search the parts of chosen functions until some time; return whether a point was accepted."""
        from verify.branching.relaxation import Relaxation
        from verify.branching.tree import branch

        rows, offsets = self.functions.rows[chosen].toarray(), self.functions.offsets[chosen]
        relaxation = Relaxation(self.functions.network, self.region, rows, offsets - level, self.layers)
        found = branch(relaxation, accept, partial(self._past, until))
        # Where there is a level, it was taken off and comes back with rounding.
        lost = 4.0 * EPS * (np.abs(found.upper) + np.abs(offsets) + abs(level)) if level else 0.0
        self.upper[chosen] = np.minimum(self.upper[chosen], found.upper + level + lost)
        finding = f"{found.count} subproblems, {found.reason}; margin at most {self.upper[chosen].max():.6g}"
        self.note("branch and bound", finding)
        return found.point is not None

    def _past(self, moment: float) -> bool:
        return self.clock.seconds >= moment

    def _left(self, moment: float) -> float:
        return max(0.0, moment - self.clock.seconds)

    def visit(self, point: Floats) -> Floats:
        """Evaluate a point in the network, keep it where it is the best yet, and return the functions (t,) there."""
        values = self.functions.at(point[None])[0]
        # Points of a hollow region are outside by rounding, and reach nothing.
        better = (values > self.reached) & (not self.region.is_hollow)
        self.reached[better], self.points[better] = values[better], point
        return values

    def try_witness(self, point: Floats, test: Test) -> Exhibit:
        """Evaluate a point; say whether it counts as a witness of what is tested."""
        self.visit(point)
        tried = exhibit(self.functions, self.region, point, test, self.means.replay)
        self.doubt = self.doubt or tried.doubt
        return tried

    def climb(self, chosen: Sequence[int], near: Floats | None = None) -> Floats:
        """Return the best point of gradient ascent on the least of the chosen functions, begun anywhere or `near`."""
        rows = np.stack([self.functions.row(index) for index in chosen])
        offsets = self.functions.offsets[list(chosen)]
        objective = rows[0] if len(rows) == 1 else rows
        more: dict[str, Any] = {} if len(rows) == 1 else {"offsets": offsets}
        more |= {} if near is None else {"near": near}
        net, rng = self.functions.network, self.means.rng
        point, _ = ascend(net, self.region, objective, rng, stop=self.clock.over, **more)
        self.visit(point)
        return point

    def peak(self, chosen: Sequence[int]) -> Floats:
        """Return the point where the CROWN bound of the mean of the chosen functions is largest, to climb from there.

        Ascent from anywhere can end on a plateau that lies far from it.
        """
        rows = np.mean([self.functions.row(index) for index in chosen], axis=0)
        return np.asarray(crown_peaks(rows[None], self.functions.network.layers, self.layers, self.region)[0])

    def trouble(self) -> str | None:
        """Choose an engine; return why none can be asked, or None."""
        if not self.means.engines:
            return "Branch and bound did not decide it, and no engine was to be asked."
        engine, trouble = sound_chain(self.means.engines)
        if engine is None:
            return trouble
        if not all(layer.finite for layer in self.layers):
            return "A pre-activation bound is infinite, so there is no finite big-M."
        self.engine = engine
        return None

    def ask(self, chosen: Sequence[int], test: Test | None = None, share: float = 1.0) -> CheckedResult:
        """Ask the engine for the maximum of the least of the chosen functions, for a share of the time that is left.

        With a `test` the question is whether it is positive, and a witness that passes may end the work early.
        """
        if self.engine is None:
            raise RuntimeError("no engine was chosen; expected trouble() to be asked before")
        encoding = self._model(chosen)
        outcome = self._run(self.engine, encoding, list(chosen), test, self.clock.seconds + share * self.clock.left)
        certified = self._certify(chosen, encoding, outcome)
        self._note_engine(self.engine, f"{encoding.milp}; {outcome.detail}", outcome.bound, certified)
        finding = replace(self._finding(encoding, outcome, list(chosen)), certified=certified)
        self.leak = finding.leak if abs(finding.leak) > abs(self.leak) else self.leak
        return finding

    def _run(
        self, engine: EngineChain, encoding: Encoding, chosen: list[int], test: Test | None, until: float
    ) -> EngineResult:
        """Hand a model over, until some time.

        With a test a bound below zero is enough, and so is an incumbent that passes.
        """
        if isinstance(self.region.base, L2Ball):
            found = partial(self._settles, test=test)
            return maximise(engine, encoding, partial(self._left, until), found, test is not None)
        if test is None:
            return engine.maximise(encoding.milp, Request(self._left(until)))
        request = Request(
            self._left(until),
            enough=0.0,
            top=float(self.upper[chosen].min()),
            on_incumbent=lambda values: self._settles(encoding.point(values), test),
        )
        return engine.maximise(encoding.milp, request)

    def _certify(self, chosen: Sequence[int], encoding: Encoding, outcome: EngineResult) -> float:
        """Return what the multipliers of an engine prove of the least of the chosen functions, and keep that of one."""
        if outcome.duals is None:
            return np.inf
        bound = milp_bound(encoding.milp, outcome.duals, encoding.inputs)
        if len(chosen) == 1 and bound < self.upper[chosen[0]]:
            self.upper[chosen[0]], self.proof = bound, Proof.LP
        return bound

    def _note_engine(self, engine: EngineChain, finding: str, bound: float, certified: float) -> None:
        self.asked = engine.name
        for trouble in engine.notes:
            self.note("auto", trouble)
        proven = f", {certified:.6g} by its multipliers" if np.isfinite(certified) else ""
        self.note(self.asked, f"{finding}; margin at most {bound:.6g}{proven}")

    def relax(self, chosen: Sequence[int], until: float = np.inf) -> CheckedResult:
        """Ask for the maximum of the linear relaxation, where binaries may be fractions: an upper bound and a start.

        The engine has until some time, at most that of the question; `relaxed` keeps which functions were asked for.
        It costs a hundredth of the MILP, decides some questions by what its multipliers prove, and its point, though no
        optimum of the network, lies near witnesses that gradient ascent from anywhere else misses. Over an L2 ball the
        engine gets a cube in its place, so nothing but its multipliers is a proof.
        """
        if self.engine is None:
            raise RuntimeError("no engine was chosen; expected trouble() to be asked before")
        encoding = self._model(chosen)
        milp = encoding.milp.relaxed()
        ball = isinstance(self.region.base, L2Ball)
        self.relaxed.add(tuple(chosen))
        time = min(self.clock.left, self._left(until))
        outcome = self.engine.maximise(with_cube(encoding, milp) if ball else milp, time)
        certified = self._certify(chosen, encoding, outcome)
        outcome = replace(outcome, bound=certified, allowance=0.0) if ball else outcome
        self._note_engine(self.engine, f"linear relaxation; {outcome.detail}", outcome.bound, certified)
        point = None if outcome.values is None else encoding.point(outcome.values)
        known = float(self.functions.at(self.points[list(chosen)])[:, list(chosen)].min(axis=1).max())
        limited, trouble = outcome.status is EngineStatus.LIMIT, None if ball else trouble_of(outcome, known)
        if trouble is not None:
            self.doubt = self.doubt or f"In the linear relaxation {trouble}"
        return CheckedResult(point, outcome.bound, outcome.allowance, limited, trouble, certified=certified)

    def _settles(self, point: Floats, test: Test | None) -> bool:
        if test is None:
            self.visit(point)
            return False
        return self.try_witness(point, test).holds

    def _model(self, chosen: Sequence[int]) -> Encoding:
        encodings = [
            encode(self.functions.network, self.region, self.functions.row(index), self.layers) for index in chosen
        ]
        offsets = self.functions.offsets[list(chosen)]
        milps = [_moved(found.milp, offset) for found, offset in zip(encodings, offsets, strict=True)]
        index = list(chosen)
        milp = milps[0] if len(milps) == 1 else least_of(milps, self.lower[index], self.upper[index])
        return replace(encodings[0], milp=milp)

    def _finding(self, encoding: Encoding, outcome: EngineResult, chosen: list[int]) -> CheckedResult:
        point, leak, milp = None, 0.0, encoding.milp
        if outcome.values is not None:
            point = encoding.point(outcome.values)
            leak = float(milp.cost @ outcome.values) + milp.constant - float(self.visit(point)[chosen].min())
        # Of one function any point is evidence; of several the least at one and the same point.
        known = float(self.functions.at(self.points[chosen])[:, chosen].min(axis=1).max())
        trouble = trouble_of(outcome, known)
        if trouble is None and not self.region.is_loose:
            trouble = trouble_at_point(outcome, leak, known)
        limited = outcome.status is EngineStatus.LIMIT
        return CheckedResult(point, outcome.bound, outcome.allowance, limited, trouble, leak)

    def note(self, source: str, finding: str) -> None:
        """Write a step down."""
        self.trace.append(Event(self.clock.seconds, source, finding))


def _moved(milp: Milp, offset: float) -> Milp:
    """Return the model with a constant added to its objective."""
    if offset == 0.0:
        return milp
    error = milp.error + 2.0 * EPS * (abs(milp.constant) + abs(float(offset)))
    return replace(milp, constant=milp.constant + float(offset), error=error)
