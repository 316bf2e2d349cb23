"""Weights that noise or rounding explains, and the network without them."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from torch import Tensor

from convexnn.recovery.layer.hidden_layer import HiddenLayer, merge_parallel
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import TILE_ROWS, Problem, normal_equations

# Share of the insignificant weights that go at one time, the weakest first: the others are judged anew without them.
SHARE = 0.05

# Chance that a residual of noise alone is not taken for noise.
CHANCE = 0.01

# Growth of the loss, as a share of the target's mean square, up to which it is tried whether an exact network needs a
# weight; the ridge, as a share of each column's square, at which growths are estimated: one of equal columns may go.
IDLE, NEARLY_EQUAL = 1e-10, 1e-12


def drop_insignificant(
    problem: Problem,
    hidden: HiddenLayer,
    n_candidates: int,
    share: float = SHARE,
    rounds: int = 20,
    stop: Callable[[], bool] = lambda: False,
) -> HiddenLayer:
    """Return the network without the weights whose loss is within what chance makes of `n_candidates` columns.

    Of N columns of noise the best lowers the sum of squares by about 2 ln(N) residual variances; a weight stays if
    taking it away costs more than that, with the others refitted: w_i^2 / (J J^T)^-1_ii > 2 ln(N) sigma^2 (the risk
    inflation criterion of Foster and George 1994). Each fit in between takes one step where `stop` says so.
    """
    threshold = 2.0 * log(max(n_candidates, 2))
    while True:
        gates, features = torch.nonzero(hidden.weights, as_tuple=True)
        if not len(gates) or _freedom(problem, hidden) <= 0:
            return hidden
        costs = _costs(problem, hidden, (gates, features))
        weak = int((costs < threshold).sum())
        if not weak:
            return hidden
        gone = costs.topk(max(1, int(share * weak)), largest=False).indices
        weights = hidden.weights.clone()
        weights[gates[gone], features[gone]] = 0.0
        hidden = polish(problem, HiddenLayer(weights, hidden.signs, hidden.gates), rounds, stop=stop)[0]


def drop_to(
    problem: Problem,
    hidden: HiddenLayer,
    budget: int,
    share: float = SHARE,
    rounds: int = 20,
    stop: Callable[[], bool] = lambda: False,
) -> HiddenLayer:
    """Return the network with at most `budget` weights: those whose loss costs least go, a share of them at a time.

    Each fit in between takes one step where `stop` says so.
    """
    while hidden.nnz > budget:
        gates, features = torch.nonzero(hidden.weights, as_tuple=True)
        excess = len(gates) - budget
        costs = _costs(problem, hidden, (gates, features))
        gone = costs.topk(min(excess, max(1, int(share * len(gates)))), largest=False).indices
        weights = hidden.weights.clone()
        weights[gates[gone], features[gone]] = 0.0
        hidden = polish(problem, HiddenLayer(weights, hidden.signs, hidden.gates), rounds, stop=stop)[0]
    return hidden


def is_noise(problem: Problem, hidden: HiddenLayer, gates: Tensor) -> bool:
    """Whether no column of the network's own gates, or of others (p, d), explains more of its residual than chance.

    Of N columns of noise none lowers the sum of squares by 2 ln(N / CHANCE) residual variances, but by chance.
    """
    freedom = _freedom(problem, hidden)
    if freedom <= 0:
        return False
    residual, live = problem.residual(hidden.weights, hidden.signs), hidden.weights[hidden.live]
    variance = float(residual.square().sum()) / freedom
    active = (problem.linear(torch.cat([live, gates])) > 0.0).to(residual.dtype).T
    squares = problem.column_squares(active)
    slopes = ((active * residual) @ problem.rows).square()
    most = float(torch.where(squares > 0.0, slopes / squares, 0.0).max())
    return most <= 2.0 * log(squares.numel() / CHANCE) * variance


def drop_dust(problem: Problem, hidden: HiddenLayer, level: float, stop: Callable[[], bool]) -> HiddenLayer:
    """Return a network of a loss of at most `level` without the weights that it does not need for that.

    Neurons of one direction are made one; then those weights that seem to matter least go first, as many at one time
    as the loss after a fit bears out.
    """
    merged = merge_parallel(hidden)
    hidden = merged if problem.loss(merged.weights, merged.signs) <= level else hidden
    while True:
        gates, features = torch.nonzero(hidden.weights, as_tuple=True)
        growth = _growth(problem, hidden, (gates, features)) if len(gates) else problem.target[:0]
        idle, thinner = growth.argsort()[: int((growth <= IDLE).sum())], None
        while len(idle) and thinner is None:
            thinner = _without(problem, hidden, (gates[idle], features[idle]), level)
            idle = idle[: 0 if stop() else len(idle) // 2]
        if thinner is None:
            return hidden
        hidden = thinner


def _without(problem: Problem, hidden: HiddenLayer, gone: tuple[Tensor, Tensor], level: float) -> HiddenLayer | None:
    """Return the network without some weights, fitted anew; None where its loss is above a level."""
    weights = hidden.weights.clone()
    weights[gone] = 0.0
    thinner, loss = polish(problem, HiddenLayer(weights, hidden.signs, hidden.gates))
    return thinner if loss <= level else None


def _growth(problem: Problem, hidden: HiddenLayer, support: tuple[Tensor, ...]) -> Tensor:
    """Return by how much the loss grows without each weight, to first order, with the others refitted: (s,)."""
    linear = problem.linear(hidden.weights)
    gram = normal_equations(problem, linear > 0.0, hidden.signs, support, problem.target)[0]
    squares = gram.diagonal().clone()
    lengths = torch.where(squares > 0.0, squares, 1.0).sqrt()
    unit = gram / lengths[:, None] / lengths
    unit.diagonal().add_(NEARLY_EQUAL)
    return hidden.weights[support].square() * squares / torch.linalg.inv(unit).diagonal().abs() / len(linear)


def _freedom(problem: Problem, hidden: HiddenLayer) -> int:
    """Return the number of rows beyond what is fitted."""
    return len(problem.target) - hidden.nnz - problem.basis.shape[1]


def _costs(problem: Problem, hidden: HiddenLayer, support: tuple[Tensor, ...]) -> Tensor:
    """Return by how many residual variances the sum of squares grows without each weight, (s,).

    w_i^2 / (J J^T)^-1_ii, the others refitted, and what rows add that the neuron did not see with the weight.
    """
    linear = problem.linear(hidden.weights)
    residual = problem.residual(hidden.weights, hidden.signs)
    variance = residual.square().sum() / max(1, _freedom(problem, hidden))
    gram = normal_equations(problem, linear > 0.0, hidden.signs, support, residual)[0]
    values = hidden.weights[support]
    # The pseudo-inverse: weights that no row sees cost nothing by themselves.
    spread = torch.linalg.pinv(gram, hermitian=True).diagonal()
    costs = torch.where(spread > 0.0, values.square() / spread, 0.0)
    costs += _opened(problem, hidden, support, linear, residual)
    # An exact network has no noise to explain anything by.
    return costs / variance.clamp(min=torch.finfo(variance.dtype).eps ** 2 * float(problem.target.square().sum()))


def _opened(
    problem: Problem, hidden: HiddenLayer, support: tuple[Tensor, ...], linear: Tensor, residual: Tensor
) -> Tensor:
    """Return by how much the sum of squares grows on rows that a neuron sees only once a weight is gone, (s,).

    No derivative tells of them: a weight may do nothing but keep its neuron off. The others are held. `linear` (n, p)
    is what goes into the neurons; for some rows at a time.
    """
    gates, features = support[0], support[1]
    growth, shadow = residual.new_zeros(len(gates)), residual.new_zeros((len(gates), problem.basis.shape[1]))
    for start in range(0, len(residual), TILE_ROWS):
        tile = slice(start, start + TILE_ROWS)
        inputs = linear[tile].T[gates]
        without = inputs - problem.columns[:, tile][features] * hidden.weights[support][:, None]
        change = torch.where(inputs > 0.0, 0.0, without.relu_()) * hidden.signs[gates, None]
        growth += change.square().sum(1) + 2.0 * (change @ residual[tile])
        shadow += change @ problem.basis[tile]
    return (growth - shadow.square().sum(1)).clamp(min=0.0)
