"""Hard thresholding for the cardinality program: gradient step, keep the largest entries, repeat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from convexnn.least_squares import least_squares
from convexnn.operator import PatternOperator
from convexnn.program import ConvexProgram
from convexnn.solution import Solution
from convexnn.solvers.certificate import certify
from convexnn.solvers.descent import Callback, Limits, descend

# Iterations with the same support after which least squares on it is tried.
SETTLED = 50

# Share of the longest safe step that is taken where the support changes (c = 0.01 of Blumensath and Davies).
SAFE = 0.99

# Halvings of a step before it is lost in rounding.
MAX_HALVINGS = 40


@dataclass(frozen=True)
class Dictionary:
    """The columns of A scaled to unit norm, so that selection does not depend on the units of a feature."""

    operator: PatternOperator
    target: Tensor

    @cached_property
    def norms(self) -> Tensor:
        """Column norms, flat (m d,); 0 where a column is not owned or zero on the data."""
        return self.operator.column_norms().flatten()

    @cached_property
    def inverse(self) -> Tensor:
        """1 / column norm, 0 where that is 0."""
        return torch.where(self.norms > 0.0, 1.0 / self.norms, 0.0)

    def largest(self, values: Tensor, count: int) -> Tensor:
        """Return the flat indices of the `count` largest magnitudes among the columns that are not 0, ascending."""
        candidates = torch.where(self.norms > 0.0, values.abs(), -1.0)
        return torch.topk(candidates, count, sorted=False).indices.sort().values

    def columns(self, support: Tensor) -> Tensor:
        """Return the unit columns at `support`, shape (n, s)."""
        return self.operator.columns(support) * self.inverse[support]

    def correlations(self, residual: Tensor) -> Tensor:
        """Return A^T r over unit columns, flat (m d,)."""
        return self.operator.adjoint(residual[:, None]).flatten() * self.inverse


@dataclass(frozen=True)
class SparseIterate:
    """Weights on a support, in units of the column norms, with what a step needs carried along.

    `support` (s,) holds ascending flat indices, `columns` (n, s) the unit columns there, `residual` (n,) y - A w for a
    target scaled to ||y|| = 1, `zero_loss` the objective at zero weights in the units of y. `step_size` is the last mu,
    `repeats` how often the support has repeated, `polished` whether the weights are least squares on it, `final`
    whether a step from there kept it.
    """

    support: Tensor
    weights: Tensor
    columns: Tensor
    residual: Tensor
    zero_loss: float
    step_size: float = 1.0
    repeats: int = 0
    polished: bool = False
    final: bool = False

    @cached_property
    def objective(self) -> float:
        """1/(2n) ||y - A w||^2 in the units of y."""
        return self.zero_loss * float(self.residual.square().sum())


def niht(
    program: ConvexProgram,
    *,
    max_iterations: int = 1000,
    time_limit: float | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    memory_limit: int = 1 << 30,
    callback: Callback | None = None,
) -> Solution:
    """Solve a cardinality program by normalised iterative hard thresholding.

    Parameters
    ----------
    program : ConvexProgram
        With a budget.
    max_iterations : int, default 1000
        Most iterations.
    time_limit : float, optional
        Seconds of iterations after which the best iterate is returned.
    device : str, default "cpu"
        A torch device for the products, such as ``cuda``.
    dtype : {"float32", "float64"}, default "float32"
        Precision of products and selection; the final weights are least squares in float64 in either.
    memory_limit : int, default 2^30
        Bytes for the masks, as in :class:`convexnn.operator.PatternOperator`. Beside them a run holds a few arrays of
        n times budget and of m times d numbers.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.descent.Progress` after each iteration. KeyboardInterrupt, raised in
        it or from outside, returns the best iterate so far.

    Returns
    -------
    Solution
        Of the best support met, with least squares weights on it; ``gap`` is None.

    Notes
    -----
    On unit columns, with g = A^T(y - A w) and S the support:
    w <- H_s(w + mu g), mu = ||g_S||^2 / ||A_S g_S||^2; where the support changes, mu is halved until
    mu <= 0.99 ||dw||^2 / ||A dw||^2 (Blumensath and Davies 2010), so the objective never rises, up to rounding. Once
    the support has settled, least squares on it replaces w; if the next step keeps it, it is a fixed point and the run
    ends. Columns that are zero on the data are never chosen, so the support can be smaller than the budget.
    """
    began, limits = perf_counter(), Limits(max_iterations, time_limit)
    operator = PatternOperator(
        program.X, program.patterns, device=device, dtype=dtype, memory_limit=memory_limit, units=_units(program.X)
    )
    dictionary = Dictionary(operator, operator.tensor(program.y / np.linalg.norm(program.y)))
    run = descend(_start(dictionary, program), partial(niht_step, dictionary), limits, callback)
    support = run.best.support.cpu().numpy()
    return certify(
        program,
        support,
        least_squares(program.columns(support), program.y),
        solver="niht",
        status=run.status,
        iterations=len(run.history),
        seconds=perf_counter() - began,
        history=np.array(run.history),
    )


def niht_step(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the next iterate of normalised IHT; a settled support is polished by least squares."""
    gradient = dictionary.correlations(now.residual)
    after = _thresholded(dictionary, now, gradient, _step_size(now, gradient))
    if not torch.equal(after.support, now.support):
        return after
    if now.polished:
        return replace(now, final=True)
    return _polished(dictionary, after) if after.repeats >= SETTLED else after


def _units(X: Floats) -> Floats:
    """Return the scale of each feature, a power of two: dividing by it is exact."""
    peaks = np.abs(X).max(axis=0)
    return np.exp2(np.round(np.log2(np.where(peaks > 0.0, peaks, 1.0))))


def _start(dictionary: Dictionary, program: ConvexProgram) -> SparseIterate:
    assert program.budget is not None
    count = min(program.budget, int((dictionary.norms > 0.0).sum()))
    support = dictionary.largest(dictionary.correlations(dictionary.target), count)
    columns = dictionary.columns(support)
    zero_loss = program.loss.value(np.zeros_like(program.y), program.y)
    return SparseIterate(support, torch.zeros_like(columns[0]), columns, dictionary.target, zero_loss)


def _step_size(now: SparseIterate, gradient: Tensor) -> float:
    """Return mu, the exact line search along the gradient on the support.

    At least squares weights that gradient is rounding alone, and its mu too, so the last one is kept.
    """
    direction = gradient[now.support]
    curvature = float((now.columns @ direction).square().sum())
    return now.step_size if now.polished or curvature == 0.0 else float(direction.square().sum()) / curvature


def _thresholded(dictionary: Dictionary, now: SparseIterate, gradient: Tensor, step_size: float) -> SparseIterate:
    """Return H_s(w + mu g), mu halved until a step that changes the support is safe.

    Where none is, before it is lost in rounding, the iterate stays and counts as settled.
    """
    for _ in range(MAX_HALVINGS):
        moved = step_size * gradient
        moved[now.support] += now.weights
        support = dictionary.largest(moved, len(now.support))
        kept = torch.equal(support, now.support)
        columns = now.columns if kept else dictionary.columns(support)
        residual = dictionary.target - columns @ moved[support]
        after = SparseIterate(support, moved[support], columns, residual, now.zero_loss, step_size)
        if kept:
            return replace(after, repeats=now.repeats + 1)
        if step_size <= SAFE * _safe_step_size(now, after):
            return after
        step_size /= 2
    return replace(now, repeats=SETTLED)


def _safe_step_size(now: SparseIterate, after: SparseIterate) -> float:
    """Return ||dw||^2 / ||A dw||^2 for the move: with a smaller mu the objective falls."""
    stays, stayed = torch.isin(now.support, after.support), torch.isin(after.support, now.support)
    # Both supports ascend, so the entries that stay come in the same order in both.
    change = (after.weights[stayed] - now.weights[stays]).square().sum()
    change += after.weights[~stayed].square().sum() + now.weights[~stays].square().sum()
    curvature = float((now.residual - after.residual).square().sum())
    return float(change) / curvature if curvature > 0.0 else float("inf")


def _polished(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    exact = now.columns.double().cpu().numpy(), dictionary.target.double().cpu().numpy()
    weights = dictionary.operator.tensor(least_squares(*exact))
    return replace(now, weights=weights, residual=dictionary.target - now.columns @ weights, polished=True)
