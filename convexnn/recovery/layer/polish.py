"""Damped Gauss-Newton steps on a support that lower the network's own loss, gates moving along."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

from convexnn.recovery.layer.all_rows import AllRows
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.support_steps import LEAST_DAMPING

FIRST_DAMPING = 1e-3
LARGEST_DAMPING = 1e4

# Rounds from which it is asked whether the others can come below a goal.
FIRST_ROUNDS = 4

# What the damping is multiplied by after a step that does not lower the loss, and where time is up.
GROWTH, HURRIED_GROWTH = 5.0, 1000.0


def polish(
    problem: Problem | AllRows,
    hidden: HiddenLayer,
    rounds: int = 20,
    least_fall: float = 1e-6,
    stop: Callable[[], bool] = lambda: False,
    goal: float = inf,
) -> tuple[HiddenLayer, float]:
    """Return the layer with weights of lower loss on the same support, and that loss.

    Levenberg and Marquardt: (J J^T + damping diag(J J^T)) step = J r, taken if the loss of the network itself falls,
    else the damping grows; it ends when a round lowers the loss by less than `least_fall` of it. `stop` is asked after
    each round, so that there is one where time is up already, of three steps at most. From the fourth round on it ends,
    too, where all that are left, each as good as the last one, would not bring the loss below `goal`. All rows, in
    blocks, ask the clock themselves, and the loss is infinite where there is no time for it.
    """
    if not hidden.live.all():
        # Empty blocks take their share of every product.
        polished, loss = polish(problem, hidden.select(hidden.live), rounds, least_fall, stop, goal)
        weights = hidden.weights.clone()
        weights[hidden.live] = polished.weights
        return HiddenLayer(weights, hidden.signs, hidden.gates), loss
    gates, features = torch.nonzero(hidden.weights, as_tuple=True)
    now, damping = problem.evaluate(hidden.weights, hidden.signs), FIRST_DAMPING
    if now is None:
        return hidden, inf
    for number in range(1, rounds + 1 if len(gates) else 1):
        equations, moved = now.equations((gates, features)), None
        if equations is None:
            break
        gram, slope = equations
        while damping < LARGEST_DAMPING:
            step = _levenberg_step(gram, slope, damping)
            if step is not None:
                candidate = now.weights.clone()
                candidate[gates, features] += step
                moved = problem.evaluate(candidate, hidden.signs)
                if moved is not None and moved.loss < now.loss:
                    break
            growth = HURRIED_GROWTH if stop() else GROWTH
            moved, damping = None, max(growth * damping, LEAST_DAMPING[gram.dtype])
        if moved is None:
            break
        before, now = now.loss, moved
        damping = max(damping / GROWTH, LEAST_DAMPING[gram.dtype] / 100.0)
        hopeless = number >= FIRST_ROUNDS and now.loss * (now.loss / before) ** (rounds - number) > goal
        if now.loss > (1.0 - least_fall) * before or hopeless or stop():
            break
    return HiddenLayer(now.weights, hidden.signs, hidden.gates), now.loss


def _levenberg_step(gram: Tensor, slope: Tensor, damping: float) -> Tensor | None:
    scale = gram.diagonal()
    scale = torch.where(scale > 0.0, scale, 1.0)
    floor = 0.01 * LEAST_DAMPING[gram.dtype] * scale.max()
    factor, failed = torch.linalg.cholesky_ex(gram + torch.diag(damping * scale + floor))
    return None if failed else torch.cholesky_solve(slope[:, None], factor)[:, 0]
