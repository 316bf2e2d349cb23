"""Repeated projections onto cones against single ones."""

from __future__ import annotations

import numpy as np
import pytest

from convexnn.solvers.common.certificate import project
from convexnn.solvers.convex.cone_projection import ConeProjector
from tests.helpers import zoo


@pytest.mark.parametrize("kind", ["gaussian", "sparse", "single", "enumerate"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_every_call_is_the_projection_whatever_came_before(kind: str, bias: bool, scale: float) -> None:
    program = zoo.Case("squared", 1, "group_l1", kind, bias, True).program()
    projector, rng = ConeProjector(program), np.random.default_rng(0)
    neurons = scale * rng.standard_normal(program.neurons_shape) * program.owned
    # Steps of all sizes: the active rows stay, change a little, or change altogether.
    for step in (0.0, 1e-6, 1e-2, 1.0, 1e-6, 10.0, 0.0):
        neurons = neurons + step * scale * rng.standard_normal(neurons.shape) * program.owned
        points = projector(neurons)
        assert np.allclose(points, project(program, neurons), atol=1e-7 * np.abs(neurons).max())
        assert not points[~program.owned].any()


def test_rows_that_repeat_are_no_trouble() -> None:
    case = zoo.Case("squared", 1, "group_l1", "gaussian", False, True)
    program = case.program()
    twice = type(program)(
        np.concatenate([program.X, program.X]),
        np.concatenate([program.y, program.y]),
        program.patterns,
        penalty="group_l1",
        strength=0.02,
        cone=True,
    )
    projector, rng = ConeProjector(twice), np.random.default_rng(0)
    neurons = rng.standard_normal(twice.neurons_shape)
    for _ in range(5):
        neurons = neurons + 1e-3 * rng.standard_normal(neurons.shape)
        assert np.allclose(projector(neurons), project(program, neurons), atol=1e-8)
