"""The cardinality program solved to proven optimality."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import perf_counter

import numpy as np

from convexnn.checks import Floats, as_callback, as_count, as_known, as_nonnegative
from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution, Status
from convexnn.solvers.common.certificate import TOLERANCE, RunRecord, certify_support
from convexnn.solvers.common.descent import Callback, Progress
from convexnn.solvers.subset.best_subset import BestSubset, best_subset
from convexnn.solvers.subset.gurobi_subset import gurobi_subset
from convexnn.solvers.subset.subset_problem import Indices
from convexnn.solvers.thresholding.niht import niht

ENGINES = ("auto", "branch_and_bound", "gurobi")

# Share of the time limit that the heuristic may take.
HEURISTIC = 0.25


def exact(
    program: ConvexProgram,
    *,
    engine: str = "auto",
    time_limit: float = 60.0,
    max_nodes: int = 1_000_000,
    callback: Callback | None = None,
) -> Solution:
    """Solve a cardinality program with a proof of optimality, or of how far from it the answer can be.

    Parameters
    ----------
    program : ConvexProgram
        With a budget, the squared loss and one output.
    engine : {"auto", "branch_and_bound", "gurobi"}, default "auto"
        ``branch_and_bound``: :func:`convexnn.solvers.subset.best_subset.best_subset`, the project's own. ``gurobi``: a
        mixed-integer quadratic program through gurobipy, whose licence must take its size; its bound holds up to
        Gurobi's tolerances. ``auto``: branch_and_bound.
    time_limit : float, default 60
        Seconds after which the best so far is returned with the gap proven so far.
    max_nodes : int, default 1,000,000
        Most nodes of the tree.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.subset.best_subset.SubsetProgress` after each node of branch_and_bound.
        KeyboardInterrupt, raised in it or from outside, returns the best so far.

    Returns
    -------
    Solution
        ``gap`` is the objective minus a proven lower bound, ``iterations`` the nodes, ``history`` the best objective
        after each node (empty for gurobi); CONVERGED where the gap is at most 1e-6 of the loss at zero weights.

    Raises
    ------
    ValueError
        The engine is unknown.
    ImportError
        The engine is gurobi and gurobipy is missing.
    RuntimeError
        Gurobi failed; its own words are in the message.

    Notes
    -----
    The search starts from normalised IHT. The columns of A are held densely: n times N numbers for the N weights of the
    program, and some arrays of N x N. Where n > N and the noise is moderate, a proof for N = 1,000 and a budget of 8
    takes seconds (``benchmarks/best_subset.py``). Where N > n nothing is proven until the tree is done: until then the
    gap is the objective itself.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 10, seed=0), budget=3)
    >>> best = cx.solve(program, "exact")
    >>> best.status.name, bool(best.gap <= 1e-6 * program.zero_loss), best.nnz
    ('CONVERGED', True, 3)
    """
    began = perf_counter()
    chosen = as_known(engine, "engine", ENGINES)
    as_nonnegative(time_limit, "time_limit")
    as_count(max_nodes, "max_nodes", at_least=0)
    as_callback(callback)
    owned = np.flatnonzero(program.patterns.features)
    history: list[float] = []

    def tell(progress: Progress) -> None:
        history.append(progress.best)
        if callback is not None:
            callback(progress)

    best = _searched(program, owned, chosen, began + time_limit, max_nodes, tell)
    seconds = perf_counter() - began
    name = "exact (gurobi)" if chosen == "gurobi" else "exact"
    record = RunRecord(name, best.status, best.nodes, seconds, np.array(history))
    solution = certify_support(program, owned[best.support], best.weights, record)
    gap = max(0.0, solution.objective - best.bound)
    if gap <= TOLERANCE * program.zero_loss:
        return replace(solution, gap=gap, status=Status.CONVERGED)
    return replace(solution, gap=gap, status=Status.INACCURATE if best.status is Status.CONVERGED else best.status)


def _searched(
    program: ConvexProgram, owned: Indices, engine: str, deadline: float, max_nodes: int, callback: Callback
) -> BestSubset:
    """Return the best subset of the columns `owned`; that of the heuristic, with bound 0, if interrupted before."""
    assert program.budget is not None
    first = niht(program, whiten=False, time_limit=HEURISTIC * max(0.0, deadline - perf_counter()))
    start = np.searchsorted(owned, first.support)
    before = BestSubset(start, first.values, first.objective, 0.0, 0, Status.INTERRUPTED)
    if first.status is Status.INTERRUPTED:
        return before
    try:
        cap = program.budget_per_neuron
        groups = None if cap is None else owned // program.patterns.n_columns
        solve = gurobi_subset if engine == "gurobi" else partial(best_subset, max_nodes=max_nodes, callback=callback)
        answer = solve(
            _columns(program, owned),
            program.targets[:, 0],
            program.budget,
            groups=groups,
            per_group=cap,
            start=start,
            time_limit=max(0.0, deadline - perf_counter()),
        )
    except KeyboardInterrupt:
        return before
    if answer.objective > before.objective:
        return replace(before, bound=answer.bound, nodes=answer.nodes, status=answer.status)
    return answer


def _columns(program: ConvexProgram, owned: Indices) -> Floats:
    """Return the columns of A at `owned`, gate by gate: together they would hold several times their memory."""
    return np.concatenate([program.columns(part) for part in np.array_split(owned, -(-len(owned) // 1000))], axis=1)
