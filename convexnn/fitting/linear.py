"""Candidates without a bend: the linear or logistic model of the same ridge, cut to the budget, as a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from convexnn.fitting.combination import prune_by_saliency
from convexnn.fitting.joint import free_parameters, joint_polish
from convexnn.fitting.layers import Layers
from convexnn.fitting.polish import AFFORDABLE_GRADIENT, AFFORDABLE_LABELS, descend_on_support
from convexnn.fitting.problem import FitProblem

# The weights begin at so little: those at zero would stay there.
DUST = 1e-8

# Newton's steps end with a fall of the loss of this share, or after so many.
SETTLED, ROUNDS = 1e-12, 50

# A neuron that carries a linear part has a bias of so many times the largest value of that part on the rows: it is
# active on rows far beyond them, at a cost of two digits.
REACH = 100.0


@dataclass(frozen=True, eq=False)
class LinearCandidate:
    """Layers that compute a linear model on the rows, and whether it is the whole one, not cut to the budget."""

    layers: Layers
    is_whole: bool


def linear_candidate(
    problem: FitProblem, sizes: tuple[int, ...], bias: bool, budget: int, ridge: float, stop: Callable[[], bool]
) -> LinearCandidate | None:
    """Return the model z = W x + b of the lowest L(z) + ridge/2 ||W||^2 as layers of `sizes` within the budget.

    Where the budget holds less, its least salient weights are dropped some at a time and the others fitted anew. None
    where layers are too narrow, the budget too small, or the rows too many.
    """
    outputs, room = sizes[-1], weights_left(sizes, bias, budget)
    too_narrow = min(sizes[1:-1]) < outputs * (1 if bias else 2)
    if room < 1 or too_narrow or problem.n_rows * sizes[0] * outputs > AFFORDABLE_GRADIENT:
        return None
    model = _fitted(problem, _beginning(problem, bias), ridge, stop)
    whole = model.nnz <= room
    if not whole:
        model = _cut(problem, model, room, ridge, stop)
    return LinearCandidate(as_hidden(problem, model, sizes), whole)


def weights_left(sizes: tuple[int, ...], bias: bool, budget: int) -> int:
    """Return how many weights of a linear model a budget holds, beside those that carry it through the layers.

    With biases a neuron that is always active carries an output, with one weight a layer further on; without them the
    pair relu(u) - relu(-u) does.
    """
    carrying = (len(sizes) - 2) * sizes[-1]
    return budget - carrying if bias else (budget - 2 * carrying) // 2


def _beginning(problem: FitProblem, bias: bool) -> Layers:
    """Return the linear model of no slope, with dust on all features that vary."""
    layers = problem.constant((problem.rows.shape[1], problem.target.shape[1]), bias)
    layers = layers.with_parameters(layers.parameters.to(problem.rows.device))
    layers.weights[0][:, problem.rows.any(0)] = DUST
    signs = problem.signs(layers)
    return layers if signs is None else layers.with_parameters(torch.where(signs < 0.0, -1.0, 1.0) * layers.parameters)


def _fitted(problem: FitProblem, model: Layers, ridge: float, stop: Callable[[], bool]) -> Layers:
    if _newton_is_affordable(problem, model):
        return joint_polish(problem, model, ridge, ROUNDS, SETTLED, stop)[0]
    return descend_on_support(problem, model, ridge, stop)


def _newton_is_affordable(problem: FitProblem, model: Layers) -> bool:
    return problem.target.numel() * float(len(free_parameters(model))) ** 2 <= AFFORDABLE_LABELS


def _cut(problem: FitProblem, model: Layers, room: int, ridge: float, stop: Callable[[], bool]) -> Layers:
    """Return the model with `room` weights: by saliency where that is affordable, before that by size."""
    while not _newton_is_affordable(problem, model) and model.nnz > room:
        count = max(room, model.nnz // 2)
        weights = torch.zeros_like(model.parameters)
        weights[model.n_weights :] = model.parameters[model.n_weights :]
        largest = model.parameters[: model.n_weights].abs().topk(count).indices
        weights[largest] = model.parameters[largest]
        model = descend_on_support(problem, model.with_parameters(weights), ridge, stop)
    if model.nnz > room:
        model = prune_by_saliency(problem, model, room, ridge, stop)
    return _fitted(problem, model, ridge, stop)


def as_hidden(problem: FitProblem, model: Layers, sizes: tuple[int, ...]) -> Layers:
    """Return the layers of `sizes` that compute a linear model (d, k) on the rows: neurons as long as their outputs."""
    layers = Layers.zero(sizes, model.bias, torch.float64)
    layers = layers.with_parameters(layers.parameters.to(model.parameters.device))
    slopes = model.weights[0]
    lengths = slopes.norm(dim=1).sqrt()
    live = torch.nonzero(lengths)[:, 0]
    signs = (1.0,) if model.bias else (1.0, -1.0)
    for part, sign in enumerate(signs):
        at = torch.arange(len(live), device=live.device) + part * len(live)
        layers.weights[0][at] = sign * slopes[live] / lengths[live][:, None]
        for weight in layers.weights[1:-1]:
            weight[at, at] = 1.0
        layers.weights[-1][live, at] = sign * lengths[live]
    if model.bias:
        peaks = (problem.rows.to(slopes.dtype) @ layers.weights[0][: len(live)].T).abs().amax(0)
        layers.biases[0][: len(live)] = REACH * peaks
        layers.biases[-1].copy_(model.biases[0])
        layers.biases[-1][live] -= REACH * peaks * lengths[live]
    return layers
