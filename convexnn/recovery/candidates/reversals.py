"""Neurons turned round where that saves weights: relu(u) = u + relu(-u), and u may cancel against others.

A search finds many a neuron on its wrong side, -w in place of w, and makes up for w . x by neurons of one input: of
these any linear function is two an input, a relu(x_i) + b relu(-x_i) = (a - b) x_i / 2 + (a + b) |x_i| / 2. No small
step leads from there to the right side, since each neuron alone is where it should be but for its linear part.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.recovery.layer.hidden_layer import HiddenLayer

# Tolerances, as shares of the mean size of all weights, below which those of neurons of one input count as zero.
TOLERANCES = (1e-5, 3e-2)

# Random choices of neurons to turn round from which fewer weights are sought, beside none, and their share.
RANDOM_CHOICES, SHARE = 4, 0.1


def reverse_neurons(hidden: HiddenLayer, rng: np.random.Generator) -> HiddenLayer:
    """Return the layer (all neurons live) with those turned round that leave fewest weights; the function stays.

    Up to weights of neurons of one input that are zero within a tolerance, drawn anew each time.
    """
    weights, signs = (part.double().cpu().numpy() for part in (hidden.weights, hidden.signs))
    single = np.count_nonzero(weights, axis=1) == 1
    sides = _sides(weights[single], signs[single])
    neurons = weights[~single] * signs[~single, None]
    size = np.abs(weights[weights != 0.0]).mean() if weights.any() else 0.0
    tolerance = size * float(np.exp(rng.uniform(*np.log(TOLERANCES))))
    # Inputs that no neuron reads count for nothing, and may be thousands.
    read = weights.any(axis=0)
    turned = _fewest(sides[:, read], neurons[:, read], tolerance, rng)
    if not turned.any():
        return hidden
    sides = np.where(np.abs(after := _moved(sides, turned @ neurons)) > tolerance, after, 0.0)
    many = hidden.select(torch.as_tensor(~single, device=hidden.signs.device))
    flips = torch.as_tensor(np.where(turned, -1.0, 1.0)[:, None]).to(many.weights)
    kept = HiddenLayer(many.weights * flips, many.signs, many.gates * flips)
    return kept.concatenate(_of_one_input(sides, hidden))


def _sides(weights: Floats, signs: Floats) -> Floats:
    """Return a and b, (2, d), of a sum of a_i relu(x_i) + b_i relu(-x_i) over neurons of one input each."""
    return np.stack([signs @ np.maximum(weights, 0.0), signs @ np.maximum(-weights, 0.0)])


def _moved(sides: Floats, linear: Floats) -> Floats:
    """Return a and b (..., 2, d) of the sum with linear functions x . c, (..., d), added."""
    return sides + np.stack([linear, -linear], axis=-2)


def _fewest(sides: Floats, neurons: Floats, tolerance: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which of the neurons (p, d) are turned round: none, or a choice that leaves fewer weights than that.

    By descent, one neuron more or less at a time, from none and from a few random choices.
    """
    none = np.zeros(len(neurons), dtype=bool)
    starts = [none, *(rng.random((RANDOM_CHOICES, len(neurons))) < SHARE)]
    ends = [_descend(sides, neurons, tolerance, start) for start in starts]
    best = min(ends, key=lambda end: end[1])
    return best[0] if best[1] < _count(sides, tolerance) else none


def _descend(
    sides: Floats, neurons: Floats, tolerance: float, turned: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], int]:
    """Return the choice from which no neuron more or less leaves fewer weights, and how many it leaves."""
    while True:
        linear = turned @ neurons
        count = int(_count(_moved(sides, linear), tolerance))
        changes = np.where(turned, -1.0, 1.0)[:, None] * neurons
        counts = _count(_moved(sides, linear + changes), tolerance)
        best = int(counts.argmin()) if len(counts) else 0
        if not len(counts) or counts[best] >= count:
            return turned, count
        turned = turned.copy()
        turned[best] = ~turned[best]


def _count(sides: Floats, tolerance: float) -> NDArray[np.int_]:
    """Return the numbers of weights of a and b, (..., 2, d), that are not zero within a tolerance."""
    return np.count_nonzero(np.abs(sides) > tolerance, axis=(-2, -1))


def _of_one_input(sides: Floats, like: HiddenLayer) -> HiddenLayer:
    """Return the neurons of one input whose sum is that of a and b, (2, d)."""
    columns, inputs = np.nonzero(sides)
    values = sides[columns, inputs]
    weights = np.zeros((len(inputs), sides.shape[1]))
    weights[np.arange(len(inputs)), inputs] = np.where(columns == 0, 1.0, -1.0) * np.abs(values)
    whole = torch.as_tensor(weights).to(like.weights)
    return HiddenLayer(whole, torch.as_tensor(np.sign(values)).to(like.signs), whole)
