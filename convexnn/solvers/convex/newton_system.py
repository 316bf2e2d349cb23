"""The Newton systems of the interior point method: a block for each neuron, and the loss's rows across them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from convexnn.patterns.activation_patterns import gate_tiles
from convexnn.solvers.convex.arrays import Array, largest
from convexnn.solvers.convex.gate_cones import GateCones

# Most rounds of conjugate gradients of each Newton step, and the share of the right side left at which they end.
REFINEMENTS, SOLVED = 40, 1e-13

# Most entries of one tile of the system's factor.
TILE = 1 << 24

# Directions of the neurons whose curvature under the loss adds up to less than this, beside the 1 of their blocks, are
# left to the conjugate gradients: the factor of the others is then within a factor of two of the matrix.
LEFT_OUT = 0.25


class Factor(Protocol):
    """What the loss adds to the blocks, factored.

    It does not hold its system: a circle of the two would keep the arrays of past iterations until they are collected.
    """

    def correction(self, system: NewtonSystem, plain: Array) -> Array:
        """Return B^-1 r - (B + A^T H A)^-1 r for plain = B^-1 r, (q, d), or nearly."""


class NewtonSystem:
    """The Newton matrix B + A^T H A of one iterate, factored by blocks and by rows; `root` is H^1/2.

    With an intercept the loss does not curve along it: H is H^1/2 (I - e e^T) H^1/2 with the columns of `along` for e,
    an orthonormal basis of what H^1/2 makes of constants.
    """

    def __init__(self, cones: GateCones, root: Array, weights: Array, penalty: Array, tile: int) -> None:
        self.cones, self.root, self.weights, self.penalty, self.tile = cones, root, weights, penalty, tile
        self.functions = cones.arrays.functions
        self.along: Array | None = self._along() if cones.intercept else None
        own = cones.owned
        pairs = own[:, :, None] & own[:, None, :]
        inverse = self.functions.linalg.inv(cones.blocks(weights, penalty)) * pairs
        self.inverse: Array = (inverse + inverse.mT) / 2
        self.factor = self._factor()

    def solve(self, right: Array, share: float = SOLVED) -> Array:
        """Return the neurons (q, d) that the matrix maps to `right`, by conjugate gradients from its factors.

        They end where this share of the right side is left. The factors are the matrix only roughly: they leave
        directions out, and late in a run the blocks span so many orders of magnitude that they need a little more on
        the diagonal. Products with the matrix are exact.
        """
        found, left = self.functions.zeros_like(right), right * self.cones.owned
        size = largest(left)
        along = step = self._solve(left)
        fall = float((left * step).sum())
        for _ in range(REFINEMENTS):
            image = self._apply(along)
            bend = float((along * image).sum())
            if not bend > 0.0:
                break
            found, left = found + (fall / bend) * along, left - (fall / bend) * image
            if largest(left) <= share * size:
                break
            step = self._solve(left)
            fall, before = float((left * step).sum()), fall
            along = step + (fall / before) * along
        return found

    def _solve(self, right: Array) -> Array:
        plain = self.functions.einsum("bij,bj->bi", self.inverse, right)
        return plain - self.factor.correction(self, plain)

    def _apply(self, neurons: Array) -> Array:
        cones = self.cones
        along = cones.adjoint(self.outwards(self.inwards(cones.forward(neurons))))
        pushed = cones.slack_adjoint(self.weights * cones.sides * (cones.X @ neurons.T) * cones.bound)
        result: Array = (self.functions.einsum("bij,bj->bi", self.penalty, neurons) + pushed + along) * cones.owned
        return result

    def inwards(self, prediction: Array) -> Array:
        """Return H^1/2 times a prediction, as one vector."""
        return self.projected(self.root * prediction)

    def outwards(self, dual: Array) -> Array:
        """Return H^1/2 times a vector, as a residual."""
        return self.root * self.projected(dual)

    def projected(self, values: Array) -> Array:
        """Return values (n,) less what an intercept takes up."""
        return values if self.along is None else values - self.along @ (self.along.T @ values)

    def _along(self) -> Array:
        return self.root[:, None] / max(float(self.functions.linalg.norm(self.root)), 1e-300)

    def _factor(self) -> Factor:
        """Return the factor of the smaller side: rows, or directions of the neurons that the loss curves."""
        directions = Directions.of(self.cones, self.inverse, self.root)
        if directions.count < len(self.cones.X):
            return DirectionFactor(self, directions)
        gram = kernel(self.cones, directions.roots, self.root, self.tile, self.along)
        diagonal = self.cones.arrays.diagonal(gram)
        diagonal += 1.0
        return RowFactor(self.cones, gram)


@dataclass(frozen=True, eq=False)
class Directions:
    """The blocks of u_j - v_j, K_j = B_u^-1 + B_v^-1 = V diag(sizes) V^T, with those directions that the loss curves.

    `vectors` V (m, d, d) in columns, `sizes` (m, d), `kept` (m, d).
    """

    vectors: Array
    sizes: Array
    kept: Array

    @classmethod
    def of(cls, cones: GateCones, inverse: Array, root: Array) -> Directions:
        """Return them from B^-1 (2 m, d, d), and the root (n,) of the loss's Hessian."""
        functions = cones.arrays.functions
        sizes, vectors = functions.linalg.eigh(inverse[: cones.m] + inverse[cones.m :])
        sizes = sizes.clip(0.0, None)
        # The curvature of the loss along each: size * ||H^1/2 D_j X v||^2.
        curved = sizes * (vectors * (cones.loss_blocks(root) @ vectors)).sum(axis=1)
        flat = curved.reshape(-1)
        order = functions.argsort(flat)
        kept = functions.empty_like(flat, dtype=functions.bool)
        kept[order] = functions.cumsum(flat[order], axis=0) > LEFT_OUT
        return cls(vectors, sizes, kept.reshape(curved.shape))

    @property
    def count(self) -> int:
        """How many are kept."""
        return int(self.kept.sum())

    @property
    def roots(self) -> Array:
        """L (m, d, d) with L_j L_j^T = K_j but for what is left out."""
        return self.vectors * (self.sizes**0.5 * self.kept)[:, None, :]


class RowFactor:
    """By the rows: B^-1 A^T H^1/2 (I + H^1/2 A B^-1 A^T H^1/2)^-1 H^1/2 A B^-1, given the matrix in between.

    (Woodbury.) Where directions are left out of that matrix, what they add up to is below 1: B^-1 less this is positive
    definite.
    """

    def __init__(self, cones: GateCones, gram: Array) -> None:
        self.solve = cones.arrays.factor(gram)

    def correction(self, system: NewtonSystem, plain: Array) -> Array:
        """Return B^-1 r - (B + A^T H A)^-1 r for plain = B^-1 r, (q, d)."""
        dual = self.solve(system.inwards(system.cones.forward(plain)))
        along = system.cones.adjoint(system.outwards(dual))
        result: Array = system.functions.einsum("bij,bj->bi", system.inverse, along)
        return result


class DirectionFactor:
    """By the directions F = H^1/2 D_j X V sizes^1/2 that are kept: B^-1 A^T Q (I - (I + F^T F)^-1) Q^T A B^-1.

    Here A stands for u - v, and Q = V sizes^-1/2, so that Q^T (B_u^-1 + B_v^-1) Q = I: B^-1 less this is positive
    definite whatever is left out.
    """

    def __init__(self, system: NewtonSystem, directions: Directions) -> None:
        arrays, functions = system.cones.arrays, system.functions
        self.kept = functions.where(directions.kept)
        columns = functions.concatenate(
            list(kept_columns(system.cones, directions.roots, system.root, system.tile, system.along))
        )
        gram = columns @ columns.T
        diagonal = arrays.diagonal(gram)
        diagonal += 1.0
        self.solve = arrays.factor(gram)
        scales = directions.kept / functions.where(directions.kept, directions.sizes, 1.0) ** 0.5
        self.frames: Array = directions.vectors * scales[:, None, :]

    def correction(self, system: NewtonSystem, plain: Array) -> Array:
        """Return B^-1 r - (B + A^T H A)^-1 r for plain = B^-1 r, (q, d), but for what is left out."""
        m, functions = system.cones.m, system.functions
        difference = plain[:m] - plain[m:]
        asked = functions.einsum("jia,ji->ja", self.frames, difference)[self.kept]
        given = functions.zeros_like(difference)
        given[self.kept] = asked - self.solve(asked)
        back = functions.einsum("jia,ja->ji", self.frames, given)
        result: Array = functions.einsum("bij,bj->bi", system.inverse, functions.concatenate([back, -back]))
        return result


def kernel(cones: GateCones, roots: Array, root: Array, tile: int, along: Array | None = None) -> Array:
    """Return diag(root) C K C^T diag(root), (n, n), with C = [D_1 X, ..., D_m X] and K_j = L_j L_j^T, `roots` L.

    Projected onto what is orthogonal to the columns of `along` (n, c).
    """
    total = cones.arrays.zeros(len(cones.X), len(cones.X))
    for columns in kept_columns(cones, roots, root, tile, along):
        total += columns.T @ columns
    return total


def block_roots(cones: GateCones, inverse: Array) -> Array:
    """Return L (m, d, d) with L_j L_j^T = B_u^-1 + B_v^-1, from B^-1 (2 m, d, d) of one output's neurons."""
    own = cones.owned[: cones.m, :, None]
    identity = cones.arrays.eye(own.shape[1])
    return cones.arrays.functions.linalg.cholesky(inverse[: cones.m] + inverse[cones.m :] + identity * ~own) * own


def kept_columns(cones: GateCones, roots: Array, root: Array, tile: int, along: Array | None) -> Iterator[Array]:
    """Yield the columns of diag(root) D_j X L_j that are not zeros, as rows, gates in order, a tile at a time."""
    n, d = cones.X.shape
    kept: Array = (roots != 0.0).any(axis=1)
    active = cones.arrays.row_major(cones.gates.T) * root
    for gates in gate_tiles(n, cones.m, max(1, tile // d)):
        own = kept[gates]
        columns = roots[gates].mT[own] @ cones.X.T
        columns *= active[gates][cones.arrays.functions.where(own)[0]]
        yield columns if along is None else columns - (columns @ along) @ along.T
