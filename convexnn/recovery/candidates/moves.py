"""Moves of the search: what of the best network a candidate keeps, and what it adds to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem

# Shares of the weights that are kept by the move that drops some.
WEIGHTS_KEPT = (0.5, 0.95)

# Neurons of which shares are dropped: of more no more go, or rounds do not find back to what was right.
MOST_DROPPED_OF = 30

# Share of the neurons that go because they are weak.
WEAK = 0.3

# layer, generator -> what is left of the layer.
Drop = Callable[[HiddenLayer, np.random.Generator], HiddenLayer]


@dataclass(frozen=True)
class Move:
    """A way to perturb the best network.

    Attributes
    ----------
    name : str
        In words.
    drop : callable
        layer, generator -> what is left of it.
    crowds : bool
        Whether gates are added beyond the neurons that there is room for, so that new ones compete with old ones.
    prices : bool
        Whether the gates added are the best priced of a pool; else they are drawn.
    anneals : bool
        Whether the budget of the rounds begins above its own value.
    """

    name: str
    drop: Drop
    crowds: bool = True
    prices: bool = False
    anneals: bool = True


def keep_all(hidden: HiddenLayer, rng: np.random.Generator) -> HiddenLayer:
    """Return the layer as it is."""
    return hidden


def drop_random_neurons(hidden: HiddenLayer, rng: np.random.Generator, share: float) -> HiddenLayer:
    """Return the layer with each neuron kept by a chance of `share`, by a larger one where they are many."""
    dropped = (1.0 - share) * _share_at_stake(hidden)
    return hidden.select(torch.as_tensor(rng.random(len(hidden.signs)) >= dropped))


def drop_weak_neurons(hidden: HiddenLayer, rng: np.random.Generator) -> HiddenLayer:
    """Return the layer without the three tenths of the neurons, fewer of many, whose weights are shortest."""
    if not len(hidden.signs):
        return hidden
    lengths = hidden.weights.norm(dim=1).cpu().numpy()
    return hidden.select(torch.as_tensor(lengths > np.quantile(lengths, WEAK * _share_at_stake(hidden))))


def _share_at_stake(hidden: HiddenLayer) -> float:
    return min(1.0, MOST_DROPPED_OF / max(1, len(hidden.signs)))


def drop_all(hidden: HiddenLayer, rng: np.random.Generator) -> HiddenLayer:
    """Return no neurons."""
    return hidden.select(torch.zeros_like(hidden.live))


def drop_wide_neurons(hidden: HiddenLayer, rng: np.random.Generator) -> HiddenLayer:
    """Return the layer without one to four neurons, drawn by a random power of their numbers of weights."""
    if not len(hidden.signs):
        return hidden
    chances = (hidden.weights != 0.0).sum(1).clamp(min=1).double().cpu().numpy() ** rng.uniform(0.0, 2.0)
    count = min(len(chances), int(rng.integers(1, 5)))
    gone = rng.choice(len(chances), size=count, replace=False, p=chances / chances.sum())
    kept = np.ones(len(chances), dtype=bool)
    kept[gone] = False
    return hidden.select(torch.as_tensor(kept))


def drop_neighbourhood(hidden: HiddenLayer, rng: np.random.Generator) -> HiddenLayer:
    """Return the layer without a neuron, drawn by its number of weights, and those that share inputs with it.

    One input, or two: neurons that stand together for others do.
    """
    reads = (hidden.weights != 0.0).cpu().numpy()
    counts = reads.sum(1)
    if not counts.any():
        return hidden
    first = int(rng.choice(len(counts), p=counts / counts.sum()))
    near = reads[:, reads[first]].sum(1) >= int(rng.integers(1, 3))
    near[first] = True
    return hidden.select(torch.as_tensor(~near))


def drop_random_weights(hidden: HiddenLayer, rng: np.random.Generator) -> HiddenLayer:
    """Return the neurons that are left when a random share of the weights is dropped."""
    kept = torch.as_tensor(rng.random(hidden.weights.shape) < rng.uniform(*WEIGHTS_KEPT)).to(hidden.weights)
    thinned = HiddenLayer(hidden.weights * kept, hidden.signs, hidden.gates)
    return thinned.select(thinned.live)


def turn_neurons(problem: Problem, hidden: HiddenLayer, rng: np.random.Generator) -> HiddenLayer:
    """Return the layer with one to three neurons emptied, at gates that see a row from the other side than they did.

    The rows are drawn by their squared residuals: a gate may be wrong on a few rows alone, which no fit on its own side
    can tell. w becomes w - (1 + t) (x . w) P x / (x . P x), P diagonal with |w_i| times random factors.
    """
    chances = problem.residual(hidden.weights, hidden.signs).double().square().cpu().numpy()
    weights, gates, total = hidden.weights.clone(), hidden.weights.clone(), chances.sum()
    for _ in range(int(rng.integers(1, 4)) if 0.0 < total < np.inf else 0):
        row = problem.rows[int(rng.choice(len(chances), p=chances / total))]
        neuron = int(rng.integers(len(weights)))
        gate = gates[neuron]
        reach = gate.abs() * torch.as_tensor(np.exp(rng.standard_normal(len(gate)))).to(gate) * row
        size = float(reach @ row)
        if size > 0.0:
            gates[neuron] = gate - (1.0 + float(rng.exponential(0.5))) * float(gate @ row) / size * reach
            weights[neuron] = 0.0
    return HiddenLayer(weights, hidden.signs, gates)


PRICE = Move("price", keep_all, prices=True)

# What a pursuit grows from, and how often.
PURSUED = (keep_all, drop_wide_neurons, drop_neighbourhood, partial(drop_random_neurons, share=0.5), drop_all)
PURSUED_CHANCES = (0.2, 0.25, 0.35, 0.1, 0.1)

# Three that drop neurons, three that drop none; drawn as often as they stand here.
MOVES = (
    Move("drop many", partial(drop_random_neurons, share=0.7)),
    Move("drop few", partial(drop_random_neurons, share=0.9)),
    Move("drop weak", drop_weak_neurons),
    Move("add", keep_all),
    PRICE,
    PRICE,
    Move("go on", keep_all, crowds=False, anneals=False),
)

# Where rows are not ample some of the weights are dropped, too: neurons have the right place and the wrong inputs.
MOVES_OF_FEW_ROWS = (*MOVES, Move("thin", drop_random_weights, crowds=False))
