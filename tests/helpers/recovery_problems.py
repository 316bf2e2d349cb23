"""What the tests of recovery share: planted networks, a small problem, a random layer."""

from __future__ import annotations

import numpy as np
import torch

from convexnn.checks import Floats
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem


def planted(seed: int, n: int = 400, d: int = 12, m: int = 4, s: int = 10, signed: bool = True) -> tuple[Floats, ...]:
    """Return X, the noiseless target, the planted weights and signs."""
    rng = np.random.default_rng(seed)
    weights = np.zeros(m * d)
    weights[rng.choice(m * d, s, replace=False)] = rng.standard_normal(s)
    X, matrix = rng.standard_normal((n, d)), weights.reshape(m, d)
    signs = rng.choice([-1.0, 1.0], m) if signed else np.ones(m)
    return X, np.maximum(X @ matrix.T, 0.0) @ signs, matrix, signs


def small_problem(seed: int = 0) -> Problem:
    X, y, _, _ = planted(seed)
    return Problem(torch.as_tensor(X), torch.as_tensor(y / np.sqrt(np.mean(y**2))))


def layer(problem: Problem, seed: int, blocks: int = 5, share: float = 0.5) -> HiddenLayer:
    """Return a random layer with some weights at zero."""
    rng = np.random.default_rng(seed)
    d = problem.rows.shape[1]
    weights = rng.standard_normal((blocks, d)) * (rng.random((blocks, d)) < share)
    signs = rng.choice([-1.0, 1.0], blocks)
    return HiddenLayer(*(torch.as_tensor(array) for array in (weights, signs, rng.standard_normal((blocks, d)))))
