"""One-shot magnitude pruning: train a dense network, prune it once, train on what is left."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from convexnn.baselines.result import Baseline
from convexnn.baselines.task import Stopwatch, Task, TaskOptions, as_budgets
from convexnn.baselines.training import fine_tuned, train
from convexnn.checks import as_count, as_flag

METHOD = "one-shot magnitude pruning"


def prune_once(
    X: ArrayLike,
    y: ArrayLike,
    budgets: Sequence[int],
    *,
    width: int,
    depth: int = 1,
    loss: str = "squared",
    epochs: int,
    last_epochs: int = 0,
    decay: bool = False,
    weights: str = "all",
    output_signs: ArrayLike | None = None,
    batch_size: int | None = 256,
    lr: float = 1e-3,
    bias: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> dict[int, Baseline]:
    """Prune one dense network by magnitude, straight to each of several budgets.

    Parameters
    ----------
    X, y, width, depth, loss, batch_size, lr, bias, seed, device
        As :func:`train_dense` takes them.
    budgets : sequence of int
        Numbers of weights to end with, each met exactly.
    epochs : int
        Passes over the data before the pruning.
    last_epochs, decay, weights, output_signs
        As :func:`prune_iteratively` takes them.

    Returns
    -------
    dict of int to Baseline
        A network for each budget, the largest first.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.baselines import prune_once
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> y = np.maximum(X[:, 0], 0)
    >>> pruned = prune_once(X, y, [6, 10], width=4, epochs=3, lr=0.01)
    >>> {budget: baseline.nnz for budget, baseline in pruned.items()}
    {10: 10, 6: 6}
    """
    watch = Stopwatch()
    options = TaskOptions(width, depth, loss, batch_size, lr, bias, seed, device, weights, output_signs)
    task = Task.make(X, y, options)
    targets = as_budgets(budgets, task.n_counted)
    last, falling = as_count(last_epochs, "last_epochs", at_least=0), as_flag(decay, "decay")
    model = task.new_model()
    train(model, task, as_count(epochs, "epochs"))
    trained, found = watch.read(), {}
    for budget in targets:
        pruned = model.copy()
        pruned.keep_largest(budget)
        found[budget] = fine_tuned(pruned, task, last, decay=falling, method=METHOD, watch=watch)
        watch.back_to(trained)
    return found
