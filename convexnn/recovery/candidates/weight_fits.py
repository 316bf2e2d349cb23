"""Weights that neurons lack, each fitted to a residual beside those that its neuron has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem

# Features of each neuron that are looked at closely: those that promise most.
CLOSELY = 10

# Share of a column's squares below which what others leave of it is rounding.
TOLD = 1e-4

# Ridge on the products of the columns that a neuron has, as a share of their squares.
RIDGE = 1e-6


@dataclass(frozen=True, eq=False)
class MissingWeights:
    """Weights (q,) for neurons (q,) and features (q,), and the squares that each explains by itself (q,)."""

    neurons: Tensor
    features: Tensor
    weights: Tensor
    explained: Tensor


def fit_weights(
    problem: Problem, hidden: HiddenLayer, residual: Tensor, tie: float, neurons: Iterable[int] | None = None
) -> MissingWeights:
    """Return weights that neurons of a layer, all or some, lack: those that promise most of each for a residual (n,).

    Each is fitted beside those that its neuron has. On the rows of a neuron's kink, whose input is within the share
    `tie` of its largest, a weight that raises the input is seen and one that lowers it is not: features of a few values
    have many such rows.
    """
    none = torch.zeros(0, dtype=torch.long, device=residual.device)
    found = [(none, none, residual[:0], residual[:0])]
    inputs = problem.inputs(hidden.weights)
    found += [
        _of_neuron(problem, hidden, neuron, side, mask, residual)
        for neuron in (range(len(inputs)) if neurons is None else neurons)
        for side, mask in _sides(inputs[neuron], tie)
    ]
    return MissingWeights(*(torch.cat(list(part)) for part in zip(*found, strict=True)))


def _sides(inputs: Tensor, tie: float) -> list[tuple[float, Tensor]]:
    """Return signs that the step of an input may have, 0 for any, each with the rows that see it, masks (n,)."""
    edge = tie * inputs.abs().max()
    above, from_edge = inputs > edge, inputs >= -edge
    sides = [(1.0, from_edge), (-1.0, above)] if bool((above != from_edge).any()) else [(0.0, above)]
    return [(side, mask.to(inputs.dtype)) for side, mask in sides]


def _of_neuron(
    problem: Problem, hidden: HiddenLayer, neuron: int, side: float, mask: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return of some features (c,) the neuron, themselves, steps of their weights and what these explain."""
    own = torch.nonzero(hidden.weights[neuron])[:, 0]
    squares = problem.column_squares(mask[None])[0]
    promise = ((mask * residual) @ problem.rows).square()
    promise = torch.where(squares > 0.0, promise / squares, 0.0)
    promise[own] = 0.0
    tried = promise.topk(min(CLOSELY, len(promise))).indices
    steps, explained = _fit_beside(problem, mask, own, tried, residual)
    steps = steps * hidden.signs[neuron]
    # A weight of a feature that is never above 0 moves the input the other way.
    turns = torch.where(problem.columns[tried].amax(1) <= 0.0, -side, side)
    explained = torch.where((promise[tried] > 0.0) & (steps * turns >= 0.0), explained, 0.0)
    return torch.full_like(tried, neuron), tried, steps, explained


def _fit_beside(problem: Problem, mask: Tensor, own: Tensor, tried: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights (c,) of columns D x_i, each fitted beside those of `own`, and what they explain (c,)."""
    columns = problem.columns[torch.cat([own, tried])] * mask
    shadows = columns @ problem.basis
    gram, slopes = (columns @ columns.T - shadows @ shadows.T).double(), (columns @ residual).double()
    k, whole = len(own), columns.square().sum(1).double()
    inner = gram[:k, :k] + torch.diag(RIDGE * whole[:k] + torch.finfo(whole.dtype).tiny)
    beside = torch.linalg.solve(inner, torch.cat([gram[:k, k:], slopes[:k, None]], 1))
    left = gram.diagonal()[k:] - (gram[:k, k:] * beside[:, :-1]).sum(0)
    rest = slopes[k:] - gram[k:, :k] @ beside[:, -1]
    steps = torch.where(left > TOLD * whole[k:], rest / torch.where(left > 0.0, left, 1.0), 0.0)
    return steps.to(residual.dtype), (steps * rest).to(residual.dtype)
