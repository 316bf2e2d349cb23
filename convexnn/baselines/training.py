"""Adam on a network with a mask, for a number of passes over the rows."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi

from torch import Tensor

from convexnn.baselines.task import Task
from convexnn.baselines.trainee import Trainee
from convexnn.fitting.training import Adam, batches


def train(
    trainee: Trainee,
    task: Task,
    epochs: int,
    *,
    decay: bool = False,
    after_step: Callable[[int, Tensor, Adam], None] | None = None,
) -> None:
    """Train in place for `epochs` passes, from a new optimiser on; what is pruned stays zero.

    With `decay` the step size falls to zero as a half cosine. `after_step(t, gradient, adam)` is called after the t-th
    step, t = 1, 2, ..., with the gradient (N,) of all parameters, pruned ones too; it may change the mask.
    """
    if trainee.stuck:
        return
    layers, loss = trainee.layers, task.problem.loss
    adam = Adam(layers.parameters)
    steps, t = epochs * steps_a_pass(task), 0
    for _ in range(epochs):
        for rows, target in batches(task.problem, task.batch, task.generator):
            values = layers.forward(rows)
            dense = layers.gradient(values, loss.gradient(values[-1], target))
            rate = task.lr * (0.5 + 0.5 * cos(pi * t / steps)) if decay else task.lr
            adam.step(layers.parameters, dense * (trainee.kept & trainee.free), rate)
            t += 1
            if after_step is not None:
                after_step(t, dense, adam)


def steps_a_pass(task: Task) -> int:
    """Return the number of steps of one pass over the rows."""
    return -(-task.problem.n_rows // task.batch)
