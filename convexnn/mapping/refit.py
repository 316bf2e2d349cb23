"""Refit: gates := weights on a fixed support, by damped Gauss-Newton steps that lower the network's own loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh

from convexnn.checks import Bools, Floats, Ints
from convexnn.linear.columns import columns_of
from convexnn.linear.least_squares import normal_equations, unit_gram
from convexnn.program.losses import Loss
from convexnn.tiles import row_tiles


def better_signs(rows: Floats, active: Bools, weights: Floats) -> Floats:
    """Return for each block the output sign whose neuron, relu(X w) or -relu(-X w), is nearer to D X w.

    Parameters: data `rows` (n, D), the mask of each block `active` (n, b), weights (b, D); returns +-1, shape (b,).
    """
    plus, minus = np.zeros(len(weights)), np.zeros(len(weights))
    for tile in row_tiles(len(rows), len(weights)):
        linear = rows[tile] @ weights.T
        block = active[tile] * linear
        plus += np.square(block - np.maximum(linear, 0.0)).sum(axis=0)
        minus += np.square(block + np.maximum(-linear, 0.0)).sum(axis=0)
    return np.where(plus <= minus, 1.0, -1.0)


def refit(rows: Floats, target: Any, hidden: Floats, heads: Floats, loss: Loss, max_rounds: int = 200) -> Floats:
    """Lower the loss of sum_j heads_j relu(x . hidden_j) over the nonzero entries of `hidden`; the heads stay.

    Each round takes the gates of the present weights, solves damped least squares (Levenberg and Marquardt) for the
    step, and takes it only if the network's own loss falls; the damping grows until it does. It ends when a round
    lowers the loss by less than 1e-6 of it.

    Parameters
    ----------
    rows : ndarray (n, D)
        The data.
    target : array (n,) or (n, k)
        What the loss compares with.
    hidden : ndarray (p, D)
        Hidden weights to start from.
    heads : ndarray (p,) or (k, p)
        Output weights, for outputs of shape (n,) or (n, k); at most one nonzero per neuron.
    loss : Loss
        Convex and smooth in the output.
    max_rounds : int, default 200
        Most rounds.

    Returns
    -------
    ndarray (p, D)
        Hidden weights, zero where `hidden` is.

    Notes
    -----
    With J the derivative of the outputs at fixed gates, a step solves (J^T J + damping) s = -J^T (n dL) / beta, where
    beta bounds the curvature of n L: exact second-order information for the squared loss (beta = 1), and an upper
    bound on it for the logistic (1/4) and the softmax loss (1/2). As a neuron serves one output, J^T J falls apart
    into one matrix per output. The way of "A Recovery Guarantee for Sparse Neural Networks" (arXiv 2509.20323), with
    output signs, and with damping since full steps overshoot the gates they are made for.
    """
    problem = _Problem(rows, target, heads, loss)
    support = np.nonzero(hidden)
    damping, value = 1e-3, problem.value(hidden)
    for _ in range(max_rounds):
        moved = _lowered(problem, hidden, support, damping, value)
        if moved is None:
            break
        fall = 1.0 - moved[2] / value if value > 0.0 else 0.0
        hidden, damping, value = moved
        damping = max(damping / 4.0, 1e-12)
        if fall < 1e-6:
            break
    return hidden


@dataclass(frozen=True, eq=False)
class _Problem:
    """The loss of the hidden weights, the rest of the network being fixed."""

    rows: Floats
    target: Any
    heads: Floats
    loss: Loss

    def output(self, hidden: Floats) -> Floats:
        """Return the network's outputs, (n,) or (n, k)."""
        result = np.empty((len(self.rows), *self.heads.shape[:-1]))
        for tile in row_tiles(len(self.rows), len(hidden)):
            result[tile] = np.maximum(self.rows[tile] @ hidden.T, 0.0) @ self.heads.T
        return result

    def value(self, hidden: Floats) -> float:
        """Return the mean loss."""
        return self.loss.value(self.output(hidden), self.target)

    def working_residual(self, hidden: Floats) -> Floats:
        """Return -n dL / beta, what is missing from the outputs in the eyes of the quadratic model, (n, k)."""
        gradient = self.loss.gradient(self.output(hidden), self.target)
        return np.reshape(-len(self.rows) / self.loss.smoothness * gradient, (len(self.rows), -1))


def _lowered(
    problem: _Problem, hidden: Floats, support: tuple[Any, ...], damping: float, value: float
) -> tuple[Floats, float, float] | None:
    """Return hidden weights of lower loss, the damping that found them, and their loss; None at a local minimum."""
    models = _quadratic_models(problem, hidden, support)
    while damping < 1e6:
        candidate = hidden.copy()
        for model in models:
            candidate[model.gates, model.inputs] += model.step(damping)
        lower = problem.value(candidate)
        if lower < value:
            return candidate, damping, lower
        damping *= 4.0
    return None


@dataclass(frozen=True, eq=False)
class _QuadraticModel:
    """One output's model at fixed gates, over unit columns: J^T J by `curvature` and `basis`, and the slope in it.

    `gates` and `inputs` (s,) are the support that acts on the output, `norms` (s,) the signed lengths of its columns.
    """

    gates: Ints
    inputs: Ints
    norms: Floats
    curvature: Floats
    basis: Floats
    slope: Floats

    def step(self, damping: float) -> Floats:
        """Return the damped Gauss-Newton step of the weights, (s,)."""
        step: Floats = self.basis @ (self.slope / (self.curvature + damping)) / self.norms
        return step


def _quadratic_models(problem: _Problem, hidden: Floats, support: tuple[Any, ...]) -> list[_QuadraticModel]:
    """Return the model of every output that has weights."""
    # A head scales and turns its columns: unit columns are those without it, and it enters with their norms.
    residual, owned = problem.working_residual(hidden), np.ones(hidden.shape, dtype=bool)
    models: list[_QuadraticModel] = []
    for head, missing in zip(np.atleast_2d(problem.heads), residual.T, strict=True):
        gates, inputs = (index[head[support[0]] != 0.0] for index in support)
        if not gates.size:
            continue
        gram, slope = normal_equations(columns_of(problem.rows, hidden, owned, gates, inputs), missing)
        norms = unit_gram(gram)
        curvature, basis = eigh(gram, lower=False, overwrite_a=True, check_finite=False)
        along = basis.T @ (slope / norms)
        models.append(_QuadraticModel(gates, inputs, norms * head[gates], np.maximum(curvature, 0.0), basis, along))
    return models
