"""A candidate that grows weight by weight and neuron by neuron: what explains most comes, what chance explains goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from torch import Tensor

from convexnn.recovery.candidates.gate_fits import Neurons
from convexnn.recovery.candidates.jumps import jump
from convexnn.recovery.candidates.weight_fits import MissingWeights, fit_weights
from convexnn.recovery.layer.hidden_layer import HiddenLayer, merge_parallel, without_linear_neurons
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem, mean_square
from convexnn.recovery.layer.significance import drop_insignificant, drop_to

# Rounds without a lower loss after which a pursuit ends, rounds at most, and the share of the loss that is lower.
PATIENCE, ROUNDS, BETTER = 3, 30, 0.999

# Share of the insignificant weights that go at one time, and steps of a fit in between.
SHARE, STEPS = 0.5, 4

# Steps of the fit of all weights, which ends where one lowers the loss by less than a share.
FIT_STEPS, FALL = 20, 1e-3

# Most neurons and weights that come in a round, the share of the best one that all explain, and the deviation of the
# logarithms by which their order is random.
MOST_ADDED, COMPARABLE, JITTER = 8, (0.1, 0.8), 0.2

# Most neurons that are looked at for weights that they lack: each takes a product with all rows.
MOST_GROWN = 50

# Shares of a neuron's largest input within which a row may count as at its kink.
TIES = (1e-5, 1e-2, 1e-1)

# Loss, in units of the target's mean square, of which the precision shows no more.
ROUNDING = {torch.float32: 1e-8, torch.float64: 1e-20}


@dataclass(frozen=True, eq=False)
class Pursuit:
    """How a layer grows.

    Attributes
    ----------
    problem : Problem
        The rows and the target.
    fit : callable
        residual (n,) -> neurons that fit it, each by itself.
    budget, width : int
        Most weights, most neurons.
    rng : numpy.random.Generator
        The only source of randomness.
    stop : callable
        Asked before each round.
    """

    problem: Problem
    fit: Callable[[Tensor], Neurons]
    budget: int
    width: int
    rng: np.random.Generator
    stop: Callable[[], bool]

    def run(self, hidden: HiddenLayer) -> tuple[HiddenLayer, float]:
        """Return the best layer that grows from `hidden`, and its loss.

        A round: of the neurons that fit the residual and of the weights that neurons lack, the few that explain most a
        weight, and more than chance, are added; all weights are fitted together; those that chance explains, as if the
        residual were noise, are dropped, and so are those above the budget.
        """
        problem = self.problem
        best, least, stale = hidden, problem.loss(hidden.weights, hidden.signs), 0
        for _ in range(ROUNDS):
            if self.stop() or stale == PATIENCE or least <= ROUNDING[problem.rows.dtype]:
                break
            grown = self._grown(self._jumped(hidden))
            if grown is None:
                break
            hidden = self._thinned(self._fitted(grown))
            loss = problem.loss(hidden.weights, hidden.signs)
            stale += 1
            if loss < BETTER * least:
                best, least, stale = hidden, loss, 0
        return polish(problem, best.select(best.live), stop=self.stop)

    @property
    def _n_candidates(self) -> int:
        return max(2, self.width * self.problem.rows.shape[1])

    def _fitted(self, hidden: HiddenLayer) -> HiddenLayer:
        return polish(self.problem, hidden, FIT_STEPS, FALL, self.stop)[0]

    def _jumped(self, hidden: HiddenLayer) -> HiddenLayer:
        """Return the layer after a jump of a weight, fitted, if one pays."""
        jumped = jump(self.problem, hidden, self.problem.residual(hidden.weights, hidden.signs), self.rng)
        return hidden if jumped is None else self._fitted(jumped)

    def _thinned(self, hidden: HiddenLayer) -> HiddenLayer:
        """Return the layer without what chance explains, neurons that do not bend, and weights above the budget."""
        hidden = drop_insignificant(self.problem, hidden, self._n_candidates, SHARE, STEPS, self.stop)
        hidden = without_linear_neurons(self.problem, merge_parallel(hidden))
        return drop_to(self.problem, hidden.select(hidden.live), self.budget, SHARE, STEPS, self.stop)

    def _grown(self, hidden: HiddenLayer) -> HiddenLayer | None:
        """Return the layer with some neurons and weights more, None where none explains more than chance."""
        residual = self.problem.residual(hidden.weights, hidden.signs)
        neurons, tie = self.fit(residual), TIES[self.rng.integers(len(TIES))]
        weights = fit_weights(self.problem, hidden, residual, tie, self._grown_neurons(len(hidden.signs)))
        orders = (neurons.weights != 0.0).sum(1)
        chosen = self._chosen(torch.cat([neurons.explained / orders, weights.explained]), mean_square(residual))
        fresh = _apart(neurons.weights != 0.0, [index for index in chosen if index < len(orders)])
        fresh = fresh[: self.width - len(hidden.signs)]
        added = [index - len(orders) for index in chosen if index >= len(orders)]
        if not fresh and not added:
            return None
        more = torch.as_tensor(fresh, dtype=torch.long, device=residual.device)
        return _with_weights(hidden, weights, added).concatenate(neurons.layer(more))

    def _grown_neurons(self, count: int) -> list[int] | None:
        """Return some neurons of many, None for all of them."""
        return None if count <= MOST_GROWN else self.rng.choice(count, MOST_GROWN, replace=False).tolist()

    def _chosen(self, explained: Tensor, variance: float) -> list[int]:
        """Return the indices of what explains most a weight, best first, in an order that is somewhat random."""
        scores = explained.double().cpu().numpy()
        scores = scores * np.exp(JITTER * self.rng.standard_normal(len(scores)))
        chance = 2.0 * log(self._n_candidates) * variance
        least = max(chance, self.rng.uniform(*COMPARABLE) * scores.max(initial=0.0))
        return [int(index) for index in np.argsort(-scores)[:MOST_ADDED] if scores[index] > least]


def _apart(reads: Tensor, chosen: list[int]) -> list[int]:
    """Return those of some neurons, which read inputs (p, d), that share none with one before: they may be one."""
    apart = list[int]()
    for index in chosen:
        if not bool((reads[apart] & reads[index]).any()):
            apart.append(index)
    return apart


def _with_weights(hidden: HiddenLayer, found: MissingWeights, chosen: list[int]) -> HiddenLayer:
    """Return the layer with the weights at some indices, one for a neuron: they were fitted each by itself."""
    weights, grown = hidden.weights.clone(), set[int]()
    for index in chosen:
        neuron = int(found.neurons[index])
        if neuron not in grown:
            weights[neuron, found.features[index]] = found.weights[index]
            grown.add(neuron)
    return HiddenLayer(weights, hidden.signs, hidden.gates)
