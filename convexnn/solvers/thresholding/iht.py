"""Iterative hard thresholding with a fixed step, short enough to be safe everywhere."""

from __future__ import annotations

from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution
from convexnn.solvers.thresholding.dictionary import Dictionary
from convexnn.solvers.thresholding.niht import polish_settled
from convexnn.solvers.thresholding.options import Options, with_options
from convexnn.solvers.thresholding.phases import threshold
from convexnn.solvers.thresholding.sparse_iterate import SparseIterate, not_finite
from convexnn.solvers.thresholding.trial import Step, try_step


@with_options(Options)
def iht(program: ConvexProgram, options: Options) -> Solution:
    """Solve a cardinality program by iterative hard thresholding with the fixed step 1/L.

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
    On unit columns, with g = -n A^T dL/dp, c the smoothness of the loss and L = c ||A||^2 (by power iterations):
    w <- H_s(w + g / L) (Blumensath and Davies 2009), so the objective never rises, up to rounding. Where columns are
    coherent L is large and the step tiny: this is the textbook method, to hold the others against. Once the support
    has settled, the best fit on it replaces w; if the next step keeps it, it is a fixed point and the run ends. With
    whitened rows all of it is in the metric (A A^T + ridge I)^-1, in which L is near the largest 1 / norm^2 at most.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 10, seed=0), budget=3)
    >>> solution = cx.solve(program, "iht", max_iterations=50)
    >>> solution.nnz <= 3, bool(solution.objective < program.zero_loss)
    (True, True)
    """
    return threshold(program, "iht", iht_step, options)


def iht_step(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the next iterate of IHT; a settled support is polished by the best fit on it."""
    gradient = dictionary.gradient(dictionary.residual(now.prediction), now.support, len(now.support))
    places, size = gradient.places(now.support), 1.0 / (dictionary.loss.smoothness * dictionary.squared_operator_norm)
    tried = try_step(Step(dictionary, now, gradient, places, gradient.moved(size, places, now.weights)))
    return not_finite(now) if tried is None else polish_settled(dictionary, now, tried.after)
