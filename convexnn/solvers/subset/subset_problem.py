"""The best-subset problem in working form: unit columns, few rows, no two columns parallel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack

from convexnn.checks import Floats
from convexnn.linear.least_squares import least_squares

Indices = NDArray[np.intp]

# A unit column whose squared distance to the span of others is below this counts as inside the span.
DEPENDENT = 1e-12

# A distance, not squared, that rounding alone explains. What lies between the two is left out with a doubt: such
# columns can still hold a solution, with weights of a million and more, so nothing is proven any longer.
ROUNDING = 1e-10

# Least squares by Cholesky, and the cost of removing a column, need squared pivots (of unit columns) above this.
SOUND = 1e-7


@dataclass(frozen=True)
class Projected:
    """What is left once the columns in `included` are free: the others and the target, orthogonal to them.

    `candidates` (N,) are column indices, `columns` (n, N) and `target` (n,) their projections, `left` how many more
    columns may enter.
    """

    included: tuple[int, ...]
    candidates: Indices
    columns: Floats
    target: Floats
    left: int

    @cached_property
    def gram(self) -> Floats:
        """C^T C, shape (N, N)."""
        return self.columns.T @ self.columns

    @cached_property
    def slopes(self) -> Floats:
        """C^T r, shape (N,)."""
        return self.columns.T @ self.target

    @cached_property
    def residual(self) -> float:
        """||r||^2: the residual of `included` alone."""
        return float(self.target @ self.target)

    def relaxed(self) -> tuple[float, Floats | None]:
        """Return lower bounds on the residual: over all candidates, and over all without each of them, shape (N,).

        Least squares on all columns: ||r - C w||^2, and w_i^2 / (G^-1)_ii more without column i (Furnival and Wilson
        1974); None where columns depend on each other. An inexact w costs the first bound its square alone.
        """
        if not len(self.candidates):
            return self.residual, None
        factor, info = lapack.dpotrf(self.gram, lower=1)
        if info or float(np.diag(factor).min()) ** 2 < SOUND:
            return self._relaxed_dependent(), None
        weights = cho_solve((factor, True), self.slopes, check_finite=False)
        rest = self.target - self.columns @ weights
        inverse, _ = lapack.dpotri(factor, lower=1)
        bound = float(rest @ rest)
        return bound, bound + weights**2 / np.diag(inverse)

    def _relaxed_dependent(self) -> float:
        """Return ||r - C w||^2 where the directions of C are clearly there or clearly not, 0 where some are between."""
        directions, sizes, _ = np.linalg.svd(self.columns, full_matrices=False)
        clear = sizes**2 > SOUND
        if not clear.any() or (sizes[~clear] > ROUNDING).any():
            return 0.0
        kept = directions[:, clear]
        rest = self.target - kept @ (kept.T @ self.target)
        return float(rest @ rest)


@dataclass(frozen=True)
class SubsetProblem:
    """min ||y - A w||^2 over ||w||_0 <= size, at most `per_group` nonzeros a group, ||y|| = 1, unit columns.

    `columns` (n, N), `target` (n,), `groups` (N,) of int, `per_group` None for no cap; `names` (N,) are the indices of
    the columns in the caller's matrix. `doubts` gathers what was left out that rounding does not explain.
    """

    columns: Floats
    target: Floats
    size: int
    groups: Indices
    per_group: int | None
    names: Indices
    doubts: list[str] = field(default_factory=list)

    def doubt(self, squares: Floats) -> None:
        """Note that columns at these squared distances to a span were left out, if rounding does not explain it."""
        if (squares > ROUNDING**2).any():
            self.doubts.append(f"a column at distance {float(squares.max()) ** 0.5:.1e} was left out")

    def residual(self, support: Iterable[int]) -> float:
        """Return min ||y - A_S w||^2."""
        columns = self.columns[:, list(support)]
        rest = self.target - columns @ least_squares(columns, self.target)
        return float(rest @ rest)

    def room(self, included: Iterable[int]) -> Indices:
        """Return how many more columns of its group may enter beside `included`, for each column (N,)."""
        if self.per_group is None:
            return np.full(len(self.groups), len(self.groups))
        used = np.bincount(self.groups[list(included)], minlength=int(self.groups.max(initial=0)) + 1)
        return self.per_group - used[self.groups]

    def project(self, included: tuple[int, ...], candidates: Indices) -> Projected | None:
        """Return the problem left beside `included`, without candidates in their span or in a full group.

        None if `included` depend on each other: a smaller set then does as well.
        """
        candidates = candidates[self.room(included)[candidates] > 0]
        columns, target = self.columns[:, candidates], self.target
        if included:
            basis, triangle = np.linalg.qr(self.columns[:, list(included)])
            least = np.square(np.diag(triangle)).min()
            if least < DEPENDENT:
                self.doubt(np.array([least]))
                return None
            for _ in range(2):
                columns = columns - basis @ (basis.T @ columns)
                target = target - basis @ (basis.T @ target)
        distances = np.square(columns).sum(axis=0)
        inside = distances < DEPENDENT
        if inside.any():
            self.doubt(distances[inside])
            candidates, columns = candidates[~inside], columns[:, ~inside]
        return Projected(included, candidates, columns, target, self.size - len(included))

    def gains(self, included: tuple[int, ...]) -> Floats:
        """Return what the residual falls by when one column joins `included`, shape (N,); 0 where none may."""
        gains = np.zeros(len(self.names))
        view = self.project(included, np.setdiff1d(np.arange(len(gains)), included))
        if view is not None and view.left > 0 and len(view.candidates):
            gains[view.candidates] = view.slopes**2 / np.square(view.columns).sum(axis=0)
        return gains

    def polished(self, support: Iterable[int], until: float = np.inf) -> tuple[int, ...]:
        """Return a support at least as good: filled up greedily, then improved by single exchanges until none helps.

        At the time `until`, of perf_counter, it ends with what it has.
        """
        chosen = self._filled(tuple(support), until)
        best, position = self.residual(chosen), 0
        while position < len(chosen) and perf_counter() < until:
            other = self._filled(chosen[1:], np.inf)
            residual = self.residual(other)
            if residual < best * (1.0 - 1e-9):
                chosen, best, position = other, residual, 0
            else:
                chosen, position = chosen[1:] + chosen[:1], position + 1
        return tuple(sorted(chosen))

    def _filled(self, chosen: tuple[int, ...], until: float) -> tuple[int, ...]:
        while len(chosen) < self.size and perf_counter() < until:
            gains = self.gains(chosen)
            best = int(gains.argmax()) if len(gains) else 0
            if not len(gains) or gains[best] <= 0.0:
                return chosen
            chosen = (*chosen, best)
        return chosen


def working_form(A: Floats, y: Floats, size: int, groups: Indices | None, per_group: int | None) -> SubsetProblem:
    """Return the problem over unit columns of `A` (n, N) and y / ||y||, y nonzero, in at most N + 1 rows.

    Zero columns are dropped, and all but the first of parallel columns that compete for the same places.
    """
    norms = np.linalg.norm(A, axis=0)
    names = np.flatnonzero(norms > 0.0)
    stacked = np.column_stack([A[:, names] / norms[names], y / np.linalg.norm(y)])
    if stacked.shape[0] > stacked.shape[1]:
        stacked = np.linalg.qr(stacked).R
    owner = np.zeros(len(names), dtype=np.intp) if groups is None or per_group is None else groups[names]
    kept, squares = _distinct(stacked[:, :-1], owner)
    labels = np.unique(owner[kept], return_inverse=True)[1]
    cap = None if groups is None else per_group
    problem = SubsetProblem(stacked[:, kept], stacked[:, -1], min(size, len(kept)), labels, cap, names[kept])
    problem.doubt(squares)
    return problem


def _distinct(columns: Floats, owner: Indices) -> tuple[Indices, Floats]:
    """Return the columns (unit) that are not parallel to an earlier one of the same owner.

    And the squared distances of the others to those that they are parallel to.
    """
    gram = columns.T @ columns
    parallel = np.tril((1.0 - np.square(gram) < DEPENDENT) & (owner[:, None] == owner), -1)
    kept = np.ones(len(owner), dtype=bool)
    squares = []
    for index in np.flatnonzero(parallel.any(axis=1)):
        twins = np.flatnonzero(parallel[index] & kept)
        kept[index] = not twins.size
        if twins.size:
            rest = columns[:, [index]] - columns[:, twins] * gram[twins, index]
            squares.append(float(np.square(rest).sum(axis=0).min()))
    return np.flatnonzero(kept), np.array(squares)
