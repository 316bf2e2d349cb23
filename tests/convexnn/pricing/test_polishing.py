"""Maxima cell by cell: never lower, of length 1, and the maximum where cells are few."""

from __future__ import annotations

import numpy as np
import pytest

from convexnn.checks import Floats
from convexnn.pricing import polishing
from convexnn.pricing.polishing import polish


def value(rows: Floats, theta: Floats, points: Floats) -> Floats:
    """Return f at the points (p, d)."""
    result: Floats = np.maximum(points @ rows.T, 0.0) @ theta
    return result


@pytest.mark.parametrize(("n", "d"), [(5, 1), (10, 2), (40, 3), (60, 6)])
def test_it_climbs(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    rows, theta = rng.standard_normal((n, d)), rng.standard_normal(n)
    for start in rng.standard_normal((20, d)):
        peak = polish(rows, theta, start)
        assert np.linalg.norm(peak) == pytest.approx(1.0)
        top = value(rows, theta, peak[None])[0]
        assert top >= value(rows, theta, start[None] / np.linalg.norm(start))[0] - 1e-12
        again = value(rows, theta, polish(rows, theta, peak)[None])[0]
        assert again >= top - 1e-12


def test_the_best_of_many_is_the_maximum_on_the_circle() -> None:
    rng = np.random.default_rng(1)
    rows, theta = rng.standard_normal((12, 2)), rng.standard_normal(12)
    angles = np.linspace(0.0, 2.0 * np.pi, 200_001)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    peaks = np.array([polish(rows, theta, start) for start in circle[::2000]])
    assert value(rows, theta, peaks).max() == pytest.approx(value(rows, theta, circle).max(), abs=1e-4)
    assert value(rows, theta, peaks).max() >= value(rows, theta, circle).max()


def test_a_maximum_on_kinks_is_met_exactly() -> None:
    # f = relu(u_1) - 10 |u_2|: the maximum 1 lies on two kinks.
    rows, theta = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.array([1.0, -10.0, -10.0])
    np.testing.assert_allclose(polish(rows, theta, np.array([1.0, 0.3])), [1.0, 0.0], atol=1e-15)


@pytest.mark.parametrize("point", [[0.0, 1.0], [-1.0, 0.0]])
def test_nothing_to_gain_leaves_the_point(point: list[float]) -> None:
    rows, theta = np.array([[1.0, 0.0]]), np.array([-1.0])
    peak = polish(rows, theta, np.array(point))
    assert value(rows, theta, peak[None])[0] == 0.0


def test_a_program_that_does_not_end_leaves_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def turning(*_: object) -> None:
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(polishing, "nnls", turning)
    rows, start = np.eye(2), np.array([3.0, 4.0])
    np.testing.assert_allclose(polishing.polish(rows, np.ones(2), start), [0.6, 0.8])
