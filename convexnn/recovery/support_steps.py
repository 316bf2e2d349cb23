"""Weights on a support of unit columns, the gates fixed: two ways of going part of the way to least squares.

A full step overfits the gates it is made for: when they follow the weights, the loss jumps. How far to go is a choice
that depends on the problem, and the search makes it by what the network's own loss says.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# fit(columns (s, n), residual (n,)) -> the step of the weights (s,)
Fit = Callable[[Tensor, Tensor], Tensor]

# Least damping of the Gram matrix of unit columns, by precision: below it equal columns make Cholesky fail.
LEAST_DAMPING = {torch.float32: 1e-5, torch.float64: 1e-12}


def damped_step(columns: Tensor, residual: Tensor, damping: float) -> Tensor:
    """Return (C C^T + damping I)^-1 C r for unit columns as rows of C (s, n)."""
    gram, slope = columns @ columns.T, columns @ residual
    damping = max(damping, LEAST_DAMPING[columns.dtype])
    for _ in range(8):
        factor, failed = torch.linalg.cholesky_ex(
            gram + damping * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        )
        if not failed:
            return torch.cholesky_solve(slope[:, None], factor)[:, 0]
        damping *= 10.0
    return torch.zeros_like(slope)


def conjugate_steps(columns: Tensor, residual: Tensor, count: int) -> Tensor:
    """Return `count` steps of conjugate gradients towards the least squares step, from zero."""
    step, left = torch.zeros_like(columns[:, 0]), residual
    slope = columns @ left
    direction, size = slope, float(slope @ slope)
    for _ in range(count):
        change = direction @ columns
        curvature = float(change @ change)
        # Squares can underflow one before the other.
        if not (curvature > 0.0 and size > 0.0):
            break
        length = size / curvature
        step, left = step + length * direction, left - length * change
        slope = columns @ left
        before, size = size, float(slope @ slope)
        direction = slope + size / before * direction
    return step
