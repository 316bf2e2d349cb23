"""The worst case over a box around each row, bounded by intervals, and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from convexnn.fitting.layers import Layers
from convexnn.fitting.problem import FitProblem
from convexnn.fitting.weighting import weighted_value

# What goes into a layer, and its affine values: centers (n, .) and radii (n, .), or (1, .) where rows share them.
LayerIntervals = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def interval_bounds(layers: Layers, rows: Tensor, reach: Tensor) -> list[LayerIntervals]:
    """Return what goes into each layer and comes out of it, as intervals, for all x with |x - row| <= reach (d,).

    Center and radius of an affine layer are W c + b and |W| r: exact for the first one, where the radius of neuron j is
    sum_i |w_ji| reach_i, and a bound further on. A ReLU moves the two ends.
    """
    layer_intervals = list[LayerIntervals]()
    center, radius = rows, reach[None]
    for index, weight in enumerate(layers.weights):
        middle, spread = center @ weight.T, radius @ weight.abs().T
        if layers.bias:
            middle += layers.biases[index]
        layer_intervals.append(((center, radius), (middle, spread)))
        upper, lower = torch.relu(middle + spread), torch.relu(middle - spread)
        center, radius = 0.5 * (upper + lower), 0.5 * (upper - lower)
    return layer_intervals


def worst_outputs(problem: FitProblem, layer_intervals: list[LayerIntervals], target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the worst outputs within the intervals (n, k), and the sign (n, k) of the way to them.

    The loss falls in the output of the row's own label and rises in the others: for one output that way is -t, for one
    of each label 1 - 2 t.
    """
    away = -target if problem.loss.name == "logistic" else 1.0 - 2.0 * target
    middle, spread = layer_intervals[-1][1]
    return middle + away * spread, away


def worst_gradient(layers: Layers, layer_intervals: list[LayerIntervals], slope: Tensor, away: Tensor) -> Tensor:
    """Return the gradient (N,) in the parameters, given the slope dL/dz (n, k) at the worst outputs z = m + away s."""
    flat = torch.empty_like(layers.parameters)
    weights, biases = layers.split(flat)
    middle, spread = slope, slope * away
    for index in reversed(range(len(weights))):
        (center, radius), _ = layer_intervals[index]
        weight = layers.weights[index]
        shared = spread.sum(0)[:, None] * radius if len(radius) < len(spread) else spread.T @ radius
        torch.addcmul(middle.T @ center, weight.sign(), shared, out=weights[index])
        if layers.bias:
            torch.sum(middle, 0, out=biases[index])
        if index:
            half, other = 0.5 * (middle @ weight), 0.5 * (spread @ weight.abs())
            before = layer_intervals[index - 1][1]
            upper = (half + other).mul_(before[0] + before[1] > 0.0)
            lower = (half - other).mul_(before[0] - before[1] > 0.0)
            middle, spread = upper + lower, upper - lower
    return flat


def worst_loss(problem: FitProblem, layers: Layers) -> float:
    """Return the mean loss at the worst outputs of all rows."""
    if problem.reach is None:
        raise ValueError("the problem has no reach; expected one with a margin")
    outputs, _ = worst_outputs(problem, interval_bounds(layers, problem.rows, problem.reach), problem.target)
    return weighted_value(problem.loss, outputs, problem.target, problem.weights)
