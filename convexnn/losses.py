"""Losses: the mean over rows, on numpy arrays or torch tensors alike, with the dual that certifies them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from convexnn.checks import as_known


class Loss(Protocol):
    """A mean loss L(p) of predictions p for targets y, both (n,) or (n, k)."""

    @property
    def name(self) -> str:
        """The name that a program gives."""

    def value(self, prediction: Any, target: Any) -> float:
        """Return L(p)."""

    def gradient(self, prediction: Any, target: Any) -> Any:
        """Return dL/dp."""

    def dual(self, theta: Any, target: Any) -> float:
        """Return -L*(-theta), a lower bound at any dual feasible theta."""

    def expression(self, prediction: Any, target: Any) -> Any:
        """Return L as a cvxpy expression."""


@dataclass(frozen=True)
class SquaredLoss:
    """L(p) = 1/(2n) ||p - y||^2 for predictions p and targets y, both (n,) or (n, k)."""

    name: str = "squared"

    def value(self, prediction: Any, target: Any) -> float:
        """Return L(p) in squared units of y."""
        residual = prediction - target
        return float((residual * residual).sum()) / (2 * len(target))

    def gradient(self, prediction: Any, target: Any) -> Any:
        """Return dL/dp = (p - y) / n."""
        return (prediction - target) / len(target)

    def dual(self, theta: Any, target: Any) -> float:
        """Return -L*(-theta) = <theta, y> - n/2 ||theta||^2, a lower bound at any dual feasible theta."""
        return float((theta * target).sum() - 0.5 * len(target) * (theta * theta).sum())

    def expression(self, prediction: Any, target: Any) -> Any:
        """Return L as a cvxpy expression."""
        import cvxpy as cp

        return cp.sum_squares(prediction - target) / (2 * len(target))


LOSSES: dict[str, Loss] = {"squared": SquaredLoss()}


def loss_named(name: str) -> Loss:
    """Return the loss of that name; an unknown name is a ValueError that lists the known ones."""
    return LOSSES[as_known(name, "loss", LOSSES)]
