"""RigL: a sparse network that drops its smallest weights now and then and grows those of the largest gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from convexnn.baselines.masked_network import MaskedNetwork
from convexnn.baselines.result import Baseline
from convexnn.baselines.task import Stopwatch, Task, TaskOptions, as_budget
from convexnn.baselines.training import steps_a_pass, train
from convexnn.checks import as_count, as_flag, as_known, as_nonnegative
from convexnn.fitting.training import Adam

# Share of the steps after which the mask stays.
STOP = 0.75

# What the weights of a layer with so many inputs and outputs are in proportion to.
LAYER_SHARES: dict[str, Callable[[int, int], float]] = {
    "erdos_renyi": lambda inputs, outputs: inputs + outputs,
    "uniform": lambda inputs, outputs: inputs * outputs,
    "equal": lambda inputs, outputs: 1.0,
}


def rigl(
    X: ArrayLike,
    y: ArrayLike,
    budget: int,
    *,
    width: int,
    depth: int = 1,
    loss: str = "squared",
    epochs: int,
    drop: float = 0.3,
    every: int = 100,
    shares: str = "erdos_renyi",
    decay: bool = True,
    weights: str = "all",
    output_signs: ArrayLike | None = None,
    batch_size: int | None = 256,
    lr: float = 1e-3,
    bias: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> Baseline:
    """Train a sparse network whose mask moves: every so many steps each layer drops weights and grows as many.

    Parameters
    ----------
    X, y, width, depth, loss, batch_size, lr, bias, seed, device
        As :func:`train_dense` takes them.
    budget : int
        Number of weights that are kept, from the first step on; one that grew without ever having a gradient is zero.
    epochs : int
        Passes over the data.
    drop : float, default 0.3
        Share of a layer's weights that is dropped at first; it falls to zero as a half cosine at three quarters of the
        steps, and the mask stays from then on. At most 1.
    every : int, default 100
        Steps between two changes of the mask.
    shares : {"erdos_renyi", "uniform", "equal"}
        How the budget is shared among layers: in proportion to inputs + outputs, or to inputs x outputs, or evenly,
        which no layer starves of where weights are very few.
    decay : bool, default True
        Whether the step size falls to zero as a half cosine.
    weights, output_signs
        As :func:`prune_iteratively` takes them.

    Returns
    -------
    Baseline
        The network and what it took.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.

    Notes
    -----
    Evci, Gale, Menick, Castro and Elsen, "Rigging the Lottery: Making All Tickets Winners" (ICML 2020, arXiv
    1911.11134): dropped are the smallest magnitudes, grown are the largest gradients of the dense loss among what is
    not kept, with weights of zero and a new state of the optimiser. The number of weights of a layer never changes.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.baselines import rigl
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> y = np.maximum(X[:, 0], 0)
    >>> sparse = rigl(X, y, 8, width=4, epochs=3, every=1, lr=0.01)
    >>> sparse.nnz <= 8, bool(np.isfinite(sparse.loss))
    (True, True)
    """
    watch = Stopwatch()
    options = TaskOptions(width, depth, loss, batch_size, lr, bias, seed, device, weights, output_signs)
    task = Task.make(X, y, options)
    count = as_budget(budget, task.n_counted)
    passes = as_count(epochs, "epochs")
    model = task.new_model()
    shapes = list(pairwise(task.sizes if task.signs is None else task.sizes[:-1]))
    sizes = layer_sizes(shapes, count, as_known(shares, "shares", tuple(LAYER_SHARES)))
    draw_mask(model, sizes, task.generator)
    last = int(STOP * passes * steps_a_pass(task))
    regrowth = Regrowth(model, _as_drop(drop), as_count(every, "every"), last)
    train(model, task, passes, decay=as_flag(decay, "decay"), after_step=regrowth)
    return task.baseline(model, "RigL", watch.read())


def layer_sizes(shapes: list[tuple[int, int]], budget: int, shares: str) -> list[int]:
    """Return how many weights each layer of a shape (in, out) gets: in all the budget, none more than it holds.

    What a full layer cannot take, the others share.
    """
    full = [inputs * outputs for inputs, outputs in shapes]
    proportions = [LAYER_SHARES[shares](*shape) for shape in shapes]
    sizes = [0] * len(shapes)
    # Weight by weight to whom it is due most, which shares without remainder; each layer has one at least if it can.
    for _ in range(budget):
        due = [
            (sizes[i] == 0, share / (sizes[i] + 1), -i) if sizes[i] < full[i] else (False, -1.0, -i)
            for i, share in enumerate(proportions)
        ]
        sizes[due.index(max(due))] += 1
    return sizes


def draw_mask(model: MaskedNetwork, sizes: list[int], generator: torch.Generator) -> None:
    """Keep so many random weights of each layer that is counted."""
    for mask, size in zip(model.layers.split(model.kept)[0], sizes, strict=False):
        order = torch.randperm(mask.numel(), generator=generator)[:size].to(mask.device)
        mask.zero_()
        mask.view(-1)[order] = True
    model.apply()


@dataclass(frozen=True, eq=False)
class Regrowth:
    """Moves the mask of a network after steps of its training.

    Attributes
    ----------
    model : MaskedNetwork
        Whose mask.
    drop : float
        Share of a layer's weights that is dropped at first.
    every : int
        Steps between changes.
    last : int
        Step from which on the mask stays.
    """

    model: MaskedNetwork
    drop: float
    every: int
    last: int

    def __call__(self, t: int, gradient: Tensor, adam: Adam) -> None:
        """Change the mask after step t, if it is time."""
        if t % self.every or t >= self.last:
            return
        share = 0.5 * self.drop * (1.0 + cos(pi * t / self.last))
        layers = self.model.layers
        parts = (layers.parameters, self.model.kept, self.model.free, gradient, adam.mean, adam.squares)
        for weight, kept, free, slope, mean, squares in zip(*(layers.split(part)[0] for part in parts), strict=True):
            if bool(free.any()):
                changed = regrow(weight.view(-1), kept.view(-1), slope.reshape(-1), share)
                # Of what was dropped, too: its momentum would move it away from zero.
                for state in (mean, squares):
                    state.view(-1)[changed] = 0.0


def regrow(weight: Tensor, kept: Tensor, slope: Tensor, share: float) -> Tensor:
    """Drop a share of a layer's kept weights in place, grow as many, and return the indices of both, all zero now.

    What was dropped may grow again at once, then from zero, as in the paper.
    """
    count = int(share * int(kept.sum()))
    small = torch.where(kept, weight.abs(), torch.inf).topk(count, largest=False).indices
    kept[small] = False
    fresh = torch.where(kept, -1.0, slope.abs()).topk(count).indices
    kept[fresh] = True
    changed = torch.cat((small, fresh))
    weight[changed] = 0.0
    return changed


def _as_drop(drop: Any) -> float:
    share = as_nonnegative(drop, "drop")
    if share > 1.0:
        raise ValueError(f"drop is {share:g}; expected at most 1, a share of the weights of a layer")
    return share
