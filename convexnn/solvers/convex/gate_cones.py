"""The cones of one output: the maps between neurons, predictions and slacks, and points well inside."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Bools, Floats
from convexnn.mapping.cones import least_distance
from convexnn.patterns.activation_patterns import masks
from convexnn.program.convex_program import ConvexProgram
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.convex.arrays import Array, ArrayLibrary, NumpyArrays
from convexnn.solvers.convex.basis.round_basis import RoundBasis, penalty_curvature, round_basis

# Share of the penalty's curvature that the basis counts as if it were the data's. Where a penalty rules out what the
# data would ask for, such as a bias in the units of features of a million, a basis that is round for the data alone
# would leave next to nothing of the penalty but rounding.
CURVED = 1e-5


class GateCones:
    """The cones (2 D_j - I) X u_j >= 0 of one output's neurons (q, d): u_j and then v_j of every gate.

    Neurons are coordinates in `basis`, in which the data are `X`. `gates` (n, m) are the masks, `sides` (n, q) the
    signs of the rows in each neuron's cone, 0 where they constrain nothing, `bound` (n, q) where they do, `owned`
    (q, d) which entries exist. All are arrays of the library `arrays`, and so is what the methods take and return.
    """

    def __init__(self, program: ConvexProgram, arrays: ArrayLibrary | None = None) -> None:
        self.arrays: ArrayLibrary = NumpyArrays() if arrays is None else arrays
        features, bias, move = program.patterns.features, program.patterns.bias, self.arrays.array
        basis = round_basis(program.rows, features, bias, rotate=True, curvature=CURVED * penalty_curvature(program))
        gates, owned = masks(program.rows, program.patterns.generators), np.tile(features, (2, 1))
        X = basis.rows(program.rows)
        self.m, self.intercept = gates.shape[1], program.intercept
        # Rows that are zero on what a gate owns constrain nothing.
        bound = np.square(X) @ owned.T > 0.0
        sides = np.where(np.tile(gates, (1, 2)), 1.0, -1.0)
        sides *= bound
        self.data, self.X, self.basis = move(program.rows), move(X), RoundBasis(move(basis.matrix))
        self.gates, self.owned, self.bound, self.sides = move(gates), move(owned), move(bound), move(sides)
        self.upper = tuple(move(index) for index in np.triu_indices(self.X.shape[1]))
        self.squares = self.X[:, self.upper[0]] * self.X[:, self.upper[1]]

    @property
    def n_constraints(self) -> int:
        """Rows that constrain a neuron, over all neurons; at least 1."""
        return max(1, int(self.bound.sum()))

    def forward(self, neurons: Array) -> Array:
        """Return the prediction (n,) of neurons (q, d), less its mean where there is an intercept."""
        difference = neurons[: self.m] - neurons[self.m :]
        return self.centred(self.arrays.masked_sums(self.X @ difference.T, self.gates))

    def centred(self, values: Array) -> Array:
        """Return values (n,) or (n, k) less their means where an intercept takes these up."""
        return values - values.mean(axis=0) if self.intercept else values

    def adjoint(self, residual: Array) -> Array:
        """Return the adjoint (q, d) of a residual (n,), zero where not owned."""
        return self._adjoint(residual, self.X)

    def weight_adjoint(self, residual: Array) -> Array:
        """Return the same for neurons as weights."""
        return self._adjoint(residual, self.data)

    def _adjoint(self, residual: Array, rows: Array) -> Array:
        half = (self.gates * self.centred(residual)[:, None]).T @ rows
        return self.arrays.functions.concatenate([half, -half]) * self.owned

    def slack_adjoint(self, multipliers: Array) -> Array:
        """Return X^T (2 D_j - I) a_j of every neuron, (q, d), zero where not owned."""
        return (self.sides * multipliers).T @ self.X * self.owned

    def weight_slack_adjoint(self, multipliers: Array) -> Array:
        """Return the same for neurons as weights."""
        return (self.sides * multipliers).T @ self.data * self.owned

    def slacks(self, neurons: Array) -> Array:
        """Return (2 D_j - I) X u_j of every neuron, (n, q), 1 where a row constrains nothing."""
        return self.arrays.functions.where(self.bound, (self.X @ neurons.T) * self.sides, 1.0)

    def blocks(self, weights: Array, penalty: Array | float = 0.0) -> Array:
        """Return X^T diag(w_j) X + penalty for weights (n, q), (q, d, d), the identity where not owned."""
        own = self.owned
        blocks = self._filled((weights * self.bound).T @ self.squares)
        blocks += penalty
        blocks *= own[:, :, None] & own[:, None, :]
        diagonal, functions = self.arrays.diagonal(blocks), self.arrays.functions
        # Nothing penalised and no active row would leave a block singular.
        diagonal += functions.where(own, 1e-13 * functions.amax(diagonal, axis=1, keepdims=True), 1.0)
        return blocks

    def loss_blocks(self, root: Array) -> Array:
        """Return X^T D_j diag(root)^2 X of every gate, (m, d, d)."""
        return self._filled((self.gates * (root * root)[:, None]).T @ self.squares)

    def _filled(self, entries: Array) -> Array:
        """Return the symmetric blocks (b, d, d) of which `entries` (b, d (d + 1) / 2) are the upper halves."""
        d, (i, j) = self.X.shape[1], self.upper
        blocks = self.arrays.zeros(len(entries), d, d)
        blocks[:, i, j] = blocks[:, j, i] = entries
        return blocks

    def interior_points(self) -> Array:
        """Return a unit point well inside each neuron's cone (q, d): the nearest to zero at distance 1 of all rows."""
        points = self._inner_points(*(self.arrays.host(array) for array in (self.X, self.gates, self.bound)))
        return self.arrays.array(np.concatenate([points, points]))

    def _inner_points(self, rows: Floats, gates: Bools, bound: Bools) -> Floats:
        """Return them for one half of the neurons, (m, d), from arrays of the host."""
        features = self.arrays.host(self.owned)[: self.m]
        # In units in which all columns have the same size, or else far points are hard to tell from none.
        units = np.sqrt(np.square(rows).mean(axis=0))
        units[units == 0.0] = 1.0
        scaled = rows / units
        lengths = np.sqrt(np.square(scaled) @ features.T)
        found = least_distance(scaled, gates, np.zeros(features.shape), lengths, features)
        points = found.points / units
        slack = (rows @ points.T) * np.where(gates, 1.0, -1.0)
        inside = found.feasible & (~bound[:, : self.m] | (slack > 0.0)).all(axis=0)
        if not inside.all():
            gate = int(np.flatnonzero(~inside)[0])
            raise UnsuitedError(
                f"the cone of gate {gate} has no interior, or is too thin for solver 'interior_point'; solver 'admm' "
                "can do it"
            )
        sizes = np.sqrt(np.square(points).sum(axis=1))[:, None]
        return np.asarray(points / np.where(sizes > 0.0, sizes, 1.0))

    def project(self, weights: Array) -> Array:
        """Return the nearest points of the cones to neurons as weights, (q, d); found on the CPU."""
        data, gates, owned = (self.arrays.host(array) for array in (self.data, self.gates, self.owned))
        active = np.tile(gates, (1, len(owned) // self.m))
        return self.arrays.array(least_distance(data, active, self.arrays.host(weights), features=owned).points)
