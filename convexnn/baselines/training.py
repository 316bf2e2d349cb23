"""Adam on a network with a mask, for a number of passes over the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import cos, pi

from torch import Tensor

from convexnn.baselines.masked_network import Trainee
from convexnn.baselines.task import Task
from convexnn.baselines.trainable_part import LivePart
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.training import Adam, batches

# A part of the network of at most this share of its parameters is trained in its place.
WORTHWHILE = 0.5

AfterStep = Callable[[int, Tensor, Adam], None]


def train(
    trainee: Trainee,
    task: Task,
    epochs: int,
    *,
    decay: bool = False,
    after_step: AfterStep | None = None,
) -> None:
    """Train in place for `epochs` passes, from a new optimiser on; what is pruned stays zero.

    With `decay` the step size falls to zero as a half cosine. `after_step(t, gradient, adam)` is called after the t-th
    step, t = 1, 2, ..., with the gradient (N,) of all parameters, pruned ones too; it may change the mask. Without it
    only what is alive is computed, once that is little.
    """
    if after_step is not None:
        _go(trainee, task.problem, task, epochs, decay, after_step)
        return
    part = LivePart.of(trainee)
    if part is None:
        return
    if len(part.places) > WORTHWHILE * len(trainee.kept):
        _go(trainee, task.problem, task, epochs, decay, None)
        return
    rows = task.problem.rows
    seen = rows if len(part.inputs) == rows.shape[1] else rows.index_select(1, part.inputs)
    _go(part.trainee, replace(task.problem, rows=seen), task, epochs, decay, None)
    part.write_back(trainee)


def ending(trainee: Trainee, task: Task, epochs: int, *, decay: bool = False) -> Trainee:
    """Return a copy after its last passes, and leave the task's generator as it was: nothing else depends on them."""
    copy, state = trainee.copy(), task.generator.get_state()
    train(copy, task, epochs, decay=decay)
    task.generator.set_state(state)
    return copy


def _go(
    trainee: Trainee, problem: FitProblem, task: Task, epochs: int, decay: bool, after_step: AfterStep | None
) -> None:
    """Take the steps of so many passes."""
    layers, loss = trainee.layers, problem.loss
    adam = Adam(layers.parameters)
    steps, t = epochs * steps_a_pass(task), 0
    for _ in range(epochs):
        for rows, target in batches(problem, task.batch, task.generator):
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
