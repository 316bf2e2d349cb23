"""Whitened rows: the metric (A A^T + ridge I)^-1, in which coherent columns are told apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convexnn.linear.operator import PatternOperator

# The most rows of a factor, and the most work of its set-up, n^3 / 3 + n^2 N flops: a few seconds on two cores.
DENSE_ROWS = 2000
DENSE_FLOPS = 1e11

# Flops a second that times are estimated with: what one slow core does in float64.
SPEED = 1e10

# Numbers of one tile of columns.
TILE_ENTRIES = 1 << 22

# Ridges that are chosen from, as shares of the mean eigenvalue of A A^T.
LEAST_RIDGE, MOST_RIDGE = 1e-2, 1.0

# Ridge per share of the target that is noise: at 10 % noise a ridge of 1 keeps most of a support.
RIDGE_PER_NOISE = 10.0


@dataclass(frozen=True)
class Whitening:
    """The metric v^T (A A^T + shift I)^-1 v of predictions.

    `factor` (n, n) is the lower Cholesky factor in float64; `norms` (m, d) are the lengths of the columns,
    sqrt(a^T (A A^T + shift I)^-1 a), at most 1, and 0 where a column is 0.
    """

    factor: Tensor
    norms: Tensor

    def solve(self, residual: Tensor) -> Tensor:
        """Return (A A^T + shift I)^-1 r for r (n, k), in the precision of r."""
        return torch.cholesky_solve(residual.double(), self.factor).to(residual.dtype)


def whitened(operator: PatternOperator, ridge: float) -> Whitening:
    """Return the whitening of an operator's rows.

    Parameters
    ----------
    operator : PatternOperator
        A, with heads of ones and features of comparable size; in any precision, the factor is made in float64.
    ridge : float
        shift = ridge * trace(A A^T) / n, above 0: it bounds the condition number by n / ridge + 1.

    Notes
    -----
    The Puffer transformation of Jia and Rohe (2012) with a ridge: in this metric A A^T is nearly the identity, and
    A^T (A A^T + shift I)^-1 is the adjoint, of Li, Liu and Mi (2012). A A^T has the structure of
    :meth:`convexnn.linear.operator.PatternOperator.row_gram`; the column norms cost n^2 m d flops, tile by tile.
    """
    double = operator.cast("float64")
    gram = double.row_gram()
    gram.diagonal().add_(ridge * float(gram.diagonal().mean()))
    factor = torch.linalg.cholesky(gram)
    norms = operator.X.new_zeros(operator.size)
    for support in owned_tiles(operator):
        norms[support] = lengths(factor, double.columns(support)).to(operator.dtype)
    return Whitening(factor, norms.reshape(operator.in_shape))


def lengths(factor: Tensor, columns: Tensor) -> Tensor:
    """Return sqrt(a^T (L L^T)^-1 a) of each of the columns (n, w), for the factor L (n, n)."""
    return torch.linalg.solve_triangular(factor, columns, upper=False).norm(dim=0)


def owned_tiles(operator: PatternOperator) -> tuple[Tensor, ...]:
    """Return the flat indices of the columns that patterns own, in parts whose columns together are not too large."""
    owned = torch.arange(operator.size, device=operator.device)
    if operator.owned is not None:
        owned = torch.nonzero(operator.owned.flatten())[:, 0]
    return owned.split(max(1, TILE_ENTRIES // operator.out_shape[0]))


def setup_flops(n_rows: int, n_columns: int) -> float:
    """Return the flops of a whitening's set-up: the Cholesky factor and the column norms."""
    return n_rows**3 / 3 + float(n_rows) ** 2 * n_columns


def whitening_bytes(n_rows: int, n_columns: int) -> int:
    """Return the bytes of a whitening and its set-up: the factor and the gram, norms, three tiles of columns."""
    return 8 * (2 * n_rows**2 + 2 * n_columns + 3 * min(n_rows * n_columns, max(n_rows, TILE_ENTRIES)))


def affordable_rows(n_rows: int, n_columns: int, memory_limit: int, flops: float = DENSE_FLOPS) -> int:
    """Return how many of the rows can be whitened: all of them, or as many as the limits on work and memory allow."""
    by_work = int((flops / (n_columns + n_rows / 3)) ** 0.5)
    # The gram and its factor, 8 bytes a number.
    by_memory = int((max(memory_limit, 0) / 16) ** 0.5)
    return min(n_rows, DENSE_ROWS, by_work, by_memory)


def ridge_for(noise: float) -> float:
    """Return the ridge for a share ||residual|| / ||target|| that no support explains."""
    return min(max(RIDGE_PER_NOISE * noise, LEAST_RIDGE), MOST_RIDGE)
