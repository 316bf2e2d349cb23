"""Losses over rows of different weight: 1/n sum_i w_i L_i, with weights of mean 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from convexnn.checks import Floats
from convexnn.program.losses import Loss


def weighted_value(loss: Loss, outputs: Tensor, target: Tensor, weights: Tensor | None) -> float:
    """Return the weighted mean loss of outputs (n, k) for weights (n,), or the mean loss without."""
    if weights is None:
        return loss.value(outputs, target)
    return float((weights * _ROWS[loss.name](outputs, target)).sum()) / len(target)


def mean_loss(loss: Loss, outputs: Floats, target: Floats, weights: Floats | None) -> float:
    """Return the weighted mean loss of outputs (n,) or (n, k) as arrays."""
    if weights is None:
        return loss.value(outputs, target)
    given, wanted = (torch.as_tensor(part.reshape(len(weights), -1)) for part in (outputs, target))
    return weighted_value(loss, given, wanted, torch.as_tensor(weights))


def weighted_slope(loss: Loss, outputs: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    """Return the gradient (n, k) of :func:`weighted_value` in the outputs."""
    slope: Tensor = loss.gradient(outputs, target)
    return slope if weights is None else slope * weights[:, None]


def weighted_rows(columns: Tensor, weights: Tensor | None) -> Tensor:
    """Return columns (n k, f) times the roots of the weights (n,) of their rows, k following rows each."""
    if weights is None:
        return columns
    return columns * weights.sqrt().repeat_interleave(len(columns) // len(weights))[:, None]


def weighted_mean(columns: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weighted means (k,) of columns (n, k)."""
    return columns.mean(0) if weights is None else weights.to(columns) @ columns / len(columns)


# The loss of each row (n,), outputs and target (n, k).
_ROWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": lambda outputs, target: 0.5 * (outputs - target).square().sum(1),
    "logistic": lambda outputs, target: softplus(-target * outputs).sum(1),
    "softmax": lambda outputs, target: -(target * torch.log_softmax(outputs, 1)).sum(1),
}
