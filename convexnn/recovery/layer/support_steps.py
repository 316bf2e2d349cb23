"""Weights on a support of unit columns, the gates fixed: two ways of going part of the way to least squares.

A full step overfits the gates it is made for: when they follow the weights, the loss jumps. How far to go is a choice
that depends on the problem, and the search makes it by what the network's own loss says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from convexnn.recovery.layer.problem import NEGLIGIBLE, Problem, products

# Least damping of the Gram matrix of unit columns, by precision: below it equal columns make Cholesky fail.
LEAST_DAMPING = {torch.float32: 1e-5, torch.float64: 1e-12}


@dataclass(frozen=True, eq=False)
class UnitColumns:
    """Columns of unit length as the rows of C - S Q^T, which is not formed.

    Attributes
    ----------
    values : Tensor (s, n)
        C, the columns with their linear parts.
    shadows : Tensor (s, r)
        S = C Q, these linear parts in their basis; r is 0 where they count.
    basis : Tensor (n, r)
        Q, orthonormal.
    """

    values: Tensor
    shadows: Tensor
    basis: Tensor

    def gram(self) -> Tensor:
        """Return the products of all columns, (s, s)."""
        whole = products(self.values)
        return whole - self.shadows @ self.shadows.T if self.shadows.shape[1] else whole

    def combine(self, weights: Tensor) -> Tensor:
        """Return the sum (n,) of the columns by weights (s,)."""
        total = weights @ self.values
        return total - self.basis @ (weights @ self.shadows) if self.shadows.shape[1] else total

    def correlate(self, residual: Tensor) -> Tensor:
        """Return the products (s,) with a residual (n,) that has no linear part where these do not count."""
        return self.values @ residual


def unit_columns(problem: Problem, columns: Tensor) -> tuple[UnitColumns, Tensor]:
    """Return columns (s, n), which are overwritten, at unit length, and their lengths (s,).

    Those of which nothing is left beside a linear part are 0, as their lengths are.
    """
    shadows = columns @ problem.basis
    if problem.modulo_linear:
        whole = columns.square().sum(1)
        rest = whole - shadows.square().sum(1)
        lengths = torch.where(rest > NEGLIGIBLE[rest.dtype] * whole, rest, 0.0).sqrt()
    else:
        lengths = columns.norm(dim=1)
    inverse = torch.where(lengths > 0.0, 1.0 / lengths, 0.0)[:, None]
    columns *= inverse
    return UnitColumns(columns, shadows * inverse, problem.basis), lengths


def damped_step(columns: UnitColumns, residual: Tensor, damping: float) -> Tensor:
    """Return (C C^T + damping I)^-1 C r for unit columns as rows of C (s, n)."""
    gram, slope = columns.gram(), columns.correlate(residual)
    damping = max(damping, LEAST_DAMPING[gram.dtype])
    for _ in range(8):
        factor, failed = torch.linalg.cholesky_ex(
            gram + damping * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        )
        if not failed:
            return torch.cholesky_solve(slope[:, None], factor)[:, 0]
        damping *= 10.0
    return torch.zeros_like(slope)


def conjugate_steps(columns: UnitColumns, residual: Tensor, count: int) -> Tensor:
    """Return `count` steps of conjugate gradients towards the least squares step, from zero."""
    # All of it on the device, so that the host waits once; what would have ended early is not finite, and done again.
    step = _conjugate(columns, residual, count, Tensor.double)
    return step if isfinite(float(step.sum())) else _conjugate(columns, residual, count, float)


def _conjugate(columns: UnitColumns, residual: Tensor, count: int, number: Callable[[Tensor], Any]) -> Tensor:
    """Return the steps; they end early where a `number` is zero, if these are known to the host."""
    slope = columns.correlate(residual)
    step, left = torch.zeros_like(slope), residual
    direction, size = slope, number(slope @ slope)
    for _ in range(count):
        change = columns.combine(direction)
        curvature = number(change @ change)
        # Squares can underflow one before the other.
        if isinstance(size, float) and not (curvature > 0.0 and size > 0.0):
            break
        length = size / curvature
        step, left = step + length * direction, left - length * change
        slope = columns.correlate(left)
        before, size = size, number(slope @ slope)
        direction = slope + size / before * direction
    return step
