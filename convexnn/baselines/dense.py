"""Dense training: the network that nobody pruned."""

from __future__ import annotations

from numpy.typing import ArrayLike

from convexnn.baselines.result import Baseline
from convexnn.baselines.task import Stopwatch, Task, TaskOptions
from convexnn.baselines.training import train
from convexnn.checks import as_count, as_flag


def train_dense(
    X: ArrayLike,
    y: ArrayLike,
    *,
    width: int,
    depth: int = 1,
    loss: str = "squared",
    epochs: int,
    batch_size: int | None = 256,
    lr: float = 1e-3,
    decay: bool = False,
    bias: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> Baseline:
    """Train a dense ReLU network by Adam.

    Parameters
    ----------
    X : array_like (n, d)
        The data, at least 2 rows, finite; used as given, in float32.
    y : array_like (n,) or (n, k)
        Numbers for the squared loss; one label a row for the others.
    width : int
        Neurons of each hidden layer.
    depth : int, default 1
        Number of hidden layers.
    loss : {"squared", "logistic", "softmax"}
        Two labels for the logistic (one output), any number for the softmax (an output a label).
    epochs : int
        Passes over the data.
    batch_size : int or None, default 256
        Rows a step; None for all.
    lr : float, default 1e-3
        Step size of Adam.
    decay : bool, default False
        Whether the step size falls to zero as a half cosine.
    bias : bool, default False
        Whether neurons and outputs have biases.
    seed : int, default 0
        Of the first weights and the order of the rows.
    device : str, default "cpu"
        A torch device, such as ``cuda``.

    Returns
    -------
    Baseline
        The network and what it took.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.baselines import train_dense
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> y = np.maximum(X[:, 0], 0)
    >>> dense = train_dense(X, y, width=4, epochs=3, lr=0.01)
    >>> dense.nnz, bool(np.isfinite(dense.loss))
    (20, True)
    """
    watch = Stopwatch()
    options = TaskOptions(width, depth, loss, batch_size, lr, bias, seed, device)
    task = Task.make(X, y, options)
    model = task.new_model()
    train(model, task, as_count(epochs, "epochs"), decay=as_flag(decay, "decay"))
    return task.baseline(model, "dense training", watch.read())
