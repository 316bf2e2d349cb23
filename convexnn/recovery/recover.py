"""Recovery with unknown gates: from data to the Solution of a network that was found by search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import (
    Floats,
    as_callback,
    as_count,
    as_flag,
    as_generator,
    as_known,
    as_matrix,
    as_moderate,
    as_path,
)
from convexnn.patterns.activation_patterns import ActivationPatterns
from convexnn.patterns.gates import append_ones
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.targets import encode
from convexnn.recovery.options import RecoveryOptions, RecoveryProgress
from convexnn.solution import Solution
from convexnn.solvers.common.deadline import Deadline, seconds_to_import
from convexnn.solvers.common.descent import Limits
from convexnn.workers import as_jobs

# Most neurons where the caller sets no limit.
WIDTH = 100

# Seconds an entry of the data that the answer is put together in, which asks no clock: the limit has them in it.
ENDING = 1e-8


def recover(
    X: ArrayLike,
    y: ArrayLike,
    budget: int | None = None,
    width: int | None = None,
    *,
    bias: bool = False,
    signs: str = "both",
    seed: int | np.random.Generator = 0,
    n_restarts: int = 3,
    patience: int = 40,
    significant: bool = False,
    time_limit: float | None = None,
    device: str = "cpu",
    callback: Callable[[RecoveryProgress], None] | None = None,
    n_jobs: int | None = None,
    checkpoint: str | Path | None = None,
    group: Any = None,
) -> Solution:
    """Find a sparse ReLU network f(x) = sum_j +-relu(x . w_j) whose gates are not known.

    Parameters
    ----------
    X : array_like (n, d)
        The data, at least 2 rows, finite. Features are brought to one scale inside; the answer is for X as given. Of
        more than 20,000 rows the search sees a sample, and the network is fitted to all of them at the end, in blocks.
        A read-only memory map of float64, as ``numpy.load(path, mmap_mode="r")`` gives, is not copied, without `bias`;
        :func:`convexnn.datasets.rows_on_disk` makes one of Parquet files and of other maps.
    y : array_like (n,) or (n, 1)
        The target, not constant.
    budget : int, optional
        Most nonzero input weights (and biases), 1 to width times the number of features. By default budgets double from
        8, one start each, up to half the number of rows, until a network explains the data, exactly (``EXACT``) or up
        to noise (``CONVERGED``), as with `significant`; it keeps the weights alone that it needs for that. Smaller
        networks may exist. `n_restarts` is not read then, and a start is given up after a patience of at most 20. With
        `n_jobs`, or on the ranks of a `group`, larger budgets are searched ahead of smaller ones, which decide, unless
        the time limit cuts them off.
    width : int, optional
        Most neurons; default the budget, at most 100; without a budget 100.
    bias : bool, default False
        Whether neurons have biases; they count in the budget.
    signs : {"both", "positive", "negative"}
        Output weights: +1 and -1, or one of them alone, as in the planted networks of the paper.
    seed : int or numpy.random.Generator, default 0
        Every choice follows from it; `time_limit` changes where a run ends, and nothing else.
    n_restarts : int, default 3
        Starts from nothing.
    patience : int, default 40
        Candidates without a better one after which a start is given up; five times as many once the network is nearly
        exact.
    significant : bool, default False
        Whether weights that noise explains are dropped at the end, so that there may be fewer than the budget: those
        without which the sum of squares grows by less than 2 ln(width d) residual variances. For noisy targets. Once
        no fresh gate finds more in the residual than chance does, the present start is the last, with a quarter of the
        patience, and the run ends ``CONVERGED``.
    time_limit : float, optional
        Seconds after which the best network is returned. Where none are left before the search begins, as at 0, it is
        a network for a sample of the rows.
    device : str, default "cpu"
        A torch device, such as ``cuda``.
    callback : callable, optional
        Called with a :class:`RecoveryProgress` after each candidate. KeyboardInterrupt, raised in it or from outside,
        returns the best network so far.
    n_jobs : int, optional
        Starts at a time, a process each, -1 for one a core; default what ``joblib.parallel_config`` says around this
        call (so that Dask or Ray may serve), or one. Where workers have as many threads as this process
        (``OMP_NUM_THREADS=1``), the network is that of one job to the last bit, unless a time limit cuts in. With
        several jobs `callback` hears of a start once it has ended, and KeyboardInterrupt loses those in flight.
    checkpoint : str or Path, optional
        A file, written anew after each start that came to its own end. Where it is there already, the run goes on after
        those starts, and returns what it would have returned without a break, to the last bit; a start that was broken
        off begins anew. `n_restarts`, `time_limit` and `n_jobs` may be others than those of the run before. It needs a
        budget.
    group : torch.distributed.ProcessGroup, optional
        Processes (``torchrun``), such as ``torch.distributed.group.WORLD``, each of which calls this with rows of its
        own and the same other arguments. Before ``init_process_group`` that name is None, and each process is alone.
        The starts are shared by the ranks (of gloo; of nccl the first makes them alone), each on a sample of all rows;
        the scale of the features and the last fit are of all rows. The answer is that of one process up to rounding in
        the last fit, and its search that to the last bit, unless a time limit cuts in. Each rank returns the same
        network, as the Solution of the program of its own rows, so that its loss is that of those. Limits, `callback`
        (which hears of a start once it has ended), interruptions and checkpoints, which any number of ranks may go on
        with, are those of the first rank; how long the others wait is the time limit of the group. KeyboardInterrupt
        in the last fit is raised, as it is on the ranks that wait.

    Returns
    -------
    Solution
        Of the cardinality program over the network's own gates (row j of ``weights`` is +-w_j), on which the convex
        model and the network agree; ``to_network()`` is the network. ``history`` is the lowest loss after each
        candidate. ``EXACT``: the data are met to rounding; ``SEARCH_ENDED``: the starts are used up, and a better
        network may exist. ``relative_error``, ``r2`` and ``decibels`` say how well the network fits.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range, or the checkpoint is that of another run; the message names
        it.
    OSError
        The checkpoint cannot be written, a start killed its worker process, or the cluster or a rank has gone.

    Notes
    -----
    Sequential convex programming: rounds of hard thresholding over gates, which then follow the weights ("A Recovery
    Guarantee for Sparse Neural Networks", arXiv 2509.20323), here with three ways of fitting, budgets that fall, empty
    neurons revived at fresh gates, parallel neurons merged, and Gauss-Newton steps on the network's own loss at the end
    of each candidate. A candidate perturbs the best network: neurons are dropped, gates are added where the residual
    points, and what lowers the network's own loss is kept. Neurons are turned round, relu(u) = u + relu(-u), where the
    linear functions that this takes or leaves cancel against neurons of one input. Once most of a network of thirty
    neurons or more is right, parts of it are searched anew while the rest is held: a neuron at whose kink, x . w = 0,
    the residual is large, and neurons that share inputs with it, are a small problem of their own. Ways that pay are
    taken more often. With many rows the search sees a sample of them first and more later; what is returned is judged
    on, and fitted to, all of them.

    Neurons of features that are not centred (counts, 0 and 1, units with an offset) are often active on all rows, or on
    nearly all, and many networks are one function then: what such neurons hold is a linear function of the rows, and
    which of them held a weight cannot be known. There (at most 256 inputs, and twice as many rows as these and the
    budget) each start first looks for neurons beside the best linear function, which costs nothing, and then gives its
    weights back to neurons: to some by relu(u) = u + relu(-u), or as they are where they are active wherever a feature
    is not zero; the rest to one neuron that is active on all rows, or to one of either sign. All of them count in the
    budget and in the width, once each; twice where a feature has both signs and no neuron that is active on all rows
    can hold it. Where neurons beside a linear function are exact, and too many once they hold it, fewer are looked for.
    Before the weights are given back the best network so far is that of the search without a linear function.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((200, 10))
    >>> y = np.maximum(X[:, 0] - X[:, 1], 0) - np.maximum(X[:, 2], 0)
    >>> print(recover(X, y, budget=3).to_network())
    sparse ReLU network 10-2-1: 5 nonzeros, 2 hidden neurons
      h0 = relu(x0 - x1)
      h1 = relu(x2)
      y = h0 - h1
    """
    began = perf_counter()
    if group is None:
        rows, target = _data(X, y, bias)
        n_rows = len(rows)
    else:
        rows, target, n_rows = _data_of_ranks(group, X, y, bias, (budget, width, signs))
    largest, width = _sizes(budget, width, n_rows, rows.shape[1])
    limit = Limits(1, time_limit).time_limit
    options = RecoveryOptions(
        budget=largest,
        width=width,
        signs=as_known(signs, "signs", ("both", "positive", "negative")),
        n_restarts=as_count(n_restarts, "n_restarts"),
        patience=as_count(patience, "patience"),
        significant=as_flag(significant, "significant"),
        deadline=Deadline(
            None if limit is None else max(0.0, limit - ENDING * rows.size), began + seconds_to_import("torch")
        ),
        device=device,
        callback=as_callback(callback),
        n_jobs=as_jobs(n_jobs),
        checkpoint=None if checkpoint is None else as_path(checkpoint, "checkpoint"),
        group=group,
    )
    if budget is None and checkpoint is not None:
        raise ValueError("checkpoint keeps the starts of one budget; expected a budget beside it, or no checkpoint")
    # torch came with the clock, and is not loaded before it is used.
    from convexnn.recovery.recover_weights import recover_weights
    from convexnn.recovery.unknown_budget import recover_smallest
    from convexnn.solvers.common.certificate import certify_support

    search = recover_smallest if budget is None else recover_weights
    gates, weights, run = search(rows, target, options, as_generator(seed))
    allowed = max(1, int(np.count_nonzero(weights))) if budget is None else largest
    return certify_support(_program(X, y, gates, allowed, bias), np.flatnonzero(weights), weights[weights != 0.0], run)


def _data(X: ArrayLike, y: ArrayLike, bias: bool) -> tuple[Floats, Floats]:
    """Return the rows that neurons see (n, d or d + 1) and the target (n,)."""
    has_bias = as_flag(bias, "bias")
    matrix = as_moderate(as_matrix(X, "X", min_rows=2), "X")
    target = encode(y, "squared", len(matrix)).values
    if target.ndim != 1:
        raise ValueError(f"y has shape {target.shape}; expected one output, ({len(matrix)},)")
    return append_ones(matrix, has_bias), target


def _data_of_ranks(
    group: Any, X: ArrayLike, y: ArrayLike, bias: bool, asked: tuple[Any, ...]
) -> tuple[Floats, Floats, int]:
    """Return rows and target here, and the rows of all ranks, which must ask for the same of the same features."""
    from convexnn.recovery.layer.ranks import ranks_of

    ranks = ranks_of(group)
    rows, target = ranks.together(lambda: _data(X, y, bias))
    words = repr((rows.shape[1], bias, *asked))
    differ = ranks.shared(lambda: words) != words
    if any(ranks.counts(int(differ))):
        raise ValueError("the ranks of group differ in their arguments or features; expected the same on each of them")
    return rows, target, sum(ranks.counts(len(rows)))


def _sizes(budget: int | None, width: int | None, n_rows: int, n_inputs: int) -> tuple[int, int]:
    """Return the largest budget and the width for so many rows and inputs, checked against each other."""
    if budget is None:
        most = WIDTH if width is None else as_count(width, "width")
        return max(1, min(most * n_inputs, n_rows // 2)), most
    most = min(as_count(budget, "budget"), WIDTH if width is None else as_count(width, "width"))
    if budget > most * n_inputs:
        raise ValueError(
            f"budget is {budget}; expected at most {most * n_inputs}, the inputs of {most} neurons (a larger width?)"
        )
    return int(budget), most


def _program(X: ArrayLike, y: ArrayLike, weights: Floats, budget: int, bias: bool) -> ConvexProgram:
    """Return the cardinality program over the gates of neurons (p, d), or over any gate where there are none."""
    gates = weights if len(weights) else np.eye(1, weights.shape[1])
    counts = {"n_drawn": len(gates), "n_merged": 0, "n_dropped": 0, "n_linear": 0}
    patterns = ActivationPatterns(gates, np.ones(gates.shape, dtype=bool), "given", **counts, bias=bias)
    return ConvexProgram(X, y, patterns, budget=min(budget, gates.size))
