"""Checks: what is known of a property, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from convexnn.checks import Floats
from convexnn.records import Record
from verify.answers.answer import Event, Proof, summary


class Holding(Enum):
    """What is known of a property; the name is stable, the value is a sentence.

    Examples
    --------
    >>> import verify
    >>> print(verify.Holding.HOLDS.value)
    No input of the property's boxes meets its conditions; this is proven.
    """

    HOLDS = "No input of the property's boxes meets its conditions; this is proven."
    VIOLATED = "An input meets the conditions of the property; the witness shows it."
    UNKNOWN = "Neither a witness nor a proof was found."
    INTERRUPTED = "The question was interrupted; what was known by then is returned."


@dataclass(frozen=True, eq=False, repr=False)
class Check(Record):
    """The answer to a VNN-LIB property of a network.

    Attributes
    ----------
    status : Holding
        What is known; HOLDS is "unsat" and VIOLATED "sat" in the words of VNN-COMP.
    witness : ndarray (d,) or None
        For VIOLATED an input that satisfies the property as written, to the last bit in its box, with every rounding
        error of the network's evaluation accounted for; what is reached exactly meets >= and not >.
    outputs : ndarray (k,) or None
        The network's outputs there.
    replayed : ndarray (k,) or None
        The outputs by the model as given, in its own precision, which satisfy the property too.
    bound : float
        Proven: no input meets all constraints of a condition by more than this. Infinite where nothing is known.
    proof : Proof or None
        For HOLDS what it rests on.
    leak : float
        The largest difference between an engine's objective at its own point and the value recomputed there.
    reason : str
        Why this verdict.
    seconds : float
        Wall-clock time.
    backend : str or None
        The MILP engine, where one was asked.
    trace : tuple of Event
        The steps.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    >>> text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 2))"
    >>> check = verify.check_vnnlib(network, verify.parse_property(text + "(assert (>= Y_0 1.5))"))
    >>> check.status.name, bool(check.outputs[0] >= 1.5)
    ('VIOLATED', True)
    """

    status: Holding
    witness: Floats | None
    outputs: Floats | None
    replayed: Floats | None
    bound: float
    proof: Proof | None
    leak: float
    reason: str
    seconds: float
    backend: str | None
    trace: tuple[Event, ...]

    def __repr__(self) -> str:
        return f"<{self.status.name} in {self.seconds:.3f} s>"

    def __str__(self) -> str:
        return summary(self.status, self.reason, f"{self.seconds:.3f} s")
