"""The search for a witness with engines: what the attack on a network and the check of a property share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from convexnn.checks import Floats
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

    def climb(self, near: Floats | None = None) -> CheckedPoint | None:
        """Return where gradient ascent from anywhere, or from `near`, ends, if that is a witness."""
        return self.try_witness(self.inquiry.climb(self.chosen, near))


A = TypeVar("A", bound=Alternative)
Result = TypeVar("Result")


class WitnessSearch(ABC, Generic[A, Result]):
    """The stages of a search in which engines are asked about alternatives, one by one.

    `tolerant` says whether an alternative was ruled out only up to the tolerances of an engine.
    """

    tolerant = False

    @abstractmethod
    def _blocked(self, alternative: A) -> str | None:
        """Return why no engine can be asked about an alternative now; None if one can."""

    @abstractmethod
    def _ruled_out(self, alternative: A, checked: CheckedResult) -> bool:
        """Whether a result rules an alternative out; keep what it proves."""

    @abstractmethod
    def _found(self, tried: CheckedPoint, source: str) -> Result:
        """Return what a witness makes of the question."""

    @abstractmethod
    def _take_notes(self, alternative: A, checked: CheckedResult) -> None:
        """Keep what of a result the inquiry of its alternative does not keep already."""

    def _ask_relaxations(self, alternatives: Sequence[A]) -> Result | None:
        """Ask the linear relaxation of every alternative: it rules some out, and its point is where ascent starts."""
        for alternative in alternatives:
            if self._blocked(alternative) is not None:
                return None
            checked = ask_relaxation(alternative.inquiry, alternative.chosen)
            self._take_notes(alternative, checked)
            if self._ruled_out(alternative, checked) or checked.point is None:
                continue
            tried = alternative.climb(checked.point)
            if tried is not None:
                return self._found(tried, "gradient ascent from the linear relaxation")
        return None

    def _ask_milps(self, alternatives: Sequence[A], doubts: list[str], share: float = 1.0) -> Result | None:
        """Ask the MILP of one alternative after the other; `doubts` gets why some stay open.

        Each has `share` of the time that is left.
        """
        for alternative in alternatives:
            trouble = self._blocked(alternative)
            if trouble is not None:
                doubts.append(trouble)
                break
            checked = ask_milp(alternative.inquiry, alternative.chosen, alternative.test, share)
            self._take_notes(alternative, checked)
            tried = None if checked.point is None else alternative.try_witness(checked.point)
            if tried is not None:
                return self._found(tried, str(alternative.inquiry.engine_asked))
            if not self._ruled_out(alternative, checked):
                doubts.append(f"{alternative.name}: {checked.why_unproven()}")
        return None
