"""The interior point method where the loss couples outputs: the softmax, with a k x k Hessian for each row."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Floats
from convexnn.mapping.cones import least_distance
from convexnn.program.convex_program import ConvexProgram
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.convex.gate_cones import GateCones
from convexnn.solvers.convex.interior_steps import InteriorIterate, InteriorPoint
from convexnn.solvers.convex.newton_system import TILE, Factor, NewtonSystem, RowFactor, block_roots, kernel

# Most rows times classes: the system is a dense matrix of that size, and its factor takes seconds at 4,000.
MOST_ROWS = 4000


class OutputCones(GateCones):
    """The cones of k outputs, over the same gates: neurons (k q, d) output after output, predictions (n, k)."""

    def __init__(self, program: ConvexProgram) -> None:
        super().__init__(program)
        self.k = program.n_outputs
        self.owned = np.tile(self.owned, (self.k, 1))
        self.sides, self.bound = np.tile(self.sides, (1, self.k)), np.tile(self.bound, (1, self.k))

    def forward(self, neurons: Floats) -> Floats:
        """Return the predictions (n, k) of neurons (k q, d)."""
        return np.stack([super(OutputCones, self).forward(part) for part in np.split(neurons, self.k)], axis=1)

    def _adjoint(self, residual: Floats, rows: Floats) -> Floats:
        halves = [(self.gates * column[:, None]).T @ rows for column in residual.T]
        return np.concatenate([part for half in halves for part in (half, -half)]) * self.owned

    def interior_points(self) -> Floats:
        """Return a unit point well inside each neuron's cone, (k q, d)."""
        return np.tile(super().interior_points(), (self.k, 1))

    def project(self, weights: Floats) -> Floats:
        """Return the nearest points of the cones to neurons as weights, (k q, d)."""
        active = np.tile(self.gates, (1, 2 * self.k))
        return least_distance(self.data, active, weights, features=self.owned).points


class SoftmaxPoint(InteriorPoint):
    """The method for all outputs of a softmax program at once; its target is (n, k)."""

    def __init__(self, program: ConvexProgram, target: Floats, tolerance: float, tile: int = TILE) -> None:
        if target.size > MOST_ROWS:
            raise UnsuitedError(
                f"{len(target)} rows times {target.shape[1]} classes are more than the {MOST_ROWS} of solver "
                "'interior_point' with the softmax; solver 'admm' can do it"
            )
        super().__init__(program, target, tolerance, tile)

    def _cones_of(self, program: ConvexProgram) -> GateCones:
        return OutputCones(program)

    def _system(self, now: InteriorIterate, weights: Floats, penalty: Floats) -> NewtonSystem:
        return CoupledSystem(self.cones, self._root(now.neurons), weights, penalty, self.tile)

    def _root(self, neurons: Floats) -> Floats:
        """Return R (n, k, k) with R_i R_i^T the Hessian of row i, (diag(p) - p p^T) / n at its shares p.

        With s = p^1/2, of length 1, R = diag(s) (I - s s^T) / n^1/2: the middle is a projection, its own square.
        """
        shares = np.clip(self.y + len(self.y) * self._gradient(neurons), 0.0, 1.0)
        roots = np.sqrt(shares / shares.sum(axis=1, keepdims=True))
        middle = np.eye(roots.shape[1]) - roots[:, :, None] * roots[:, None, :]
        result: Floats = roots[:, :, None] * middle / np.sqrt(len(roots))
        return result


class CoupledSystem(NewtonSystem):
    """The Newton matrix with H^1/2 = diag(R_1, ..., R_n), (n, k, k)."""

    def inwards(self, prediction: Floats) -> Floats:
        """Return R^T times a prediction (n, k), as one vector (n k,)."""
        return self.projected(np.einsum("ica,ic->ia", self.root, prediction).ravel())

    def outwards(self, dual: Floats) -> Floats:
        """Return R times a vector (n k,), as a residual (n, k)."""
        n, k = self.root.shape[:2]
        result: Floats = np.einsum("ica,ia->ic", self.root, self.projected(dual).reshape(n, k))
        return result

    def _along(self) -> Floats:
        """Return a basis (n k, k - 1) of R^T times constants of each output: of all outputs alike R^T makes nothing."""
        n, k = self.root.shape[:2]
        basis, sizes, _ = np.linalg.svd(self.root.transpose(0, 2, 1).reshape(n * k, k), full_matrices=False)
        return np.asarray(basis[:, sizes > 1e-12 * sizes[0]])

    def _factor(self) -> Factor:
        """Return the factor of I + R^T A B^-1 A^T R, (n k, n k): A B^-1 A^T is one n x n matrix for each output."""
        n, k = self.root.shape[:2]
        gram = np.zeros((n, k, n, k))
        for output, inverse in enumerate(np.split(self.inverse, k)):
            plain, root = (
                kernel(self.cones, block_roots(self.cones, inverse), np.ones(n), self.tile),
                self.root[:, output],
            )
            for a in range(k):
                gram[:, a] += (root[:, a, None] * plain)[:, :, None] * root
        projected = self.projected(self.projected(gram.reshape(n * k, n * k)).T)
        return RowFactor(projected + np.eye(n * k))
