"""The search: bounds first, then gradient ascent, then one MILP a target; every witness evaluated anew."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from convexnn.checks import Floats, as_generator, as_nonnegative
from verify import backends
from verify.answer import Answer, Event, Proof, Verdict
from verify.ascent import ascend
from verify.backends import Backend, Line
from verify.bounds import Interval, bound, check_sizes
from verify.encoding import Encoding, encode
from verify.margins import Margins, class_at, margins_of
from verify.outcome import Ending, Outcome
from verify.reading import read_network
from verify.regions import Box
from verify.request import Request


def find_adversarial(
    network: Any,
    region: Box,
    label: int | None = None,
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
) -> Answer:
    """Search a region for an input that the network misclassifies, or prove that there is none.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, or path
        Anything that :func:`verify.read_network` takes. One output: class +1 where f > 0, -1 where f < 0. Several:
        the class of the largest output, 0 to k - 1.
    region : Box or LinfBall
        The inputs allowed; its center is the input attacked.
    label : int, optional
        The class to be kept; default the network's own class at the center.
    time_limit : float, default 60
        Seconds, at least 0.
    backend : {"auto", "gurobi", "highspy", "highs", "gscip", "scip", "scipy"}, default "auto"
        The MILP engine, as in the table of :mod:`verify.backends`; ``auto`` takes them in that order, and the next
        one where one fails.
    seed : int or numpy.random.Generator, default 0
        Of the starts of the gradient ascent.

    Returns
    -------
    Answer
        COUNTEREXAMPLE with a witness, ROBUST with a proof, MISCLASSIFIED, or UNKNOWN with the reason.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.

    Notes
    -----
    Adversarial means strictly misclassified: some margin (y_t - y_label, or -label y for one output) is positive, a
    tie is not. A witness counts only if the lower end of its margin, with every rounding error of its evaluation, is
    positive and it lies in the region to the last bit. ROBUST needs the upper bound of every margin at or below zero
    by outward-rounded intervals, or below zero by more than the engine's tolerances can amount to.
    """
    net = read_network(network)
    check_sizes(net, region)
    clock = Clock(as_nonnegative(time_limit, "time_limit"))
    engines = backends.candidates(backend)
    kept = class_at(net, region.center) if label is None else label
    if kept is None:
        reason = "The network has no class at the center of the region (a tie, or an overflow); give a label."
        return Answer(Verdict.UNKNOWN, None, None, 0.0, np.inf, None, reason, clock.seconds, None, ())
    return _Search(margins_of(net, kept), region, clock, engines, as_generator(seed)).answer()


class Clock:
    """Wall-clock seconds since it was made, and those left of a limit."""

    def __init__(self, limit: float) -> None:
        self.began, self.limit = perf_counter(), limit

    @property
    def seconds(self) -> float:
        return perf_counter() - self.began

    @property
    def left(self) -> float:
        return self.limit - self.seconds

    def over(self) -> bool:
        """Whether no time is left."""
        return self.left <= 0.0


class _Search:
    """One question on its way to an answer.

    Of every target it knows the largest margin `reached`, recomputed in the network, and a proven `upper` bound.
    """

    def __init__(
        self, margins: Margins, region: Box, clock: Clock, engines: list[Backend], rng: np.random.Generator
    ) -> None:
        self.margins, self.region, self.clock, self.engines, self.rng = margins, region, clock, engines, rng
        self.engine: Line | None = None
        self.witness: Floats | None = None
        self.trace: list[Event] = []
        self.layers = bound(margins.network, region)
        self.upper = margins.over(_last_hidden(region, self.layers)).upper
        self.reached = np.full(len(margins.targets), -np.inf)
        self._visit(region.center)

    def answer(self) -> Answer:
        """Decide by the cheapest means that can."""
        for attempt in (self._look_at_center, self._look_at_intervals, self._ascend):
            answer = attempt()
            if answer is not None:
                return answer
        return self._ask_engine()

    def _look_at_center(self) -> Answer | None:
        if _proven_margin(self.margins, self.region.center) <= 0.0:
            return None
        return self._end(Verdict.MISCLASSIFIED, "The network's class at the center is not the label.")

    def _look_at_intervals(self) -> Answer | None:
        self._note("interval bounds", f"margin at most {self.upper.max():.6g}")
        if (self.upper > 0.0).any():
            return None
        return self._end(Verdict.ROBUST, "Outward-rounded interval bounds prove it.", proof=Proof.INTERVAL)

    def _ascend(self) -> Answer | None:
        for target in self._open():
            if self.clock.over():
                break
            point, _ = ascend(self.margins.network, self.region, self._row(target), self.rng, stop=self.clock.over)
            if self._visit(point):
                return self._found(point, "gradient ascent")
        self._note("gradient ascent", f"no witness, margin at least {self.reached.max():.6g}")
        return None

    def _ask_engine(self) -> Answer:
        """Ask one MILP a target, easiest to attack first."""
        engine, trouble = backends.first_sound(self.engines)
        if engine is None:
            return self._end(Verdict.UNKNOWN, trouble)
        if not all(np.isfinite([layer.lower, layer.upper]).all() for layer in self.layers):
            return self._end(Verdict.UNKNOWN, "A pre-activation bound is infinite, so there is no finite big-M.")
        doubts = []
        for target in sorted(self._open(), key=lambda target: -self.reached[target]):
            if self.clock.over():
                doubts.append("The time limit was reached.")
                break
            encoding, outcome = self._maximise(engine, target)
            if outcome.values is not None and self.witness is None:
                self._exhibit(encoding.point(outcome.values))
            if self.witness is not None:
                return self._found(self.witness, engine.name)
            doubt = doubt_of(outcome, float(self.reached[target]))
            if doubt is None:
                self.upper[target] = min(self.upper[target], outcome.bound)
            else:
                doubts.append(f"Class {self.margins.targets[target]}: {doubt}")
        if doubts:
            return self._end(Verdict.UNKNOWN, " ".join(doubts))
        return self._end(Verdict.ROBUST, f"The MILP bounds of {engine.name} prove it.", proof=Proof.SOLVER)

    def _maximise(self, engine: Line, target: int) -> tuple[Encoding, Outcome]:
        """Ask for a witness, or for a bound below zero: how far below is of no interest."""
        self.engine = engine
        encoding = encode(self.margins.network, self.region, self._row(target), self.layers)
        request = Request(
            self.clock.left,
            enough=0.0,
            top=float(self.upper[target]),
            on_incumbent=lambda values: self._exhibit(encoding.point(values)),
        )
        outcome = engine.maximise(encoding.milp, request)
        for trouble in engine.notes:
            self._note("auto", trouble)
        self._note(engine.name, f"{encoding.milp}; {outcome.detail}; margin at most {outcome.bound:.6g}")
        return encoding, outcome

    def _open(self) -> list[int]:
        """Return the targets that are not proven yet."""
        return [int(target) for target in np.flatnonzero(self.upper > 0.0)]

    def _visit(self, point: Floats) -> bool:
        """Evaluate a point in the network; return whether it is a witness."""
        self.reached = np.fmax(self.reached, self.margins.at(point[None])[0])
        return self.region.contains(point) and _proven_margin(self.margins, point) > 0.0

    def _exhibit(self, point: Floats) -> bool:
        """Keep a point if it is a witness; return whether it is one."""
        if self._visit(point):
            self.witness = point
        return self.witness is not None

    def _row(self, target: int) -> Floats:
        return self.margins.rows[[target]].toarray()[0]

    def _note(self, source: str, finding: str) -> None:
        self.trace.append(Event(self.clock.seconds, source, finding))

    def _found(self, witness: Floats, source: str) -> Answer:
        margins = self.margins.at(witness[None])[0]
        winner = self.margins.targets[int(margins.argmax())]
        self._note(source, f"witness with margin {margins.max():.6g}")
        reason = f"Found by {source}: class {winner} beats class {self.margins.label} by {margins.max():.6g}."
        return self._end(Verdict.COUNTEREXAMPLE, reason, witness=witness)

    def _end(
        self, status: Verdict, reason: str, *, witness: Floats | None = None, proof: Proof | None = None
    ) -> Answer:
        return Answer(
            status=status,
            label=self.margins.label,
            witness=witness,
            value=float(self.reached.max()),
            bound=float(self.upper.max()),
            proof=proof,
            reason=reason,
            seconds=self.clock.seconds,
            backend=self.engine.name if self.engine else None,
            trace=tuple(self.trace),
        )


def _proven_margin(margins: Margins, point: Floats) -> float:
    """Return a lower bound of the largest margin at a point, in real arithmetic: its box of width 0, rounded out."""
    box = Box(point, point)
    return float(margins.over(_last_hidden(box, bound(margins.network, box))).lower.max())


def _last_hidden(region: Box, layers: tuple[Interval, ...]) -> Interval:
    return layers[-2].relu() if len(layers) > 1 else Interval(region.lower, region.upper)


def doubt_of(outcome: Outcome, reached: float) -> str | None:
    """Return why an outcome does not prove its margin negative; None if it does.

    `reached` is a value of the objective that is reached for certain: a bound below it is wrong.
    """
    if outcome.ending is Ending.INFEASIBLE:
        return "the engine calls a model infeasible that the center of the region satisfies."
    if outcome.ending is Ending.FAILED:
        return f"the engine failed ({outcome.detail})."
    if not np.isfinite(outcome.bound):
        return f"the engine gave no bound ({outcome.detail})."
    if outcome.bound < reached - max(outcome.allowance, 1e-6 * abs(reached)):
        return f"the engine's bound {outcome.bound:.6g} is below a margin {reached:.6g} that is reached."
    if outcome.bound < -outcome.allowance:
        return None
    if outcome.ending is Ending.LIMIT:
        return f"the time limit was reached with the margin at most {outcome.bound:.6g}."
    return f"the margin is at most {outcome.bound:.6g}, within the tolerance {outcome.allowance:.2g} of zero."
