"""Reweighting: each column has a variance of its own, learnt from the fit; what the target does not need shrinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convexnn.program.support_fit import EXACT
from convexnn.solvers.thresholding.dictionary import Dictionary
from convexnn.solvers.thresholding.sparse_iterate import fitted
from convexnn.solvers.thresholding.whitening import TILE_ENTRIES

# The noise, as a share of the mean variance of a row: from first to last, by this factor an iteration.
FIRST_NOISE, LAST_NOISE, COOLING = 1e-1, 1e-6, 0.82

# No variance falls below this share of the largest, so that a column can come back, and the rest whitens the rows.
FLOOR = 1e-6

# Iterations without a better support after which there will be none.
PATIENCE = 15


@dataclass(frozen=True)
class ReweightedIterate:
    """An iterate: `variances` (N, k) of the live columns, and the `support` of the largest mean weights.

    `objective` is that of the best fit on the support, `best` the lowest so far and `stale` the iterations since.
    """

    variances: Tensor
    support: Tensor
    objective: float
    noise: float = FIRST_NOISE
    best: float = float("inf")
    stale: int = 0
    final: bool = False


class Reweighting:
    """What stays fixed in a run, and the step.

    Parameters
    ----------
    dictionary : Dictionary
        With the squared loss, in float64, not whitened.
    memory_limit : int
        Bytes for the columns: held if they fit, else gathered a tile at a time.

    Notes
    -----
    Sparse Bayesian learning (Tipping 2001; Wipf and Rao 2004): weights w_i ~ N(0, v_i) over unit columns a_i, noise of
    variance t, S = sum_i v_i a_i a_i^T + t I; the mean weights are v_i a_i^T S^-1 y, and MacKay's update is
    v_i <- v_i (a_i^T S^-1 y)^2 / (a_i^T S^-1 a_i): whitening by K = A A^T is its first iteration. The noise is lowered
    step by step, so that the large weights settle before the small ones. The support of the `budget` largest mean
    weights is what counts. An iteration costs 2 n^2 N + n^3 / 3 flops for N live columns, for each output.
    """

    def __init__(self, dictionary: Dictionary, memory_limit: int) -> None:
        self.dictionary = dictionary
        self.live = torch.nonzero(dictionary.norms.reshape(-1, dictionary.n_outputs)[:, 0]).flatten()
        n = len(dictionary.targets)
        self.step_columns = max(1, TILE_ENTRIES // n)
        self._held = list(self._gathered()) if 8 * n * len(self.live) <= memory_limit else None

    def begin(self) -> ReweightedIterate:
        """Return equal variances, with no support yet."""
        targets = self.dictionary.targets
        variances = targets.new_ones((len(self.live), targets.shape[1]))
        nothing = self.live[:0]
        return ReweightedIterate(variances, nothing, self.dictionary.objective(torch.zeros_like(targets)))

    def step(self, now: ReweightedIterate) -> ReweightedIterate:
        """Return the next variances, with the support that the present ones choose."""
        means, variances = torch.empty_like(now.variances), torch.empty_like(now.variances)
        for output in range(now.variances.shape[1]):
            means[:, output], variances[:, output] = self._learnt(now.variances[:, output], output, now.noise)
        variances.clamp_(min=FLOOR * float(variances.max()))
        return replace(self._scored(now, means), variances=variances, noise=max(COOLING * now.noise, LAST_NOISE))

    def _learnt(self, variances: Tensor, output: int, noise: float) -> tuple[Tensor, Tensor]:
        """Return mean weights and updated variances (N,) of one output."""
        target = self.dictionary.targets[:, [output]]
        gram = target.new_zeros((len(target), len(target)))
        for part, columns in self._tiles():
            gram.addmm_(columns * variances[part], columns.T)
        gram.diagonal().add_(noise * float(gram.diagonal().mean()))
        factor = torch.linalg.cholesky(gram)
        residual = torch.cholesky_solve(target, factor)
        means, updated = torch.empty_like(variances), torch.empty_like(variances)
        for part, columns in self._tiles():
            slope = (columns.T @ residual)[:, 0]
            lengths = torch.linalg.solve_triangular(factor, columns, upper=False).square().sum(dim=0)
            means[part] = variances[part] * slope
            updated[part] = variances[part] * slope.square() / lengths
        return means, updated

    def _scored(self, now: ReweightedIterate, means: Tensor) -> ReweightedIterate:
        k = means.shape[1]
        values = means.new_zeros((self.dictionary.operator.size, k))
        values[self.live] = means
        support = self.dictionary.largest(values.flatten(), self.dictionary.budget)
        same = torch.equal(support, now.support)
        objective = now.objective if same else fitted(self.dictionary, support).objective
        stale = 0 if objective < now.best else now.stale + 1
        exact = objective <= EXACT**2 * self.dictionary.scale**2
        final = exact or stale >= PATIENCE
        return replace(
            now, support=support, objective=objective, best=min(objective, now.best), stale=stale, final=final
        )

    def _tiles(self) -> Iterator[tuple[slice, Tensor]]:
        return iter(self._gathered() if self._held is None else self._held)

    def _gathered(self) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, len(self.live), self.step_columns):
            part = slice(start, min(start + self.step_columns, len(self.live)))
            yield part, self.dictionary.columns(self.live[part] * self.dictionary.n_outputs)
