"""Weights on a support, and the parts that hard thresholding is put together from: direction, step, fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Ints
from convexnn.program.support_fit import fit_support
from convexnn.solvers.thresholding.dictionary import Columns, Dictionary


@dataclass(frozen=True)
class SparseIterate:
    """Weights on a support, in units of the column norms, with what a step needs carried along.

    `support` (s,) holds ascending flat indices, `known` (s,) the same on the host, `columns` the unit columns there or
    what goes without them, `prediction` (n, k) A w, `objective` the loss there. `step_size` is the last mu, a number of
    the device in float64, `repeats` how often the support has repeated, `polished` whether the weights are the best on
    it, `seen` the supports met by a method that would cycle on meeting one again, `final` whether a step from there
    kept it.
    """

    support: Tensor
    known: Ints
    weights: Tensor
    columns: Columns
    prediction: Tensor
    objective: float
    step_size: Tensor
    repeats: int = 0
    polished: bool = False
    seen: frozenset[bytes] = frozenset()
    final: bool = False

    @property
    def key(self) -> bytes:
        """The support as a value that can be looked up."""
        return self.known.tobytes()


def first_iterate(dictionary: Dictionary, support: Tensor | None = None) -> SparseIterate:
    """Return zero weights on the columns that correlate most with the target, or the best fit on a given support."""
    if support is not None:
        return fitted(dictionary, support)
    prediction = torch.zeros_like(dictionary.targets)
    nowhere = torch.empty(0, dtype=torch.int64, device=prediction.device)
    gradient = dictionary.gradient(dictionary.residual(prediction), nowhere, dictionary.budget)
    chosen = dictionary.chosen(gradient, dictionary.budget).indices
    known = chosen.cpu().numpy()
    columns = dictionary.products(chosen, dictionary.holds(known))
    weights, objective = prediction.new_zeros(len(chosen)), dictionary.objective(prediction)
    return SparseIterate(chosen, known, weights, columns, prediction, objective, _one(prediction))


def _one(like: Tensor) -> Tensor:
    return like.new_ones((), dtype=torch.float64)


def direction(dictionary: Dictionary, now: SparseIterate) -> Tensor:
    """Return g = -n A^T dL/dp over unit columns, flat (m d k,): the gradient, or the whitened one."""
    return dictionary.correlations(dictionary.residual(now.prediction))


def normalised_step(dictionary: Dictionary, now: SparseIterate, along: Tensor) -> Tensor:
    """Return mu = ||g_S||^2 / (c ||A_S g_S||^2), the exact line search along g_S (s,) (of the loss's quadratic bound).

    At the best weights that gradient is rounding alone, and its mu too, so the last one is kept. In float64.
    """
    if now.polished:
        return now.step_size
    change = dictionary.predict(now.columns, now.support, along)
    curvature = dictionary.loss.smoothness * dictionary.squared_length(change)
    return torch.where(curvature == 0.0, now.step_size, along.square().sum().double() / curvature)


def stepped(now: SparseIterate, gradient: Tensor, step_size: float | Tensor) -> Tensor:
    """Return w + mu g, flat (m d k,)."""
    moved = step_size * gradient
    moved[now.support] += now.weights
    return moved


def fitted(dictionary: Dictionary, support: Tensor, known: Ints | None = None) -> SparseIterate:
    """Return the best weights on a support: least squares in float64, or the smooth fit of another loss."""
    known = support.cpu().numpy() if known is None else known
    nothing = torch.zeros_like(dictionary.targets)
    columns = dictionary.products(support, dictionary.holds(known))
    return refitted(dictionary, SparseIterate(support, known, nothing[:0, 0], columns, nothing, 0.0, _one(nothing)))


def refitted(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the iterate with the best weights on its support."""
    columns = now.columns if isinstance(now.columns, Tensor) else dictionary.columns(now.support)
    weights = best_weights(dictionary, columns, now.known)
    prediction = dictionary.predict(columns, now.support, weights)
    objective = dictionary.objective(prediction)
    return replace(now, weights=weights, prediction=prediction, objective=objective, polished=True)


def best_weights(dictionary: Dictionary, columns: Tensor, known: Ints) -> Tensor:
    """Return the best weights (s,) of unit columns (n, s), by a fit on the host."""
    outputs = known % dictionary.n_outputs
    return dictionary.operator.tensor(
        fit_support(columns.cpu().numpy(), outputs, dictionary.known_targets, dictionary.loss)
    )


def not_finite(now: SparseIterate) -> SparseIterate:
    """Return the iterate as one that is not finite: the run ends before it."""
    return replace(now, objective=float(np.nan))


def fit_next_support(dictionary: Dictionary, now: SparseIterate, support: Tensor, known: Ints) -> SparseIterate:
    """Return the best fit on the next support; final where it is the present one, or one met before."""
    if now.polished and np.array_equal(known, now.known):
        return replace(now, final=True)
    after, seen = fitted(dictionary, support, known), now.seen | ({now.key} if now.polished else set())
    return replace(after, step_size=now.step_size, seen=seen, final=after.key in seen)
