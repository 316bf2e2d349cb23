"""The smooth part of a program as arrays: the columns that its weights act through, its objective and its slope."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_count, as_floats
from convexnn.checks import Ints as Ints
from convexnn.linear.columns import columns_of
from convexnn.patterns.activation_patterns import gate_tiles, masks
from convexnn.program.convex_program import ConvexProgram, as_program
from convexnn.solution import Solution

Weights = Solution | ArrayLike

# Entries of the columns, rows x weights of an output, up to which they are held: 64 MiB.
HELD_ENTRIES = 1 << 23
# Columns, or rows, up to which a Gram matrix is made and its eigenvalues computed.
GRAM_SIZE = 2_000


@dataclass(frozen=True, eq=False)
class Design:
    """f(W) = L(A W) + strength/2 ||W||^2 over the weights that exist, as values (p, k): p columns, k outputs.

    All outputs see the same columns Z (n, p), those of the features that each pattern owns, in the order of
    ``patterns.features``. A flat index into the weights is i k + c for column i and output c.
    """

    program: ConvexProgram

    @cached_property
    def place(self) -> tuple[Ints, Ints]:
        """Gate and feature of each column, (p,) each."""
        gates, features = np.nonzero(self.program.patterns.features)
        return gates, features

    @property
    def n_rows(self) -> int:
        """n."""
        return len(self.program.X)

    @property
    def n_columns(self) -> int:
        """p, the columns that each output sees."""
        return len(self.place[0])

    @property
    def size(self) -> int:
        """N = p k, the number of weights."""
        return self.n_columns * self.program.n_outputs

    @property
    def curvature(self) -> float:
        """c, the bound on the curvature of a row's loss: 1 squared, 1/4 logistic, 1/2 softmax."""
        return self.program.loss.smoothness

    @property
    def strength(self) -> float:
        """The strength of a ridge, 0 without one; other penalties are no part of the smooth part."""
        penalty = self.program.penalty
        return float(self.program.strength or 0.0) if penalty is not None and penalty.name == "ridge" else 0.0

    @cached_property
    def matrix(self) -> Floats | None:
        """Z (n, p), or None where it is too large to hold."""
        if self.n_rows * self.n_columns > HELD_ENTRIES:
            return None
        return self._made(np.arange(self.n_columns))

    @cached_property
    def gram(self) -> Floats | None:
        """Z^T Z / n (p, p), or None where it is too large."""
        if self.n_columns > GRAM_SIZE or self.matrix is None:
            return None
        return self.matrix.T @ self.matrix / self.n_rows

    @cached_property
    def squares(self) -> Floats:
        """||z_i||^2 / n of each column, (p,)."""
        rows, patterns = np.square(self.program.rows), self.program.patterns
        squares = np.empty(patterns.features.shape)
        for tile in gate_tiles(self.n_rows, len(patterns)):
            squares[tile] = masks(self.program.rows, patterns.generators[tile]).T.astype(np.float64) @ rows
        return squares[self.place] / self.n_rows

    def columns(self, chosen: Ints) -> Floats:
        """Return the `chosen` columns of Z, (n, t)."""
        return self._made(chosen) if self.matrix is None else self.matrix[:, chosen]

    def predict(self, values: Floats) -> Floats:
        """Return A W, (n, k), for values (p, k)."""
        if self.matrix is not None:
            return self.matrix @ values
        live = np.flatnonzero(values.any(axis=1))
        return self._made(live) @ values[live]

    def adjoint(self, theta: Floats) -> Floats:
        """Return Z^T theta, (p, k), for theta (n, k)."""
        if self.matrix is not None:
            return self.matrix.T @ theta
        rows, patterns = self.program.rows, self.program.patterns
        result = np.empty((*patterns.features.shape, theta.shape[1]))
        for tile in gate_tiles(self.n_rows, len(patterns)):
            active = masks(rows, patterns.generators[tile])
            for output in range(theta.shape[1]):
                result[tile, :, output] = (active * theta[:, output, None]).T @ rows
        return result[self.place]

    def objective(self, values: Floats) -> float:
        """Return f at values (p, k)."""
        loss = self.program.loss.value(self.predict(values), self.program.targets)
        return loss + 0.5 * self.strength * float(np.square(values).sum())

    def gradient(self, values: Floats) -> Floats:
        """Return the gradient of f at values (p, k), (p, k)."""
        theta = self.program.loss.gradient(self.predict(values), self.program.targets)
        return self.adjoint(theta) + self.strength * values

    def values(self, weights: Weights, name: str = "weights") -> Floats:
        """Return weights, of a Solution or of the program's shape, as values (p, k)."""
        given = weights.weights if isinstance(weights, Solution) else weights
        shape, features = self.program.weights_shape, self.program.patterns.features
        checked = as_floats(given, name, len(shape), f"an array of shape {shape}")
        if checked.shape != shape:
            raise ValueError(f"{name} have shape {checked.shape}; expected {shape}, as the program")
        if checked[~features].any():
            gate, feature = np.argwhere(checked.reshape(*features.shape, -1).any(axis=2) & ~features)[0]
            raise ValueError(f"{name} has a weight on feature {feature}, which pattern {gate} does not own; expected 0")
        return checked[features].reshape(self.n_columns, -1)

    def weights(self, values: Floats) -> Floats:
        """Return values (p, k) in the program's shape, 0 at what is not owned: the inverse of :meth:`values`."""
        full = np.zeros(self.program.weights_shape)
        full[self.program.patterns.features] = values.reshape(self.n_columns, *full.shape[2:])
        return full

    def _made(self, chosen: Ints) -> Floats:
        patterns, (gates, features) = self.program.patterns, self.place
        part = columns_of(self.program.rows, patterns.generators, patterns.features, gates[chosen], features[chosen])
        return part.whole()


def smooth_part(program: ConvexProgram) -> Design:
    """Return the smooth part of a program without cones."""
    as_program(program)
    if program.cone:
        raise ValueError("program has cone=True; expected one without cones, which is what the theorems are about")
    return Design(program)


def as_sparsity(program: ConvexProgram, sparsity: int | None, n_weights: int) -> int:
    """Return s: as given, at most the number of weights, or the program's budget."""
    if sparsity is None:
        if program.budget is None:
            raise ValueError("sparsity is None and the program has no budget; expected sparsity=s, or a budget")
        return program.budget
    if as_count(sparsity, "sparsity") > n_weights:
        raise ValueError(f"sparsity is {sparsity}; expected at most {n_weights}, the weights of the program")
    return int(sparsity)
