"""Checking a VNN-LIB property: bounds and gradient ascent over every box first, then one MILP a condition."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from convexnn.checks import Floats, Ints, as_nonnegative
from convexnn.network import SparseReLUNetwork
from verify.answers.answer import Event, Proof
from verify.answers.checked_result import CheckedResult
from verify.answers.property_check import Check, Holding
from verify.answers.replay import replay_of
from verify.answers.witness import CheckedPoint
from verify.bounds.objectives import is_order, with_order, with_values
from verify.clock import MOMENT, Clock
from verify.properties.case import Case
from verify.properties.cases import Cases
from verify.properties.property import Property
from verify.properties.read_property import read_property
from verify.properties.several_networks import joined_question
from verify.questions.engines import choose_engine, out_of_time
from verify.questions.open_case import OpenCase, OpenCondition, cases_for
from verify.questions.resources import INTERRUPTION, Resources, answer_of, resources_of
from verify.questions.witness_search import OUT_OF_TIME, WitnessSearch
from verify.reading.onnx_files.entry import check_titles
from verify.reading.read_network import read_simple
from verify.regions.box import EmptyError
from verify.splitting.schedule import SCHEDULE, asks_early
from verify.splitting.turns import Splitting

# Boxes and points of each that are tried where the time was over before anything was.
BOXES, POINTS = 64, 4

TIE = "A tie: a strict constraint is reached exactly, which does not meet it; whether it is met anywhere is open."


def check_vnnlib(
    network: Any,
    question: Property | str | os.PathLike[str],
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
    model: Any = None,
    n_jobs: int | None = 1,
) -> Check:
    """Decide whether a network has a property: whether no input of its boxes meets its conditions.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, path, or sequence or dict of them
        Anything that :func:`verify.read_network` takes; for a property about several networks one for each, in the
        order in which it declares them or by name, those that are ``equal-to`` another one left out or not.
    question : Property or path
        A VNN-LIB file as :func:`verify.read_property` takes it, or what that returns.
    time_limit, backend, seed, model, n_jobs
        As in :func:`verify.find_adversarial`.

    Returns
    -------
    Check
        HOLDS with a proof, VIOLATED with a witness, UNKNOWN with the reason, or INTERRUPTED (by Ctrl-C).

    Raises
    ------
    TypeError, ValueError, ImportError, OSError
        An argument is of the wrong type or range, a file cannot be read (its line is named), a package is missing, or
        the property leaves an input without bounds that the network reads.

    Notes
    -----
    A condition of constraints g_j(x) = a_j . f(x) - b_j >= 0 is met somewhere iff max min_j g_j >= 0. It is ruled out
    where some g_j, or mean of them, is below 0 by its bounds, over the region or every part that inputs and neurons are
    split into (:mod:`verify.splitting.turns`), where an outward-rounded dual bound of the linear relaxation of that
    maximum is (:mod:`verify.bounds.duals`), or where the dual bound of its MILP is below 0 by more than the engine's
    tolerances can amount to. A witness has every g_j >= 0 (> 0 where written so) in real arithmetic; where rounding
    leaves that open, rational arithmetic decides. Constraints that compare two outputs are about the values before a
    `final` function as well; others are refused where there is one.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])  # |x|
    >>> text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 2))"
    >>> verify.check_vnnlib(network, verify.parse_property(text + "(assert (>= Y_0 2.5))")).status.name
    'HOLDS'
    >>> verify.check_vnnlib(network, verify.parse_property(text + "(assert (>= Y_0 1.5))")).status.name
    'VIOLATED'
    """
    return answer_of(partial(_begin, network, question, (time_limit, backend, seed, model, n_jobs)), _nothing_known)


def _nothing_known(seconds: float) -> Check:
    """Return the answer to a question that was interrupted before anything was known."""
    return Check(Holding.INTERRUPTED, None, None, None, np.inf, None, 0.0, INTERRUPTION, seconds, None, ())


def _begin(network: Any, question: Property | str | os.PathLike[str], options: tuple[Any, ...]) -> _PropertyCheck:
    """Return the question, read."""
    time_limit, backend, seed, model, n_jobs = options
    asked = question if isinstance(question, Property) else read_property(question)
    if asked.refusal:
        where = f"{asked.path}: " if asked.path else ""
        raise ValueError(f"{where}the property is about {asked.refusal}; expected networks with inputs and one output")
    net, asked, places = _one_network(network, asked, model)
    for name, have, want in (("inputs", asked.n_inputs, net.n_inputs), ("outputs", asked.n_outputs, net.n_outputs)):
        if have != want:
            raise ValueError(f"the property has {have} {name}; expected {want}, as the network has")
    clock = Clock(as_nonnegative(time_limit, "time_limit"))
    cases, notes = cases_for(net, asked, clock)
    net, order = _network_for(net, cases.found)
    center = cases.found[0].lower if cases.found else np.zeros(asked.n_inputs)
    resources = resources_of(time_limit, backend, seed, replay_of(network, model, center), n_jobs)
    resources = replace(resources, clock=clock)  # multiplying out counts
    return _PropertyCheck(net, asked, cases, notes, resources, order, places)


def _one_network(given: Any, asked: Property, model: Any) -> tuple[SparseReLUNetwork, Property, Ints | None]:
    """Return the network that a property is about, several as one; for each input of the file which of its it is."""
    if len(asked.networks) > 1:
        if model is not None:
            raise ValueError("model is given for a property of several networks; expected it for one network alone")
        return joined_question(given, asked)
    if isinstance(given, list | tuple | dict) and len(given) == 1:
        (given,) = given.values() if isinstance(given, dict) else given
    if isinstance(given, list | tuple | dict):
        raise ValueError(f"{len(given)} networks are given for a property of one; expected one network alone")
    for declared in asked.networks:
        check_titles(declared.titles, given if model is None else model)
    return read_simple(given), asked, None


def _network_for(network: SparseReLUNetwork, cases: Sequence[Case]) -> tuple[SparseReLUNetwork, str]:
    """Return the network that answers a property, and why a final function does not matter; ValueError if it does."""
    if all(map(_asks_for_order, cases)):
        return with_order(network)
    return with_values(network, "a condition of the property"), ""


def _asks_for_order(case: Case) -> bool:
    """Whether the conditions of a case compare outputs, and ask for nothing else of them."""
    return all(part.inputs is None and is_order(part.rows, part.levels) for part in case.conditions)


class _PropertyCheck(WitnessSearch[OpenCondition, Check]):
    """One property on its way to an answer: an alternative is a condition of one of its boxes."""

    def __init__(
        self,
        network: SparseReLUNetwork,
        written: Property,
        asked: Cases,
        notes: Sequence[str],
        resources: Resources,
        order: str,
        places: Ints | None = None,
    ) -> None:
        super().__init__()
        self.places = places
        self.network, self.written, self.resources, self.order = network, written, resources, order
        self.asked, self.whole = asked
        self.cases: list[OpenCase] = []
        self.trace: list[Event] = []
        for finding in notes:
            self._note("property", finding)
        self.unseen, self.looked, self.untried = 0, False, False
        self.proof, self.highest, self.leak = Proof.INTERVAL, -np.inf, 0.0

    def by_now(self) -> Check:
        """Return what is known by now: the bound covers all boxes, or none is known."""
        every = [condition for case in self.cases for condition in case.conditions]
        self._raise_bound([condition for condition in every if condition not in self.ruled_out])
        self.highest = self.highest if self.looked else np.inf
        return self._end(Holding.INTERRUPTED, INTERRUPTION)

    def decide(self) -> Check:
        """Decide every box by bounds and ascent, then by splitting and the engine."""
        for number, case in enumerate(self.asked):
            if number and self.resources.clock.overdue():
                self.unseen = len(self.asked) - number
                break
            try:
                region = case.region()
            except EmptyError:
                self._note("bounds", f"box {number}: no input meets its linear constraints")
                continue
            found = self._look(OpenCase(self.network, case, region, self.resources), number)
            if found is not None:
                return found
        found = self._try_points() if self.unseen or self.untried or not self.whole else None
        if found is not None:
            return found
        if self.unseen or not self.whole:
            return self._unknown([self._unseen_boxes()])
        self.looked = True
        if not self.cases:
            words = f"Outward-rounded {'interval' if self.proof is Proof.INTERVAL else 'CROWN'} bounds prove it."
            return self._proven(words if self.asked else "The property has no input.", self.proof)
        early = [case for case in self.cases if asks_early(case.inquiry)]
        return (
            (early and (self._split(SCHEDULE.early_share) or self._ask_early())) or self._split() or self._ask_engines()
        )

    def _unseen_boxes(self) -> str:
        """Return how many boxes the time did not suffice for."""
        if self.whole:
            return f"{OUT_OF_TIME} {self.unseen} of {len(self.asked)} boxes were not looked at."
        seen = len(self.asked) - self.unseen
        return f"{OUT_OF_TIME} {seen} boxes were looked at; what others there are was not multiplied out."

    def _look(self, case: OpenCase, number: int) -> Check | None:
        """Bound one box and climb there; return a violation, or keep the box where conditions stay open."""
        if case.open:
            case.inquiry.tighten()
            case.inquiry.bound_ties()
            case.narrow()
            self.proof = self.proof if case.inquiry.proof is Proof.INTERVAL else Proof.CROWN
        self._note("bounds", f"box {number}: {len(case.open)} of {len(case.conditions)} conditions stay open")
        self._raise_bound([condition for condition in case.conditions if condition not in case.open])
        for condition in case.open:
            if self.resources.clock.overdue():
                self.untried = True
                break
            found = condition.try_near(case.inquiry.region.center) or self._climb(condition)
            if found is not None:
                return self._found(found, "gradient ascent")
        if case.open:
            best = max(condition.reached for condition in case.open)
            self._note("gradient ascent", f"box {number}: no witness, margin at least {best:.6g}")
            self.cases.append(case)
        return None

    def _try_points(self) -> Check | None:
        """Try the centers and some points of the boxes made so far, where there was no time for more."""
        cases = self.asked or tuple(case.settled() for case in self.written.without_alternatives().cases)
        until = self.resources.clock.seconds + MOMENT
        for number, case in enumerate(cases[:BOXES]):
            if number and self.resources.clock.past(until):
                break
            draws = self.resources.rng.random((POINTS, len(case.lower)))
            draws[0] = 0.5
            with np.errstate(all="ignore"):
                points = case.lower + draws * (case.upper - case.lower)
                outputs = self.network.activations(points)[-1]
            for x, y in zip(points, outputs, strict=True):
                found = self._try_alternative(x, y)
                if found is not None or self.resources.clock.past(until):
                    break
            if found is not None:
                return self._found(found, "trying points")
        return None

    def _try_alternative(self, x: Floats, y: Floats) -> CheckedPoint | None:
        """Return a point, checked, where it is a witness of an alternative that it meets up to rounding."""
        alternative = self.written.holding_at(x, y)
        cases = () if alternative is None else tuple(case.settled() for case in alternative.cases)
        for case in cases:
            # Outputs are those before a final function: their order alone says something of what the property is about.
            if self.order and not _asks_for_order(case):
                continue
            try:
                opened = OpenCase(self.network, case, case.region(), self.resources)
            except EmptyError:
                continue
            for condition in opened.conditions:
                found = condition.try_near(np.clip(x, case.lower, case.upper))
                if found is not None:
                    return found
        return None

    def _climb(self, condition: OpenCondition) -> CheckedPoint | None:
        """Climb towards a condition from all over the box, then from where its CROWN bound is largest."""
        found = None
        if not condition.chosen:
            return None
        for near in (lambda: None, lambda: condition.inquiry.crown_peak(condition.chosen)):
            if found is None and not self.resources.clock.over():
                found = condition.climb(near())
        return found

    def _split(self, share: float = 1.0) -> Check | None:
        """Split each box for its conditions; return a violation, or that all of them are proven."""
        for place, case in enumerate(self.cases):
            asked = [condition for condition in self._open_of(case) if condition.chosen]
            if not asked or self.resources.clock.over():
                continue
            found: list[CheckedPoint] = []
            before, events = case.open, len(case.inquiry.trace)
            took = self._splitting(case, partial(_accept, asked, found)).run(share / (len(self.cases) - place))
            self.trace += case.inquiry.trace[events:]
            if took:
                return self._found(found[0], "branch and bound")
            case.inquiry.bound_ties()
            case.narrow()
            self._raise_bound([condition for condition in before if condition not in case.open])
        if self._open():
            return None
        if self.tolerant:
            return self._proven(f"Branch and bound and the MILP bounds of {self.engine_asked} prove it.", Proof.SOLVER)
        return self._proven("Branch and bound on outward-rounded CROWN bounds proves it.", Proof.BRANCHED)

    def _splitting(self, case: OpenCase, accept: Callable[[Floats], bool]) -> Splitting:
        """Return the search in a box, as it stands."""
        goals = [condition.goal for condition in case.open if condition.chosen]
        if case.splitting is None:
            case.splitting = Splitting(case.inquiry, goals, accept)
        case.splitting.take(accept, 0.0)
        return case.splitting

    def _ask_early(self) -> Check | None:
        """Ask the engine for a part of the time, where that is likely to be enough."""
        closing = all(
            case.splitting is not None and case.splitting.closing for case in self.cases if self._open_of(case)
        )
        if closing or self.resources.clock.over():
            return None
        answer = self._ask_engines(SCHEDULE.engine_share / max(1, len(self._open())))
        return None if answer.status is Holding.UNKNOWN else answer

    def _open_of(self, case: OpenCase) -> list[OpenCondition]:
        return [condition for condition in case.open if condition not in self.ruled_out]

    def _open(self) -> list[OpenCondition]:
        every = [condition for case in self.cases for condition in self._open_of(case)]
        # Those that ask nothing of the outputs come last: no engine can be asked about them.
        return sorted(every, key=lambda condition: not condition.chosen)

    def _nearest_first(self) -> list[OpenCondition]:
        return sorted(self._open(), key=lambda condition: (not condition.chosen, -condition.reached))

    def _raise_bound(self, conditions: list[OpenCondition]) -> None:
        """Let the bound of the property cover conditions."""
        self.highest = max([self.highest, *(condition.bound for condition in conditions)])

    def _blocked(self, alternative: OpenCondition) -> str | None:
        if not alternative.chosen:
            return f"{alternative.name} is met by every input of its box, and no float64 number in it was found."
        trouble = choose_engine(alternative.inquiry)
        return OUT_OF_TIME if trouble is None and out_of_time(alternative.inquiry) else trouble

    def _take_notes(self, alternative: OpenCondition, checked: CheckedResult) -> None:
        self.trace.append(alternative.inquiry.trace[-1])
        self.leak = checked.leak if abs(checked.leak) > abs(self.leak) else self.leak

    def _rules_out(self, alternative: OpenCondition, checked: CheckedResult) -> bool:
        """Whether a condition is ruled out: by what the engine's multipliers show, or up to its tolerances."""
        certified = alternative.excluded_by(checked.certified)
        if not certified and checked.why_unproven() is not None:
            return False
        self.tolerant |= not certified
        self.highest = max(self.highest, checked.certified if certified else checked.bound)
        return True

    def _note(self, source: str, finding: str) -> None:
        self.trace.append(Event(self.resources.clock.seconds, source, finding))

    def _found(self, tried: CheckedPoint, source: str) -> Check:
        self._note(source, "witness")
        self.highest = np.inf
        return self._end(Holding.VIOLATED, f"Found by {source}.", witness=tried.point)

    def _proven(self, reason: str, proof: Proof) -> Check:
        return self._end(Holding.HOLDS, reason, proof)

    def _unknown(self, doubts: list[str]) -> Check:
        refused = next((case.inquiry.caveat for case in self.cases if case.inquiry.caveat), "")
        self._raise_bound(self._open())
        self.highest = np.inf if self.unseen or not self.whole else self.highest
        tie = TIE if any(case.inquiry.tied for case in self.cases) else ""
        return self._end(Holding.UNKNOWN, " ".join(filter(None, [tie, *doubts, refused])))

    def _end(self, status: Holding, reason: str, proof: Proof | None = None, *, witness: Floats | None = None) -> Check:
        replay = self.resources.replay
        return Check(
            status=status,
            witness=witness if witness is None or self.places is None else witness[self.places],
            outputs=None if witness is None else self.network.activations(witness[None])[-1][0],
            replayed=None if witness is None or replay is None else replay.outputs(witness),
            bound=self.highest,
            proof=proof,
            leak=self.leak,
            reason=f"{reason} {self.order}".strip(),
            seconds=self.resources.clock.seconds,
            backend=self.engine_asked,
            trace=tuple(self.trace),
        )


def _accept(conditions: list[OpenCondition], found: list[CheckedPoint], point: Floats) -> bool:
    """Keep a point that is a witness of a condition; return whether one is kept."""
    tried = [condition.try_witness(point) for condition in conditions]
    found += [checked for checked in tried if checked is not None][:1]
    return bool(found)
