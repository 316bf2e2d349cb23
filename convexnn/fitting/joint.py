"""Damped Gauss-Newton steps on the support of all layers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from convexnn.fitting.curvature import rooted
from convexnn.fitting.layers import Layers
from convexnn.fitting.problem import FitProblem, Rows
from convexnn.fitting.weighting import weighted_rows, weighted_slope, weighted_value
from convexnn.recovery.layer.support_steps import LEAST_DAMPING

FIRST_DAMPING = 1e-3
LARGEST_DAMPING = 1e6

# Entries of the derivative that are held at one time.
TILE_ENTRIES = 1 << 23


class InterruptedPolishError(KeyboardInterrupt):
    """An interruption of a polish, with the layers that it had reached."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = layers


def joint_polish(
    problem: FitProblem,
    layers: Layers,
    ridge: float = 0.0,
    rounds: int = 30,
    least_fall: float = 1e-4,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Layers, float]:
    """Return layers of lower loss with the same zeros, and the loss L(h_L) + ridge/2 ||W||^2.

    Levenberg and Marquardt: (J^T H J + damping diag) step = -gradient over the nonzero parameters and the biases, H the
    curvature of the loss, taken if the loss falls, else the damping grows; it ends when a round lowers the loss by less
    than `least_fall` of it. Without hidden layers these are Newton's steps. Where parameters have to have signs, a step
    ends at zero for those that would lose theirs, and those that lie there and are driven further sit the round out. An
    interruption comes out as an :class:`InterruptedPolishError`.
    """
    free, signs = free_parameters(layers), problem.signs(layers)
    try:
        loss, damping = penalised_loss(problem, layers, ridge), FIRST_DAMPING
        for _ in range(rounds if len(free) else 0):
            system = _penalised_equations(problem, layers, free, ridge)
            system = system if signs is None else _moving(layers, system, signs)
            moved, damping = _take_step(problem, layers, system, signs, (loss, ridge), damping)
            if moved is None:
                break
            layers, before, loss = moved[0], loss, moved[1]
            if loss > (1.0 - least_fall) * before or stop():
                break
    except KeyboardInterrupt:
        raise InterruptedPolishError(layers) from None
    return layers, loss


def _penalised_equations(
    problem: FitProblem, layers: Layers, free: Tensor, ridge: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the free parameters with the normal equations in them, the ridge among them."""
    gram, slope = normal_equations(problem, layers, free)
    inside = free < layers.n_weights
    slope[inside] += ridge * layers.parameters[free[inside]]
    gram.diagonal()[inside] += ridge
    return free, gram, slope


def _moving(layers: Layers, system: tuple[Tensor, Tensor, Tensor], signs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normal equations without the parameters at zero that a descent would give the wrong sign."""
    free, gram, slope = system
    moving = (layers.parameters[free] != 0.0) | (slope * signs[free] <= 0.0)
    return free[moving], gram[moving][:, moving], slope[moving]


def free_parameters(layers: Layers) -> Tensor:
    """Return the indices of the nonzero weights and of all biases."""
    free = layers.parameters != 0.0
    free[layers.n_weights :] = True
    return torch.nonzero(free)[:, 0]


def tiles(problem: FitProblem, layers: Layers, entries: int) -> Iterator[Rows]:
    """Yield rows, target and weights some rows at a time, in the precision of the layers, for so many entries a row."""
    size, kind = max(1, TILE_ENTRIES // entries), layers.parameters.dtype
    for begin in range(0, problem.n_rows, size):
        rows, target, weights = problem.part(slice(begin, begin + size))
        yield rows.to(kind), target.to(kind), None if weights is None else weights.to(kind)


def penalised_loss(problem: FitProblem, layers: Layers, ridge: float) -> float:
    """Return L(h_L) + ridge/2 ||W||^2, L the mean loss over rows."""
    total = 0.0
    for rows, target, weights in tiles(problem, layers, max(layers.sizes)):
        total += weighted_value(problem.loss, layers.forward(rows)[-1], target, weights) * len(rows)
    return total / problem.n_rows + 0.5 * ridge * float(layers.parameters[: layers.n_weights].square().sum())


def normal_equations(problem: FitProblem, layers: Layers, free: Tensor) -> tuple[Tensor, Tensor]:
    """Return J^T H J (f, f) and the gradient J^T dL/dh_L (f,), J the derivative of the outputs in some parameters.

    H is the curvature of the loss, I / n for the squared one without weights. J is made for some rows at a time.
    """
    gram = layers.parameters.new_zeros((len(free), len(free)))
    slope = layers.parameters.new_zeros(len(free))
    for rows, target, weights in tiles(problem, layers, layers.sizes[-1] * max(len(free), *layers.sizes)):
        values = layers.forward(rows)
        jacobian = derivative(layers, values, free)
        slope += jacobian.T @ (weighted_slope(problem.loss, values[-1], target, weights) * len(rows)).reshape(-1)
        root = weighted_rows(rooted(problem.loss.name, values[-1], jacobian), weights)
        gram += root.T @ root
    return gram / problem.n_rows, slope / problem.n_rows


def derivative(layers: Layers, values: list[Tensor], free: Tensor) -> Tensor:
    """Return dh_L in the parameters `free`, (n k, f), at the values h_0, ..., h_L."""
    n_rows, outputs = values[-1].shape
    # What an affine value of a layer does to the outputs: (n, out, k).
    effect = torch.eye(outputs, dtype=values[0].dtype, device=values[0].device).expand(n_rows, -1, -1)
    indices = layers.split(torch.arange(len(layers.parameters), device=free.device))
    place = torch.full((len(layers.parameters),), -1, device=free.device)
    place[free] = torch.arange(len(free), device=free.device)
    result = values[0].new_zeros((len(free), n_rows, outputs))
    for index in reversed(range(len(layers.weights))):
        where = place[indices[0][index]]
        out, into = torch.nonzero(where >= 0, as_tuple=True)
        result[where[out, into]] = values[index].T[into][:, :, None] * effect.permute(1, 0, 2)[out]
        if layers.bias:
            chosen = place[indices[1][index]]
            result[chosen[chosen >= 0]] = effect.permute(1, 0, 2)[chosen >= 0]
        if index:
            active = (values[index] > 0.0).to(effect.dtype)
            effect = (layers.weights[index].T @ effect) * active[:, :, None]
    return result.reshape(len(free), -1).T


def _take_step(
    problem: FitProblem,
    layers: Layers,
    system: tuple[Tensor, Tensor, Tensor],
    signs: Tensor | None,
    measure: tuple[float, float],
    damping: float,
) -> tuple[tuple[Layers, float] | None, float]:
    """Return the layers after a step that lowers the loss, with it, and the next damping; None where none does."""
    (free, gram, slope), (loss, ridge) = system, measure
    least = LEAST_DAMPING[gram.dtype] / 100.0
    scale = gram.diagonal().clamp(min=1e-3 * float(gram.diagonal().mean()))
    while damping < LARGEST_DAMPING:
        factor, failed = torch.linalg.cholesky_ex(gram + torch.diag(damping * scale))
        if not failed:
            parameters = layers.parameters.clone()
            parameters[free] -= torch.cholesky_solve(slope[:, None], factor)[:, 0]
            candidate = layers.with_parameters(parameters).keeping(signs)
            lower = penalised_loss(problem, candidate, ridge)
            if lower < loss:
                return (candidate, lower), max(damping / 5.0, least)
        damping = max(5.0 * damping, least)
    return None, damping
