"""Starts layer by layer: each hidden layer is searched on what the one before it gives."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from convexnn.fitting.combination import combined_layers, prune_by_saliency, sample_rows
from convexnn.fitting.layers import Layers
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.schedule import Schedule
from convexnn.recovery.options import RecoveryOptions
from convexnn.solution import Status


def layer_by_layer(
    problem: FitProblem, options: RecoveryOptions, schedule: Schedule, depth: int, bias: bool, rng: np.random.Generator
) -> tuple[Layers | None, Status]:
    """Return layers of `depth` hidden layers, each of an equal share of the budget, and how the search ended.

    The rule of the paper ("A Recovery Guarantee for Sparse Neural Networks", arXiv 2509.20323) for more than one hidden
    layer: fit a network of one, keep its hidden layer, throw its outputs away, and go on with what the layer gives.
    With one hidden layer it is :func:`combined_layers`; None where a search finds nothing. After an interruption the
    layers that are left pass on what comes in. A layer gets two weights at least, so that shares can amount to more
    than a small budget: the whole is then pruned to it.
    """
    share = max(schedule.budget // depth, 2)
    found, hidden, status = list[Layers](), problem, Status.SEARCH_ENDED
    for index in range(depth):
        part = schedule.budget - share * (depth - 1) if index == depth - 1 else share
        layers, status = combined_layers(hidden, options, replace(schedule, budget=max(part, 2)), bias, rng)
        if layers is None:
            return None, status
        found.append(layers)
        if status is Status.INTERRUPTED:
            found += [_passing(layers)] * (depth - 1 - index)
            break
        if index < depth - 1:
            hidden = replace(hidden, rows=layers.forward(hidden.rows)[1])
    joined = _joined(found)
    if joined.nnz > schedule.budget:
        hurried = status is Status.INTERRUPTED
        stop = partial(bool, True) if hurried else options.deadline.is_over
        joined = prune_by_saliency(sample_rows(problem, rng), joined, schedule.budget, schedule.ridge, stop)
    return joined, status


def _passing(layers: Layers) -> Layers:
    """Return layers whose neurons are those of the hidden layer before them, with the same outputs."""
    count, outputs = layers.sizes[1:]
    passing = Layers.zero((count, count, outputs), layers.bias, layers.parameters.dtype)
    passing = passing.with_parameters(passing.parameters.to(layers.parameters.device))
    passing.weights[0].fill_diagonal_(1.0)
    passing.weights[1].copy_(layers.weights[1])
    if layers.bias:
        passing.biases[1].copy_(layers.biases[1])
    return passing


def _joined(found: list[Layers]) -> Layers:
    """Return the hidden layers of all, and the outputs of the last."""
    weights = [layers.weights[0].flatten() for layers in found] + [found[-1].weights[1].flatten()]
    biases: list[Tensor] = [part for layers in found for part in layers.biases[:1]] + found[-1].biases[1:]
    sizes = (found[0].sizes[0], *(layers.sizes[1] for layers in found), found[-1].sizes[2])
    return Layers(sizes, torch.cat([*weights, *biases]), found[0].bias)
