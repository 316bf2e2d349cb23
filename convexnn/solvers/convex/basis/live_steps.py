"""Newton steps on the neurons that live: where few do, a few small systems replace hundreds of iterations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Ints
from convexnn.program.neurons import NeuronOperator, to_numpy
from convexnn.program.penalties import row_norms
from convexnn.solvers.convex.basis.basis_penalty import BasisPenalty

# An iteration costs about as much time as this many multiplications beside its own products.
OVERHEAD = 5e6

# What is added to the diagonal, as a share of its largest entry, so that a system always has a solution.
DAMPING = 1e-13


class LiveNewton:
    """Newton's method for L(A c) + strength R(T c) with the neurons that are zero kept at zero.

    Near the optimum the neurons that live stay the same, and on them the objective is smooth: a step solves
    (A_S^T H A_S + strength R''(c_S)) s = -gradient. For group_l1, R'' of a neuron is T^T (I - v v^T) T / ||T c|| with
    v = T c / ||T c||.

    Parameters
    ----------
    operator, penalty, strength
        A and R(T .), in the coordinates of a basis, and the factor.
    memory_limit : int
        Bytes that the columns of the live neurons and their systems may take.
    """

    def __init__(self, operator: NeuronOperator, penalty: BasisPenalty, strength: float, memory_limit: int) -> None:
        self.operator, self.penalty, self.strength = operator, penalty, strength
        self.program, self.memory_limit = operator.program, memory_limit
        program = self.program
        known = program.loss.name in ("squared", "logistic")
        self.suited = known and penalty.penalty.name in ("group_l1", "ridge", "none")

    def live(self, coordinates: Tensor) -> Ints:
        """Return the neurons that live: for group_l1 those that are not zero, else all."""
        if self.penalty.penalty.name != "group_l1":
            return np.arange(len(coordinates))
        return np.flatnonzero(to_numpy(row_norms(coordinates)))

    def cost(self, alive: int) -> float:
        """Return the multiplications of a step where so many neurons live, over those of an iteration of FISTA.

        Infinity where there is no step.
        """
        k, (n, d) = self.program.n_outputs, self.program.rows.shape
        size = alive * d / k
        if not self.suited or 24.0 * size * (n + size) > self.memory_limit:
            return float("inf")
        iteration = 2.0 * n * self.program.neurons_shape[0] * d + OVERHEAD
        return k * (n * size**2 + size**3 / 3) / iteration

    def direction(self, coordinates: Tensor, gradient: Tensor, slope: Tensor) -> Tensor | None:
        """Return the step (q, d) at coordinates with dL/dp (n, k) and its adjoint (q, d); None if it has none."""
        step = torch.zeros_like(coordinates, dtype=torch.float64)
        m = len(self.program.patterns)
        live = self.live(coordinates)
        for output in range(self.program.n_outputs):
            chosen = live[live // m == output]
            if chosen.size:
                found = self._solved(chosen, coordinates[chosen].double(), gradient[:, output], slope[chosen].double())
                if found is None:
                    return None
                step[chosen] = found
        return step.to(coordinates.dtype)

    def _solved(self, chosen: Ints, coordinates: Tensor, gradient: Tensor, slope: Tensor) -> Tensor | None:
        owned = torch.as_tensor(self.program.owned[chosen], device=slope.device)
        root = self._root(gradient)[:, None]
        columns = self._columns(chosen % len(self.program.patterns), owned) * root
        if self.program.intercept:
            # What an intercept takes up curves nothing.
            along = root / root.norm().clamp_min(1e-300)
            columns -= along * (along.T @ columns)
        matrix = columns.T @ columns
        pushed, bent = self._penalty(coordinates)
        place = torch.nonzero(owned.flatten())[:, 0]
        matrix += torch.block_diag(*bent)[place][:, place]
        matrix.diagonal().add_(DAMPING * float(matrix.diagonal().max()))
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if bool(failed):
            return None
        result = torch.zeros_like(coordinates).flatten()
        result[place] = -torch.cholesky_solve((slope + pushed).flatten()[place][:, None], factor)[:, 0]
        return result.reshape(coordinates.shape)

    def _columns(self, gates: Ints, owned: Tensor) -> Tensor:
        """Return the columns of A for neurons with these gates, those that they own, (n, w)."""
        patterns = self.operator.patterns
        active = patterns.masks.columns(torch.as_tensor(gates, device=patterns.device), slice(0, len(patterns.X)))
        columns = (patterns.X.double()[:, None, :] * active.double()[:, :, None]).flatten(1)
        return columns if bool(owned.all()) else columns[:, owned.flatten()]

    def _root(self, gradient: Tensor) -> Tensor:
        """Return the root of the loss's curvature at each row (n,), from dL/dp."""
        n = len(gradient)
        if self.program.loss.name == "squared":
            return torch.full((n,), n**-0.5, dtype=torch.float64, device=gradient.device)
        share = (gradient.double().abs() * n).clamp(0.0, 1.0)
        return (share * (1.0 - share) / n).sqrt()

    def _penalty(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient (l, d) and the Hessian blocks (l, d, d) of the penalty at neurons that live."""
        matrix, d = self.penalty.exact, coordinates.shape[1]
        name = self.penalty.penalty.name
        if name == "none":
            return torch.zeros_like(coordinates), coordinates.new_zeros((len(coordinates), d, d))
        weights, square = coordinates @ matrix.T, self.strength * (matrix.T @ matrix)
        if name == "ridge":
            return self.strength * (weights @ matrix), square.expand(len(coordinates), d, d)
        norms = row_norms(weights)[:, None]
        along = (weights / norms) @ matrix
        bent = square - self.strength * along[:, :, None] * along[:, None, :]
        return self.strength * along, bent / norms[:, :, None]
