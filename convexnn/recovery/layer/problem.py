"""The data of a recovery, at unit scale on a torch device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

# Singular values, as a share of the largest, below which directions of the rows are rounding.
RANK = 1e-7

# Squares of what is left of a column without its linear part, as a share of the column's, that rounding explains.
NEGLIGIBLE = {torch.float32: 1e-5, torch.float64: 1e-13}

# Ridge on the second moments of columns of unit scale: those of groups of 0 and 1 add up, and have no inverse.
MOMENT_RIDGE = 1e-4

# Rows for which the derivative is held at one time: few enough that it stays in the cache.
TILE_ROWS = 1024

# Inputs from which products leave out those that no weight reads, where these are at least so many times the others.
MANY_INPUTS, SPARE = 256, 4


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows (n, d) with columns of root mean square 1 (or 0), and a target (n,) of root mean square 1.

    Attributes
    ----------
    correlated : bool
        Whether columns count as correlated, as those of one sign are: weights are then compared by what each adds to
        the others of its neuron.
    modulo_linear : bool
        Whether a network has the best linear function of the rows beside it. Residuals, and the target, are then
        without their linear parts, and relu(u) is the same as relu(-u) = relu(u) - u.
    """

    rows: Tensor
    target: Tensor
    correlated: bool = False
    modulo_linear: bool = False

    @cached_property
    def columns(self) -> Tensor:
        """X^T (d, n), contiguous: the columns of a support are rows of it."""
        return self.rows.T.contiguous()

    @cached_property
    def squares(self) -> Tensor:
        """X^2 entry by entry, (n, d)."""
        return self.rows.square()

    @cached_property
    def basis(self) -> Tensor:
        """Orthonormal columns (n, r) that span those of the rows; none where nothing is projected out."""
        if not self.modulo_linear:
            return self.rows[:, :0]
        left, lengths, _ = torch.linalg.svd(self.rows.double(), full_matrices=False)
        return left[:, lengths > RANK * lengths[0]].to(self.rows.dtype).contiguous()

    @cached_property
    def precision(self) -> Tensor:
        """The inverse of X^T X / n + ridge, (d, d)."""
        rows = self.rows.double()
        moments = rows.T @ rows / len(rows)
        moments.diagonal().add_(MOMENT_RIDGE)
        return torch.linalg.inv(moments).to(self.rows.dtype)

    @cached_property
    def own_shares(self) -> Tensor:
        """The share of each column's length that the others do not explain, (d,)."""
        return self.precision.diagonal().rsqrt()

    @cached_property
    def spread(self) -> Tensor:
        """The standard deviation of each column, 1 where it is 0, (d,)."""
        spread = self.rows.std(0, correction=0)
        return torch.where(spread > 0.0, spread, 1.0)

    @cached_property
    def inverse_covariance(self) -> Tensor:
        """The pseudo-inverse of the covariance of the rows, (d, d)."""
        rows = self.rows.double() - self.rows.double().mean(0)
        return torch.linalg.pinv(rows.T @ rows / len(rows), rtol=RANK, hermitian=True).to(self.rows.dtype)

    @cached_property
    def whitened(self) -> Tensor:
        """C^-1 (x - mean) for every row x, C the covariance, (n, d)."""
        return (self.rows - self.rows.mean(0)) @ self.inverse_covariance

    def project(self, vectors: Tensor) -> Tensor:
        """Return vectors (..., n) without their linear parts, where these are not counted."""
        return vectors - (vectors @ self.basis) @ self.basis.T if self.modulo_linear else vectors

    def column_squares(self, active: Tensor) -> Tensor:
        """Return the squared norms (p, d) of the columns D_j x_i for masks (p, n) of 0 and 1.

        Modulo linear functions, those of the parts orthogonal to x_i alone: an upper bound, and cheap.
        """
        squares = active @ self.squares
        if not self.modulo_linear:
            return squares
        whole = self.squares.sum(0)
        rest = squares - squares.square() / torch.where(whole > 0.0, whole, 1.0)
        return torch.where(rest > NEGLIGIBLE[rest.dtype] * whole, rest, 0.0)

    def linear(self, weights: Tensor) -> Tensor:
        """Return X W^T, (n, p)."""
        read = self._read(weights)
        return self.rows @ weights.T if read is None else self.columns[read].T @ weights[:, read].T

    def inputs(self, weights: Tensor) -> Tensor:
        """Return W X^T, (p, n): what goes into each of p neurons, row by row."""
        read = self._read(weights)
        return weights @ self.columns if read is None else weights[:, read] @ self.columns[read]

    def _read(self, weights: Tensor) -> Tensor | None:
        """Return the features that neurons read, None where they are many."""
        if weights.shape[1] < MANY_INPUTS:
            return None
        read = torch.nonzero((weights != 0.0).any(0))[:, 0]
        return read if SPARE * len(read) <= weights.shape[1] else None

    def residual(self, weights: Tensor, signs: Tensor) -> Tensor:
        """Return y - sum_j signs_j relu(X w_j), (n,)."""
        return self.target - self.project(torch.relu(self.linear(weights)) @ signs)

    def loss(self, weights: Tensor, signs: Tensor) -> float:
        """Return the mean square of the residual: the share of the target's mean square that is missed."""
        return mean_square(self.residual(weights, signs))

    def evaluate(self, weights: Tensor, signs: Tensor) -> Evaluation:
        """Return what a network makes of the rows."""
        linear = self.linear(weights)
        return Evaluation(self, weights, signs, linear, self.target - self.project(torch.relu(linear) @ signs))

    def take(self, index: Tensor) -> Problem:
        """Return the problem on some rows."""
        part = replace(self, rows=self.rows[index], target=self.target[index], modulo_linear=False)
        return part.without_linear() if self.modulo_linear else part

    def of_inputs(self, inputs: Tensor, target: Tensor) -> Problem:
        """Return the problem of another target (n,), for networks that read some inputs (k,) alone, in their order.

        What is known of all inputs serves again where they are all there; modulo linear functions they have to be.
        """
        if len(inputs) < self.rows.shape[1]:
            return replace(self, rows=self.rows[:, inputs], target=target)
        other = replace(self, target=target)
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name != "target"})
        return other

    def to(self, dtype: torch.dtype) -> Problem:
        """Return this problem in another precision."""
        return replace(self, rows=self.rows.to(dtype), target=self.target.to(dtype))

    def without_linear(self) -> Problem:
        """Return the problem modulo linear functions of the rows, columns of which count as correlated."""
        free = replace(self, correlated=True, modulo_linear=True)
        return replace(free, target=free.project(self.target))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network makes of the rows of a problem.

    Attributes
    ----------
    problem : Problem
        The rows and the target.
    weights : Tensor (p, d)
        Of its neurons, at unit scale.
    signs : Tensor (p,)
        Of its neurons in the output.
    linear : Tensor (n, p)
        What goes into the ReLUs.
    residual : Tensor (n,)
        What is missed of the target.
    """

    problem: Problem
    weights: Tensor
    signs: Tensor
    linear: Tensor
    residual: Tensor

    @cached_property
    def loss(self) -> float:
        """The mean square of the residual."""
        return mean_square(self.residual)

    def equations(self, support: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return J J^T (s, s) and J r (s,) for the weights of a support; see :func:`normal_equations`."""
        return normal_equations(self.problem, self.linear > 0.0, self.signs, support, self.residual)


def normal_equations(
    problem: Problem, active: Tensor, signs: Tensor, support: tuple[Tensor, ...], residual: Tensor
) -> tuple[Tensor, Tensor]:
    """Return J J^T (s, s) and J r (s,) for the derivative J (s, n) of the network at its masks `active` (n, p).

    Modulo linear functions J is without its linear part: J J^T - (J Q) (J Q)^T for their basis Q. J is made for some
    rows at a time: beside the data and the masks memory does not grow with n.
    """
    gates, features = support[0], support[1]
    half, slope = residual.new_zeros((len(gates), len(gates))), residual.new_zeros(len(gates))
    shadow = residual.new_zeros((len(gates), problem.basis.shape[1]))
    for start in range(0, len(residual), TILE_ROWS):
        tile = slice(start, start + TILE_ROWS)
        slopes = problem.columns[:, tile][features] * (active[tile].to(residual.dtype) * signs).T[gates]
        half += lower_products(slopes)
        slope += slopes @ residual[tile]
        shadow += slopes @ problem.basis[tile]
    half.tril_()
    return half + torch.tril(half, -1).T - shadow @ shadow.T, slope


def products(columns: Tensor) -> Tensor:
    """Return C C^T (s, s) for C (s, n)."""
    half = torch.tril(lower_products(columns))
    return half + torch.tril(half, -1).T


def lower_products(columns: Tensor) -> Tensor:
    """Return a matrix whose lower triangle is that of C C^T (s, s) for C (s, n): on a CPU by half the products."""
    if columns.device.type != "cpu" or not columns.numel():
        return columns @ columns.T
    from scipy.linalg.blas import dsyrk, ssyrk

    syrk = ssyrk if columns.dtype == torch.float32 else dsyrk
    return torch.as_tensor(syrk(1.0, columns.contiguous().numpy().T, trans=1).T)


def mean_square(residual: Tensor) -> float:
    """Return the mean of the squares."""
    return float(residual.square().mean())
