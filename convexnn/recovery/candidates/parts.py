"""Parts of a network that are searched anew while the rest is held: a few neurons, the inputs they read, their target.

A network of many neurons that is nearly found is wrong in a few places: two neurons stand for three of nearly one
direction, and weights elsewhere make up for it. To search all of it again loses what is right. The few neurons are a
small problem of their own, whose target is what the others leave, and small problems are solved exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor

from convexnn.recovery.candidates.rounds import InterruptedRoundsError
from convexnn.recovery.layer.hidden_layer import HiddenLayer, merge_parallel
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.significance import drop_to

# Parts that a candidate searches, one after the other, the most neurons of one, and the largest share of all.
PARTS, MOST_NEURONS, LARGEST_SHARE = 5, 16, 1 / 3

# Shares of the rows that count as a neuron's kink, those where its input is nearest to 0, and the rows looked at: fewer
# than twice so many.
KINKS, MOST_ROWS = (0.02, 0.05, 0.1), 5000

# Chance that all neurons which read an input of the first one are its part, not the closest alone.
WIDE = 0.5

# Inputs that a part reads beside those of its neurons: where the first one seems to lack a weight.
FRESH_INPUTS = 2

# Weights above its share of the budget that a part may have, at most: what made up for it elsewhere is dropped then.
EXTRA = 3

# Share of the loss below which a part is better, and of the last one below which a fit of all weights goes on.
BETTER, FALL = 0.99, 0.01

# Share of the weights that go at one time where there are too many, and steps of a fit in between.
SHARE, STEPS = 0.5, 4


@dataclass(frozen=True, eq=False)
class Part:
    """Some neurons of a network, as a network of their own.

    Attributes
    ----------
    problem : Problem
        The inputs that the neurons may read, and the target less the output of the rest.
    hidden : HiddenLayer
        The neurons, on these inputs.
    rest : HiddenLayer
        The other neurons, on all inputs.
    inputs : Tensor (k,)
        Indices of the inputs.
    extra : int
        Weights that it may have above those that the rest leaves of the budget.
    """

    problem: Problem
    hidden: HiddenLayer
    rest: HiddenLayer
    inputs: Tensor
    extra: int

    def joined(self, found: HiddenLayer) -> HiddenLayer:
        """Return the rest and neurons that were found in the place of this part."""
        whole = HiddenLayer(self._widened(found.weights), found.signs, self._widened(found.gates))
        joined = merge_parallel(self.rest.concatenate(whole))
        return joined.select(joined.live)

    def _widened(self, values: Tensor) -> Tensor:
        wide = values.new_zeros((len(values), self.rest.weights.shape[1]))
        wide[:, self.inputs] = values
        return wide


# renew(part, loss) -> the neurons that a search finds in its place, and their loss.
Renew = Callable[[Part, float], tuple[HiddenLayer, float]]


def renew_parts(
    problem: Problem,
    hidden: HiddenLayer,
    budget: int,
    rng: np.random.Generator,
    renew: Renew,
    stop: Callable[[], bool],
) -> tuple[HiddenLayer, float]:
    """Return the layer (all neurons live) after some of its parts were searched anew, one by one, and its loss.

    `stop` is asked before each part, and before weights too many are dropped: a part that has them is left as it was
    then. An interruption comes out as an :class:`InterruptedRoundsError` with the layer so far.
    """
    first = loss = problem.loss(hidden.weights, hidden.signs)
    try:
        for _ in range(PARTS):
            if stop():
                break
            part = choose_part(problem, hidden, rng)
            found, inner_loss = renew(part, loss)
            joined = part.joined(found)
            if not inner_loss < BETTER * loss or (joined.nnz > budget and stop()):
                continue
            joined = _within_budget(problem, joined, budget, stop)
            after = problem.loss(joined.weights, joined.signs)
            if after < loss:
                hidden, loss = joined, after
        return polish(problem, hidden, least_fall=FALL, stop=stop) if loss < first else (hidden, loss)
    except KeyboardInterrupt:
        # What a part had come to is no network.
        raise InterruptedRoundsError(hidden) from None


def _within_budget(problem: Problem, hidden: HiddenLayer, budget: int, stop: Callable[[], bool]) -> HiddenLayer:
    """Return the layer fitted and without the weights too many, which cost least once the part is right."""
    if hidden.nnz <= budget:
        return hidden
    fitted, _ = polish(problem, hidden, STEPS, stop=stop)
    return drop_to(problem, fitted, budget, SHARE, STEPS, stop)


def choose_part(problem: Problem, hidden: HiddenLayer, rng: np.random.Generator) -> Part:
    """Return a part about a neuron that is drawn by the residual at its kink: where a direction is off, it lies there.

    With it come neurons that share inputs with it: those that share two, or whose inputs it has all; or any.
    """
    linear = problem.linear(hidden.weights)
    residual = problem.target - problem.project(torch.relu(linear) @ hidden.signs)
    chances = kink_shares(linear, residual).square().double().cpu().numpy()
    total = chances.sum()
    first = int(rng.choice(len(chances), p=chances / total if 0.0 < total < np.inf else None))
    reads = (hidden.weights != 0.0).cpu().numpy()
    chosen = torch.as_tensor(_neighbours(reads, first, rng), device=residual.device)
    part, rest = hidden.select(chosen), hidden.select(~chosen)
    target = residual + problem.project(torch.relu(linear[:, chosen]) @ part.signs)
    inputs = (part.weights != 0.0).any(0)
    active = (linear[:, first] > 0.0).to(residual.dtype)
    slopes = ((active * residual) @ problem.rows).abs()
    inputs[slopes.topk(min(FRESH_INPUTS, len(slopes))).indices] = True
    kept = torch.nonzero(inputs | problem.modulo_linear)[:, 0]
    small = HiddenLayer(part.weights[:, kept], part.signs, part.gates[:, kept])
    return Part(problem.of_inputs(kept, target), small, rest, kept, int(rng.integers(EXTRA + 1)))


def _neighbours(reads: np.ndarray, first: int, rng: np.random.Generator) -> np.ndarray:
    """Return which neurons (p,) make a part with the first, of the inputs that each reads (p, d)."""
    shared = reads[:, reads[first]].sum(1)
    near = shared >= 1 if rng.random() < WIDE else (shared >= 2) | (shared == reads.sum(1))
    near[first] = False
    most = min(MOST_NEURONS, ceil(LARGEST_SHARE * len(reads)))
    others = rng.permutation(np.nonzero(near)[0])[: most - 1]
    chosen = np.zeros(len(reads), dtype=bool)
    chosen[[first, *others]] = True
    return chosen


def kink_shares(linear: Tensor, residual: Tensor) -> Tensor:
    """Return of each neuron (p,) the mean square of the residual (n,) at its kink, over that of all rows.

    `linear` (n, p) is what goes into the neurons. Several shares of the rows count as the kink: the largest.
    """
    stride = max(1, len(residual) // MOST_ROWS)
    linear, squares = linear[::stride], residual[::stride].square()
    counts = [max(1, round(share * len(squares))) for share in KINKS]
    nearest = linear.T.abs().topk(max(counts), largest=False).indices
    sums = squares[nearest].cumsum(1)
    means = torch.stack([sums[:, count - 1] / count for count in counts]).amax(0)
    whole = float(squares.mean())
    return means / whole if whole > 0.0 else torch.ones_like(means)
