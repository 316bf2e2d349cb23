"""One box of a property: its inquiry, and the conditions that may still be met there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.answers.witness import CheckedPoint, all_hold
from verify.bounds.functions import Functions
from verify.properties.property import Case, Condition
from verify.questions.inquiry import Inquiry
from verify.questions.resources import Resources
from verify.questions.witness_search import Alternative
from verify.regions.box import Box
from verify.splitting.goals import Goal
from verify.splitting.turns import Splitting


class OpenCondition(Alternative):
    """A condition of a case, met where all its functions hold."""

    def __init__(self, index: int, case: Case, inquiry: Inquiry, chosen: Sequence[int]) -> None:
        self.case, self.strict = case, np.array(case.conditions[index].strict, dtype=bool)
        test = all_hold(np.array(chosen, dtype=np.int64), self.strict)
        super().__init__(f"Condition {index}", inquiry, chosen, test)
        self.goal = Goal(self.chosen, self.strict)

    def try_witness(self, point: Floats) -> CheckedPoint | None:
        """Return a point, checked, where it is a witness in the case as written."""
        tried = super().try_witness(point)
        return tried if tried is not None and self.case.contains(tried.point) else None

    def climb(self, near: Floats | None = None) -> CheckedPoint | None:
        """Return where gradient ascent ends, if that is a witness; without functions there is nothing to climb."""
        return super().climb(near) if self.chosen else None

    @property
    def excluded(self) -> bool:
        """Whether bounds rule it out, or splitting does."""
        if self.goal.ruled_out:
            return True
        upper = self.inquiry.upper[self.chosen]
        return bool(np.where(self.strict, upper <= 0.0, upper < 0.0).any())

    def excluded_by(self, bound: float) -> bool:
        """Whether an upper bound of the least of its functions rules it out."""
        return bound < 0.0 or (bound <= 0.0 and bool(self.strict.all()))

    @property
    def reached(self) -> float:
        """By how much it is met, or missed, at the best point known for it."""
        return self.inquiry.reached_together(self.chosen) if self.chosen else np.inf

    @property
    def bound(self) -> float:
        """A proven upper bound of that."""
        return float(self.inquiry.upper[self.chosen].min(initial=self.goal.ceiling))


class OpenCase:
    """A box of a property, and the conditions of it that are not ruled out."""

    def __init__(self, network: SparseReLUNetwork, case: Case, region: Box, resources: Resources) -> None:
        functions, chosen = _distinct_functions(network, case.conditions)
        self.inquiry = Inquiry(functions, region, resources)
        self.conditions = [OpenCondition(index, case, self.inquiry, part) for index, part in enumerate(chosen)]
        self.open = list(self.conditions)
        self.splitting: Splitting | None = None
        self.narrow()

    def narrow(self) -> None:
        """Drop the conditions that bounds rule out."""
        self.open = [condition for condition in self.open if not condition.excluded]


def _distinct_functions(
    network: SparseReLUNetwork, conditions: tuple[Condition, ...]
) -> tuple[Functions, list[list[int]]]:
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
        chosen.append(found)
    matrix = np.array(rows).reshape(-1, network.n_outputs)
    return Functions(sp.csr_matrix(matrix), -np.array(levels, dtype=np.float64), network), chosen
