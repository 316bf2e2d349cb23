"""Polytopes: bounds of inputs that linear constraints alone bound, found in floats and proven in rational numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.regions.halfspaces import Halfspaces

# Inputs of linear constraints beyond which none is bounded: rational elimination takes their third power.
MOST_INPUTS = 100

# The share of the largest multiplier below which one counts as 0.
SMALL = 1e-9

# A row of rational numbers by column.
Row = dict[int, Fraction]


@dataclass(frozen=True, eq=False)
class System:
    """Linear constraints rows x <= sides on the inputs that some constraint reads."""

    rows: sp.csr_matrix
    sides: Floats

    def exact(self, row: int) -> Row:
        """Return a row in rational numbers."""
        span = slice(self.rows.indptr[row], self.rows.indptr[row + 1])
        pairs = zip(self.rows.indices[span].tolist(), self.rows.data[span].tolist(), strict=True)
        return {column: Fraction(value) for column, value in pairs}


def bounds_within(cut: Halfspaces, lower: Floats, upper: Floats) -> tuple[Floats, Floats] | None:
    """Return ends of the box lower <= x <= upper, (d,) each, with those filled in that constraints prove.

    Parameters
    ----------
    cut : Halfspaces
        The constraints, A x <= b.
    lower, upper : ndarray (d,)
        Ends of which some are infinite; an infinite one stays so where nothing is proven.

    Returns
    -------
    tuple of ndarray (d,), or None
        The lower and upper ends, rounded outward; None where no x meets all constraints, which is proven.

    Notes
    -----
    Let rows G and sides h hold A, b and the finite ends. For multipliers l >= 0 with G' l = c, c . x <= h . l wherever
    G x <= h: a linear program suggests which entries of l are positive, and G' l = c is then solved exactly. With
    c = 0 and h . l < 0 there is no x at all.
    """
    columns = cut.mentioned
    if len(columns) > MOST_INPUTS:
        return lower, upper
    system = _system(cut.rows[:, columns], cut.upper, lower[columns], upper[columns])
    if _infeasible(system):
        return None
    new_lower, new_upper = lower.copy(), upper.copy()
    for place, column in enumerate(columns.tolist()):
        if np.isinf(upper[column]):
            new_upper[column] = _largest(system, place, 1)
        if np.isinf(lower[column]):
            new_lower[column] = -_largest(system, place, -1)
    return new_lower, new_upper


def _system(rows: sp.csr_matrix, sides: Floats, lower: Floats, upper: Floats) -> System:
    """Return the constraints and the finite ends."""
    eye = sp.eye(len(lower), format="csr")
    above, below = np.isfinite(upper), np.isfinite(lower)
    every = sp.csr_matrix(sp.vstack([rows, eye[above], -eye[below]]))
    return System(every, np.concatenate([sides, upper[above], -lower[below]]))


def _largest(system: System, place: int, sign: int) -> float:
    """Return a proven upper bound of sign * x[place], rounded outward; infinite where none is found."""
    from scipy.optimize import linprog

    cost = np.zeros(system.rows.shape[1])
    cost[place] = -float(sign)
    found = linprog(cost, A_ub=system.rows, b_ub=system.sides, bounds=(None, None), method="highs")
    if found.status != 0:
        return np.inf
    bound = _proven(system, -found.ineqlin.marginals, {place: Fraction(sign)})
    return np.inf if bound is None else _above(bound)


def _infeasible(system: System) -> bool:
    """Whether no x meets all constraints, proven."""
    from scipy.optimize import linprog

    count, size = system.rows.shape
    # The largest violation, made as small as can be.
    rows = sp.hstack([system.rows, np.full((count, 1), -1.0)], format="csr")
    cost = np.append(np.zeros(size), 1.0)
    limits = [*[(None, None)] * size, (0.0, None)]
    found = linprog(cost, A_ub=rows, b_ub=system.sides, bounds=limits, method="highs")
    if found.status != 0 or found.fun <= 0.0:
        return False
    level = _proven(system, -found.ineqlin.marginals, {})
    return level is not None and level < 0


def _proven(system: System, multipliers: Floats, wanted: Row) -> Fraction | None:
    """Return h . l for l >= 0 with G' l = `wanted`, positive where `multipliers` are; None where there is no such l.

    Where nothing is wanted, the entries of l have the sum 1.
    """
    chosen = np.flatnonzero(multipliers > SMALL * np.abs(multipliers).max(initial=0.0)).tolist()
    rows = [system.exact(row) for row in chosen]
    columns = sorted({column for row in rows for column in row} | set(wanted))
    equations = [
        [row.get(column, Fraction(0)) for row in rows] + [wanted.get(column, Fraction(0))] for column in columns
    ]
    if not wanted:
        equations.append([Fraction(1)] * (len(rows) + 1))
    solution = _solved(equations, len(rows))
    if solution is None or any(value < 0 for value in solution):
        return None
    sides = [Fraction(float(system.sides[row])) for row in chosen]
    return sum((side * value for side, value in zip(sides, solution, strict=True)), Fraction(0))


def _solved(equations: list[list[Fraction]], count: int) -> list[Fraction] | None:
    """Return a solution of linear equations in `count` unknowns, each with its right side last; None without one.

    Elimination by Gauss and Jordan in rational numbers; unknowns that nothing fixes are 0.
    """
    pivots: list[int] = []
    for unknown in range(count):
        top = len(pivots)
        found = next((i for i in range(top, len(equations)) if equations[i][unknown]), None)
        if found is None:
            continue
        equations[top], equations[found] = equations[found], equations[top]
        pivot = equations[top] = [value / equations[top][unknown] for value in equations[top]]
        for i, row in enumerate(equations):
            if i != top and row[unknown]:
                factor = row[unknown]
                equations[i] = [a - factor * b if b else a for a, b in zip(row, pivot, strict=True)]
        pivots.append(unknown)
    if any(row[-1] for row in equations[len(pivots) :]):
        return None
    solution = [Fraction(0)] * count
    for row, unknown in zip(equations, pivots, strict=False):
        solution[unknown] = row[-1]
    return solution


def _above(value: Fraction) -> float:
    """Return the least float64 number that is at least a rational one."""
    try:
        result = float(value)
    except OverflowError:
        return np.inf if value > 0 else -float(np.finfo(np.float64).max)
    return result if Fraction(result) >= value else float(np.nextafter(result, np.inf))
