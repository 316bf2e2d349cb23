"""Hard thresholding pursuit: one step, the largest entries, the best fit on them, repeat."""

from __future__ import annotations

from torch import Tensor

from convexnn.program.convex_program import ConvexProgram
from convexnn.solution import Solution
from convexnn.solvers.common.descent import Callback
from convexnn.solvers.common.warm_start import Start
from convexnn.solvers.thresholding.dictionary import Dictionary
from convexnn.solvers.thresholding.phases import Settings, threshold
from convexnn.solvers.thresholding.sparse_iterate import (
    SparseIterate,
    broken,
    direction,
    normalised_step,
    settle,
    stepped,
)


def htp(
    program: ConvexProgram,
    *,
    max_iterations: int = 100,
    time_limit: float | None = None,
    whiten: bool | str = "auto",
    ridge: float | str = "auto",
    start: Start = None,
    device: str = "cpu",
    dtype: str = "float32",
    memory_limit: int = 1 << 30,
    seed: int = 0,
    callback: Callback | None = None,
) -> Solution:
    """Solve a cardinality program by hard thresholding pursuit.

    Parameters
    ----------
    program : ConvexProgram
        With a budget, any loss, any number of outputs.
    max_iterations : int, default 100
        Most iterations, over all phases.
    time_limit : float, optional
        Seconds of iterations after which the best iterate is returned.
    whiten : "auto" or bool, default "auto"
        Whether to choose columns in the metric (A A^T + ridge I)^-1, in which coherent columns are told apart. That
        costs n^3 / 3 + n^2 m d flops once and 2 n^2 an iteration, so beyond 2,000 rows, or a few seconds of work, it
        is done on a random part of the rows, and plain iterations on all rows go on from the support. ``auto``: for
        the squared loss, where at least 3 rows for a weight are left and the time limit is no shorter than the set-up.
    ridge : "auto" or float, default "auto"
        As a share of the mean eigenvalue of A A^T, above 0: the noisier the target, the larger. ``auto``: 0.01; then,
        where the best fit leaves a share r = ||residual|| / ||target|| above 0.002, again with 10 r, at most 1.
    start : Solution or array_like, optional
        Weights whose support to begin with.
    device : str, default "cpu"
        A torch device for the products, such as ``cuda``.
    dtype : {"float32", "float64"}, default "float32"
        Precision of products and selection; the whitening and the final weights are in float64 in either.
    memory_limit : int, default 2^30
        Bytes for the masks, as in :class:`convexnn.linear.operator.PatternOperator`, and for the whitening, 16 n^2.
        Beside them a run holds a few arrays of n times budget and of m times d numbers.
    seed : int, default 0
        Of the part of the rows.
    callback : callable, optional
        Called with a :class:`convexnn.solvers.common.descent.Progress` after each iteration. KeyboardInterrupt, raised
        in it or from outside, returns the best iterate so far.

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
    """
    settings = Settings(max_iterations, time_limit, whiten, ridge, start, device, dtype, memory_limit, seed, callback)
    return threshold(program, "htp", htp_step, settings)


def htp_step(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the best fit on the largest entries after a step."""
    gradient = direction(dictionary, now)
    if not gradient.isfinite().all():
        return broken(now)
    moved = stepped(now, gradient, _step_size(dictionary, now, gradient))
    return settle(dictionary, now, dictionary.largest(moved, dictionary.budget))


def _step_size(dictionary: Dictionary, now: SparseIterate, gradient: Tensor) -> float:
    """Return mu; on the best weights of a support the gradient there is zero, and 1/c is the step that is left."""
    if dictionary.whitening is not None or now.polished:
        return 1.0 / dictionary.loss.smoothness
    return normalised_step(dictionary, now, gradient[now.support])
