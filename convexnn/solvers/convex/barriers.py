"""Barriers of the penalties: how an interior point method follows norms and squares to their optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from convexnn.solvers.convex.arrays import Array, ArrayLibrary
from convexnn.solvers.convex.basis.round_basis import RoundBasis


class Barrier(Protocol):
    """strength * R, smoothed by a parameter that goes to 0, with a dual z (q, d) that goes to its gradient."""

    def size_at(self, value: float, points: Array) -> float:
        """Return t such that strength * R of one row of t * points is about `value`; 0 where R does not tell."""

    def first_smoothing(self, neurons: Array) -> float:
        """Return the smoothing to begin with."""

    def target(self, neurons: Array, smoothing: float) -> Array:
        """Return the gradient of the smoothed penalty, (q, d)."""

    def linearise(self, neurons: Array, dual: Array, smoothing: float) -> Array:
        """Return N (q, d, d), positive semidefinite, with dz = target - z + N du, for z inside the dual ball."""

    def longest_step(self, dual: Array, change: Array) -> float:
        """Return the longest step that keeps z in the dual ball."""

    def gap(self, neurons: Array, dual: Array) -> float:
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
    arrays: ArrayLibrary

    def size_at(self, value: float, points: Array) -> float:
        return value / (self.strength * float(self._norms(points).sum(axis=1).mean()))

    def first_smoothing(self, neurons: Array) -> float:
        return self.strength * float(self._norms(neurons).mean())

    def target(self, neurons: Array, smoothing: float) -> Array:
        height = self._smoothed(neurons, smoothing)[1].clip(1e-300, None)
        return self.strength * neurons / height

    def linearise(self, neurons: Array, dual: Array, smoothing: float) -> Array:
        root, height = self._smoothed(neurons, smoothing)
        along = self.strength * neurons / root
        identity = self.arrays.eye(neurons.shape[1])
        if not self.rows:
            return identity * ((self.strength - dual * along) / height)[:, None, :]
        outer = dual[:, :, None] * along[:, None, :]
        return (self.strength * identity - (outer + outer.mT) / 2) / height[:, :, None]

    def longest_step(self, dual: Array, change: Array) -> float:
        room = (self.strength**2 - self._dots(dual, dual)).clip(0.0, None)
        along, square = self._dots(dual, change), self._dots(change, change)
        step = room / (along + (along**2 + square * room) ** 0.5).clip(1e-300, None)
        # In this order a step that is not a number stays one.
        return min(float(step.min()), 1.0) if len(step) else 1.0

    def gap(self, neurons: Array, dual: Array) -> float:
        return self.strength * float(self._norms(neurons).sum()) - float((dual * neurons).sum())

    def _dots(self, left: Array, right: Array) -> Array:
        return (left * right).sum(axis=1, keepdims=True) if self.rows else left * right

    def _norms(self, neurons: Array) -> Array:
        return self._dots(neurons, neurons) ** 0.5

    def _smoothed(self, neurons: Array, smoothing: float) -> tuple[Array, Array]:
        """Return s(u) and t, the smoothed norms and the heights in the second-order cone."""
        root = (smoothing**2 + self.strength**2 * self._dots(neurons, neurons)) ** 0.5
        return root, (smoothing + root) / self.strength


@dataclass(frozen=True)
class SquareBarrier:
    """strength / 2 * ||u||^2, or nothing at strength 0: smooth as it is, its dual is its gradient."""

    strength: float
    arrays: ArrayLibrary

    def size_at(self, value: float, points: Array) -> float:
        return 0.0

    def first_smoothing(self, neurons: Array) -> float:
        return 0.0

    def target(self, neurons: Array, smoothing: float) -> Array:
        return self.strength * neurons

    def linearise(self, neurons: Array, dual: Array, smoothing: float) -> Array:
        d = neurons.shape[1]
        return self.arrays.functions.broadcast_to(self.strength * self.arrays.eye(d), (len(neurons), d, d))

    def longest_step(self, dual: Array, change: Array) -> float:
        return 1.0

    def gap(self, neurons: Array, dual: Array) -> float:
        return 0.0


@dataclass(frozen=True)
class BarrierInBasis:
    """A barrier of weights, asked and answered in the coordinates of a basis."""

    barrier: Barrier
    basis: RoundBasis

    def size_at(self, value: float, points: Array) -> float:
        return self.barrier.size_at(value, self.basis.weights(points))

    def first_smoothing(self, neurons: Array) -> float:
        return self.barrier.first_smoothing(self.basis.weights(neurons))

    def target(self, neurons: Array, smoothing: float) -> Array:
        return self.basis.slopes(self.barrier.target(self.basis.weights(neurons), smoothing))

    def linearise(self, neurons: Array, dual: Array, smoothing: float) -> Array:
        known = self.basis.weights(neurons), self.basis.weight_slopes(dual)
        return self.basis.curvature(self.barrier.linearise(*known, smoothing))

    def longest_step(self, dual: Array, change: Array) -> float:
        return self.barrier.longest_step(self.basis.weight_slopes(dual), self.basis.weight_slopes(change))

    def gap(self, neurons: Array, dual: Array) -> float:
        return self.barrier.gap(self.basis.weights(neurons), self.basis.weight_slopes(dual))


def barrier_of(penalty: str, strength: float, basis: RoundBasis, arrays: ArrayLibrary) -> Barrier:
    """Return the barrier of a penalty that does not couple neurons."""
    if penalty in ("group_l1", "l1"):
        return BarrierInBasis(NormBarrier(strength, penalty == "group_l1", arrays), basis)
    return BarrierInBasis(SquareBarrier(strength if penalty == "ridge" else 0.0, arrays), basis)
