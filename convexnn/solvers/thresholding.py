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
from convexnn.patterns import ActivationPatterns
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
    def inverse(self) -> Tensor:
        """1 / column norm, flat (m d,); zero for a column that is zero on the data and can explain nothing."""
        norms = self.operator.column_norms().flatten()
        tiny = norms.max() * torch.finfo(norms.dtype).eps
        return torch.where(norms > tiny, 1.0 / norms, 0.0)

    def columns(self, support: Tensor) -> Tensor:
        """Return the unit columns at `support`, shape (n, s)."""
        return self.operator.columns(support) * self.inverse[support]

    def correlations(self, residual: Tensor) -> Tensor:
        """Return A^T r over unit columns, flat (m d,)."""
        return self.operator.adjoint(residual[:, None]).flatten() * self.inverse


@dataclass(frozen=True)
class SparseIterate:
    """Weights on a support, in units of the column norms, with what a step needs carried along.

    `support` (s,) holds ascending flat indices, `columns` (n, s) the unit columns there, `residual` (n,) y - A w for
    a target scaled to ||y|| = 1, `energy` the objective at zero weights;
    `length` is the last step length, `repeats` how often the support has repeated, `polished` whether the weights
    are least squares on it, `final` whether a step from there kept it.
    """

    support: Tensor
    weights: Tensor
    columns: Tensor
    residual: Tensor
    energy: float
    length: float = 1.0
    repeats: int = 0
    polished: bool = False
    final: bool = False

    @cached_property
    def objective(self) -> float:
        """1/(2n) ||y - A w||^2 in the units of y."""
        return self.energy * float(self.residual.square().sum())


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
        Bytes for the masks, as in :class:`convexnn.operator.PatternOperator`.
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
    mu <= 0.99 ||dw||^2 / ||A dw||^2 (Blumensath and Davies 2010), so the objective never rises. Once the support
    has settled, least squares on it replaces w; if the next step keeps it, it is a fixed point and the run ends.
    """
    began, limits = perf_counter(), Limits(max_iterations, time_limit)
    operator = PatternOperator(*_balanced(program), device=device, dtype=dtype, memory_limit=memory_limit)
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
    after = _thresholded(dictionary, now, gradient, _step_length(now, gradient))
    if not torch.equal(after.support, now.support):
        return after
    if now.polished:
        return replace(now, final=True)
    return _polished(dictionary, after) if after.repeats >= SETTLED else after


def largest(values: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` largest magnitudes, ascending."""
    return torch.topk(values.abs(), count, sorted=False).indices.sort().values


def _balanced(program: ConvexProgram) -> tuple[Floats, ActivationPatterns]:
    """Return X and patterns with every feature at unit scale, so that float32 holds any units.

    The factors are powers of two: scaling is then exact, and no mask can change by rounding.
    """
    peaks = np.abs(program.X).max(axis=0)
    factors = np.exp2(np.round(np.log2(np.where(peaks > 0.0, peaks, 1.0))))
    return program.X / factors, replace(program.patterns, generators=program.patterns.generators * factors)


def _start(dictionary: Dictionary, program: ConvexProgram) -> SparseIterate:
    assert program.budget is not None
    support = largest(dictionary.correlations(dictionary.target), program.budget)
    columns = dictionary.columns(support)
    energy = program.loss.value(np.zeros_like(program.y), program.y)
    return SparseIterate(support, torch.zeros_like(columns[0]), columns, dictionary.target, energy)


def _step_length(now: SparseIterate, gradient: Tensor) -> float:
    """Return the exact line search along the gradient on the support; the last length where that vanishes."""
    direction = gradient[now.support]
    reach = float((now.columns @ direction).square().sum())
    return float(direction.square().sum()) / reach if reach > 0.0 else now.length


def _thresholded(dictionary: Dictionary, now: SparseIterate, gradient: Tensor, length: float) -> SparseIterate:
    """Return H_s(w + length * gradient), the length halved until a step that changes the support is safe.

    A step so short that it is not safe after MAX_HALVINGS is lost in rounding and taken as it is.
    """
    for _ in range(MAX_HALVINGS):
        moved = length * gradient
        moved[now.support] += now.weights
        support = largest(moved, len(now.support))
        kept = torch.equal(support, now.support)
        columns = now.columns if kept else dictionary.columns(support)
        residual = dictionary.target - columns @ moved[support]
        after = SparseIterate(support, moved[support], columns, residual, now.energy, length)
        if kept:
            return replace(after, repeats=now.repeats + 1)
        if length <= SAFE * _safe_length(now, after):
            break
        length /= 2
    return after


def _safe_length(now: SparseIterate, after: SparseIterate) -> float:
    """Return ||dw||^2 / ||A dw||^2 for the move: below it the objective falls."""
    stays, stayed = torch.isin(now.support, after.support), torch.isin(after.support, now.support)
    # Both supports ascend, so the entries that stay come in the same order in both.
    change = (after.weights[stayed] - now.weights[stays]).square().sum()
    change += after.weights[~stayed].square().sum() + now.weights[~stays].square().sum()
    reach = float((now.residual - after.residual).square().sum())
    return float(change) / reach if reach > 0.0 else float("inf")


def _polished(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    exact = now.columns.double().cpu().numpy(), dictionary.target.double().cpu().numpy()
    weights = dictionary.operator.tensor(least_squares(*exact))
    return replace(now, weights=weights, residual=dictionary.target - now.columns @ weights, polished=True)
