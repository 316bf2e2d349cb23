"""Answers: a verdict with its evidence, or unknown with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from convexnn.checks import Floats
from convexnn.records import Record


class Verdict(Enum):
    """What is known; the name is stable, the value is a sentence.

    Examples
    --------
    >>> import verify
    >>> print(verify.Verdict.ROBUST.value)
    No input of the region is misclassified; this is proven.
    """

    COUNTEREXAMPLE = "An input of the region is misclassified; the witness shows it."
    ROBUST = "No input of the region is misclassified; this is proven."
    MISCLASSIFIED = "The center of the region is already misclassified, so there is nothing to attack."
    UNKNOWN = "Neither a witness nor a proof was found."
    INTERRUPTED = "The question was interrupted; what was known by then is returned."


class Proof(Enum):
    """What a ROBUST verdict rests on: the last of these that was needed.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0], [1.0, 1.0]], None), ([[1.0, 1.0]], [-1.0])])
    >>> answer = verify.find_adversarial(network, verify.LinfBall([1.0, 0.0], 0.2))
    >>> answer.proof is not verify.Proof.SOLVER  # sound under rounding, whatever an engine's tolerances
    True
    """

    INTERVAL = "interval-certified"
    CROWN = "crown-certified"
    LP = "lp-certified"
    BRANCHED = "branch-certified"
    DIFFERENCE = "difference-certified"
    SOLVER = "solver-tolerance"


@dataclass(frozen=True)
class Event(Record):
    """One step on the way to an answer: who said what, after how many seconds."""

    seconds: float
    source: str
    finding: str

    def __str__(self) -> str:
        return f"{self.seconds:8.3f} s  {self.source}: {self.finding}"


@dataclass(frozen=True, eq=False, repr=False)
class Answer(Record):
    """The answer to one question about a network over a region.

    Attributes
    ----------
    status : Verdict
        What is known.
    label : int or None
        The class that was to be kept; None where the center has no class.
    witness : ndarray (d,) or None
        For COUNTEREXAMPLE an input of the region, exactly inside, that the network misclassifies strictly; evaluated
        anew with rounding accounted for, whoever found it.
    value : float
        Largest margin found over the region, recomputed in the network; positive means misclassified.
    bound : float
        Proven upper bound on the margin over the region; infinite where none is known.
    proof : Proof or None
        For ROBUST: INTERVAL, CROWN, LP or BRANCHED, sound under rounding (LP is evaluated with an engine's multipliers
        of the linear relaxation, and right whatever they are); DIFFERENCE, a proof of these kinds about a copy and a
        bound on how far the network is from it; or SOLVER, up to the tolerances of a MILP engine.
    reason : str
        Why this verdict, in one sentence.
    seconds : float
        Wall-clock time.
    backend : str or None
        The MILP engine, where one was asked.
    trace : tuple of Event
        The steps.
    leak : float
        The largest difference, in size, between a MILP engine's objective at its own point and the margin recomputed
        there in the network; 0 where no engine was asked. Beyond the engine's tolerances nothing is proven.
    replayed : float or None
        The margin of the witness by the model as given, in its own precision; None without such a model.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0], [1.0, 1.0]], None), ([[1.0, 1.0]], [-1.0])])
    >>> answer = verify.find_adversarial(network, verify.LinfBall([1.0, 0.0], 0.6))
    >>> answer.status.name, answer.label, bool(network.predict([answer.witness])[0] < 0.0)
    ('COUNTEREXAMPLE', 1, True)
    """

    status: Verdict
    label: int | None
    witness: Floats | None
    value: float
    bound: float
    proof: Proof | None
    reason: str
    seconds: float
    backend: str | None
    trace: tuple[Event, ...]
    leak: float = 0.0
    replayed: float | None = None

    def __repr__(self) -> str:
        return f"<{self.status.name}: margin found {self.value:.6g}, proven bound {self.bound:.6g}>"

    def __str__(self) -> str:
        figures = f"margin found {self.value:.6g}, proven bound {self.bound:.6g}; {self.seconds:.3f} s"
        return summary(self.status, self.reason, figures)


def summary(status: Enum, reason: str, figures: str) -> str:
    """Return the lines that a result prints: its status in words, why, and the figures."""
    return "\n".join([f"{status.name}: {status.value}", f"  {reason}", f"  {figures}"])
