"""Weights on a support, and the parts that hard thresholding is put together from: direction, step, restriction."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from convexnn.program.neurons import to_numpy
from convexnn.solvers.thresholding.dictionary import Dictionary
from convexnn.solvers.thresholding.support_fit import fit_support


@dataclass(frozen=True)
class SparseIterate:
    """Weights on a support, in units of the column norms, with what a step needs carried along.

    `support` (s,) holds ascending flat indices, `columns` (n, s) the unit columns there, None where products go without
    them, `prediction` (n, k) A w, `objective` the loss there. `step_size` is the last mu, `repeats` how often the
    support has repeated, `polished` whether the weights are the best on it, `seen` the supports met by a method that
    would cycle on meeting one again, `final` whether a step from there kept it.
    """

    support: Tensor
    weights: Tensor
    columns: Tensor | None
    prediction: Tensor
    objective: float
    step_size: float = 1.0
    repeats: int = 0
    polished: bool = False
    seen: frozenset[bytes] = frozenset()
    final: bool = False

    @property
    def key(self) -> bytes:
        """The support as a value that can be looked up."""
        return support_key(self.support)


def support_key(support: Tensor) -> bytes:
    """Return a support as a value that can be looked up."""
    return support.cpu().numpy().tobytes()


def first_iterate(dictionary: Dictionary, support: Tensor | None = None) -> SparseIterate:
    """Return zero weights on the columns that correlate most with the target, or the best fit on a given support."""
    if support is not None:
        return fitted(dictionary, support)
    prediction = torch.zeros_like(dictionary.targets)
    nowhere = torch.empty(0, dtype=torch.int64, device=prediction.device)
    gradient = dictionary.gradient(dictionary.residual(prediction), nowhere, dictionary.budget)
    chosen = dictionary.chosen(gradient, dictionary.budget).indices
    weights, columns = prediction.new_zeros(len(chosen)), dictionary.held_columns(chosen)
    return SparseIterate(chosen, weights, columns, prediction, dictionary.objective(prediction))


def direction(dictionary: Dictionary, now: SparseIterate) -> Tensor:
    """Return g = -n A^T dL/dp over unit columns, flat (m d k,): the gradient, or the whitened one."""
    return dictionary.correlations(dictionary.residual(now.prediction))


def normalised_step(dictionary: Dictionary, now: SparseIterate, along: Tensor) -> float:
    """Return mu = ||g_S||^2 / (c ||A_S g_S||^2), the exact line search along g_S (s,) (of the loss's quadratic bound).

    At the best weights that gradient is rounding alone, and its mu too, so the last one is kept.
    """
    change = dictionary.predict(now.columns, now.support, along)
    curvature = dictionary.loss.smoothness * dictionary.squared_length(change)
    return now.step_size if now.polished or curvature == 0.0 else float(along.square().sum()) / curvature


def stepped(now: SparseIterate, gradient: Tensor, step_size: float) -> Tensor:
    """Return w + mu g, flat (m d k,)."""
    moved = step_size * gradient
    moved[now.support] += now.weights
    return moved


def weighted(
    dictionary: Dictionary, now: SparseIterate, support: Tensor, values: Tensor, step_size: float = 1.0
) -> SparseIterate:
    """Return the iterate of `values` (s,) on a support; `repeats` counts how often it has been the same."""
    kept = torch.equal(support, now.support)
    columns = now.columns if kept else dictionary.held_columns(support)
    prediction = dictionary.predict(columns, support, values)
    objective = dictionary.objective(prediction)
    repeats = now.repeats + 1 if kept else 0
    return SparseIterate(support, values, columns, prediction, objective, step_size, repeats, seen=now.seen)


def fitted(dictionary: Dictionary, support: Tensor) -> SparseIterate:
    """Return the best weights on a support: least squares in float64, or the smooth fit of another loss."""
    nothing = torch.zeros_like(dictionary.targets)
    empty = SparseIterate(support, nothing[:0, 0], dictionary.held_columns(support), nothing, 0.0)
    return refitted(dictionary, empty)


def refitted(dictionary: Dictionary, now: SparseIterate) -> SparseIterate:
    """Return the iterate with the best weights on its support."""
    outputs = (now.support % dictionary.n_outputs).cpu().numpy()
    columns = dictionary.columns(now.support) if now.columns is None else now.columns
    exact = fit_support(columns.cpu().numpy(), outputs, to_numpy(dictionary.targets), dictionary.loss)
    weights = dictionary.operator.tensor(exact)
    prediction = dictionary.predict(columns, now.support, weights)
    objective = dictionary.objective(prediction)
    return replace(now, weights=weights, prediction=prediction, objective=objective, polished=True)


def not_finite(now: SparseIterate) -> SparseIterate:
    """Return the iterate as one that is not finite: the run ends before it."""
    return replace(now, objective=float(np.nan))


def fit_next_support(dictionary: Dictionary, now: SparseIterate, support: Tensor) -> SparseIterate:
    """Return the best fit on the next support; final where it is the present one, or one met before."""
    if torch.equal(support, now.support) and now.polished:
        return replace(now, final=True)
    after, seen = fitted(dictionary, support), now.seen | ({now.key} if now.polished else set())
    return replace(after, step_size=now.step_size, seen=seen, final=after.key in seen)
