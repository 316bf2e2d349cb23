"""The refit of layers on their support: Gauss-Newton steps where affordable, else L-BFGS for labels and many biases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from convexnn.fitting.joint import (
    InterruptedPolishError,
    free_parameters,
    joint_polish,
    penalised_loss,
    tiles,
)
from convexnn.fitting.layers import Layers
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.weighting import weighted_slope, weighted_value

# Multiplications of one refit of all layers at once, n k s^2, up to which it takes less than a second or so, and the
# seconds of a limit that have to be left for so many: a step asks no clock, and the machine may be busy. Labels take
# more steps.
AFFORDABLE, AFFORDABLE_LABELS, SECONDS = 2e10, 1e9, 3.0

# Parameters, the biases among them, whose normal equations are held: half a gigabyte, three times at once.
MOST_FREE = 1 << 13

# Multiplications of one gradient, n times the parameters, up to which a few hundred take some seconds; and how many.
AFFORDABLE_GRADIENT, GRADIENTS = 1e8, 200


def refit(problem: FitProblem, layers: Layers, ridge: float, left: float | None, stop: Callable[[], bool]) -> Layers:
    """Return layers in float64 of a loss L + ridge/2 ||W||^2 that is not higher, or the same where that takes too long.

    `left` is the number of seconds that are left, None for any. An interruption comes out as an
    :class:`InterruptedPolishError`.
    """
    share = 1.0 if left is None else min(1.0, left / SECONDS)
    cost = problem.target.numel() * float(layers.nnz) ** 2
    exact = layers.with_parameters(layers.parameters.double())
    held = layers.nnz + len(layers.parameters) - layers.n_weights <= MOST_FREE
    if problem.loss.name == "squared" and held:
        return joint_polish(problem, exact, ridge, stop=stop)[0] if cost <= share * AFFORDABLE else layers
    if held and cost <= share * AFFORDABLE_LABELS:
        return joint_polish(problem, exact, ridge, stop=stop)[0]
    small = problem.n_rows * len(layers.parameters) <= share * AFFORDABLE_GRADIENT
    return descend_on_support(problem, exact, ridge, stop) if small else layers


def descend_on_support(problem: FitProblem, layers: Layers, ridge: float, stop: Callable[[], bool]) -> Layers:
    """Return layers of lower loss with the same zeros, by L-BFGS in the nonzero weights and the biases."""
    from scipy.optimize import minimize

    free, signs = free_parameters(layers), problem.signs(layers)
    last = layers.parameters[free].cpu().numpy()

    def at(entries: Floats) -> Layers:
        return layers.with_parameters(layers.parameters.index_put((free,), torch.as_tensor(entries).to(free.device)))

    def measure(entries: Floats) -> tuple[float, Floats]:
        value, gradient = loss_and_gradient(problem, at(entries), ridge)
        return value, gradient[free].cpu().numpy()

    def watch(entries: Floats) -> None:
        nonlocal last
        last = np.array(entries)
        if stop():
            raise StopIteration

    try:
        bounds = None if signs is None else _bounds(signs[free].cpu().numpy())
        options = {"maxiter": GRADIENTS}
        found = minimize(measure, last, jac=True, method="L-BFGS-B", bounds=bounds, callback=watch, options=options)
    except KeyboardInterrupt:
        raise InterruptedPolishError(at(last)) from None
    candidate = at(found.x)
    return candidate if penalised_loss(problem, candidate, ridge) <= penalised_loss(problem, layers, ridge) else layers


def _bounds(signs: Floats) -> list[tuple[float | None, float | None]]:
    """Return the range of parameters that have to have signs (f,), 0 for any."""
    return [(0.0 if sign > 0.0 else None, 0.0 if sign < 0.0 else None) for sign in signs]


def loss_and_gradient(problem: FitProblem, layers: Layers, ridge: float) -> tuple[float, Tensor]:
    """Return L + ridge/2 ||W||^2 and its gradient (N,) in all parameters."""
    weights = layers.parameters[: layers.n_weights]
    total, gradient = 0.5 * ridge * float(weights.square().sum()), torch.zeros_like(layers.parameters)
    gradient[: layers.n_weights] = ridge * weights
    for rows, target, row_weights in tiles(problem, layers, max(layers.sizes)):
        share, values = len(rows) / problem.n_rows, layers.forward(rows)
        total += share * weighted_value(problem.loss, values[-1], target, row_weights)
        gradient += share * layers.gradient(values, weighted_slope(problem.loss, values[-1], target, row_weights))
    return total, gradient
