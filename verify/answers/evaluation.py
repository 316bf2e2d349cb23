"""The result of questions about all rows of a data set: certified accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convexnn.records import RowsRecord
from convexnn.tables import Table
from verify.answers.answer import Answer, Verdict


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(RowsRecord):
    """What is proven about the rows of a data set.

    Attributes
    ----------
    answers : tuple of Answer
        One a row, about the ball around it and its true class.
    seconds : float
        Sum over the rows.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], [-1.0])])
    >>> found = verify.evaluate(network, [[2.0], [1.1], [0.0]], [1, 1, -1], lambda x: verify.LinfBall(x, 0.5))
    >>> round(found.accuracy, 3), round(found.certified_accuracy, 3), [answer.status.name for answer in found.answers]
    (1.0, 0.667, ['ROBUST', 'COUNTEREXAMPLE', 'ROBUST'])
    """

    _told = ("accuracy", "certified_accuracy", "attacked_accuracy")

    answers: tuple[Answer, ...]
    seconds: float

    def share(self, status: Verdict) -> float:
        """Return the share of rows with a verdict."""
        return float(np.mean([answer.status is status for answer in self.answers]))

    @property
    def accuracy(self) -> float:
        """Share of rows that are not misclassified at their center."""
        return 1.0 - self.share(Verdict.MISCLASSIFIED)

    @property
    def certified_accuracy(self) -> float:
        """Share of rows that are classified right over their whole region: proven, a lower bound."""
        return self.share(Verdict.ROBUST)

    @property
    def attacked_accuracy(self) -> float:
        """Share of rows that no attack has turned: an upper bound of what is robust."""
        return 1.0 - self.share(Verdict.MISCLASSIFIED) - self.share(Verdict.COUNTEREXAMPLE)

    @property
    def table(self) -> Table:
        """One row a row of the data, as text."""
        header = ("row", "status", "class", "margin found", "proven bound", "proof", "seconds")
        return Table.of(header, [_cells(index, answer) for index, answer in enumerate(self.answers)])

    def _rows(self) -> list[dict[str, Any]]:
        names = ("status", "label", "value", "bound", "proof", "seconds", "backend", "reason")
        told = [{name: getattr(answer, name) for name in names} for answer in self.answers]
        return [{"row": index, **row} for index, row in enumerate(told)]

    def __repr__(self) -> str:
        return f"<certified accuracy {self.certified_accuracy:.1%} over {len(self.answers)} rows>"

    def __str__(self) -> str:
        times = [answer.seconds for answer in self.answers]
        lines = [f"{len(self.answers)} rows: accuracy {self.accuracy:.1%}, certified {self.certified_accuracy:.1%}"]
        for status in Verdict:
            count = sum(answer.status is status for answer in self.answers)
            lines.append(f"  {status.name.lower():14} {count}")
        lines.append(f"  seconds a row: median {np.median(times):.3f}, most {max(times):.3f}")
        return "\n".join(lines)


def _cells(index: int, answer: Answer) -> tuple[str, ...]:
    figures = f"{answer.value:.6g}", f"{answer.bound:.6g}", answer.proof.value if answer.proof else ""
    label = "" if answer.label is None else f"{answer.label}"
    return (f"{index}", answer.status.name, label, *figures, f"{answer.seconds:.3f}")
