"""Training with a proof: the optimum over networks of any width, by column generation and exact pricing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import as_callback, as_flag, as_generator, as_matrix, as_moderate, as_nonnegative
from convexnn.optimum.penalties import check_priced
from convexnn.optimum.result import GlobalOptimum, OptimumProgress
from convexnn.patterns.activation_patterns import sample_patterns
from convexnn.solvers.common.deadline import Deadline

# Gates to begin with where the first look finds none.
FIRST = 4


def global_optimum(
    X: ArrayLike,
    y: ArrayLike,
    *,
    strength: float,
    loss: str = "squared",
    penalty: str = "group_l1",
    cone: bool = True,
    bias: bool = False,
    time_limit: float | None = None,
    tolerance: float = 1e-4,
    seed: int | np.random.Generator = 0,
    callback: Callable[[OptimumProgress], None] | None = None,
) -> GlobalOptimum:
    """Train a two-layer ReLU network to the optimum over **all** activation patterns, and prove how near it is.

    Parameters
    ----------
    X : array_like (n, d)
        The data, at least 2 rows, finite.
    y : array_like (n,) or (n, k)
        Numbers for the squared loss, labels for the others, as for :class:`convexnn.ConvexProgram`.
    strength : float
        Factor of the penalty, above 0. At or above the smallest strength with that optimum zero weights are the answer.
    loss : {"squared", "logistic", "softmax"}, default "squared"
        A mean over rows.
    penalty : {"group_l1", "l1"}, default "group_l1"
        sum ||u_j||_2 or sum ||u_j||_1 over neurons (and outputs). The others have no price of a neuron by itself.
    cone : bool, default True
        ReLU networks; False: the gated program, whose optimum over all patterns is another (lower) one.
    bias : bool, default False
        A column of ones for gates and weights, penalised like the others.
    time_limit : float, optional
        Seconds; the best network and the best bound are returned. The last 30 % are kept for the proof.
    tolerance : float, default 1e-4
        Stop when the gap to all patterns is below this share of the loss at zero weights.
    seed : int or numpy.random.Generator, default 0
        The network to begin with, and starts of the ascents.
    callback : callable, optional
        Called with an :class:`OptimumProgress` after each round. KeyboardInterrupt, raised in it or from outside,
        returns the best network and the best bound so far.

    Returns
    -------
    GlobalOptimum
        A :class:`convexnn.Solution` over the gates that were needed. ``gap``: objective minus a bound that is proven
        for networks of **any** width, rounded outwards; ``gap_of_patterns``: the gap to the patterns held; ``bound``,
        ``rounds`` and ``plot()``. ``CONVERGED``: the gap is below the tolerance. ``SEARCH_ENDED``: no more gates were
        found, and the proof is out of reach (more than 12 inputs; a gated program with more than 200,000 patterns): the
        gap is then that of a weak bound.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Notes
    -----
    The minimum over networks of any width of L + strength sum_j ||u_j|| |v_j|, which is L + strength/2 sum_j
    (||u_j||^2 + v_j^2) at the best scales (weight decay), is the group_l1 cone program over all patterns (Pilanci and
    Ergen, ICML 2020). With k outputs it is the minimum of L + strength sum_j ||u_j|| ||v_j||_1: each output has neurons
    of its own, which is not weight decay. With theta = -dL/dp and M = max over ||u|| <= 1 of |sum_i theta_i
    relu(x_i . u)|, a network is optimal iff M <= strength, neurons u above it are to be added, and for any theta the
    point theta min(1, strength / M) bounds the optimum from below. M is bounded by branch and bound over cones
    (:func:`convexnn.pricing.price.price_exactly`); over the L1 ball for l1. Gated programs have
    M = max ||X^T D theta||, taken over all cells where they can be listed (those thinner than 1e-9 of the data's size
    may be missed, see :func:`convexnn.sample_patterns`), else bounded in one look.

    With cones and group_l1 the first gates are those of a network that is trained locally, by L-BFGS and prices in
    turns (Boyd, Schiebinger and Recht, SIAM Journal on Optimization 2017), for up to 40 % of the time.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((60, 3))
    >>> y = np.maximum(X[:, 0] - X[:, 1], 0) - np.maximum(X[:, 2], 0)
    >>> best = global_optimum(X, y, strength=0.01)
    >>> best.status.name, bool(best.gap <= 1e-4 * best.program.zero_loss)
    ('CONVERGED', True)
    """
    deadline = Deadline(None if time_limit is None else as_nonnegative(time_limit, "time_limit"))
    matrix = as_moderate(as_matrix(X, "X", min_rows=2), "X")
    biased, coned, rng = as_flag(bias, "bias"), as_flag(cone, "cone"), as_generator(seed)
    goal = as_nonnegative(tolerance, "tolerance")
    if goal == 0.0:
        raise ValueError("tolerance is 0; expected a number above 0, a share of the loss at zero weights")
    known, asked = check_priced(penalty), as_callback(callback)
    if strength is None or as_nonnegative(strength, "strength") == 0.0:
        raise ValueError(f"strength is {strength}; expected a number above 0")
    # torch comes with them, and is not loaded before it is used.
    from convexnn.optimum.gates import new_gates
    from convexnn.optimum.master import Task
    from convexnn.optimum.rounds import ColumnGeneration, OptimumOptions

    task = Task(matrix, y, loss, known, strength, coned, biased)
    drawn = sample_patterns(matrix, FIRST, bias=biased, seed=rng)
    gates = new_gates(drawn.rows(matrix), drawn.generators, set(), FIRST, apart=False)
    return ColumnGeneration(task, gates, OptimumOptions(goal, deadline, asked), rng).run()
