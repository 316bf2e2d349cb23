"""Slopes of the gradient between random sparse points, for Monte Carlo estimates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Floats, as_nonnegative
from convexnn.theory.supports.design import Design


@dataclass(frozen=True, eq=False)
class Secants:
    """For each pair x, y with T = supp x + supp y and g = grad f(x) - grad f(y), (n_samples,) each.

    `stretch` is ||g_T|| / ||x - y||, `incline` <g, x - y> / ||x - y||^2.
    """

    stretch: Floats
    incline: Floats


def secants(design: Design, sparsity: int, n_samples: int, scale: float, rng: np.random.Generator) -> Secants:
    """Return the secants of `n_samples` pairs of points with `sparsity` weights N(0, scale^2) at random places."""
    if as_nonnegative(scale, "scale") == 0.0:
        raise ValueError("scale is 0; expected a number above 0")
    pairs = [_secant(design, sparsity, scale, rng) for _ in range(n_samples)]
    stretch, incline = np.array(pairs).T
    return Secants(stretch, incline)


def _secant(design: Design, sparsity: int, scale: float, rng: np.random.Generator) -> tuple[float, float]:
    k, loss, targets = design.program.n_outputs, design.program.loss, design.program.targets
    points = np.zeros((2, design.size))
    for point in points:
        point[rng.choice(design.size, sparsity, replace=False)] = scale * rng.standard_normal(sparsity)
    moved = points[0] - points[1]
    chosen = np.flatnonzero(points.any(axis=0))
    live, position = np.unique(chosen // k, return_inverse=True)
    columns = design.columns(live)
    first, second = (loss.gradient(columns @ point.reshape(-1, k)[live], targets) for point in points)
    slope = (columns.T @ (first - second))[position, chosen % k] + design.strength * moved[chosen]
    length = float(np.linalg.norm(moved))
    return float(np.linalg.norm(slope)) / length, float(slope @ moved[chosen]) / length**2
