"""The cones of one output: the maps between neurons, predictions and slacks, and points well inside."""

from __future__ import annotations

import numpy as np

from convexnn.checks import Bools, Floats
from convexnn.mapping.cones import least_distance
from convexnn.patterns.activation_patterns import masks
from convexnn.program.convex_program import ConvexProgram
from convexnn.solvers.common.unsuited import UnsuitedError
from convexnn.solvers.convex.basis.round_basis import penalty_curvature, round_basis

# Share of the penalty's curvature that the basis counts as if it were the data's. Where a penalty rules out what the
# data would ask for, such as a bias in the units of features of a million, a basis that is round for the data alone
# would leave next to nothing of the penalty but rounding.
CURVED = 1e-5


class GateCones:
    """The cones (2 D_j - I) X u_j >= 0 of one output's neurons (q, d): u_j and then v_j of every gate.

    Neurons are coordinates in `basis`, in which the data are `X`. `gates` (n, m) are the masks, `sides` (n, q) the
    signs of the rows in each neuron's cone, 0 where they constrain nothing, `bound` (n, q) where they do, `owned`
    (q, d) which entries exist.
    """

    def __init__(self, program: ConvexProgram) -> None:
        self.data, self.owned = program.rows, np.tile(program.patterns.features, (2, 1))
        features, bias = program.patterns.features, program.patterns.bias
        self.basis = round_basis(self.data, features, bias, rotate=True, curvature=CURVED * penalty_curvature(program))
        self.X = self.basis.rows(self.data)
        self.gates: Bools = masks(program.rows, program.patterns.generators)
        self.m, self.intercept = self.gates.shape[1], program.intercept
        self.sides = np.where(np.tile(self.gates, (1, 2)), 1.0, -1.0)
        # Rows that are zero on what a gate owns constrain nothing.
        self.bound: Bools = np.square(self.X) @ self.owned.T > 0.0
        self.sides *= self.bound
        self.upper = np.triu_indices(self.X.shape[1])
        self.squares = self.X[:, self.upper[0]] * self.X[:, self.upper[1]]

    @property
    def n_constraints(self) -> int:
        """Rows that constrain a neuron, over all neurons; at least 1."""
        return max(1, int(self.bound.sum()))

    def forward(self, neurons: Floats) -> Floats:
        """Return the prediction (n,) of neurons (q, d), less its mean where there is an intercept."""
        difference = neurons[: self.m] - neurons[self.m :]
        return self.centred(np.einsum("ij,ij->i", self.X @ difference.T, self.gates))

    def centred(self, values: Floats) -> Floats:
        """Return values (n,) or (n, k) less their means where an intercept takes these up."""
        return values - values.mean(axis=0) if self.intercept else values

    def adjoint(self, residual: Floats) -> Floats:
        """Return the adjoint (q, d) of a residual (n,), zero where not owned."""
        return self._adjoint(residual, self.X)

    def weight_adjoint(self, residual: Floats) -> Floats:
        """Return the same for neurons as weights."""
        return self._adjoint(residual, self.data)

    def _adjoint(self, residual: Floats, rows: Floats) -> Floats:
        half = (self.gates * self.centred(residual)[:, None]).T @ rows
        return np.concatenate([half, -half]) * self.owned

    def slack_adjoint(self, multipliers: Floats) -> Floats:
        """Return X^T (2 D_j - I) a_j of every neuron, (q, d), zero where not owned."""
        return (self.sides * multipliers).T @ self.X * self.owned

    def weight_slack_adjoint(self, multipliers: Floats) -> Floats:
        """Return the same for neurons as weights."""
        return (self.sides * multipliers).T @ self.data * self.owned

    def slacks(self, neurons: Floats) -> Floats:
        """Return (2 D_j - I) X u_j of every neuron, (n, q), 1 where a row constrains nothing."""
        return np.where(self.bound, (self.X @ neurons.T) * self.sides, 1.0)

    def blocks(self, weights: Floats, penalty: Floats | float = 0.0) -> Floats:
        """Return X^T diag(w_j) X + penalty for weights (n, q), (q, d, d), the identity where not owned."""
        own = self.owned
        blocks = self._filled((weights * self.bound).T @ self.squares)
        blocks += penalty
        blocks *= own[:, :, None] & own[:, None, :]
        diagonal = np.einsum("bii->bi", blocks)
        # Nothing penalised and no active row would leave a block singular.
        diagonal += np.where(own, 1e-13 * diagonal.max(axis=1, keepdims=True), 1.0)
        return blocks

    def loss_blocks(self, root: Floats) -> Floats:
        """Return X^T D_j diag(root)^2 X of every gate, (m, d, d)."""
        return self._filled((self.gates * np.square(root)[:, None]).T @ self.squares)

    def _filled(self, entries: Floats) -> Floats:
        """Return the symmetric blocks (b, d, d) of which `entries` (b, d (d + 1) / 2) are the upper halves."""
        d, (i, j) = self.X.shape[1], self.upper
        blocks = np.empty((len(entries), d, d))
        blocks[:, i, j] = blocks[:, j, i] = entries
        return blocks

    def interior_points(self) -> Floats:
        """Return a unit point well inside each neuron's cone (q, d): the nearest to zero at distance 1 of all rows."""
        features = self.owned[: self.m]
        # In units in which all columns have the same size, or else far points are hard to tell from none.
        units = np.sqrt(np.square(self.X).mean(axis=0))
        units[units == 0.0] = 1.0
        scaled = self.X / units
        lengths = np.sqrt(np.square(scaled) @ features.T)
        found = least_distance(scaled, self.gates, np.zeros(features.shape), lengths, features)
        points = found.points / units
        slack = (self.X @ points.T) * np.where(self.gates, 1.0, -1.0)
        inside = found.feasible & (~self.bound[:, : self.m] | (slack > 0.0)).all(axis=0)
        if not inside.all():
            gate = int(np.flatnonzero(~inside)[0])
            raise UnsuitedError(
                f"the cone of gate {gate} has no interior, or is too thin for solver 'interior_point'; solver 'admm' "
                "can do it"
            )
        sizes = np.sqrt(np.square(points).sum(axis=1))[:, None]
        points /= np.where(sizes > 0.0, sizes, 1.0)
        return np.concatenate([points, points])

    def project(self, weights: Floats) -> Floats:
        """Return the nearest points of the cones to neurons as weights, (q, d)."""
        return least_distance(self.data, np.tile(self.gates, (1, 2)), weights, features=self.owned).points
