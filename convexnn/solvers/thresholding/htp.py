"""Hard thresholding pursuit: one step, the largest entries, the best fit on them, repeat."""

from __future__ import annotations

from math import isfinite

from torch import Tensor

from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution
from convexnn.solvers.thresholding.dictionary import Dictionary
from convexnn.solvers.thresholding.options import Options, with_options
from convexnn.solvers.thresholding.phases import threshold
from convexnn.solvers.thresholding.sparse_iterate import (
    SparseIterate,
    direction,
    fit_next_support,
    normalised_step,
    not_finite,
    stepped,
)


@with_options(Options, max_iterations=100)
def htp(program: ConvexProgram, options: Options) -> Solution:
    """Solve a cardinality program by hard thresholding pursuit.

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
    On unit columns, with g = -n A^T dL/dp (A^T(y - A w) for the squared loss) and S the largest entries of w + mu g
    that the budgets allow: w <- argmin of the loss over weights on S (Foucart 2011). It ends where S repeats, or is
    one met before. With whitened rows g = -n A^T (A A^T + ridge I)^-1 dL/dp, columns are of unit length in that metric,
    and mu = 1/c for the smoothness c of the loss (c = 1: squared), as in the adjoint-based pursuit of Li, Liu and Mi
    (2012); else mu = ||g_S||^2 / (c ||A_S g_S||^2), as in normalised IHT.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 10, seed=0), budget=3)
    >>> cx.solve(program, "htp").nnz <= 3
    True
    """
    return threshold(program, "htp", htp_step, options)


def htp_step(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the best fit on the largest entries after a step."""
    gradient = direction(dictionary, now)
    moved = stepped(now, gradient, _step_size(dictionary, now, gradient))
    chosen = dictionary.read_largest(moved, dictionary.budget)
    if not isfinite(chosen.most) and not gradient.isfinite().all():
        return not_finite(now)
    return fit_next_support(dictionary, now, chosen.places, chosen.known)


def _step_size(dictionary: Dictionary, now: SparseIterate, gradient: Tensor) -> float | Tensor:
    """Return mu; on the best weights of a support the gradient there is zero, and 1/c is the step that is left."""
    if dictionary.whitening is not None or now.polished:
        return 1.0 / dictionary.loss.smoothness
    return normalised_step(dictionary, now, gradient[now.support])
