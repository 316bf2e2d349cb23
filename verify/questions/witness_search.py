"""The search for a witness with engines: what the attack on a network and the check of a property share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from convexnn.checks import Floats
from verify.answers.answer import Proof
from verify.answers.checked_result import CheckedResult
from verify.answers.witness import CheckedPoint, WitnessTest
from verify.questions.engines import ask_milp, ask_relaxation
from verify.questions.inquiry import Inquiry

OUT_OF_TIME = "The time limit was reached."


class Alternative:
    """One of several ways to be a witness: chosen functions of an inquiry pass a test, such as those of one class.

    `name` is how a sentence about it begins.
    """

    def __init__(self, name: str, inquiry: Inquiry, chosen: Sequence[int], test: WitnessTest) -> None:
        self.name, self.inquiry, self.chosen, self.test = name, inquiry, list(chosen), test

    def try_witness(self, point: Floats) -> CheckedPoint | None:
        """Return a point, checked, where it is a witness."""
        tried = self.inquiry.try_witness(point, self.test)
        return tried if tried.holds else None

    def try_near(self, point: Floats) -> CheckedPoint | None:
        """Return a point, or an input of few bits near it, where it is a witness: ties are reached there."""
        tried = self.try_witness(point)
        return self._try_few_bits(point) if tried is None else tried

    def _try_few_bits(self, point: Floats) -> CheckedPoint | None:
        every = map(self.try_witness, self.inquiry.nearly_reaching(self.chosen, point)) if self.chosen else ()
        return next((found for found in every if found is not None), None)

    def climb(self, near: Floats | None = None) -> CheckedPoint | None:
        """Return where gradient ascent from anywhere, or from `near`, ends, if a witness is there, or `near` is one."""
        tried = self.try_near(self.inquiry.climb(self.chosen, near))
        return self._try_few_bits(near) if tried is None and near is not None else tried


A = TypeVar("A", bound=Alternative)
Result = TypeVar("Result")


class WitnessSearch(ABC, Generic[A, Result]):
    """A search that asks engines about alternatives, one by one; what else it tries is for those that derive from it.

    `ruled_out` holds what linear relaxations rule out; `tolerant` says whether something was ruled out only up to the
    tolerances of an engine; `engine_asked` is the one asked last.
    """

    def __init__(self) -> None:
        self.ruled_out: list[A] = []
        self.tolerant = False
        self.engine_asked: str | None = None

    @abstractmethod
    def _open(self) -> list[A]:
        """Return the alternatives that are not ruled out."""

    @abstractmethod
    def _nearest_first(self) -> list[A]:
        """Return the same, those first for which the best point known is nearest to a witness."""

    @abstractmethod
    def _blocked(self, alternative: A) -> str | None:
        """Return why no engine can be asked about an alternative now; None if one can."""

    @abstractmethod
    def _take_notes(self, alternative: A, checked: CheckedResult) -> None:
        """Keep what of a result the inquiry of its alternative does not keep already."""

    @abstractmethod
    def _rules_out(self, alternative: A, checked: CheckedResult) -> bool:
        """Whether a result rules an alternative out; keep what it proves."""

    @abstractmethod
    def _found(self, tried: CheckedPoint, source: str) -> Result:
        """Return what a witness makes of the question."""

    @abstractmethod
    def _proven(self, reason: str, proof: Proof) -> Result:
        """Return what the question comes to where there is no witness."""

    @abstractmethod
    def _unknown(self, doubts: list[str]) -> Result:
        """Return what it comes to where alternatives stay open."""

    def _ask_engines(self, share: float = 1.0) -> Result:
        """Ask the linear relaxation of every alternative, then one MILP each, for a `share` of the time then left."""
        doubts: list[str] = []
        found = self._ask_relaxations() or self._ask_milps(doubts, share)
        if found is not None:
            return found
        if doubts:
            return self._unknown(doubts)
        if self.tolerant:
            return self._proven(f"The MILP bounds of {self.engine_asked} prove it.", Proof.SOLVER)
        return self._proven("Outward-rounded dual bounds of linear relaxations prove it.", Proof.LP)

    def _ask_relaxations(self) -> Result | None:
        """Ask the relaxations: they rule some alternatives out, and their points are where ascent starts."""
        for alternative in self._open():
            if self._blocked(alternative) is not None:
                return None
            checked = ask_relaxation(alternative.inquiry, alternative.chosen)
            self._keep(alternative, checked)
            if self._rules_out(alternative, checked):
                self.ruled_out.append(alternative)
            elif checked.point is not None:
                tried = alternative.climb(checked.point)
                if tried is not None:
                    return self._found(tried, "gradient ascent from the linear relaxation")
        return None

    def _ask_milps(self, doubts: list[str], share: float) -> Result | None:
        """Ask the MILPs; `doubts` gets why some alternatives stay open."""
        for alternative in self._nearest_first():
            trouble = self._blocked(alternative)
            if trouble is not None:
                doubts.append(trouble)
                break
            checked = ask_milp(alternative.inquiry, alternative.chosen, alternative.test, share)
            self._keep(alternative, checked)
            tried = None if checked.point is None else alternative.try_near(checked.point)
            if tried is not None:
                return self._found(tried, str(self.engine_asked))
            if not self._rules_out(alternative, checked):
                doubts.append(f"{alternative.name}: {checked.why_unproven()}")
        return None

    def _keep(self, alternative: A, checked: CheckedResult) -> None:
        self.engine_asked = alternative.inquiry.engine_asked
        self._take_notes(alternative, checked)
