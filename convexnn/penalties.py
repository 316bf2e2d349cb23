"""Penalties of the convex programs: value, support function of the dual, and the cvxpy expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from convexnn.checks import Floats, as_known


class Penalty(Protocol):
    """A convex penalty R of the weights W (m, d), used as strength * R(W)."""

    @property
    def name(self) -> str:
        """The name that a program gives."""

    def value(self, weights: Floats) -> float:
        """Return R(W)."""

    @property
    def degree(self) -> int:
        """p with R(t W) = t^p R(W) for t > 0."""

    def dual_scaling(self, slope: Floats, strength: float) -> float:
        """Return the factor in (0, 1] that makes theta dual feasible, given slope = A^T theta (m, d)."""

    def conjugate(self, slope: Floats, strength: float) -> float:
        """Return (strength R)*(slope) at a feasible slope."""

    def expression(self, weights: Any) -> Any:
        """Return R as a cvxpy expression of the (m, d) weights."""


@dataclass(frozen=True)
class L1:
    """R(W) = sum_ji |w_ji|."""

    name: str = "l1"
    degree: int = 1

    def value(self, weights: Floats) -> float:
        return float(np.abs(weights).sum())

    def dual_scaling(self, slope: Floats, strength: float) -> float:
        return _into_ball(float(np.abs(slope).max(initial=0.0)), strength)

    def conjugate(self, slope: Floats, strength: float) -> float:
        return 0.0

    def expression(self, weights: Any) -> Any:
        import cvxpy as cp

        return cp.sum(cp.abs(weights))


@dataclass(frozen=True)
class GroupL1:
    """R(W) = sum_j ||w_j||_2: one group a gate (neuron)."""

    name: str = "group_l1"
    degree: int = 1

    def value(self, weights: Floats) -> float:
        return float(np.linalg.norm(weights, axis=1).sum())

    def dual_scaling(self, slope: Floats, strength: float) -> float:
        return _into_ball(float(np.linalg.norm(slope, axis=1).max(initial=0.0)), strength)

    def conjugate(self, slope: Floats, strength: float) -> float:
        return 0.0

    def expression(self, weights: Any) -> Any:
        import cvxpy as cp

        return cp.sum(cp.norm2(weights, axis=1))


@dataclass(frozen=True)
class Ridge:
    """R(W) = 1/2 sum_ji w_ji^2."""

    name: str = "ridge"
    degree: int = 2

    def value(self, weights: Floats) -> float:
        return 0.5 * float((weights * weights).sum())

    def dual_scaling(self, slope: Floats, strength: float) -> float:
        return 1.0

    def conjugate(self, slope: Floats, strength: float) -> float:
        return float((slope * slope).sum()) / (2 * strength)

    def expression(self, weights: Any) -> Any:
        import cvxpy as cp

        return cp.sum_squares(weights) / 2


def _into_ball(dual_norm: float, strength: float) -> float:
    return 1.0 if dual_norm <= strength else strength / dual_norm


PENALTIES: dict[str, Penalty] = {"l1": L1(), "group_l1": GroupL1(), "ridge": Ridge()}


def penalty_named(name: str) -> Penalty:
    """Return the penalty of that name; an unknown name is a ValueError that lists the known ones."""
    return PENALTIES[as_known(name, "penalty", PENALTIES)]
