"""Scaling: the same MILP in numbers that an engine's absolute tolerances fit, and back with a sound bound.

Engines call a point feasible and a bound proven up to fixed tolerances. Where variables, rows or the objective are
much smaller or larger than 1, those tolerances decide the answer: unscaled, HiGHS reports optima off by any margin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isnan

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Conditions, Milp
from verify.milp.request import Request
from verify.regions.intervals import EPS

# Ten times the tolerances of the engines on rows and on reduced costs, and on the size of a dropped coefficient.
ROW_TOLERANCE = 1e-5
DUAL_TOLERANCE = 1e-6
DROPPED = 1e-8


@dataclass(frozen=True, eq=False)
class Scaled:
    """A model with v = origin + width t, t in [0, 1], and the objective divided by `factor` after `shift` is taken off.

    The origin is the lower end of a variable, and 0 of a binary one, which may be fixed to 1. Row i is divided by
    `heights[i]`. `error` bounds what rounding can have taken from the objective, `allowance` what the engine's
    tolerances can amount to, both in the units of the original objective.
    """

    original: Milp
    milp: Milp
    width: Floats
    heights: Floats
    factor: float
    shift: float
    error: float
    allowance: float

    @property
    def origin(self) -> Floats:
        """The values that 0 of every scaled variable stands for."""
        return _origin(self.original)

    def request(self, request: Request) -> Request:
        """Return a request in the scaled variables; what is asked of the objective stays behind."""
        start, heard = request.start, request.on_incumbent
        return replace(
            request,
            enough=None,
            top=inf,
            start=None if start is None else (start - self.origin) / self.width,
            on_incumbent=None if heard is None else lambda values: heard(self.point(values)),
        )

    def point(self, values: Floats) -> Floats:
        """Return the original variables, inside their bounds, of an engine's `values`."""
        original = self.original
        moved = self.origin + self.width * values[: len(self.width)]
        return np.asarray(np.clip(moved, original.lower, original.upper))

    def restore(self, outcome: EngineResult) -> EngineResult:
        """Return an engine's outcome in the original variables and units, its bound made sound."""
        values = None if outcome.values is None else self.point(outcome.values)
        bound = self.factor * outcome.bound + self.shift + self.error
        bound = inf if isnan(bound) else bound
        return replace(outcome, values=values, bound=bound, allowance=self.allowance, duals=self.duals(outcome.duals))

    def duals(self, scaled: Floats | None) -> Floats | None:
        """Return the multipliers of the original rows, of an engine's multipliers of the `scaled` ones."""
        with np.errstate(all="ignore"):
            return None if scaled is None else self.factor * scaled / self.heights


@np.errstate(all="ignore")
def scale(milp: Milp) -> Scaled:
    """Return `milp` with all variables in [0, 1] and rows and objective of size 1; factors are powers of two.

    Every variable needs finite bounds; integer variables are binary and stay as they are. What overflows leaves a model
    that no engine is given.
    """
    width = np.where(milp.integer, 1.0, power_of_two(milp.upper - milp.lower))
    origin, reach, ends = _origin(milp), _reach(milp), (milp.row_lower, milp.row_upper)
    rows, row_lower, row_upper, heights = _scaled_rows(milp.rows, *ends, origin, width, reach)
    conditions, count = milp.conditions, len(milp.conditions)
    if count:
        free = np.full(count, -np.inf)
        held, _, upper, _ = _scaled_rows(conditions.rows, free, conditions.upper, origin, width, reach)
        conditions = Conditions(held, upper, conditions.binaries, conditions.at)
    cost = milp.cost * width
    factor = float(power_of_two(np.abs(cost).max(initial=0.0)[None])[0])
    spans = np.where(milp.integer, milp.upper - milp.lower, (milp.upper - milp.lower) / width)
    shift = milp.constant + float(milp.cost @ origin)
    error = milp.error + _objective_rounding(milp)
    sizes = sum(float(np.abs(part.data) @ spans[part.indices]) for part in (rows, conditions.rows))
    owed = ROW_TOLERANCE + DUAL_TOLERANCE * (float(spans.sum()) + sizes)
    scaled = Milp(
        cost=cost / factor,
        constant=0.0,
        error=0.0,
        rows=rows,
        row_lower=row_lower,
        row_upper=row_upper,
        lower=np.where(milp.integer, milp.lower, 0.0),
        upper=np.where(milp.integer, milp.upper, spans),
        integer=milp.integer,
        conditions=conditions,
    )
    return Scaled(milp, scaled, width, heights, factor, shift, error, factor * owed)


@np.errstate(all="ignore")
def closed_form(milp: Milp) -> EngineResult:
    """Return the exact maximum of a model without rows: every variable at the end that its cost prefers."""
    values = np.where(milp.cost > 0.0, milp.upper, milp.lower)
    bound = float(milp.cost @ values) + milp.constant + milp.error + _objective_rounding(milp)
    words = "no neuron can switch: solved in closed form"
    return EngineResult(EngineStatus.OPTIMAL, values, bound, words, 0.0, np.zeros(0))


def _origin(milp: Milp) -> Floats:
    return np.where(milp.integer, 0.0, milp.lower)


def power_of_two(sizes: Floats) -> Floats:
    """Return the least power of two at or above each size; 1 for 0."""
    return np.exp2(np.ceil(np.log2(np.where(sizes > 0.0, sizes, 1.0))))


def _scaled_rows(
    rows: sp.csr_matrix, row_lower: Floats, row_upper: Floats, origin: Floats, width: Floats, reach: Floats
) -> tuple[sp.csr_matrix, Floats, Floats, Floats]:
    """Return rows and sides in the scaled variables, each row widened by all that rounding can do and divided to be of
    size 1, and by what it was divided."""
    with np.errstate(invalid="ignore"):
        moved = _with_data(rows, rows.data * width[rows.indices])
        heights = power_of_two(largest_of_rows(moved))
        moved = _with_data(moved, moved.data / np.repeat(heights, np.diff(moved.indptr)))
        base, slack = rows @ origin, _row_rounding(rows, row_lower, row_upper, reach)
        sides = (row_lower - base - slack) / heights, (row_upper - base + slack) / heights
        return *_without_tiny(moved, *sides), heights


def _row_rounding(rows: sp.csr_matrix, row_lower: Floats, row_upper: Floats, reach: Floats) -> Floats:
    """Return more than the error of `rows` @ origin, of the sides moved by it, and of the widths of the variables."""
    sides = np.where(np.isfinite(row_lower), np.abs(row_lower), 0.0)
    sides = np.maximum(sides, np.where(np.isfinite(row_upper), np.abs(row_upper), 0.0))
    sizes = _with_data(rows, np.abs(rows.data)) @ reach
    return (np.diff(rows.indptr) + 8) * EPS * (sizes + sides)


def _objective_rounding(milp: Milp) -> float:
    """Return more than the error of cost . v + constant at any point of the box, in any order of the terms."""
    return (len(milp.cost) + 8) * EPS * (float(np.abs(milp.cost) @ _reach(milp)) + abs(milp.constant))


def _reach(milp: Milp) -> Floats:
    """Return the largest size of each variable."""
    return np.maximum(np.abs(milp.lower), np.abs(milp.upper))


def _without_tiny(rows: sp.csr_matrix, lower: Floats, upper: Floats) -> tuple[sp.csr_matrix, Floats, Floats]:
    """Drop coefficients that engines drop anyway, and widen the rows by all that they could have contributed."""
    sizes = np.abs(rows.data)
    small = sizes < DROPPED
    if not small.any():
        return rows, lower, upper
    kept, tiny = _with_data(rows, np.where(small, 0.0, rows.data)).copy(), _with_data(rows, np.where(small, sizes, 0.0))
    kept.eliminate_zeros()
    room = np.asarray(tiny.sum(axis=1)).ravel()
    return kept, lower - room, upper + room


def _with_data(rows: sp.csr_matrix, data: Floats) -> sp.csr_matrix:
    """Return a matrix with the places of `rows`, which it shares, and other entries."""
    return sp.csr_matrix((data, rows.indices, rows.indptr), shape=rows.shape)


def largest_of_rows(rows: sp.csr_matrix) -> Floats:
    """Return the largest size in each row; 0 for an empty one."""
    peaks = np.maximum.reduceat(np.append(np.abs(rows.data), 0.0), rows.indptr[:-1]) if rows.shape[0] else np.zeros(0)
    return np.where(np.diff(rows.indptr) > 0, peaks, 0.0)
