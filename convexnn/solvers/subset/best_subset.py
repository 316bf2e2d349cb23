"""Best subset of columns for least squares, proven: branch and bound with an enumeration at its leaves."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_callback, as_count, as_matrix, as_nonnegative, as_vector
from convexnn.linear.least_squares import least_squares
from convexnn.solution import Status
from convexnn.solvers.common.descent import Progress
from convexnn.solvers.subset.indefinite_subsets import indefinite_subsets
from convexnn.solvers.subset.subset_problem import Indices, Projected, SubsetProblem, working_form

# Share of ||y||^2 by which a support has to be better to be looked for: what rounding could hide.
TOLERANCE = 1e-9

# With at most this many columns to choose a node is enumerated at once; branching would cost more.
SMALL = 4

# With at most this many, once no single column is worth this share of what is left to prove.
LARGE, WORTH = 9, 0.3

# A single gain within this share of the one needed is taken for enough, and looked at on its own.
NEAR = 1e-6


@dataclass(frozen=True)
class SubsetProgress(Progress):
    """State after one node, which counts as an iteration: `objective` is the best, `bound` what is proven."""

    bound: float


@dataclass(frozen=True, eq=False)
class BestSubset:
    """A support with its proof.

    Attributes
    ----------
    support : ndarray (s,) of int
        Column indices of the nonzero weights, ascending.
    weights : ndarray (s,)
        Least squares on them.
    objective : float
        1/(2n) ||A w - y||^2.
    bound : float
        No support allowed has an objective below it.
    nodes : int
        Nodes of the tree.
    status : Status
        CONVERGED when the tree is done; else the limit that was met.
    """

    support: NDArray[np.int64]
    weights: Floats
    objective: float
    bound: float
    nodes: int
    status: Status

    def __str__(self) -> str:
        gap = self.objective - self.bound
        return f"objective {self.objective:.6g} (gap {gap:.2g}), {len(self.support)} columns, {self.nodes} nodes"


def best_subset(
    A: ArrayLike,
    y: ArrayLike,
    size: int,
    *,
    groups: ArrayLike | None = None,
    per_group: int | None = None,
    start: Iterable[int] = (),
    time_limit: float | None = None,
    max_nodes: int | None = None,
    callback: Callable[[SubsetProgress], None] | None = None,
) -> BestSubset:
    """Minimise 1/(2n) ||A w - y||^2 over ||w||_0 <= size, with a proven lower bound.

    Parameters
    ----------
    A : array_like (n, N)
        The columns, dense; zero, equal and dependent ones are no error.
    y : array_like (n,)
        The target.
    size : int
        Most nonzero weights, at least 1.
    groups : array_like (N,) of int, optional
        The group of each column, at least 0; goes with `per_group`.
    per_group : int, optional
        Most nonzero weights in each group.
    start : iterable of int
        A support to start from; it is filled up and improved by exchanges.
    time_limit : float, optional
        Seconds after which the best so far is returned.
    max_nodes : int, optional
        Nodes after which it is.
    callback : callable, optional
        Called with a :class:`SubsetProgress` after each node. KeyboardInterrupt, raised in it or from outside, returns
        the best so far.

    Returns
    -------
    BestSubset
        Limits and interruption are a status, and leave the bound valid.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Notes
    -----
    A node fixes the columns F that are in and the candidates C; t = size - |F| are left to choose. With everything
    projected orthogonally to F, G = C^T C, b = C^T r and the best objective known u (times 2n), a choice T beats u
    exactly if b_T^T G_TT^{-1} b_T > theta = ||r||^2 - u, that is, if theta G_TT - b_T b_T^T is indefinite: the node is
    done once every t x t principal submatrix of theta G - b b^T is positive definite, which
    :func:`convexnn.solvers.subset.indefinite_subsets.indefinite_subsets` settles without a bound on coherence. Where t
    is larger the node is split by the column whose removal costs least squares on F and C most, w_i^2 / (G^-1)_ii; if
    that alone lifts the bound above u, the column is in (leaps and bounds, Furnival and Wilson 1974).

    The bound holds up to rounding: supports are looked for that are better by more than 1e-9 of the objective at zero,
    and columns within 1e-6 of the span of others (as unit vectors) count as inside; where rounding does not explain
    that they are, the bound is 0 and the status INACCURATE. The least squares bound is 0 where N > n; the enumeration
    does not need it.
    """
    matrix = as_matrix(A, "A")
    target = as_vector(y, "y", len(matrix), "entry per row of A")
    count = as_count(size, "size")
    owner = _owner(groups, per_group, matrix.shape[1])
    as_callback(callback)
    if time_limit is not None:
        as_nonnegative(time_limit, "time_limit")
    if max_nodes is not None:
        as_count(max_nodes, "max_nodes", at_least=0)
    limits = _Limits(np.inf if time_limit is None else perf_counter() + time_limit, max_nodes)
    zero = float(target @ target) / (2 * len(target))
    if zero == 0.0 or not matrix.any():
        return BestSubset(np.empty(0, dtype=np.int64), np.empty(0), zero, zero, 0, Status.CONVERGED)
    problem = working_form(matrix, target, count, owner, per_group)
    search = _Search(problem, limits, _teller(callback, zero))
    status = search.run(np.flatnonzero(np.isin(problem.names, list(start))).tolist())
    support = np.sort(problem.names[list(search.best)])
    weights = least_squares(matrix[:, support], target)
    rest = matrix[:, support] @ weights - target
    objective = float(rest @ rest) / (2 * len(target))
    return BestSubset(support, weights, objective, min(objective, zero * search.bound), search.nodes, status)


def _owner(groups: ArrayLike | None, per_group: int | None, n_columns: int) -> Indices | None:
    if (groups is None) != (per_group is None):
        raise ValueError("one of groups and per_group is given; expected both or neither")
    if groups is None:
        return None
    as_count(per_group, "per_group")
    owner = as_vector(groups, "groups", n_columns, "group per column of A")
    if (owner < 0).any() or (owner != np.round(owner)).any():
        raise ValueError("groups holds numbers that are no group; expected whole numbers of at least 0")
    return owner.astype(np.intp)


def _teller(callback: Callable[[SubsetProgress], None] | None, zero: float) -> Callable[[_Search], None]:
    """Return what tells the callback of a search, in units of the objective at zero."""
    began = perf_counter()

    def tell(search: _Search) -> None:
        if callback is not None:
            best, bound = zero * search.value, zero * search.bound
            callback(SubsetProgress(search.nodes, best, best, perf_counter() - began, bound))

    return tell


class _OutOfTime(Exception):
    """Raised inside a node when the time is over; the node stays open."""


@dataclass(frozen=True)
class _Limits:
    """When to stop: a time of perf_counter, and most nodes (None: no limit)."""

    deadline: float
    max_nodes: int | None

    def pulse(self) -> None:
        """Raise _OutOfTime when the time is over."""
        if perf_counter() >= self.deadline:
            raise _OutOfTime


# (bound, -|F|, serial, F, C): the lowest bound comes first, and of equal ones the deepest node.
Node = tuple[float, int, int, tuple[int, ...], Indices]


@dataclass
class _Search:
    """The state of a run: the best support, its residual `value`, the open nodes, the bound of the one at work."""

    problem: SubsetProblem
    limits: _Limits
    tell: Callable[[_Search], None]
    best: tuple[int, ...] = ()
    value: float = 1.0
    nodes: int = 0
    serial: int = 0
    current: float = 0.0
    open: list[Node] = field(default_factory=list)

    @property
    def cut(self) -> float:
        """What a node's bound must reach to be done."""
        return self.value - TOLERANCE

    @property
    def bound(self) -> float:
        """The proven lower bound on the residual; what the node at work will become counts as it was."""
        if self.problem.doubts:
            return 0.0
        waiting = self.open[0][0] if self.open else np.inf
        return max(0.0, min(self.current, waiting, self.cut))

    def run(self, start: list[int]) -> Status:
        """Search from a support to start with until the tree is done or a limit is met."""
        try:
            self._set(self._allowed(start))
            self._set(self.problem.polished(self.best, self.limits.deadline))
            self._set(self.problem.polished((), self.limits.deadline))
            self._push(0.0, (), np.arange(len(self.problem.names)))
            while self.open and self.open[0][0] < self.cut:
                self.current = self.open[0][0]
                if self.limits.max_nodes is not None and self.nodes >= self.limits.max_nodes:
                    return Status.MAX_ITERATIONS
                self._expand(heapq.heappop(self.open))
                self.nodes += 1
                self.current = np.inf
                self.tell(self)
        except KeyboardInterrupt:
            return Status.INTERRUPTED
        except _OutOfTime:
            return Status.TIME_LIMIT
        self.current = np.inf
        return Status.INACCURATE if self.problem.doubts else Status.CONVERGED

    def _allowed(self, support: list[int]) -> tuple[int, ...]:
        """Return as much of `support` as size and cap allow."""
        kept: tuple[int, ...] = ()
        for index in support:
            if len(kept) < self.problem.size and self.problem.room(kept)[index] > 0:
                kept = (*kept, index)
        return kept

    def _set(self, support: tuple[int, ...]) -> bool:
        """Keep `support` if it is better; return whether it is."""
        value = self.problem.residual(support)
        if value >= self.value * (1.0 - 1e-12):
            return False
        self.best, self.value = support, value
        return True

    def _offer(self, support: tuple[int, ...]) -> bool:
        """Keep `support`, polished, if it is better than the best by what is looked for."""
        if self.problem.residual(support) >= self.cut:
            return False
        return self._set(self.problem.polished(support, self.limits.deadline))

    def _push(self, bound: float, included: tuple[int, ...], candidates: Indices) -> None:
        self.serial += 1
        heapq.heappush(self.open, (bound, -len(included), self.serial, included, candidates))

    def _expand(self, node: Node) -> None:
        """Settle a node, or replace it by nodes that together stand for it."""
        self.limits.pulse()
        view, bound, without = self._tightened(node)
        if view is None:
            return
        if self._offer(view.included):
            self._push(bound, view.included, view.candidates)
        elif view.left and len(view.candidates):
            self._split(view, bound, without)

    def _split(self, view: Projected, bound: float, without: Floats | None) -> None:
        """Enumerate a node, or split it by the column that is worth most."""
        index = int((view.slopes**2 if without is None else without).argmax())
        raised = bound if without is None else max(bound, float(without[index]))
        if view.left <= SMALL or (view.left <= LARGE and raised - bound < WORTH * (self.cut - bound)):
            self._enumerate(view, bound)
            return
        chosen, others = int(view.candidates[index]), np.delete(view.candidates, index)
        self._push(bound, (*view.included, chosen), others)
        self._push(raised, view.included, others)

    def _tightened(self, node: Node) -> tuple[Projected | None, float, Floats | None]:
        """Return the node's problem with every column in that has to be, and its bounds: as it is, and without each.

        The problem is None if the node holds nothing better than the best.
        """
        bound, _, _, included, candidates = node
        while True:
            view = self.problem.project(included, candidates)
            if view is None:
                return None, bound, None
            relaxed, without = view.relaxed()
            bound = max(bound, relaxed)
            forced = np.zeros(0, dtype=bool) if without is None else without >= self.value
            if bound >= self.cut or forced.sum() > view.left:
                return None, bound, None
            if not forced.any():
                return view, bound, without
            included = (*included, *view.candidates[forced].tolist())
            if (self.problem.room(included)[list(included)] < 0).any():
                return None, bound, None
            candidates = view.candidates[~forced]

    def _enumerate(self, view: Projected, bound: float) -> None:
        """Settle a node by looking at every choice that a principal submatrix does not rule out."""
        needed = view.residual - self.value + 0.5 * TOLERANCE
        scales = needed * np.diag(view.gram)
        rest = scales - view.slopes**2
        enough = rest <= NEAR * scales
        for index in view.candidates[enough].tolist():
            if self._look(view, bound, (index,)):
                return
        names = view.candidates[~enough]
        roots, slopes = np.sqrt(rest[~enough]), view.slopes[~enough]
        matrix = (needed * view.gram[np.ix_(~enough, ~enough)] - slopes[:, None] * slopes) / roots / roots[:, None]
        room, owner = self.problem.room(view.included)[names], self.problem.groups[names]
        barred = (owner[:, None] == owner) & (room <= 1)
        for sets in indefinite_subsets(matrix, view.left, barred, self.limits.pulse):
            for chosen in names[sets].tolist():
                if self._look(view, bound, tuple(chosen)):
                    return

    def _look(self, view: Projected, bound: float, chosen: tuple[int, ...]) -> bool:
        """Look at a choice in doubt: as it stands now, and as a node of its own if more may join it.

        If it is better than the best the node is opened again, for it is then easier; return whether it is.
        """
        support = (*view.included, *chosen)
        if (self.problem.room(support)[list(support)] < 0).any():
            return False
        if self._offer(support):
            self._push(bound, view.included, view.candidates)
            return True
        if len(chosen) < view.left:
            self._push(bound, support, np.setdiff1d(view.candidates, chosen))
        return False
