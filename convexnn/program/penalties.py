"""Penalties of the convex programs: value, proximal map, support function of the dual, cvxpy expression.

Every penalty acts on a matrix W (q, d) with one row a neuron and one column a feature, in numpy or in torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from convexnn.checks import as_known


class Penalty(Protocol):
    """A convex penalty R of the weights W (q, d), used as strength * R(W)."""

    @property
    def name(self) -> str:
        """The name that a program gives."""

    @property
    def degree(self) -> int:
        """p with R(t W) = t^p R(W) for t > 0."""

    @property
    def scales_rows(self) -> bool:
        """Whether prox scales each row as a whole: then prox of R plus a cone is prox after projection."""

    def value(self, weights: Any) -> float:
        """Return R(W)."""

    def prox(self, weights: Any, amount: float) -> Any:
        """Return argmin_V amount * R(V) + 1/2 ||V - W||^2."""

    def dual_norm(self, slope: Any) -> float:
        """Return the dual norm of `slope` (q, d); 0 for penalties that are finite in the dual, or not a norm."""

    def conjugate(self, slope: Any, strength: float) -> float:
        """Return (strength R)*(slope) at a feasible slope."""

    def expression(self, weights: Any) -> Any:
        """Return R as a cvxpy expression of the (q, d) weights."""


def row_norms(array: Any) -> Any:
    """Return the Euclidean norm of each row (q,) of a numpy array or torch tensor (q, d)."""
    return (array * array).sum(1) ** 0.5


@dataclass(frozen=True)
class L1:
    """R(W) = sum_ji |w_ji|."""

    name: str = "l1"
    degree: int = 1
    scales_rows: bool = False

    def value(self, weights: Any) -> float:
        return float(abs(weights).sum())

    def prox(self, weights: Any, amount: float) -> Any:
        # What is longer than all weights leaves nothing, and need not fit into float32.
        most = min(amount, float(abs(weights).max()))
        return weights - weights.clip(-most, most)

    def dual_norm(self, slope: Any) -> float:
        return float(abs(slope).max())

    def conjugate(self, slope: Any, strength: float) -> float:
        return 0.0

    def expression(self, weights: Any) -> Any:
        import cvxpy as cp

        return cp.sum(cp.abs(weights))


@dataclass(frozen=True)
class GroupL1:
    """R(W) = sum_j ||w_j||_2: one group a neuron."""

    name: str = "group_l1"
    degree: int = 1
    scales_rows: bool = True

    def value(self, weights: Any) -> float:
        return float(row_norms(weights).sum())

    def prox(self, weights: Any, amount: float) -> Any:
        return weights * shrinkage(row_norms(weights), amount)[:, None]

    def dual_norm(self, slope: Any) -> float:
        return float(row_norms(slope).max())

    def conjugate(self, slope: Any, strength: float) -> float:
        return 0.0

    def expression(self, weights: Any) -> Any:
        import cvxpy as cp

        return cp.sum(cp.norm2(weights, axis=1))


@dataclass(frozen=True)
class FeatureL1:
    """R(W) = sum_i ||W_:i||_2: one group a feature, over all neurons and outputs."""

    name: str = "feature_l1"
    degree: int = 1
    scales_rows: bool = False

    def value(self, weights: Any) -> float:
        return float(row_norms(weights.T).sum())

    def prox(self, weights: Any, amount: float) -> Any:
        return weights * shrinkage(row_norms(weights.T), amount)

    def dual_norm(self, slope: Any) -> float:
        return float(row_norms(slope.T).max())

    def conjugate(self, slope: Any, strength: float) -> float:
        return 0.0

    def expression(self, weights: Any) -> Any:
        import cvxpy as cp

        return cp.sum(cp.norm2(weights, axis=0))


@dataclass(frozen=True)
class Ridge:
    """R(W) = 1/2 sum_ji w_ji^2."""

    name: str = "ridge"
    degree: int = 2
    scales_rows: bool = True

    def value(self, weights: Any) -> float:
        return 0.5 * float((weights * weights).sum())

    def prox(self, weights: Any, amount: float) -> Any:
        return weights / (1.0 + amount)

    def dual_norm(self, slope: Any) -> float:
        return 0.0

    def conjugate(self, slope: Any, strength: float) -> float:
        return float((slope * slope).sum()) / (2 * strength)

    def expression(self, weights: Any) -> Any:
        import cvxpy as cp

        return cp.sum_squares(weights) / 2


@dataclass(frozen=True)
class NoPenalty:
    """R(W) = 0: nothing is penalised, and no theta but one with A^T theta = 0 gives a bound."""

    name: str = "none"
    degree: int = 1
    scales_rows: bool = True

    def value(self, weights: Any) -> float:
        return 0.0

    def prox(self, weights: Any, amount: float) -> Any:
        return weights

    def dual_norm(self, slope: Any) -> float:
        return 0.0

    def conjugate(self, slope: Any, strength: float) -> float:
        return 0.0 if not bool((slope != 0.0).any()) else float("inf")

    def expression(self, weights: Any) -> Any:
        return 0.0


def shrinkage(norms: Any, amount: Any) -> Any:
    """Return the factors (1 - amount / norm)_+ of group soft thresholding; 0 for a zero group."""
    small = norms <= amount
    safe = norms + small
    return (1.0 - amount / safe) * ~small


PENALTIES: dict[str, Penalty] = {
    "group_l1": GroupL1(),
    "feature_l1": FeatureL1(),
    "l1": L1(),
    "ridge": Ridge(),
    "none": NoPenalty(),
}


def penalty_named(name: str) -> Penalty:
    """Return the penalty of that name; an unknown name is a ValueError that lists the known ones."""
    return PENALTIES[as_known(name, "penalty", PENALTIES)]


def into_ball(norm: float, radius: float) -> float:
    """Return the factor in (0, 1] that brings a vector of that norm into the ball."""
    return 1.0 if norm <= radius else radius / norm
