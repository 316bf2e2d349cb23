"""Starts from a random combination of the outputs: one output in whose search all hidden neurons are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from convexnn.fitting.joint import free_parameters, joint_polish, normal_equations
from convexnn.fitting.layers import Layers
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.schedule import Schedule
from convexnn.fitting.weighting import weighted_rows
from convexnn.recovery.options import RecoveryOptions
from convexnn.recovery.recover_weights import recover_weights
from convexnn.solution import Status

# Rows that the search and the pruning see at most.
MOST_ROWS = 5000

# Curvature that is none at unit scale.
NO_SLOPE = 1e-150

# Share of the weights that are left by one pruning, and steps of the fit after it.
KEPT_SHARE, ROUNDS = 0.85, 10


def combined_layers(
    problem: FitProblem, options: RecoveryOptions, schedule: Schedule, bias: bool, rng: np.random.Generator
) -> tuple[Layers | None, Status]:
    """Return the layers (d, p, k) that a search for one output leads to, within the budget, and how the search ended.

    None where it finds nothing.

    With y = V relu(W x), a random combination c.y = sum_j (V^T c)_j relu(w_j.x) has one output and all neurons of the
    network, so that :func:`convexnn.recover` finds W; V is then a least squares problem, and the weights of both layers
    are pruned to the budget by their saliencies, with a joint fit after each pruning.
    """
    sample = sample_rows(problem, rng)
    direction = torch.as_tensor(rng.standard_normal(sample.target.shape[1])).to(sample.target)
    spread = sample.target.square().mean(0).sqrt()
    combined = (sample.target @ torch.where(spread > 0.0, direction / spread, 0.0)).cpu().numpy()
    rows = sample.rows.cpu().numpy()
    inputs = np.column_stack([rows, np.ones(len(rows))]) if bias else rows
    # The search counts biases, and has a neuron of its own for a constant.
    width = options.width + bias
    options = replace(options, width=width, budget=min(schedule.budget + bias * width, width * inputs.shape[1]))
    gates, _, run = recover_weights(inputs, combined, options, rng)
    hidden = torch.as_tensor(gates).to(sample.rows)
    if not hidden[:, : rows.shape[1]].any():
        return None, run.status
    layers = _fit_outputs(sample, hidden[:, : rows.shape[1]], hidden[:, rows.shape[1] :])
    hurried = run.status is Status.INTERRUPTED
    thinned = partial(_thinned, sample, layers, schedule, width - bias)
    try:
        return thinned(lambda: hurried or options.deadline.is_over()), run.status
    except KeyboardInterrupt:
        return thinned(lambda: True), Status.INTERRUPTED


def _thinned(problem: FitProblem, layers: Layers, schedule: Schedule, width: int, stop: Callable[[], bool]) -> Layers:
    """Return layers within the budget and the width; in few steps where `stop` says so."""
    layers = prune_by_saliency(problem, layers, schedule.budget, schedule.ridge, stop)
    narrow = layers.narrowed(width)
    if narrow.sizes != layers.sizes:
        narrow, _ = joint_polish(problem, narrow, schedule.ridge, ROUNDS, stop=stop)
    return narrow


def prune_by_saliency(
    problem: FitProblem, layers: Layers, budget: int, ridge: float, stop: Callable[[], bool]
) -> Layers:
    """Return layers with `budget` weights: the least salient are dropped some at a time, the others fitted anew.

    The saliency of w_i is w_i^2 / (G^-1)_ii for the Gauss-Newton matrix G: by so much the loss grows when w_i is zero
    and the others make up for it (the optimal brain surgeon).
    """
    layers, _ = joint_polish(problem, layers, ridge, ROUNDS, stop=stop)
    while layers.nnz > budget:
        count = max(budget, int(KEPT_SHARE * layers.nnz))
        layers = _drop_least_salient(problem, layers, budget if stop() else count, ridge)
        layers, _ = joint_polish(problem, layers, ridge, ROUNDS, stop=stop)
    return layers


def _drop_least_salient(problem: FitProblem, layers: Layers, count: int, ridge: float) -> Layers:
    free = free_parameters(layers)
    gram, _ = normal_equations(problem, layers, free)
    # Where the outputs see no neuron there is no slope at all, and any weights may go.
    gram.diagonal().add_(ridge + 1e-10 * float(gram.diagonal().mean()) + NO_SLOPE)
    inverse = torch.linalg.inv(gram).diagonal()
    weights = free < layers.n_weights
    saliency = (layers.parameters[free].square() / inverse.abs())[weights]
    kept = free[weights][saliency.topk(min(count, len(saliency))).indices]
    parameters = torch.zeros_like(layers.parameters)
    parameters[kept] = layers.parameters[kept]
    parameters[layers.n_weights :] = layers.parameters[layers.n_weights :]
    return layers.with_parameters(parameters)


def _fit_outputs(problem: FitProblem, weights: Tensor, biases: Tensor) -> Layers:
    """Return hidden neurons (p, d) with the outputs that fit them best, neurons as long as their outputs.

    `biases` is (p, 1), or (p, 0) where there are none. A neuron without weights is a constant, and left to the biases.
    """
    live, bias = weights.any(1), biases.shape[1] > 0
    weights, shift = weights[live], biases[live].sum(1)
    hidden = torch.relu(problem.rows @ weights.T + shift)
    basis = torch.cat([hidden, hidden.new_ones((len(hidden), 1))], dim=1) if bias else hidden
    # By singular values, which torch has on the CPU alone: neurons may be parallel.
    sides = [weighted_rows(side, problem.weights).cpu() for side in (basis, problem.target)]
    fitted = torch.linalg.lstsq(*sides, driver="gelsd").solution.T.to(basis.device)
    heads, levels = fitted[:, : len(weights)], fitted[:, len(weights) :]
    length = (heads.norm(dim=0) / weights.norm(dim=1)).clamp(1e-15, 1e15).sqrt()
    parts = [(weights * length[:, None]).flatten(), (heads / length).flatten()]
    parts += [shift * length, levels.flatten()] if bias else []
    return Layers((weights.shape[1], len(weights), len(heads)), torch.cat(parts), bias)


def sample_rows(problem: FitProblem, rng: np.random.Generator) -> FitProblem:
    """Return the problem on a random part of the rows where there are too many."""
    if problem.n_rows <= MOST_ROWS:
        return problem
    return problem.take(torch.as_tensor(np.sort(rng.choice(problem.n_rows, MOST_ROWS, replace=False))))
