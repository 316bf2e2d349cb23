"""Normalised iterative hard thresholding: gradient step, keep the largest entries, repeat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from convexnn.neurons import to_numpy
from convexnn.program import ConvexProgram
from convexnn.selection import Candidates
from convexnn.solution import Solution
from convexnn.solvers.certificate import Run, certify_support
from convexnn.solvers.descent import Callback, Limits, descend
from convexnn.solvers.dictionary import Dictionary, open_dictionary
from convexnn.support_fit import fit_support

# Iterations with the same support after which the best weights on it are tried.
SETTLED = 50

# Share of the longest safe step that is taken where the support changes (c = 0.01 of Blumensath and Davies).
SAFE = 0.99

# Halvings of a step before it is lost in rounding.
MAX_HALVINGS = 40


@dataclass(frozen=True)
class SparseIterate:
    """Weights on a support, in units of the column norms, with what a step needs carried along.

    `support` (s,) holds ascending flat indices, `columns` (n, s) the unit columns there, `prediction` (n, k) A w,
    `objective` the loss there. `step_size` is the last mu, `repeats` how often the support has repeated, `polished`
    whether the weights are the best on it, `final` whether a step from there kept it.
    """

    support: Tensor
    weights: Tensor
    columns: Tensor
    prediction: Tensor
    objective: float
    step_size: float = 1.0
    repeats: int = 0
    polished: bool = False
    final: bool = False


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
        With a budget, any loss, any number of outputs.
    max_iterations : int, default 1000
        Most iterations.
    time_limit : float, optional
        Seconds of iterations after which the best iterate is returned.
    device : str, default "cpu"
        A torch device for the products, such as ``cuda``.
    dtype : {"float32", "float64"}, default "float32"
        Precision of products and selection; the final weights are fitted in float64 in either.
    memory_limit : int, default 2^30
        Bytes for the run, as :func:`convexnn.memory_estimate` states them: masks are held in the largest form that
        fits beside the rest, or recomputed; where the rest alone does not fit, a ValueError says what it needs.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.descent.Progress` after each iteration. KeyboardInterrupt, raised in
        it or from outside, returns the best iterate so far.

    Returns
    -------
    Solution
        Of the best support met, with the best weights on it; ``gap`` is None.

    Notes
    -----
    On unit columns, with g = -n A^T dL/dp (A^T(y - A w) for the squared loss), S the support and c the smoothness of
    the loss: w <- H_s(w + mu g), mu = ||g_S||^2 / (c ||A_S g_S||^2); where the support changes, mu is halved until
    mu <= 0.99 ||dw||^2 / (c ||A dw||^2) (Blumensath and Davies 2010), so the objective never rises, up to rounding.
    With `budget_per_neuron` H_s first keeps the largest entries of each block, which is the projection onto both
    limits. Once the support has settled, the best fit on it (least squares) replaces w; if the next step keeps it, it
    is a fixed point and the run ends. Columns that are zero on the data are never chosen, so the support can be
    smaller than the budget.
    """
    began, limits = perf_counter(), Limits(max_iterations, time_limit)
    dictionary = open_dictionary(program, device=device, dtype=dtype, memory_limit=memory_limit)
    run = descend(_start(dictionary, program), partial(niht_step, dictionary), limits, callback)
    support = run.best.support.cpu().numpy()
    weights = fit_support(program.support_columns(support), support % program.n_outputs, program.targets, program.loss)
    story = Run(
        "niht", run.status, len(run.history), perf_counter() - began, np.array(run.history), dictionary.memory.total
    )
    return certify_support(program, support, weights, story)


def niht_step(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the next iterate of normalised IHT; a settled support is polished by the best fit on it."""
    gradient = dictionary.gradient(dictionary.residual(now.prediction), now.support, len(now.support))
    after = _thresholded(dictionary, now, gradient, _step_size(dictionary, now, gradient))
    if not torch.equal(after.support, now.support):
        return after
    if now.polished:
        return replace(now, final=True)
    return _polished(dictionary, after) if after.repeats >= SETTLED else after


def _start(dictionary: Dictionary, program: ConvexProgram) -> SparseIterate:
    assert program.budget is not None
    prediction = torch.zeros_like(dictionary.targets)
    nowhere = torch.empty(0, dtype=torch.int64, device=prediction.device)
    gradient = dictionary.gradient(dictionary.residual(prediction), nowhere, program.budget)
    support = dictionary.chosen(gradient, program.budget).indices
    columns = dictionary.columns(support)
    return SparseIterate(support, torch.zeros_like(columns[0]), columns, prediction, program.zero_loss)


def _step_size(dictionary: Dictionary, now: SparseIterate, gradient: Candidates) -> float:
    """Return mu, the exact line search along the gradient on the support (of the loss's quadratic bound).

    At the best weights that gradient is rounding alone, and its mu too, so the last one is kept.
    """
    direction = gradient.at(now.support)
    change = dictionary.predict(now.columns, now.support, direction)
    curvature = dictionary.loss.smoothness * float(change.square().sum())
    return now.step_size if now.polished or curvature == 0.0 else float(direction.square().sum()) / curvature


def _thresholded(dictionary: Dictionary, now: SparseIterate, gradient: Candidates, step_size: float) -> SparseIterate:
    """Return H_s(w + mu g), mu halved until a step that changes the support is safe.

    Where none is, before it is lost in rounding, the iterate stays and counts as settled.
    """
    for _ in range(MAX_HALVINGS):
        moved = dictionary.chosen(gradient.moved(step_size, now.support, now.weights), len(now.support))
        support, weights, kept = moved.indices, moved.values, torch.equal(moved.indices, now.support)
        columns = now.columns if kept else dictionary.columns(support)
        prediction = dictionary.predict(columns, support, weights)
        objective = dictionary.objective(prediction)
        after = SparseIterate(support, weights, columns, prediction, objective, step_size)
        if kept:
            return replace(after, repeats=now.repeats + 1)
        if step_size <= SAFE * _safe_step_size(dictionary, now, after):
            return after
        step_size /= 2
        del columns, after  # before the next are made
    return replace(now, repeats=SETTLED)


def _safe_step_size(dictionary: Dictionary, now: SparseIterate, after: SparseIterate) -> float:
    """Return ||dw||^2 / (c ||A dw||^2) for the move: with a smaller mu the objective falls."""
    stays, stayed = torch.isin(now.support, after.support), torch.isin(after.support, now.support)
    # Both supports ascend, so the entries that stay come in the same order in both.
    change = (after.weights[stayed] - now.weights[stays]).square().sum()
    change += after.weights[~stayed].square().sum() + now.weights[~stays].square().sum()
    curvature = dictionary.loss.smoothness * float((now.prediction - after.prediction).square().sum())
    return float(change) / curvature if curvature > 0.0 else float("inf")


def _polished(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    outputs = (now.support % dictionary.n_outputs).cpu().numpy()
    exact = fit_support(now.columns.cpu().numpy(), outputs, to_numpy(dictionary.targets), dictionary.loss)
    weights = dictionary.operator.tensor(exact)
    prediction = dictionary.predict(now.columns, now.support, weights)
    objective = dictionary.objective(prediction)
    return replace(now, weights=weights, prediction=prediction, objective=objective, polished=True)
