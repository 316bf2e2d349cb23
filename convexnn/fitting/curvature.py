"""Curvature of the losses in the outputs: the square root that makes a Gauss-Newton matrix of a derivative."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def rooted(loss: str, outputs: Tensor, jacobian: Tensor) -> Tensor:
    """Return R_i J_i of all rows i, (n k, f), with R_i^T R_i the curvature of the row's loss at its outputs.

    Parameters: the name of a loss, the outputs (n, k), the derivative J (n k, f), row by row.
    """
    return _ROOTS[loss](outputs, jacobian)


def _squared(outputs: Tensor, jacobian: Tensor) -> Tensor:
    return jacobian


def _logistic(outputs: Tensor, jacobian: Tensor) -> Tensor:
    share = torch.sigmoid(outputs)
    return jacobian * (share * (1.0 - share)).sqrt()


def _softmax(outputs: Tensor, jacobian: Tensor) -> Tensor:
    """Return sqrt(p) * (J - p.J): diag(p) - p p^T is the product of diag(sqrt p) - p sqrt(p)^T and its transpose."""
    share = torch.softmax(outputs, 1)[:, :, None]
    blocks = jacobian.reshape(*outputs.shape, -1)
    return (share.sqrt() * (blocks - (share * blocks).sum(1, keepdim=True))).reshape(jacobian.shape)


_ROOTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": _squared,
    "logistic": _logistic,
    "softmax": _softmax,
}
