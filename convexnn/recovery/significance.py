"""Weights that the noise explains, and the network without them."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from convexnn.recovery.hidden_layer import HiddenLayer
from convexnn.recovery.polish import normal_equations, polish
from convexnn.recovery.problem import Problem

# Share of the insignificant weights that go at one time, the weakest first: the others are judged anew without them.
SHARE = 0.05


def drop_insignificant(problem: Problem, hidden: HiddenLayer, n_candidates: int) -> HiddenLayer:
    """Return the network without the weights whose loss is within what chance makes of `n_candidates` columns.

    Of N columns of noise the best lowers the sum of squares by about 2 ln(N) residual variances; a weight stays if
    taking it away costs more than that, with the others refitted: w_i^2 / (J J^T)^-1_ii > 2 ln(N) sigma^2 (the risk
    inflation criterion of Foster and George 1994).
    """
    threshold = 2.0 * log(max(n_candidates, 2))
    while True:
        gates, features = torch.nonzero(hidden.weights, as_tuple=True)
        if not len(gates) or len(problem.target) <= len(gates):
            return hidden
        costs = _costs(problem, hidden, (gates, features))
        weak = int((costs < threshold).sum())
        if not weak:
            return hidden
        gone = costs.topk(max(1, int(SHARE * weak)), largest=False).indices
        weights = hidden.weights.clone()
        weights[gates[gone], features[gone]] = 0.0
        hidden = polish(problem, HiddenLayer(weights, hidden.signs, hidden.gates))[0]


def _costs(problem: Problem, hidden: HiddenLayer, support: tuple[Tensor, ...]) -> Tensor:
    """Return by how many residual variances the sum of squares grows without each weight, (s,)."""
    linear = problem.linear(hidden.weights)
    residual = problem.target - torch.relu(linear) @ hidden.signs
    variance = residual.square().sum() / (len(residual) - len(support[0]))
    gram = normal_equations(problem, linear > 0.0, hidden.signs, support, residual)[0]
    values = hidden.weights[support]
    # The pseudo-inverse: weights that no row sees cost nothing and go first.
    spread = torch.linalg.pinv(gram, hermitian=True).diagonal()
    costs = torch.where(spread > 0.0, values.square() / spread, 0.0)
    # An exact network has no noise to explain anything by.
    return costs / variance.clamp(min=torch.finfo(variance.dtype).eps ** 2 * float(problem.target.square().sum()))
