"""Losses in numpy and in torch: slopes, duals, proximal maps, and the bound on their curvature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from convexnn.checks import Floats
from convexnn.program.losses import LOSSES

N = 12


def sample(loss: str, seed: int = 0, scale: float = 1.0) -> tuple[Floats, Floats, Floats]:
    """Return a prediction, a target and a direction, each (n, k)."""
    rng = np.random.default_rng(seed)
    k = 3 if loss == "softmax" else 1
    point, direction = scale * rng.standard_normal((N, k)), rng.standard_normal((N, k))
    if loss == "squared":
        return point, rng.standard_normal((N, k)), direction
    if loss == "logistic":
        return point, rng.choice([-1.0, 1.0], (N, k)), direction
    return point, np.eye(k)[rng.integers(0, k, N)], direction


@pytest.mark.parametrize("loss", LOSSES)
class TestLosses:
    def test_the_gradient_is_the_slope(self, loss: str) -> None:
        point, target, direction = sample(loss)
        ahead, behind = (LOSSES[loss].value(point + s * direction, target) for s in (1e-6, -1e-6))
        slope = float((LOSSES[loss].gradient(point, target) * direction).sum())
        assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-5, abs=1e-9)

    @pytest.mark.parametrize("scale", [1.0, 30.0, 1e3])
    def test_numpy_and_torch_agree(self, loss: str, scale: float) -> None:
        arrays = sample(loss, scale=scale)[:2]
        tensors = [torch.tensor(array) for array in arrays]
        room: Any = LOSSES[loss]
        assert room.value(*arrays) == pytest.approx(room.value(*tensors), rel=1e-12)
        total = room.total(*tensors)
        assert isinstance(total, torch.Tensor)
        assert float(total) == pytest.approx(N * room.value(*arrays), rel=1e-12)
        assert np.allclose(room.gradient(*arrays), room.gradient(*tensors).numpy(), atol=1e-15)
        assert np.allclose(room.prox(*arrays, 0.3), room.prox(*tensors, 0.3).numpy(), rtol=1e-9, atol=1e-9)
        theta = -room.gradient(*arrays)
        assert room.dual(theta, arrays[1]) == pytest.approx(room.dual(torch.tensor(theta), tensors[1]), rel=1e-9)

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_the_dual_is_a_lower_bound_and_tight_at_the_gradient(self, loss: str, share: float) -> None:
        room = LOSSES[loss]
        for seed in range(20):
            point, target, _ = sample(loss, seed)
            other, _, _ = sample(loss, seed + 100, scale=3.0)
            theta = -share * room.gradient(point, target)
            # L(p) + <theta, p> >= -L*(-theta) for every p, with equality where -theta is the gradient.
            assert room.value(other, target) + float((theta * other).sum()) >= room.dual(theta, target) - 1e-12
        if share == 1.0:
            assert room.value(point, target) + float((theta * point).sum()) == pytest.approx(room.dual(theta, target))

    def test_the_curvature_is_bounded_by_the_smoothness(self, loss: str) -> None:
        room = LOSSES[loss]
        for seed in range(20):
            point, target, direction = sample(loss, seed, scale=0.1)
            slope = room.gradient(point + 1e-5 * direction, target) - room.gradient(point - 1e-5 * direction, target)
            curvature = N * float((slope * direction).sum()) / 2e-5
            assert curvature <= room.smoothness * float(np.square(direction).sum()) * (1 + 1e-6)

    @pytest.mark.parametrize("weight", [1e-3, 0.25, 10.0])
    @pytest.mark.parametrize("scale", [1.0, 100.0])
    def test_the_proximal_map_is_the_minimiser(self, loss: str, scale: float, weight: float) -> None:
        room = LOSSES[loss]
        point, target, _ = sample(loss, scale=scale)

        def value(flat: Floats) -> tuple[float, Floats]:
            p = flat.reshape(point.shape)
            slope = N * room.gradient(p, target) + weight * (p - point)
            return N * room.value(p, target) + weight / 2 * float(np.square(p - point).sum()), slope.ravel()

        found = room.prox(point, target, weight)
        assert np.abs(value(found.ravel())[1]).max() <= 1e-7 * max(1.0, weight * scale)
        best = minimize(value, point.ravel(), jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
        assert value(found.ravel())[0] <= best.fun * (1 + 1e-9) + 1e-9
