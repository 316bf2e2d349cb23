"""Adam on a network with a mask, for a number of passes over the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import cos, pi

from torch import Tensor

from convexnn.baselines.masked_network import MaskedNetwork
from convexnn.baselines.result import Baseline
from convexnn.baselines.task import Stopwatch, Task
from convexnn.baselines.trainable_part import TrainablePart
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.training import Adam, batches

# A part of the network of at most this share of its parameters is trained in its place.
WORTHWHILE = 0.5

AfterStep = Callable[[int, Tensor, Adam], None]


def train(
    model: MaskedNetwork,
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
        _run_epochs(model, task.problem, task, epochs, decay, after_step)
        return
    part = TrainablePart.of(model)
    if part is None:
        return
    if len(part.indices) > WORTHWHILE * len(model.kept):
        _run_epochs(model, task.problem, task, epochs, decay, None)
        return
    rows = task.problem.rows
    seen = rows if len(part.inputs) == rows.shape[1] else rows.index_select(1, part.inputs)
    _run_epochs(part.model, replace(task.problem, rows=seen), task, epochs, decay, None)
    part.write_back(model)


def fine_tuned(
    model: MaskedNetwork, task: Task, epochs: int, *, decay: bool, method: str, watch: Stopwatch
) -> Baseline:
    """Return what a pruned network is after its last passes: those of a copy.

    The task's generator and the watch go on as if there had been none, so that nothing else depends on them.
    """
    copy, state, until = model.copy(), task.generator.get_state(), watch.read()
    train(copy, task, epochs, decay=decay)
    task.generator.set_state(state)
    baseline = task.baseline(copy, method, watch.read())
    watch.back_to(until)
    return baseline


def _run_epochs(
    model: MaskedNetwork, problem: FitProblem, task: Task, epochs: int, decay: bool, after_step: AfterStep | None
) -> None:
    """Take the steps of so many passes."""
    layers, loss = model.layers, problem.loss
    adam = Adam(layers.parameters)
    steps, t = epochs * steps_a_pass(task), 0
    for _ in range(epochs):
        for rows, target, _ in batches(problem, task.batch, task.generator):
            values = layers.forward(rows)
            dense = layers.gradient(values, loss.gradient(values[-1], target))
            rate = task.lr * (0.5 + 0.5 * cos(pi * t / steps)) if decay else task.lr
            adam.step(layers.parameters, dense * (model.kept & model.free), rate)
            t += 1
            if after_step is not None:
                after_step(t, dense, adam)


def steps_a_pass(task: Task) -> int:
    """Return the number of steps of one pass over the rows."""
    return -(-task.problem.n_rows // task.batch)
