"""The linear step of ADMM, by a factor of the smaller side: of the rows, or of the weights of an output."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from convexnn.program.convex_program import ConvexProgram
from convexnn.program.neurons import NeuronOperator
from convexnn.solvers.common.unsuited import UnsuitedError


class Whitened(Protocol):
    """argmin over w of 1/2 ||A w - goal||^2 + shift/2 ||w - centre||^2."""

    @property
    def trace(self) -> float:
        """The sum of the squares of A, both parts of one output."""

    def step(self, centre: Tensor, goal: Tensor, shift: float) -> tuple[Tensor, Tensor]:
        """Return w (q, d) and A w (n, k)."""


def check_memory(program: ConvexProgram, memory_limit: int) -> None:
    """Raise an UnsuitedError where the matrix of the smaller side and its factor do not fit."""
    rows, weights = len(program.rows), int(program.patterns.features.sum())
    side = min(rows, weights)
    if 16 * side * side > memory_limit:
        raise UnsuitedError(
            f"memory_limit is {memory_limit}; admm expects at least 16 min(n, w)^2 = {16 * side * side} bytes, for "
            f"n = {rows} rows and w = {weights} weights of an output"
        )


def whitened(operator: NeuronOperator) -> Whitened:
    """Return the step by the smaller side."""
    weights = int(operator.program.patterns.features.sum())
    return WhitenedWeights(operator) if weights < len(operator.program.rows) else WhitenedRows(operator)


class ShiftedFactor:
    """The Cholesky factor of a matrix with something added to its diagonal, kept until that changes."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self._factor: tuple[float, Tensor] | None = None

    def solve(self, shift: float, right: Tensor) -> Tensor:
        """Return (M + shift I)^-1 right."""
        if self._factor is None or self._factor[0] != shift:
            shifted = self.matrix.clone()
            shifted.diagonal().add_(shift)
            self._factor = shift, torch.linalg.cholesky(shifted)
        return torch.cholesky_solve(right, self._factor[1])


class WhitenedRows:
    """By A A^T (n, n): w = centre + A^T z with (A A^T + shift I) z = goal - A centre, and A w = goal - shift z."""

    def __init__(self, operator: NeuronOperator) -> None:
        self.operator = operator
        self.gram = ShiftedFactor(operator.row_gram() * operator.program.n_parts)
        self.trace = float(self.gram.matrix.diagonal().sum())

    def step(self, centre: Tensor, goal: Tensor, shift: float) -> tuple[Tensor, Tensor]:
        """Return w and A w."""
        dual = self.gram.solve(shift, goal - self.operator.forward(centre))
        return centre + self.operator.adjoint(dual), goal - shift * dual


class WhitenedWeights:
    """By A^T A of the weights that the gates own, the same for every output.

    w = centre + (A^T A + shift I)^-1 (A^T goal - A^T A centre). With cones A = [B, -B], and u and v move by as much in
    opposite directions: by (2 B^T B + shift I)^-1 (B^T goal - B^T B (u - v)).
    """

    def __init__(self, operator: NeuronOperator) -> None:
        program = operator.program
        self.operator, self.parts = operator, program.n_parts
        self.shape = (program.n_outputs, self.parts, -1)
        owned = torch.as_tensor(program.patterns.features, device=operator.patterns.device).flatten()
        self.place = torch.nonzero(owned)[:, 0]
        self.gram = operator.column_gram()
        self.factor = ShiftedFactor(self.gram * self.parts)
        self.trace = float(self.gram.diagonal().sum()) * self.parts
        self._asked: tuple[Tensor, Tensor] | None = None

    def step(self, centre: Tensor, goal: Tensor, shift: float) -> tuple[Tensor, Tensor]:
        """Return w and A w."""
        pages = centre.reshape(self.shape)
        # u - v of the weights that exist, one column an output.
        difference = (pages[:, 0] - pages[:, 1] if self.parts == 2 else pages[:, 0])[:, self.place].T
        step = self.factor.solve(shift, self._pulled(goal) - self.gram @ difference)
        weights = centre.clone().reshape(self.shape)
        for part, sign in zip(range(self.parts), (1.0, -1.0), strict=False):
            weights[:, part, self.place] += sign * step.T
        weights = weights.reshape(centre.shape)
        return weights, self.operator.forward(weights)

    def _pulled(self, goal: Tensor) -> Tensor:
        """Return B^T goal (w, k); that of the last goal is kept, since the targets of the squared loss stay."""
        if self._asked is None or self._asked[0] is not goal:
            self._asked = goal, self.operator.adjoint(goal).reshape(self.shape)[:, 0, self.place].T
        return self._asked[1]
