"""One box of a property: its inquiry, and the conditions that may still be met there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.answers.replay import Replay
from verify.answers.witness import CheckedPoint, all_hold
from verify.bounds.functions import Functions
from verify.bounds.ruled_out import excluder, inputs_read
from verify.clock import Clock
from verify.properties.case import Case, Condition
from verify.properties.cases import Cases
from verify.properties.pass_through import with_inputs
from verify.properties.property import Property
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
        """Return a point, checked, where it is a witness in the case as written, or one near it is."""
        tried = super().try_witness(point)
        if tried is None or self.case.contains(tried.point):
            return tried
        for near in self.case.drawn_in(point):
            tried = super().try_witness(near)
            if tried is not None and self.case.contains(tried.point):
                return tried
        self.inquiry.tied = True
        return None

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
        read = _inputs_of(case.conditions)
        if len(read):
            network = with_inputs(network, read)
            resources = replace(resources, replay=_replay_with_inputs(resources.replay, read))
        functions, chosen = _distinct_functions(network, case.conditions, read)
        self.inquiry = Inquiry(functions, region, resources)
        self.conditions = [OpenCondition(index, case, self.inquiry, part) for index, part in enumerate(chosen)]
        self.open = list(self.conditions)
        self.splitting: Splitting | None = None
        self.narrow()

    def narrow(self) -> None:
        """Drop the conditions that bounds rule out."""
        self.open = [condition for condition in self.open if not condition.excluded]


def cases_for(network: SparseReLUNetwork, asked: Property, clock: Clock) -> tuple[Cases, list[str]]:
    """Return the cases of a property of a network, and notes about inputs without bounds that nothing reads.

    Bounds of the network leave out some of many alternatives, which may take half the time.

    Raises
    ------
    ValueError
        The property has too many alternatives, or leaves an input without bounds that a weight or a constraint reads.
    """
    found, notes = list[Case](), dict[int, str]()
    # Bounds are those of the values before a final function, which constraints may be about.
    rules_out = excluder(network, lambda: clock.past(0.5 * clock.limit)) if network.final is None else None
    cases = asked.cases_where(rules_out, clock.overdue)
    for case in cases.found:
        free = case.free
        if not free.any():
            found.append(case)
            continue
        read = inputs_read(network, case.outputs)
        bad = free & (read | case.mentioned)
        if bad.any():
            index = int(np.argmax(bad))
            who = "the network" if read[index] else "a constraint on others"
            name = asked.input_name(index)
            where = f"{asked.path}: " if asked.path else ""
            raise ValueError(
                f"{where}{name} has no finite bounds, and {who} reads it; expected a lower and an upper one"
            )
        settled = case.settled()
        for index in np.flatnonzero(free).tolist():
            value = float(settled.lower[index])
            notes[index] = (
                f"{asked.input_name(index)} has no bounds and no output asked about reads it: it is {value:g}"
            )
        found.append(settled)
    return Cases(tuple(found), cases.whole), list(notes.values())


def _inputs_of(conditions: tuple[Condition, ...]) -> NDArray[np.int64]:
    """Return the inputs that constraints read beside outputs."""
    parts = [condition.inputs.indices for condition in conditions if condition.inputs is not None]
    return np.unique(np.concatenate(parts)).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)


def _replay_with_inputs(replay: Replay | None, read: NDArray[np.int64]) -> Replay | None:
    """Return what replays a network with inputs among its outputs."""
    if replay is None:
        return None
    plain = replay.run

    def run(x: Any) -> Any:
        return np.concatenate([np.asarray(plain(x), dtype=np.float64).ravel(), x[read].astype(np.float64)])

    return replace(replay, run=run)


def _distinct_functions(
    network: SparseReLUNetwork, conditions: tuple[Condition, ...], read: NDArray[np.int64]
) -> tuple[Functions, list[list[int]]]:
    """Return the functions rows @ outputs + inputs @ x - levels of all conditions, each once, and which each has.

    The last outputs of the network are the inputs `read`.
    """
    places: dict[bytes, int] = {}
    rows, levels, chosen = [], [], []
    for condition in conditions:
        found = []
        for row, level in zip(_all_rows(condition, read), condition.levels, strict=True):
            key = row.tobytes() + level.tobytes()
            if key not in places:
                places[key] = len(places)
                rows.append(row)
                levels.append(level)
            found.append(places[key])
        chosen.append(found)
    matrix = np.array(rows).reshape(-1, network.n_outputs)
    return Functions(sp.csr_matrix(matrix), -np.array(levels, dtype=np.float64), network), chosen


def _all_rows(condition: Condition, read: NDArray[np.int64]) -> Floats:
    """Return the coefficients of outputs and of the inputs `read`."""
    if not len(read):
        return condition.rows
    none = np.zeros((len(condition.rows), len(read)))
    return np.hstack([condition.rows, none if condition.inputs is None else condition.inputs[:, read].toarray()])
