"""The search: bounds first, then gradient ascent, then one MILP a target; every witness evaluated anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from convexnn.checks import Floats, as_nonnegative
from convexnn.network import SparseReLUNetwork
from verify import backends
from verify.answer import Answer, Event, Proof, Verdict
from verify.ascent import ascend
from verify.backends import Backend
from verify.backends.outcome import Ending, Outcome
from verify.bounds import Interval, bound, check_sizes
from verify.encoding import Encoding, encode
from verify.margins import Margins, class_at, margins_of
from verify.reading import read_network
from verify.regions import Box

# LP dual values are feasible to 1e-7 in each reduced cost (the default of HiGHS), rows to 1e-6: what a bound may owe.
DUAL_TOLERANCE = 1e-7
ROW_TOLERANCE = 1e-6


def find_adversarial(
    network: Any,
    region: Box,
    label: int | None = None,
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int = 0,
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
    backend : {"auto", "highs", "scipy"}, default "auto"
        The MILP engine: HiGHS inside ortools, or inside scipy.
    seed : int, default 0
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
    clock = _Clock(as_nonnegative(time_limit, "time_limit"))
    engines = backends.candidates(backend)
    kept = class_at(net, region.center) if label is None else label
    if kept is None:
        return _tie(clock)
    margins = margins_of(net, kept)
    return _Search(net, region, margins, engines, clock, seed).answer()


class _Clock:
    def __init__(self, limit: float) -> None:
        self.began, self.limit = perf_counter(), limit

    @property
    def seconds(self) -> float:
        return perf_counter() - self.began

    @property
    def left(self) -> float:
        return self.limit - self.seconds


def _tie(clock: _Clock) -> Answer:
    reason = "The network has no class at the center of the region (a tie of its outputs); give a label."
    return Answer(Verdict.UNKNOWN, None, None, 0.0, float("inf"), None, reason, clock.seconds, None, ())


@dataclass
class _Search:
    """One question on its way to an answer: the bounds and the best margin so far."""

    network: SparseReLUNetwork
    region: Box
    margins: Margins
    engines: list[Backend]
    clock: _Clock
    seed: int
    trace: list[Event] = field(default_factory=list)
    value: float = -np.inf
    engine: Backend | None = None

    def answer(self) -> Answer:
        """Decide by the cheapest means that can."""
        center = self.region.center
        if _proven_margin(self.margins, center) > 0.0:
            self._note("network", "the center is misclassified")
            self.value = float(self.margins.at(center[None]).max())
            return self._end(Verdict.MISCLASSIFIED, "The network's class at the center is not the label.")
        layers = bound(self.network, self.region)
        over = self.margins.over(_last_hidden(self.region, layers))
        self._note("interval bounds", f"margins at most {over.upper.max():.6g}")
        if (over.upper <= 0.0).all():
            self.value = float(self.margins.at(center[None]).max())
            return self._robust(float(over.upper.max()), Proof.INTERVAL, "Outward-rounded interval bounds prove it.")
        open_targets = np.flatnonzero(over.upper > 0.0)
        order, witness = self._ascend(open_targets)
        if witness is not None:
            return self._found(witness, float(over.upper.max()), "gradient ascent")
        return self._search_milps(order, over.upper.copy(), layers)

    def _ascend(self, targets: Any) -> tuple[list[int], Floats | None]:
        """Return the targets, easiest first, and a witness if gradient ascent finds one."""
        rng, reached = np.random.default_rng(self.seed), {}
        for target in targets:
            point, reached[int(target)] = ascend(self.network, self.region, self._row(target), rng)
            self.value = max(self.value, reached[int(target)])
            if self._is_witness(point):
                self._note("gradient ascent", f"margin {reached[int(target)]:.6g} against class {self._class(target)}")
                return [], point
        self._note("gradient ascent", f"no witness, best margin {self.value:.6g}")
        return sorted(reached, key=lambda target: -reached[target]), None

    def _search_milps(self, order: list[int], upper: Floats, layers: tuple[Interval, ...]) -> Answer:
        """Ask one MILP a target; `upper` holds the proven bounds of all margins and is tightened on the way."""
        engine, trouble = backends.first_sound(self.engines)
        if engine is None:
            return self._unknown(upper, trouble)
        self.engine, reasons = engine, []
        for target in order:
            if self.clock.left <= 0.0:
                reasons.append("The time limit was reached.")
                break
            try:
                encoding = encode(self.network, self.region, self._row(target), layers)
            except ValueError as error:
                return self._unknown(upper, f"The network cannot be encoded: {error}.")
            outcome = self._maximise(engine, encoding)
            if outcome.values is not None:
                point = encoding.point(outcome.values)
                self.value = max(self.value, float(self.margins.at(point[None])[0, target]))
                if self._is_witness(point):
                    return self._found(point, float(upper.max()), engine.name)
            reason = _doubt(encoding, outcome, self.value)
            if reason is None:
                upper[target] = min(upper[target], outcome.bound)
            else:
                reasons.append(f"Class {self._class(target)}: {reason}")
        if reasons:
            return self._unknown(upper, " ".join(reasons))
        return self._robust(float(upper.max()), Proof.SOLVER, f"The MILP bounds of {engine.name} prove it.")

    def _maximise(self, engine: Backend, encoding: Encoding) -> Outcome:
        start = encoding.complete(self.region.center)
        outcome = engine.load()(encoding.milp, self.clock.left, start)
        self._note(engine.name, f"{encoding.milp}; {outcome.detail}; margin at most {outcome.bound:.6g}")
        return outcome

    def _is_witness(self, point: Floats) -> bool:
        return self.region.contains(point) and _proven_margin(self.margins, point) > 0.0

    def _row(self, target: int) -> Floats:
        return self.margins.rows[[target]].toarray()[0]

    def _class(self, target: int) -> int:
        return self.margins.targets[target]

    def _note(self, source: str, finding: str) -> None:
        self.trace.append(Event(self.clock.seconds, source, finding))

    def _found(self, witness: Floats, upper: float, source: str) -> Answer:
        self.value = float(self.margins.at(witness[None]).max())
        winner = self._class(int(self.margins.at(witness[None])[0].argmax()))
        reason = f"Found by {source}: class {winner} beats class {self.margins.label} by {self.value:.6g}."
        return self._end(Verdict.COUNTEREXAMPLE, reason, witness=witness, upper=upper)

    def _robust(self, upper: float, proof: Proof, reason: str) -> Answer:
        return self._end(Verdict.ROBUST, reason, upper=upper, proof=proof)

    def _unknown(self, upper: Floats, reason: str) -> Answer:
        return self._end(Verdict.UNKNOWN, reason, upper=float(upper.max()))

    def _end(
        self,
        status: Verdict,
        reason: str,
        *,
        witness: Floats | None = None,
        upper: float = float("inf"),
        proof: Proof | None = None,
    ) -> Answer:
        return Answer(
            status=status,
            label=self.margins.label,
            witness=witness,
            value=self.value,
            bound=upper,
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


def _doubt(encoding: Encoding, outcome: Outcome, value: float) -> str | None:
    """Return why an outcome does not prove its margin negative; None if it does."""
    milp = encoding.milp
    allowance = ROW_TOLERANCE + DUAL_TOLERANCE * float((milp.upper - milp.lower).sum())
    if outcome.ending is Ending.INFEASIBLE:
        return "the engine calls a model infeasible that the center of the region satisfies."
    if outcome.ending is Ending.FAILED:
        return f"the engine failed ({outcome.detail})."
    if outcome.bound < value - max(allowance, 1e-6 * abs(value)):
        return f"the engine's bound {outcome.bound:.6g} is below a margin {value:.6g} that is reached."
    if outcome.bound < -allowance:
        return None
    if outcome.ending is Ending.LIMIT:
        return f"the time limit was reached with the margin at most {outcome.bound:.6g}."
    return f"the margin is at most {outcome.bound:.6g}, within the tolerance {allowance:.2g} of zero."
