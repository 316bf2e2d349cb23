"""Checking a VNN-LIB property: bounds and gradient ascent over every box first, then one MILP a condition."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.answers.answer import Event, Proof
from verify.answers.checked_result import CheckedResult
from verify.answers.property_check import Check, Holding
from verify.answers.replay import replay_of
from verify.answers.witness import Exhibit, Test, all_hold
from verify.bounds.functions import Functions
from verify.properties.property import Case, Condition, Property
from verify.properties.read_property import read_property
from verify.questions.inquiry import Inquiry, Means, means_of
from verify.reading.read_network import read_simple
from verify.regions.box import Box, EmptyError


def check_vnnlib(
    network: Any,
    question: Property | str | os.PathLike[str],
    *,
    time_limit: float = 60.0,
    backend: str = "auto",
    seed: int | np.random.Generator = 0,
    model: Any = None,
) -> Check:
    """Decide whether a network has a property: whether no input of its boxes meets its conditions.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, or path
        Anything that :func:`verify.read_network` takes.
    question : Property or path
        A VNN-LIB 1.0 file, or one read by :func:`verify.read_property`.
    time_limit, backend, seed, model
        As in :func:`verify.find_adversarial`.

    Returns
    -------
    Check
        HOLDS with a proof, VIOLATED with a witness, or UNKNOWN with the reason.

    Raises
    ------
    TypeError, ValueError, ImportError, OSError
        An argument is of the wrong type or range, a file cannot be read (its line is named), or a package is missing.

    Notes
    -----
    A condition of constraints g_j(x) = a_j . f(x) - b_j >= 0 is met somewhere iff max min_j g_j >= 0. It is ruled out
    where some g_j is below 0 by its bounds, where an outward-rounded dual bound of the linear relaxation of that
    maximum is (:mod:`verify.bounds.duals`), or where the dual bound of its MILP is below 0 by more than the engine's
    tolerances can amount to. A witness has every g_j >= 0 (> 0 where written so) in real arithmetic.
    """
    net = read_simple(network)
    asked = question if isinstance(question, Property) else read_property(question)
    for name, have, want in (("inputs", asked.n_inputs, net.n_inputs), ("outputs", asked.n_outputs, net.n_outputs)):
        if have != want:
            raise ValueError(f"the property has {have} {name}; expected {want}, as the network has")
    center = asked.cases[0].lower if asked.cases else np.zeros(asked.n_inputs)
    means = means_of(time_limit, backend, seed, replay_of(network, model, center))
    return _Checking(net, asked, means).check()


class _Place:
    """One box: its inquiry, and the conditions that may still be met there."""

    def __init__(self, network: SparseReLUNetwork, case: Case, region: Box, means: Means) -> None:
        self.case = case
        self.chosen, functions = _functions(network, case.conditions)
        self.known = Inquiry(functions, region, means)
        self.open = list(range(len(case.conditions)))
        self.narrow()

    def narrow(self) -> None:
        """Drop the conditions that bounds rule out."""
        self.open = [index for index in self.open if not self._ruled_out(index)]

    def _ruled_out(self, index: int) -> bool:
        upper = self.known.upper[self.chosen[index]]
        return bool(np.where(self.case.conditions[index].strict, upper <= 0.0, upper < 0.0).any())

    def excludes(self, index: int, bound: float) -> bool:
        """Whether an upper bound of the least of a condition's functions rules it out."""
        return bound < 0.0 or (bound <= 0.0 and all(self.case.conditions[index].strict))

    def depth(self, index: int) -> float:
        """Return by how much a condition is met, or missed, at the best point known for it."""
        chosen = self.chosen[index]
        if not len(chosen):
            return np.inf
        return float(self.known.functions.at(self.known.points[chosen])[:, chosen].min(axis=1).max())

    def bound(self, index: int) -> float:
        """Return a proven upper bound of that."""
        return float(self.known.upper[self.chosen[index]].min(initial=np.inf))

    def test(self, index: int) -> Test:
        """Return what the values of a witness of a condition show."""
        return all_hold(self.chosen[index], np.array(self.case.conditions[index].strict, dtype=bool))

    def try_witness(self, point: NDArray[np.float64], index: int) -> Exhibit | None:
        """Return the point as a witness of a condition, where it is one."""
        tried = self.known.try_witness(point, self.test(index))
        return tried if tried.holds and self.case.contains(tried.point) else None


def _functions(
    network: SparseReLUNetwork, conditions: tuple[Condition, ...]
) -> tuple[list[NDArray[np.int64]], Functions]:
    """Return the functions rows @ outputs - levels of all conditions, each once, and which ones each has."""
    places: dict[bytes, int] = {}
    rows, levels, chosen = [], [], []
    for condition in conditions:
        found = []
        for row, level in zip(condition.rows, condition.levels, strict=True):
            key = row.tobytes() + level.tobytes()
            if key not in places:
                places[key] = len(places)
                rows.append(row)
                levels.append(level)
            found.append(places[key])
        chosen.append(np.array(found, dtype=np.int64))
    matrix = np.array(rows).reshape(-1, network.n_outputs)
    return chosen, Functions(sp.csr_matrix(matrix), -np.array(levels, dtype=np.float64), network)


class _Checking:
    """One property on its way to an answer."""

    def __init__(self, network: SparseReLUNetwork, asked: Property, means: Means) -> None:
        self.network, self.asked, self.means = network, asked, means
        self.places: list[_Place] = []
        self.trace: list[Event] = []
        self.proof, self.highest, self.leak = Proof.INTERVAL, -np.inf, 0.0
        self.tolerant = False
        self.backend: str | None = None

    def check(self) -> Check:
        """Decide by the cheapest means that can: every box by bounds and ascent, then the engine."""
        for number, case in enumerate(self.asked.cases):
            try:
                region = case.region()
            except EmptyError:
                self._note("bounds", f"box {number}: no input meets its linear constraints")
                continue
            found = self._look(_Place(self.network, case, region, self.means), number)
            if found is not None:
                return found
        if not self.places:
            words = f"Outward-rounded {'interval' if self.proof is Proof.INTERVAL else 'CROWN'} bounds prove it."
            return self._end(Holding.HOLDS, words if self.asked.cases else "The property has no input.", self.proof)
        return self._split() or self._ask_engine()

    def _look(self, place: _Place, number: int) -> Check | None:
        """Bound one box and climb there; return a violation, or keep the box where conditions stay open."""
        if place.open:
            place.known.tighten()
            place.narrow()
            self.proof = Proof.CROWN
        count = len(place.case.conditions)
        self._note("bounds", f"box {number}: {len(place.open)} of {count} conditions stay open")
        for index in range(count):
            if index not in place.open:
                self.highest = max(self.highest, place.bound(index))
        for index in place.open:
            found = place.try_witness(place.known.region.center, index) or self._climb(place, index)
            if found is not None:
                return self._violated(place, found, "gradient ascent")
        if place.open:
            best = max(place.depth(index) for index in place.open)
            self._note("gradient ascent", f"box {number}: no witness, margin at least {best:.6g}")
            self.places.append(place)
        return None

    def _climb(self, place: _Place, index: int) -> Exhibit | None:
        """Climb towards a condition from all over the box, then from where its CROWN bound is largest."""
        chosen, found = place.chosen[index].tolist(), None
        for near in (lambda: None, lambda: place.known.peak(chosen)):
            if found is None and not self.means.clock.over():
                found = place.try_witness(place.known.climb(chosen, near()), index)
        return found

    def _split(self) -> Check | None:
        """Split each box for its conditions of one constraint; return a violation, or that all of them are proven."""
        for place in self.places:
            single = [index for index in place.open if len(place.chosen[index]) == 1]
            found: list[Exhibit] = []
            if not single or self.means.clock.over():
                continue
            waiting, accept = set(place.open), partial(self._accept, place, single, found)
            if place.known.split([int(place.chosen[index][0]) for index in single], accept):
                return self._violated(place, found[0], "branch and bound")
            self.trace += place.known.trace[-1:]
            place.narrow()
            # Sharper bounds may rule out conditions of several constraints too.
            for index in waiting - set(place.open):
                self.highest = max(self.highest, place.bound(index))
        if any(place.open for place in self.places):
            return None
        words = "Branch and bound on outward-rounded CROWN bounds proves it."
        return self._end(Holding.HOLDS, words, Proof.BRANCHED)

    def _accept(self, place: _Place, chosen: list[int], found: list[Exhibit], point: Floats) -> bool:
        tried = (place.try_witness(point, index) for index in chosen)
        found += [exhibit for exhibit in tried if exhibit is not None][:1]
        return bool(found)

    def _relaxations(self) -> Check | None:
        """Ask the linear relaxation of every condition: it rules some out, and its point is where ascent starts."""
        for place in self.places:
            for index in list(place.open):
                if place.known.trouble() is not None or self.means.clock.over():
                    return None
                chosen = place.chosen[index].tolist()
                finding = place.known.relax(chosen)
                self.backend = place.known.asked
                self.trace.append(place.known.trace[-1])
                if self._decided(place, index, finding):
                    place.open.remove(index)
                elif finding.point is not None:
                    found = place.try_witness(place.known.climb(chosen, finding.point), index)
                    if found is not None:
                        return self._violated(place, found, "gradient ascent from the linear relaxation")
        return None

    def _ask_engine(self) -> Check:
        """Ask one MILP a condition, those that are nearest to being met first."""
        early = self._relaxations()
        if early is not None:
            return early
        waiting = [
            (place.depth(index), number, index) for number, place in enumerate(self.places) for index in place.open
        ]
        doubts: list[str] = []
        for _, number, index in sorted(waiting, key=lambda entry: -entry[0]):
            place = self.places[number]
            trouble = place.known.trouble()
            if trouble is None and self.means.clock.over():
                trouble = "The time limit was reached."
            if trouble is not None:
                doubts.append(trouble)
                break
            found = self._decide(place, index, doubts)
            if found is not None:
                return found
        if doubts:
            refused = next((place.known.doubt for place in self.places if place.known.doubt), "")
            self.highest = max([self.highest, *(place.bound(index) for place in self.places for index in place.open)])
            return self._end(Holding.UNKNOWN, " ".join([*doubts, refused]).strip())
        if self.tolerant:
            return self._end(Holding.HOLDS, f"The MILP bounds of {self.backend} prove it.", Proof.SOLVER)
        return self._end(Holding.HOLDS, "Outward-rounded dual bounds of linear relaxations prove it.", Proof.LP)

    def _decide(self, place: _Place, index: int, doubts: list[str]) -> Check | None:
        chosen = place.chosen[index].tolist()
        finding = place.known.ask(chosen, place.test(index))
        self.backend = place.known.asked
        self.trace.append(place.known.trace[-1])
        self.leak = finding.leak if abs(finding.leak) > abs(self.leak) else self.leak
        if finding.point is not None:
            found = place.try_witness(finding.point, index)
            if found is not None:
                return self._violated(place, found, str(self.backend))
        if not self._decided(place, index, finding):
            doubts.append(f"Condition {index}: {finding.doubt()}")
        return None

    def _decided(self, place: _Place, index: int, finding: CheckedResult) -> bool:
        """Whether a condition is ruled out: by what the engine's multipliers show, or up to its tolerances."""
        certified = place.excludes(index, finding.certified)
        if not certified and finding.doubt() is not None:
            return False
        self.tolerant |= not certified
        self.highest = max(self.highest, finding.certified if certified else finding.bound)
        return True

    def _note(self, source: str, finding: str) -> None:
        self.trace.append(Event(self.means.clock.seconds, source, finding))

    def _violated(self, place: _Place, found: Exhibit, source: str) -> Check:
        self._note(source, "witness")
        self.highest = np.inf
        return self._end(Holding.VIOLATED, f"Found by {source}.", found=found)

    def _end(self, status: Holding, reason: str, proof: Proof | None = None, *, found: Exhibit | None = None) -> Check:
        point = None if found is None else found.point
        replay = self.means.replay
        return Check(
            status=status,
            witness=point,
            outputs=None if point is None else self.network.activations(point[None])[-1][0],
            replayed=None if point is None or replay is None else replay.outputs(point),
            bound=self.highest,
            proof=proof,
            leak=self.leak,
            reason=reason,
            seconds=self.means.clock.seconds,
            backend=self.backend,
            trace=tuple(self.trace),
        )
