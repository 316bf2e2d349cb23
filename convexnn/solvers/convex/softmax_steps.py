"""The interior point method where the loss couples outputs: the softmax, with a k x k Hessian for each row."""

from __future__ import annotations

from math import sqrt

from convexnn.checks import Floats
from convexnn.program.convex_program import ConvexProgram
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.convex.arrays import Array, ArrayLibrary
from convexnn.solvers.convex.gate_cones import GateCones
from convexnn.solvers.convex.interior_steps import InteriorIterate, InteriorPoint
from convexnn.solvers.convex.newton_system import TILE, Factor, NewtonSystem, RowFactor, block_roots, kernel

# Most rows times classes: the system is a dense matrix of that size, and its factor takes seconds at 4,000.
MOST_ROWS = 4000


class OutputCones(GateCones):
    """The cones of k outputs, over the same gates: neurons (k q, d) output after output, predictions (n, k)."""

    def __init__(self, program: ConvexProgram, arrays: ArrayLibrary | None = None) -> None:
        super().__init__(program, arrays)
        self.k, tile = program.n_outputs, self.arrays.functions.tile
        self.owned = tile(self.owned, (self.k, 1))
        self.sides, self.bound = tile(self.sides, (1, self.k)), tile(self.bound, (1, self.k))

    def forward(self, neurons: Array) -> Array:
        """Return the predictions (n, k) of neurons (k q, d)."""
        pages = neurons.reshape(self.k, -1, neurons.shape[1])
        return self.arrays.functions.stack([super(OutputCones, self).forward(page) for page in pages], axis=1)

    def _adjoint(self, residual: Array, rows: Array) -> Array:
        halves = [(self.gates * column[:, None]).T @ rows for column in residual.T]
        return self.arrays.functions.concatenate([part for half in halves for part in (half, -half)]) * self.owned

    def interior_points(self) -> Array:
        """Return a unit point well inside each neuron's cone, (k q, d)."""
        return self.arrays.functions.tile(super().interior_points(), (self.k, 1))


class SoftmaxPoint(InteriorPoint):
    """The method for all outputs of a softmax program at once; its target is (n, k)."""

    def __init__(
        self,
        program: ConvexProgram,
        target: Floats,
        tolerance: float,
        tile: int = TILE,
        arrays: ArrayLibrary | None = None,
    ) -> None:
        if target.size > MOST_ROWS:
            raise UnsuitedError(
                f"{len(target)} rows times {target.shape[1]} classes are more than the {MOST_ROWS} of solver "
                "'interior_point' with the softmax; solver 'admm' can do it"
            )
        super().__init__(program, target, tolerance, tile, arrays)

    def _cones_of(self, program: ConvexProgram) -> GateCones:
        return OutputCones(program, self.arrays)

    def _system(self, now: InteriorIterate, weights: Array, penalty: Array) -> NewtonSystem:
        return CoupledSystem(self.cones, self._root(now.neurons), weights, penalty, self.tile)

    def _root(self, neurons: Array) -> Array:
        """Return R (n, k, k) with R_i R_i^T the Hessian of row i, (diag(p) - p p^T) / n at its shares p.

        With s = p^1/2, of length 1, R = diag(s) (I - s s^T) / n^1/2: the middle is a projection, its own square.
        """
        shares = (self.y + len(self.y) * self._gradient(neurons)).clip(0.0, 1.0)
        roots = (shares / shares.sum(axis=1)[:, None]) ** 0.5
        middle = self.arrays.eye(roots.shape[1]) - roots[:, :, None] * roots[:, None, :]
        result: Array = roots[:, :, None] * middle / sqrt(len(roots))
        return result


class CoupledSystem(NewtonSystem):
    """The Newton matrix with H^1/2 = diag(R_1, ..., R_n), (n, k, k)."""

    def inwards(self, prediction: Array) -> Array:
        """Return R^T times a prediction (n, k), as one vector (n k,)."""
        return self.projected(self.functions.einsum("ica,ic->ia", self.root, prediction).reshape(-1))

    def outwards(self, dual: Array) -> Array:
        """Return R times a vector (n k,), as a residual (n, k)."""
        n, k = self.root.shape[:2]
        result: Array = self.functions.einsum("ica,ia->ic", self.root, self.projected(dual).reshape(n, k))
        return result

    def _along(self) -> Array:
        """Return a basis (n k, k - 1) of R^T times constants of each output: of all outputs alike R^T makes nothing."""
        n, k = self.root.shape[:2]
        basis, sizes, _ = self.functions.linalg.svd(self.root.mT.reshape(n * k, k), full_matrices=False)
        return basis[:, sizes > 1e-12 * sizes[0]]

    def _factor(self) -> Factor:
        """Return the factor of I + R^T A B^-1 A^T R, (n k, n k): A B^-1 A^T is one n x n matrix for each output."""
        (n, k), d = self.root.shape[:2], self.inverse.shape[1]
        gram, ones = self.cones.arrays.zeros(n, k, n, k), self.functions.ones_like(self.root[:, 0, 0])
        for output, inverse in enumerate(self.inverse.reshape(k, -1, d, d)):
            plain, root = kernel(self.cones, block_roots(self.cones, inverse), ones, self.tile), self.root[:, output]
            for a in range(k):
                gram[:, a] += (root[:, a, None] * plain)[:, :, None] * root
        system = gram.reshape(n * k, n * k)
        if self.along is not None:
            # In place, from both sides: a third matrix of this size would be more than is stated.
            system -= self.along @ (self.along.T @ system)
            system -= (system @ self.along) @ self.along.T
        diagonal = self.cones.arrays.diagonal(system)
        diagonal += 1.0
        return RowFactor(self.cones, system)
