"""Swaps: exchange one column of the support for the best one outside, as long as the least squares fit gets better."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convexnn.solvers.thresholding.dictionary import Dictionary
from convexnn.solvers.thresholding.sparse_iterate import fitted

# A column with less than this share of its squared length outside the others' span is no exchange for them.
DEPENDENT = 1e-8

# A swap that lowers the loss by less than this share of it is none.
WORTH = 1e-9


@dataclass(frozen=True)
class SwapIterate:
    """A support, ascending, with the objective of its best fit; `final` where no swap lowers it."""

    support: Tensor
    objective: float
    final: bool = False


@dataclass(frozen=True)
class Swap:
    """The column `leaves` (flat index) makes place for `enters`; the squared residual falls by `gain`."""

    leaves: int
    enters: int
    gain: float


class SwapSearch:
    """What stays fixed in a run, and the step.

    Parameters
    ----------
    dictionary : Dictionary
        With the squared loss, in float64, not whitened.

    Notes
    -----
    With unit columns, G = A_S^T A_S, x the best fit on S, r its residual and W = G^-1 A_S^T A, exchanging i of S for j
    outside lowers ||r||^2 by (a_j^T r + x_i W_ij / d_i)^2 / (z_j + W_ij^2 / d_i) - x_i^2 / d_i, where d = diag(G^-1)
    and z_j = 1 - a_j^T A_S W_j is the squared distance of a_j from the span: all s N exchanges at once, for s^2 N
    flops. A column's products with all others are made once and kept: s N numbers. With several outputs a column is
    exchanged for one of the same output. (Local swaps: Hazimeh and Mazumder 2020; splicing: Zhu et al. 2020.)
    """

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.products: dict[int, Tensor] = {}
        self.usable = self._per_output(dictionary.norms) > 0.0
        self.slopes = self._per_output(dictionary.correlations(dictionary.targets))

    def begin(self, support: Tensor) -> SwapIterate:
        """Return the best fit on a support."""
        return SwapIterate(support, fitted(self.dictionary, support).objective)

    def step(self, now: SwapIterate) -> SwapIterate:
        """Return the support after the best swap; final where there is none."""
        best = max((self._best(now, output) for output in range(self.dictionary.n_outputs)), key=lambda swap: swap.gain)
        if not best.gain > 0.0:
            return replace(now, final=True)
        kept = now.support[now.support != best.leaves]
        support = torch.cat([kept, kept.new_tensor([best.enters])]).sort().values
        objective = fitted(self.dictionary, support).objective
        if not objective < (1.0 - WORTH) * now.objective:
            return replace(now, final=True)
        return SwapIterate(support, objective)

    def _best(self, now: SwapIterate, output: int) -> Swap:
        """Return the best exchange within one output, with gain 0 where there is none."""
        k = self.dictionary.n_outputs
        own = now.support[now.support % k == output] // k
        if not len(own):
            return Swap(-1, -1, 0.0)
        gains = swap_gains(self._products(own), own, self.slopes[:, output])
        gains[:, ~self.usable[:, output]] = -torch.inf
        if self.dictionary.cap is not None:
            gains[self._overfull(own, self.dictionary.cap)] = -torch.inf
        place = int(gains.argmax())
        i, j = divmod(place, gains.shape[1])
        return Swap(int(own[i]) * k + output, j * k + output, float(gains[i, j]))

    def _products(self, own: Tensor) -> Tensor:
        """Return A_S^T A (s, N) over unit columns; those of columns new to the support are made, others dropped."""
        inverse = self._per_output(self.dictionary.inverse_norms)[:, 0]
        missing = [int(index) for index in own if int(index) not in self.products]
        if missing:
            columns = self.dictionary.columns(own.new_tensor(missing) * self.dictionary.n_outputs)
            pages = self.dictionary.operator.adjoint_per_output(columns).flatten(1) * inverse
            self.products |= dict(zip(missing, pages, strict=True))
        return torch.stack([self.products[int(index)] for index in own])

    def _overfull(self, own: Tensor, cap: int) -> Tensor:
        """Return which exchanges (s, N) would put more than `cap` columns into one gate."""
        m, d = self.dictionary.operator.in_shape
        gates = own // d
        counts = torch.bincount(gates, minlength=m)
        full = (counts >= cap).repeat_interleave(d)
        same = gates[:, None] == torch.arange(m, device=own.device).repeat_interleave(d)
        return full & ~same

    def _per_output(self, flat: Tensor) -> Tensor:
        return flat.reshape(-1, self.dictionary.n_outputs)


def swap_gains(products: Tensor, own: Tensor, slopes: Tensor) -> Tensor:
    """Return by how much ||r||^2 falls when column i of the support is exchanged for column j, shape (s, N).

    Parameters: `products` A_S^T A (s, N), the support `own` (s,), `slopes` A^T y (N,), all over unit columns; minus
    infinity where j is in the support, or within its span.
    """
    factor, failed = torch.linalg.cholesky_ex(products[:, own])
    if failed:
        return torch.full_like(products, -torch.inf)
    weights = torch.cholesky_solve(slopes[own][:, None], factor)[:, 0]
    spread = torch.cholesky_solve(products, factor)
    variances = torch.cholesky_inverse(factor).diagonal()
    apart = 1.0 - (products * spread).sum(dim=0)
    left = slopes - weights @ products
    length = apart + spread.square() / variances[:, None]
    gained = (left + (weights / variances)[:, None] * spread).square() / length.clamp(min=DEPENDENT)
    gains = gained - (weights.square() / variances)[:, None]
    gains[length < DEPENDENT] = -torch.inf
    gains[:, own] = -torch.inf
    return gains


def swap_flops(budget: int, n_columns: int) -> float:
    """Return the flops of one swap, about: the solve for all exchanges."""
    return 4.0 * budget**2 * n_columns
