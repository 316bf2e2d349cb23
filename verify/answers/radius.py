"""The result of a search for the smallest adversarial radius."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from convexnn.checks import Floats
from convexnn.records import Record
from convexnn.tables import counting
from verify.answers.answer import Answer, summary


class Nearness(Enum):
    """What is known of the smallest adversarial radius; the name is stable, the value is a sentence.

    Examples
    --------
    >>> import verify
    >>> print(verify.Nearness.FOUND.value)
    The smallest adversarial radius is known within the tolerance.
    """

    FOUND = "The smallest adversarial radius is known within the tolerance."
    ROBUST = "No input of the whole region is misclassified; this is proven."
    MISCLASSIFIED = "The center of the region is already misclassified, so the radius is 0."
    LIMIT = "The time limit was reached; the radius lies between the bounds."
    UNKNOWN = "A radius between the bounds was neither attacked nor proven."
    INTERRUPTED = "The question was interrupted; what was known by then is returned."


@dataclass(frozen=True, eq=False, repr=False)
class Radius(Record):
    """The smallest radius of a ball around an input that holds a misclassified one.

    Attributes
    ----------
    status : Nearness
        What is known.
    lower : float
        No input within this distance is misclassified: proven, up to the engine's tolerances where one was asked.
    upper : float
        The distance of the witness, rounded up; infinite without one.
    witness : ndarray (d,) or None
        The nearest misclassified input found.
    label : int or None
        The class to be kept.
    reason : str
        Why this status.
    seconds : float
        Wall-clock time.
    answers : tuple of Answer
        The questions asked, in order.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], [-1.0])])
    >>> radius = verify.min_radius(network, verify.LinfBall([2.0], 1.5))
    >>> radius.status.name, radius.lower <= 1.0 <= radius.upper, round(radius.upper, 2)
    ('FOUND', True, 1.0)
    """

    status: Nearness
    lower: float
    upper: float
    witness: Floats | None
    label: int | None
    reason: str
    seconds: float
    answers: tuple[Answer, ...]

    def __repr__(self) -> str:
        return f"<{self.status.name}: {self.lower:.6g} to {self.upper:.6g}>"

    def __str__(self) -> str:
        asked = counting(len(self.answers), "question")
        span = f"between {self.lower:.6g} and {self.upper:.6g}; {asked}, {self.seconds:.3f} s"
        return summary(self.status, self.reason, span)
