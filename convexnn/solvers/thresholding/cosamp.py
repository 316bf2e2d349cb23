"""CoSaMP: join twice the budget of new columns, fit, keep the largest, fit again."""

from __future__ import annotations

from math import isfinite

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Ints
from convexnn.linear.selection import Candidates, distinct, read_largest
from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution
from convexnn.solvers.thresholding.dictionary import Dictionary
from convexnn.solvers.thresholding.options import Options, with_options
from convexnn.solvers.thresholding.phases import threshold
from convexnn.solvers.thresholding.sparse_iterate import (
    SparseIterate,
    best_weights,
    direction,
    fit_next_support,
    not_finite,
)


@with_options(Options, max_iterations=100)
def cosamp(program: ConvexProgram, options: Options) -> Solution:
    """Solve a cardinality program by compressive sampling matching pursuit.

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
    On unit columns, with g = -n A^T dL/dp and s the budget: T <- S and the 2 s largest entries of g; w <- the best fit
    on T; S <- the s largest entries of w that the budgets allow; w <- the best fit on S (Needell and Tropp 2009). It
    ends where S repeats, or is one met before. With whitened rows g = -n A^T (A A^T + ridge I)^-1 dL/dp and columns
    are of unit length in that metric.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), cx.sample_patterns(X, 10, seed=0), budget=3)
    >>> cx.solve(program, "cosamp").nnz <= 3
    True
    """
    return threshold(program, "cosamp", cosamp_step, options, arrays=3)


def cosamp_step(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the best fit on the largest entries of the best fit on the support and twice as many new columns."""
    gradient = direction(dictionary, now)
    chosen = dictionary.read_largest(gradient, 2 * dictionary.budget)
    if not isfinite(chosen.most) and not gradient.isfinite().all():
        return not_finite(now)
    known = np.union1d(now.known, chosen.known)
    joined = distinct(torch.cat([now.support, chosen.places]).sort().values, len(known))
    wide = Candidates(joined, best_weights(dictionary, dictionary.columns(joined), known))
    kept = read_largest(dictionary.sizes(wide), min(dictionary.budget, len(known)))
    places, kept_known = (kept.places, kept.known) if kept.least > 0.0 else _nonzero(wide, kept.places)
    return fit_next_support(dictionary, now, joined[places], known[kept_known])


def _nonzero(fit: Candidates, places: Tensor) -> tuple[Tensor, Ints]:
    """Return those of the places where a fit is not 0, on the device and on the host."""
    left = places[fit.values[places] != 0.0]
    return left, left.cpu().numpy()
