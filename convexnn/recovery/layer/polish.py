"""Damped Gauss-Newton steps on a support that lower the network's own loss, gates moving along."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem, mean_square
from convexnn.recovery.layer.support_steps import LEAST_DAMPING

FIRST_DAMPING = 1e-3
LARGEST_DAMPING = 1e4

# What the damping is multiplied by after a step that does not lower the loss, and where time is up.
GROWTH, HURRIED_GROWTH = 5.0, 1000.0

# Rows for which the derivative is held at one time.
TILE_ROWS = 8192


def polish(
    problem: Problem,
    hidden: HiddenLayer,
    rounds: int = 20,
    least_fall: float = 1e-6,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[HiddenLayer, float]:
    """Return the layer with weights of lower loss on the same support, and that loss.

    Levenberg and Marquardt: (J J^T + damping diag(J J^T)) step = J r, taken if the loss of the network itself falls,
    else the damping grows; it ends when a round lowers the loss by less than `least_fall` of it. `stop` is asked after
    each round, so that there is one where time is up already, of three steps at most.
    """
    gates, features = torch.nonzero(hidden.weights, as_tuple=True)
    weights, linear, residual = _evaluate(problem, hidden, hidden.weights)
    loss, damping = mean_square(residual), FIRST_DAMPING
    for _ in range(rounds if len(gates) else 0):
        gram, slope = normal_equations(problem, linear > 0.0, hidden.signs, (gates, features), residual)
        moved = None
        while damping < LARGEST_DAMPING:
            step = _levenberg_step(gram, slope, damping)
            if step is not None:
                candidate = weights.clone()
                candidate[gates, features] += step
                moved = _evaluate(problem, hidden, candidate)
                if mean_square(moved[2]) < loss:
                    break
            growth = HURRIED_GROWTH if stop() else GROWTH
            moved, damping = None, max(growth * damping, LEAST_DAMPING[gram.dtype])
        if moved is None:
            break
        weights, linear, residual = moved
        before, loss = loss, mean_square(residual)
        damping = max(damping / GROWTH, LEAST_DAMPING[gram.dtype] / 100.0)
        if loss > (1.0 - least_fall) * before or stop():
            break
    return HiddenLayer(weights, hidden.signs, hidden.gates), loss


def normal_equations(
    problem: Problem, active: Tensor, signs: Tensor, support: tuple[Tensor, ...], residual: Tensor
) -> tuple[Tensor, Tensor]:
    """Return J J^T (s, s) and J r (s,) for the derivative J (s, n) of the network at its masks `active` (n, p).

    Modulo linear functions J is without its linear part: J J^T - (J Q) (J Q)^T for their basis Q. J is made for some
    rows at a time: beside the data and the masks memory does not grow with n.
    """
    gates, features = support[0], support[1]
    gram, slope = residual.new_zeros((len(gates), len(gates))), residual.new_zeros(len(gates))
    shadow = residual.new_zeros((len(gates), problem.basis.shape[1]))
    for start in range(0, len(residual), TILE_ROWS):
        tile = slice(start, start + TILE_ROWS)
        slopes = problem.columns[:, tile][features] * (active[tile].to(residual.dtype) * signs).T[gates]
        gram += slopes @ slopes.T
        slope += slopes @ residual[tile]
        shadow += slopes @ problem.basis[tile]
    return gram - shadow @ shadow.T, slope


def _evaluate(problem: Problem, hidden: HiddenLayer, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights (p, d), what goes into the ReLUs (n, p), and the residual (n,)."""
    linear = problem.linear(weights)
    return weights, linear, problem.target - problem.project(torch.relu(linear) @ hidden.signs)


def _levenberg_step(gram: Tensor, slope: Tensor, damping: float) -> Tensor | None:
    scale = gram.diagonal()
    scale = torch.where(scale > 0.0, scale, 1.0)
    floor = 0.01 * LEAST_DAMPING[gram.dtype] * scale.max()
    factor, failed = torch.linalg.cholesky_ex(gram + torch.diag(damping * scale + floor))
    return None if failed else torch.cholesky_solve(slope[:, None], factor)[:, 0]
