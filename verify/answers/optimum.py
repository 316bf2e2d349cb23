"""Optima: the extreme value of a function over a region, with a proven bound beside what was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from convexnn.checks import Floats
from convexnn.records import Record, RowsRecord
from convexnn.tables import Table, counting
from verify.answers.answer import Event, Proof, summary


class Status(Enum):
    """How much is known of an extreme value; the name is stable, the value is a sentence.

    Examples
    --------
    >>> import verify
    >>> print(verify.Status.OPTIMAL.value)
    The value found is the optimum, within the tolerance.
    """

    OPTIMAL = "The value found is the optimum, within the tolerance."
    LIMIT = "The time limit was reached; the optimum lies between the value found and the bound."
    UNKNOWN = "Something does not add up; the value is reached, and the bound is what was proven before."
    INTERRUPTED = "The question was interrupted; what was known by then is returned."


@dataclass(frozen=True, eq=False, repr=False)
class Optimum(Record):
    """The largest (or smallest) value of a linear function of the outputs over a region.

    Attributes
    ----------
    status : Status
        How much is known.
    sense : str
        "maximum" or "minimum".
    value : float
        The best value found, recomputed in the network at the witness; infinite where no point of float64 numbers is
        known in the region, as linear constraints can leave it.
    bound : float
        Proven: no input of the region gives more (less, for a minimum). Infinite where nothing is known.
    witness : ndarray (d,)
        An input of the region that gives the value; where none is known its center, outside by rounding.
    tolerance : float
        By how much value and bound of an OPTIMAL may differ: 1e-6 of the larger of them in size and, where it matters,
        the error of evaluating the function in the region, rounded outward; 1e-9 of the value at the center where the
        value is smaller than that.
    leak : float
        The engine's objective at its own point minus the value recomputed there; 0 where no engine was asked.
    proof : Proof or None
        What the bound of an OPTIMAL or LIMIT rests on; None where it is infinite.
    reason : str
        Why this status, in one sentence.
    seconds : float
        Wall-clock time.
    backend : str or None
        The MILP engine, where one was asked.
    replayed : float or None
        The value of the witness by the model as given, in its own precision; None without such a model.
    trace : tuple of Event
        The steps.
    allowance : float
        What the tolerances of a MILP engine can amount to in the bound; 0 where outward-rounded bounds prove it.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0], [1.0, 1.0]], None), ([[1.0, 1.0]], None)])
    >>> highest = verify.maximize(network, verify.Box([-1.0, -1.0], [2.0, 1.0]))
    >>> highest.status.name, round(highest.value, 5), bool(highest.gap < 1e-5)
    ('OPTIMAL', 4.0, True)
    """

    _told = ("gap",)

    status: Status
    sense: str
    value: float
    bound: float
    witness: Floats
    tolerance: float
    leak: float
    proof: Proof | None
    reason: str
    seconds: float
    backend: str | None
    replayed: float | None
    trace: tuple[Event, ...]
    allowance: float = 0.0

    @property
    def gap(self) -> float:
        """The distance between the value found and the bound; at least 0 up to rounding."""
        return self.bound - self.value if self.sense == "maximum" else self.value - self.bound

    def __repr__(self) -> str:
        return f"<{self.status.name}: {self.sense} found {self.value:.6g}, proven bound {self.bound:.6g}>"

    def __str__(self) -> str:
        allowance = f" up to {self.allowance:.2g} by its engine" if self.allowance > 0.0 else ""
        values = f"{self.sense} found {self.value:.6g}, proven bound {self.bound:.6g}{allowance}"
        return summary(self.status, self.reason, f"{values}; {self.seconds:.3f} s")


@dataclass(frozen=True, eq=False, repr=False)
class OutputRange(RowsRecord):
    """What the outputs of a network reach over a region, one by one.

    Attributes
    ----------
    lower, upper : ndarray (k,)
        Proven: every output stays between them.
    reached_lower, reached_upper : ndarray (k,)
        The smallest and the largest value found, recomputed in the network.
    minima, maxima : tuple of Optimum
        The evidence, one an output.
    seconds : float
        Wall-clock time.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0], [1.0, 0.0]], None)])
    >>> found = verify.output_range(network, verify.Box([-1.0], [2.0]))
    >>> found.lower.round(6).tolist(), found.upper.round(6).tolist()
    ([0.0, 0.0], [2.0, 2.0])
    """

    lower: Floats
    upper: Floats
    reached_lower: Floats
    reached_upper: Floats
    minima: tuple[Optimum, ...]
    maxima: tuple[Optimum, ...]
    seconds: float

    @property
    def table(self) -> Table:
        """One row an output, as text."""
        header = ("output", "found from", "to", "proven from", "to", "status")
        rows = [[f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in self._figures()]
        return Table.of(header, [[str(index), *row] for index, row in enumerate(rows)])

    def _rows(self) -> list[dict[str, Any]]:
        names = ("reached_lower", "reached_upper", "lower", "upper", "status")
        rows = [dict(zip(names, row, strict=True)) for row in self._figures()]
        return [{"output": index, **row} for index, row in enumerate(rows)]

    def _figures(self) -> list[tuple[float, float, float, float, str]]:
        pairs = zip(self.minima, self.maxima, strict=True)
        return [(a.value, b.value, a.bound, b.bound, f"{a.status.name}, {b.status.name}") for a, b in pairs]

    def __repr__(self) -> str:
        return f"<ranges of {len(self.lower)} outputs>"

    def __str__(self) -> str:
        lines = [f"ranges of {counting(len(self.lower), 'output')}; {self.seconds:.3f} s"]
        for index, (low, high) in enumerate(zip(self.minima, self.maxima, strict=True)):
            found = f"found {low.value:.6g} to {high.value:.6g}, proven {low.bound:.6g} to {high.bound:.6g}"
            lines.append(f"  output {index}: {found} ({low.status.name}, {high.status.name})")
        return "\n".join(lines)
