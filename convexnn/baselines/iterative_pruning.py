"""Iterative magnitude pruning: train, prune a share of the weights, go back to the first weights, train again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import ArrayLike

from convexnn.baselines.result import Baseline
from convexnn.baselines.task import Stopwatch, Task, TaskOptions, as_budgets
from convexnn.baselines.training import fine_tuned, train
from convexnn.checks import as_count, as_flag, as_nonnegative

METHOD = "iterative magnitude pruning"


def prune_iteratively(
    X: ArrayLike,
    y: ArrayLike,
    budgets: Sequence[int],
    *,
    width: int,
    depth: int = 1,
    loss: str = "squared",
    epochs_a_round: int,
    prune: float = 0.10,
    last_epochs: int = 0,
    decay: bool = False,
    rewind: bool = True,
    weights: str = "all",
    output_signs: ArrayLike | None = None,
    batch_size: int | None = 256,
    lr: float = 1e-3,
    bias: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> dict[int, Baseline]:
    """Prune a dense network by magnitude in rounds, down to each of several budgets in one pass.

    Parameters
    ----------
    X, y, width, depth, loss, batch_size, lr, bias, seed, device
        As :func:`train_dense` takes them.
    budgets : sequence of int
        Numbers of weights to end with, each met exactly: the round that would go past one stops at it.
    epochs_a_round : int
        Passes over the data before each pruning.
    prune : float, default 0.1
        Share of the remaining weights that a round prunes, all layers together, at least one weight; above 0, below 1.
    last_epochs : int, default 0
        Passes over the data after the last pruning, from the weights that are left; 0: the network is returned as it
        was pruned.
    decay : bool, default False
        Whether the step size of the last passes falls to zero as a half cosine.
    rewind : bool, default True
        Whether each round begins at the first weights, those that are left of them; else at those just pruned.
    weights : {"all", "hidden"}
        Whether all layers are trained, pruned and counted, or the hidden ones alone, under fixed output weights.
    output_signs : array_like (width,), optional
        The fixed output weights, -1 and +1; default all +1. With ``weights="hidden"`` only.

    Returns
    -------
    dict of int to Baseline
        A network for each budget, the largest first.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Notes
    -----
    The lottery-ticket procedure of Frankle and Carbin, "The Lottery Ticket Hypothesis" (arXiv 1803.03635). The
    baseline of "A Recovery Guarantee for Sparse Neural Networks" (arXiv 2509.20323), as its authors released it, has
    ``prune=0.1``, Adam of 1e-3 and ``last_epochs=0``, with 15, 50 or 100 passes a round; there a budget is met by the
    first round at or below it. A layer may lose all of its weights: the output is constant from then on.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.baselines import prune_iteratively
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> y = np.maximum(X[:, 0], 0)
    >>> pruned = prune_iteratively(X, y, [6, 10], width=4, epochs_a_round=1, prune=0.3, lr=0.01)
    >>> {budget: baseline.nnz for budget, baseline in pruned.items()}
    {10: 10, 6: 6}
    """
    watch = Stopwatch()
    options = TaskOptions(width, depth, loss, batch_size, lr, bias, seed, device, weights, output_signs)
    task = Task.make(X, y, options)
    targets = as_budgets(budgets, task.n_counted)
    a_round, last = as_count(epochs_a_round, "epochs_a_round"), as_count(last_epochs, "last_epochs", at_least=0)
    falling = as_flag(decay, "decay")
    model = task.new_model()
    first = model.layers.parameters.clone()
    found: dict[int, Baseline] = {}
    for size in pruning_schedule(task.n_counted, targets, _as_share(prune)):
        if as_flag(rewind, "rewind"):
            model.rewind(first)
        train(model, task, a_round)
        model.keep_largest(size)
        if size in targets:
            found[size] = fine_tuned(model, task, last, decay=falling, method=METHOD, watch=watch)
    return found


def pruning_schedule(n_weights: int, budgets: Sequence[int], prune: float) -> Iterator[int]:
    """Yield how many weights each round leaves: a share less than before, yet each of the falling budgets once."""
    size, ahead = n_weights, list(budgets)
    while ahead:
        size = max(ahead[0], min(size - 1, size - round(prune * size)))
        if size == ahead[0]:
            ahead.pop(0)
        yield size


def _as_share(prune: Any) -> float:
    share = as_nonnegative(prune, "prune")
    if not 0.0 < share < 1.0:
        raise ValueError(f"prune is {share:g}; expected a share above 0 and below 1")
    return share
