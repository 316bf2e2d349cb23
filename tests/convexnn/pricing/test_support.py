"""The bound of a cone: against non-negative least squares by scipy, and what a narrow cone shows at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from convexnn.checks import Floats
from convexnn.pricing.support import combined, gram, maxima_l1, maxima_l2, products


def cones(d: int, count: int, seed: int) -> tuple[Floats, Floats]:
    """Return unit generators (d, d, B) in the first orthant, wide and narrow ones, and c (d, B)."""
    rng = np.random.default_rng(seed)
    centre = rng.random((1, d, count))
    generators = centre + rng.choice([1.0, 0.1, 1e-3], count) * rng.random((d, d, count))
    return generators / np.sqrt(np.square(generators).sum(axis=1, keepdims=True)), rng.standard_normal((d, count))


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8])
def test_the_maximum_over_a_cone_is_that_of_non_negative_least_squares(d: int) -> None:
    generators, c = cones(d, 60, d)
    found = maxima_l2(generators, c, gram(generators), -1.0)
    for index in range(c.shape[1]):
        # max c . a - ||V^T a||^2 / 2 is half the square of the maximum: the nearest V^T a to any y with V y = c.
        matrix = generators[:, :, index]
        share, _ = nnls(matrix.T, np.linalg.lstsq(matrix, c[:, index], rcond=None)[0])
        expected = np.linalg.norm(matrix.T @ share)
        assert found.bounds[index] >= expected - 1e-9
        assert found.bounds[index] == pytest.approx(expected, rel=1e-6, abs=1e-6 * np.abs(c).max())


@pytest.mark.parametrize("enough", [-1.0, 0.5, 10.0])
def test_no_combination_of_the_generators_is_above_the_bound(enough: float) -> None:
    generators, c = cones(4, 200, 7)
    rng = np.random.default_rng(0)
    l2, l1 = maxima_l2(generators, c, gram(generators), enough), maxima_l1(generators, c)
    for _ in range(200):
        shares = rng.random(c.shape) * (rng.random(c.shape) < 0.6)
        points, heights = combined(generators, shares), (c * shares).sum(axis=0)
        assert np.all(heights <= l2.bounds * np.linalg.norm(points, axis=0) + 1e-12)
    short = generators / generators.sum(axis=1, keepdims=True)
    l1 = maxima_l1(short, c)
    heights = (c * shares).sum(axis=0)
    assert np.all(heights <= l1.bounds * np.abs(combined(short, shares)).sum(axis=0) + 1e-12)


def test_generators_that_coincide_still_give_a_bound() -> None:
    generators, c = cones(3, 50, 3)
    generators[1] = generators[0]
    found = maxima_l2(generators, c, gram(generators), -1.0)
    assert np.isfinite(found.bounds).all()
    share = np.maximum(c, 0.0)
    lengths = np.linalg.norm(combined(generators, share), axis=0)
    assert np.all((c * share).sum(axis=0) <= found.bounds * lengths + 1e-12)


def test_products_and_combinations_are_those_of_matrices() -> None:
    generators, c = cones(4, 5, 1)
    for index in range(5):
        matrix = generators[:, :, index]
        np.testing.assert_allclose(products(generators, c)[:, index], matrix @ c[:, index])
        np.testing.assert_allclose(combined(generators, c)[:, index], matrix.T @ c[:, index])
        np.testing.assert_allclose(gram(generators)[:, :, index], matrix @ matrix.T)
