"""From neurons and a linear function beside them to neurons alone.

On the rows a linear function is a neuron that is active on all of them, or a few: which of those held a weight cannot
be known, the function can. relu(u) = u + relu(-u), so that the linear function is free to give its weights to neurons
that are turned round, and the network with the fewest weights is sought.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import torch
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.recovery.layer.absorption import Absorption, tightened
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import RANK, Problem, mean_square

# Mean share of the squares of features that their means explain, beyond chance, from which features are not centred.
UNCENTRED = 0.03

# Share of a column's mean square that its mean explains where it is constant.
CONSTANT = 1.0 - 1e-9

# Most inputs for which the linear part is projected out, rows an unknown that this needs, and most rows it is done on.
MOST_INPUTS, ROWS_AN_UNKNOWN, MOST_ROWS = 256, 2, 20_000

# Random choices of neurons to turn round from which the best choice is sought.
RANDOM_CHOICES = 4

# Entries of the linear part that are rounding, as a share of the largest.
ROUNDING = 1e-9


def is_uncentred(problem: Problem, budget: int) -> bool:
    """Whether much of a network may be linear on the rows, and they are enough to tell the rest from it.

    Neurons of features that are mostly of one sign, such as counts, are often active on all rows, or on nearly all. A
    column of ones, which stands for biases, says nothing about that.
    """
    n_rows, n_inputs = problem.rows.shape
    if n_inputs > MOST_INPUTS or n_rows < ROWS_AN_UNKNOWN * (n_inputs + budget):
        return False
    means = problem.rows.mean(0)
    varied = means[means.square() < CONSTANT * problem.rows.square().mean(0)]
    return len(varied) > 0 and mean_square(varied) > UNCENTRED + 1.0 / n_rows


@dataclass(frozen=True, eq=False)
class _LinearPart:
    """Linear functions x . a of rows X of the given null space, and what of a is noise.

    Attributes
    ----------
    null : numpy.ndarray (d, k)
        A basis of the weights that are zero on all rows.
    noise : numpy.ndarray (d,)
        Sizes up to which entries of `a` count as zero.
    """

    null: Floats
    noise: Floats

    def sparse(self, weights: Floats) -> Floats:
        """Return weights of the same function with a small 1-norm, and noise as zeros."""
        if self.null.shape[1]:
            weights = _least_norm(weights, self.null)
        return np.where(np.abs(weights) > self.noise, weights, 0.0)


def unfold(problem: Problem, hidden: HiddenLayer, signs: str) -> HiddenLayer:
    """Return a layer of neurons alone for the best linear function of all rows beside the neurons of `hidden`.

    Neurons are turned round, one after the other, as long as the linear function has fewer weights then, and hold what
    they can of it. What is left of it becomes a neuron that is active on all rows, or two, one of either sign; features
    that are of both signs and that neither of these can hold take two neurons more, and each of their weights counts
    twice.
    """
    hidden = hidden.compact(len(hidden.signs))
    rows, sides = _upright(problem.rows.cpu().numpy())
    neurons, outputs = tightened(rows, hidden.weights.cpu().numpy() * sides), hidden.signs.cpu().numpy()
    residual = problem.residual(torch.as_tensor(neurons * sides).to(hidden.weights), hidden.signs)
    weights, part = _fit_linear(rows, residual.cpu().numpy())
    absorption = Absorption.of(rows, neurons, outputs)
    linear, turned = _fewest(part, part.sparse(weights), absorption)
    linear, gates = absorption.absorbed(rows, linear, turned)
    extra, signs_of_extra = split_linear(rows, linear, signs)
    whole = torch.as_tensor(np.concatenate([gates, extra]) * sides).to(hidden.weights)
    return HiddenLayer(whole, torch.as_tensor(np.concatenate([outputs, signs_of_extra])).to(hidden.signs), whole)


def _upright(rows: Floats) -> tuple[Floats, Floats]:
    """Return rows (n, d) with features that are never above 0 turned to be never below it, and -1 for these, or 1."""
    sides = np.where((rows <= 0.0).all(axis=0) & (rows < 0.0).any(axis=0), -1.0, 1.0)
    return (rows * sides if (sides < 0.0).any() else rows), sides


def _fewest(part: _LinearPart, linear: Floats, absorption: Absorption) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the sum (d,) of a linear function and some of the neurons (p, d) with the fewest weights, and which (p,).

    By descent, one neuron more or less at a time, from none and from a few random choices.
    """
    rng, count = np.random.default_rng(0), len(absorption.outputs)
    starts = [np.zeros(count, dtype=bool), *(rng.random((RANDOM_CHOICES, count)) < 0.5)]
    ends = [_descend(part, linear, absorption, start) for start in starts]
    return min(ends, key=lambda end: absorption.count(*end))


def _descend(
    part: _LinearPart, linear: Floats, absorption: Absorption, taken: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the sum, and the choice, at which no neuron more or less leaves fewer weights."""
    neurons = absorption.weights * absorption.outputs[:, None]
    total, lower = part.sparse(linear + taken @ neurons), True
    while lower:
        lower = False
        for index in range(len(neurons)):
            choice = taken.copy()
            choice[index] = ~choice[index]
            other = part.sparse(linear + choice @ neurons)
            if absorption.count(other, choice) < absorption.count(total, taken):
                total, taken, lower = other, choice, True
    return total, taken


def split_linear(rows: Floats, linear: Floats, signs: str = "both") -> tuple[Floats, Floats]:
    """Return neurons (p, d) and their signs (p,) whose sum is the linear function of weights (d,) on rows (n, d).

    Of the signs allowed, that is: where these do not allow it what they allow is kept.
    """
    allowed = {"both": (1.0, -1.0), "positive": (1.0,), "negative": (-1.0,)}[signs]
    if not linear.any():
        return np.zeros((0, len(linear))), np.zeros(0)
    for sign in allowed:
        if _is_active(rows, sign * linear):
            return sign * linear[None], np.array([sign])
    if len(allowed) == 1:
        return allowed[0] * linear[None], np.array(allowed)
    side = np.where((rows >= 0.0).all(axis=0), 1.0, np.where((rows <= 0.0).all(axis=0), -1.0, 0.0)) * np.sign(linear)
    parts = {1.0: np.where(side > 0.0, linear, 0.0), -1.0: np.where(side < 0.0, -linear, 0.0)}
    rest = np.where(side == 0.0, linear, 0.0)
    for sign in allowed:
        if rest.any() and _is_active(rows, parts[sign] + sign * rest):
            parts[sign], rest = parts[sign] + sign * rest, np.zeros_like(rest)
    neurons = [(parts[sign], sign) for sign in allowed] + [(sign * rest, sign) for sign in allowed]
    live = [(weights, sign) for weights, sign in neurons if weights.any()]
    return np.array([weights for weights, _ in live]), np.array([sign for _, sign in live])


def _is_active(rows: Floats, weights: Floats) -> bool:
    """Whether a neuron is active on all rows, to rounding."""
    values = rows @ weights
    return bool(values.min() >= -ROUNDING * np.abs(values).max())


def _fit_linear(rows: Floats, target: Floats) -> tuple[Floats, _LinearPart]:
    """Return the least squares fit (d,) and the class of functions it is of."""
    left, lengths, right = np.linalg.svd(rows, full_matrices=False)
    kept = lengths > RANK * lengths[0]
    inverse = right[kept].T / lengths[kept]
    weights = inverse @ (left[:, kept].T @ target)
    residual = target - rows @ weights
    variance = float(residual @ residual) / max(1, len(rows) - int(kept.sum()))
    spread = np.sqrt(2.0 * log(max(2, len(weights))) * variance * np.square(inverse).sum(axis=1))
    null = np.linalg.svd(right[kept], full_matrices=True)[2][int(kept.sum()) :].T
    return weights, _LinearPart(null, spread + ROUNDING * np.abs(weights).max(initial=0.0))


def _least_norm(weights: Floats, null: Floats) -> Floats:
    """Return weights + null z of the smallest 1-norm: a linear program in z = p - q and the sizes of the entries."""
    from scipy.optimize import linprog

    d, k = null.shape
    above = np.block([[null, -np.eye(d)], [-null, -np.eye(d)]])
    cost = np.concatenate([np.zeros(k), np.ones(d)])
    found = linprog(cost, above, np.concatenate([-weights, weights]), bounds=[(None, None)] * k + [(0.0, None)] * d)
    if found.x is None:
        return weights
    result: Floats = weights + null @ found.x[:k]
    return result
