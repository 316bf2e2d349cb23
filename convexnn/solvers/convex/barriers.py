"""Barriers of the penalties: how an interior point method follows norms and squares to their optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from convexnn.checks import Floats
from convexnn.solvers.convex.basis.round_basis import RoundBasis


class Barrier(Protocol):
    """strength * R, smoothed by a parameter that goes to 0, with a dual z (q, d) that goes to its gradient."""

    def size_at(self, value: float, points: Floats) -> float:
        """Return t such that strength * R of one row of t * points is about `value`; 0 where R does not tell."""

    def first_smoothing(self, neurons: Floats) -> float:
        """Return the smoothing to begin with."""

    def target(self, neurons: Floats, smoothing: float) -> Floats:
        """Return the gradient of the smoothed penalty, (q, d)."""

    def linearise(self, neurons: Floats, dual: Floats, smoothing: float) -> Floats:
        """Return N (q, d, d), positive semidefinite, with dz = target - z + N du, for z inside the dual ball."""

    def longest_step(self, dual: Floats, change: Floats) -> float:
        """Return the longest step that keeps z in the dual ball."""

    def gap(self, neurons: Floats, dual: Floats) -> float:
        """Return strength R(u) + conjugate(z) - <z, u>, at least 0."""


@dataclass(frozen=True)
class NormBarrier:
    """strength * sum of the norms of the groups: rows (``rows=True``), or single entries.

    strength ||u|| is smoothed to s(u) - mu log(mu + s(u)), s = sqrt(mu^2 + strength^2 ||u||^2): the barrier of the
    second-order cone with its height minimised out. With t = (mu + s) / strength its gradient is strength u / t, and
    t z = strength u is what Newton's method is applied to.
    """

    strength: float
    rows: bool

    def size_at(self, value: float, points: Floats) -> float:
        return value / (self.strength * float(self._norms(points).sum(axis=1).mean()))

    def first_smoothing(self, neurons: Floats) -> float:
        return self.strength * float(self._norms(neurons).mean())

    def target(self, neurons: Floats, smoothing: float) -> Floats:
        height = np.maximum(self._smoothed(neurons, smoothing)[1], 1e-300)
        return self.strength * neurons / height

    def linearise(self, neurons: Floats, dual: Floats, smoothing: float) -> Floats:
        root, height = self._smoothed(neurons, smoothing)
        along = self.strength * neurons / root
        d = neurons.shape[1]
        if not self.rows:
            return np.eye(d) * ((self.strength - dual * along) / height)[:, None, :]
        outer = dual[:, :, None] * along[:, None, :]
        return (self.strength * np.eye(d) - (outer + outer.transpose(0, 2, 1)) / 2) / height[:, :, None]

    def longest_step(self, dual: Floats, change: Floats) -> float:
        room = np.maximum(self.strength**2 - self._dots(dual, dual), 0.0)
        along, square = self._dots(dual, change), self._dots(change, change)
        step = room / np.maximum(along + np.sqrt(along**2 + square * room), 1e-300)
        return float(step.min(initial=1.0))

    def gap(self, neurons: Floats, dual: Floats) -> float:
        return self.strength * float(self._norms(neurons).sum()) - float((dual * neurons).sum())

    def _dots(self, left: Floats, right: Floats) -> Floats:
        return (left * right).sum(axis=1, keepdims=True) if self.rows else left * right

    def _norms(self, neurons: Floats) -> Floats:
        return np.sqrt(self._dots(neurons, neurons))

    def _smoothed(self, neurons: Floats, smoothing: float) -> tuple[Floats, Floats]:
        """Return s(u) and t, the smoothed norms and the heights in the second-order cone."""
        root = np.sqrt(smoothing**2 + self.strength**2 * self._dots(neurons, neurons))
        return root, (smoothing + root) / self.strength


@dataclass(frozen=True)
class SquareBarrier:
    """strength / 2 * ||u||^2, or nothing at strength 0: smooth as it is, its dual is its gradient."""

    strength: float

    def size_at(self, value: float, points: Floats) -> float:
        return 0.0

    def first_smoothing(self, neurons: Floats) -> float:
        return 0.0

    def target(self, neurons: Floats, smoothing: float) -> Floats:
        return self.strength * neurons

    def linearise(self, neurons: Floats, dual: Floats, smoothing: float) -> Floats:
        return np.broadcast_to(self.strength * np.eye(neurons.shape[1]), (*neurons.shape, neurons.shape[1]))

    def longest_step(self, dual: Floats, change: Floats) -> float:
        return 1.0

    def gap(self, neurons: Floats, dual: Floats) -> float:
        return 0.0


@dataclass(frozen=True)
class BarrierInBasis:
    """A barrier of weights, asked and answered in the coordinates of a basis."""

    barrier: Barrier
    basis: RoundBasis

    def size_at(self, value: float, points: Floats) -> float:
        return self.barrier.size_at(value, self.basis.weights(points))

    def first_smoothing(self, neurons: Floats) -> float:
        return self.barrier.first_smoothing(self.basis.weights(neurons))

    def target(self, neurons: Floats, smoothing: float) -> Floats:
        return self.basis.slopes(self.barrier.target(self.basis.weights(neurons), smoothing))

    def linearise(self, neurons: Floats, dual: Floats, smoothing: float) -> Floats:
        known = self.basis.weights(neurons), self.basis.weight_slopes(dual)
        return self.basis.curvature(self.barrier.linearise(*known, smoothing))

    def longest_step(self, dual: Floats, change: Floats) -> float:
        return self.barrier.longest_step(self.basis.weight_slopes(dual), self.basis.weight_slopes(change))

    def gap(self, neurons: Floats, dual: Floats) -> float:
        return self.barrier.gap(self.basis.weights(neurons), self.basis.weight_slopes(dual))


def barrier_of(penalty: str, strength: float, basis: RoundBasis) -> Barrier:
    """Return the barrier of a penalty that does not couple neurons."""
    if penalty in ("group_l1", "l1"):
        return BarrierInBasis(NormBarrier(strength, rows=penalty == "group_l1"), basis)
    return BarrierInBasis(SquareBarrier(strength if penalty == "ridge" else 0.0), basis)
