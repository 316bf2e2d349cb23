"""Weights that jump past a kink: where rows come to it all at once, no small step lowers the loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem

# Multiples of a weight, of which some are tried at a time, and the share of the loss below which it is lower.
FACTORS, TRIED, LOWER = (0.25, 0.5, 0.7, 0.85, 1.2, 1.5, 2.0, 4.0), 3, 0.98

# Most weights that are tried at a time: each has the rows to itself.
MOST_WEIGHTS = 200


def jump(problem: Problem, hidden: HiddenLayer, residual: Tensor, rng: np.random.Generator) -> HiddenLayer | None:
    """Return the layer with that weight multiplied which lowers the loss most by it; None where none does.

    Features of a few values bring many rows to a neuron's kink at once. A few factors are tried, drawn at random, of
    some weights where they are many.
    """
    support = torch.nonzero(hidden.weights)
    if not len(support):
        return None
    if len(support) > MOST_WEIGHTS:
        support = support[torch.as_tensor(rng.choice(len(support), MOST_WEIGHTS, replace=False), device=support.device)]
    neurons, features = support.T
    inputs = problem.inputs(hidden.weights)
    parts = problem.columns[features] * hidden.weights[neurons, features][:, None]
    factors = [float(factor) for factor in rng.choice(FACTORS, TRIED, replace=False)]
    changes = torch.stack([_changes(problem, hidden, inputs, neurons, (f - 1.0) * parts, residual) for f in factors])
    index = int(changes.argmin())
    if float(changes.flatten()[index]) >= (LOWER - 1.0) * float(residual.square().sum()):
        return None
    factor, place = factors[index // len(neurons)], index % len(neurons)
    weights = hidden.weights.clone()
    weights[neurons[place], features[place]] *= factor
    return HiddenLayer(weights, hidden.signs, hidden.gates)


def _changes(
    problem: Problem, hidden: HiddenLayer, inputs: Tensor, neurons: Tensor, steps: Tensor, residual: Tensor
) -> Tensor:
    """Return the changes (s,) of the sum of squares as the inputs of neurons (s,) change by the steps (s, n)."""
    moved = (inputs[neurons] + steps).relu_().sub_(inputs[neurons].relu_())
    linear = moved @ problem.basis
    slopes = (moved @ residual) * hidden.signs[neurons]
    return moved.square().sum(1) - linear.square().sum(1) - 2.0 * slopes
