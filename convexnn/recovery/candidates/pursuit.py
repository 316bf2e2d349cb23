"""A candidate that grows neuron by neuron: what chance explains goes, what fits the residual best comes."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch

from convexnn.recovery.candidates.gate_fits import Neurons
from convexnn.recovery.layer.hidden_layer import HiddenLayer, merge_parallel, without_linear_neurons
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem, mean_square
from convexnn.recovery.layer.significance import drop_insignificant, drop_to

# Rounds without a lower loss after which a pursuit ends, and rounds at most.
PATIENCE, ROUNDS = 1, 10

# Share of the insignificant weights that go at one time, and steps of a fit in between.
SHARE, STEPS = 0.5, 4


def pursue(
    problem: Problem,
    hidden: HiddenLayer,
    fit: Callable[[torch.Tensor], Neurons],
    budget: int,
    width: int,
    stop: Callable[[], bool],
) -> tuple[HiddenLayer, float]:
    """Return a layer of at most `budget` weights and `width` neurons, grown from `hidden`, and its loss.

    A round: the weights that chance explains are dropped, as if the residual were noise; the neurons (of `fit`, for a
    residual (n,)) that explain more than chance are added; all weights are fitted together.
    """
    n_candidates = width * problem.rows.shape[1]
    best, least, stale = hidden, problem.loss(hidden.weights, hidden.signs), 0
    for _ in range(ROUNDS):
        if stop() or stale == PATIENCE:
            break
        hidden = drop_insignificant(problem, hidden, n_candidates, SHARE, STEPS)
        hidden = without_linear_neurons(problem, merge_parallel(hidden))
        residual = problem.residual(hidden.weights, hidden.signs)
        found = fit(residual)
        orders = (found.weights != 0.0).sum(1)
        chance = 2.0 * log(max(2, n_candidates)) * mean_square(residual)
        wanted = torch.nonzero(found.explained > chance * orders)[: width - len(hidden.signs), 0]
        if not len(wanted):
            stale = PATIENCE
        hidden = hidden.concatenate(found.layer(wanted))
        hidden, loss = polish(problem, hidden, 2 * STEPS, stop=stop)
        if hidden.nnz > budget:
            hidden = drop_insignificant(problem, hidden, n_candidates, SHARE, STEPS)
            hidden = drop_to(problem, hidden, budget, SHARE, STEPS)
            loss = problem.loss(hidden.weights, hidden.signs)
        stale += 1
        if loss < least:
            best, least, stale = hidden, loss, 0
    return polish(problem, best.select(best.live), stop=stop)
