"""Normalised iterative hard thresholding: gradient step, keep the largest entries, repeat."""

from __future__ import annotations

from dataclasses import replace

from convexnn.linear.selection import Candidates
from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution
from convexnn.solvers.thresholding.dictionary import Dictionary
from convexnn.solvers.thresholding.options import Options, with_options
from convexnn.solvers.thresholding.phases import threshold
from convexnn.solvers.thresholding.sparse_iterate import SparseIterate, normalised_step, not_finite, refitted
from convexnn.solvers.thresholding.trial import Step, try_step

# Iterations with the same support after which the best weights on it are tried.
SETTLED = 50

# Share of the longest safe step that is taken where the support changes (c = 0.01 of Blumensath and Davies).
SAFE = 0.99

# Halvings of a step before it is lost in rounding.
MAX_HALVINGS = 40


@with_options(Options)
def niht(program: ConvexProgram, options: Options) -> Solution:
    """Solve a cardinality program by normalised iterative hard thresholding.

    Parameters
    ----------
    program : ConvexProgram
        With a budget, any loss, any number of outputs.
    options : Options
        By keyword, each on its own: see :class:`convexnn.solvers.thresholding.options.Options`.

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
    smaller than the budget. With whitened rows all of it is in the metric (A A^T + ridge I)^-1: there the squared
    residual never rises, while the objective may.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 10, seed=0), budget=3)
    >>> solution = cx.solve(program, "niht", whiten=False)
    >>> solution.nnz <= 3, bool(solution.objective < program.zero_loss)
    (True, True)
    """
    return threshold(program, "niht", niht_step, options)


def niht_step(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the next iterate of normalised IHT; a settled support is polished by the best fit on it."""
    gradient = dictionary.gradient(dictionary.residual(now.prediction), now.support, len(now.support))
    after = _thresholded(dictionary, now, gradient)
    return not_finite(now) if after is None else polish_settled(dictionary, now, after)


def polish_settled(dictionary: Dictionary, now: SparseIterate, after: SparseIterate) -> SparseIterate:
    """Return the next iterate, polished where its support has long been the same; final where that kept it."""
    if not after.repeats:
        return after
    if now.polished:
        return replace(now, final=True)
    if after.repeats < SETTLED:
        return after
    # The best fit is that of the objective: in another metric a step can lead away from it, and so back to it.
    met = after.key in after.seen
    return replace(refitted(dictionary, after), seen=after.seen | {after.key}, final=met)


def _thresholded(dictionary: Dictionary, now: SparseIterate, gradient: Candidates) -> SparseIterate | None:
    """Return H_s(w + mu g), mu halved until a step that changes the support is safe; None where g is not finite.

    Where none is, before it is lost in rounding, the iterate stays and counts as settled.
    """
    places = gradient.places(now.support)
    size = normalised_step(dictionary, now, gradient.values.index_select(0, places))
    for _ in range(MAX_HALVINGS):
        moved = gradient.moved(size, places, now.weights)
        tried = try_step(Step(dictionary, now, gradient, places, moved, size))
        if tried is None:
            return None
        if tried.size <= SAFE * tried.longest:
            return tried.after
        size = size / 2
        del tried  # before the next is made
    return replace(now, repeats=SETTLED)
