"""Least squares by tiles against singular values of the whole matrix; accuracy where columns are near one another."""

from __future__ import annotations

import numpy as np
import pytest

from convexnn import tiles
from convexnn.checks import Floats
from convexnn.linear import least_squares as room
from convexnn.linear.least_squares import RCOND, least_squares
from tests.helpers import zoo


@pytest.fixture(params=["whole", "tiled"], autouse=True)
def tiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "tiled":
        monkeypatch.setattr(room, "row_tiles", lambda n, s: tiles.row_tiles(n, s, entries=300))


def oracle(columns: Floats, target: Floats) -> Floats:
    """Return the weights of least norm over unit columns by numpy's singular values, cut at 1e-10."""
    norms = np.linalg.norm(columns, axis=0)
    norms[norms == 0.0] = 1.0
    return np.linalg.lstsq(columns / norms, target, rcond=RCOND)[0] / norms


def problem(n: int, s: int, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, s)), rng.standard_normal(n)


@pytest.mark.parametrize(("n", "s"), [(200, 10), (200, 150), (200, 200), (60, 90), (7, 1), (1, 3)])
def test_it_is_what_singular_values_give(n: int, s: int) -> None:
    columns, target = problem(n, s)
    assert np.allclose(least_squares(columns, target), oracle(columns, target), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-5, 1e-6, 1e-8])
def test_near_columns_are_fitted_as_well_as_by_an_orthogonal_method(distance: float) -> None:
    columns, target = problem(300, 20)
    columns[:, 7] = columns[:, 3] + distance * columns[:, 7]
    found, best = least_squares(columns, target), oracle(columns, target)
    assert np.allclose(columns @ found, columns @ best, atol=1e-11)
    assert np.linalg.norm(found - best) <= 1e-14 / distance**2 * np.linalg.norm(best) + 1e-12


def test_an_exact_fit_is_exact() -> None:
    columns, _ = problem(300, 20)
    columns[:, 7] = columns[:, 3] + 1e-4 * columns[:, 7]
    truth = np.random.default_rng(1).standard_normal(20)
    residual = columns @ least_squares(columns, columns @ truth) - columns @ truth
    assert np.linalg.norm(residual) <= 1e-14 * np.linalg.norm(columns @ truth)


@pytest.mark.parametrize("size", [1.0, 1e12, 1e-12])
def test_dependent_and_zero_columns_get_the_shortest_weights(size: float) -> None:
    columns, target = problem(300, 20)
    columns[:, 7], columns[:, 9], columns[:, 11] = columns[:, 3], 0.0, columns[:, 4] - 2.0 * columns[:, 5]
    columns[:, 3] *= size
    found = least_squares(columns, target)
    assert np.allclose(found, oracle(columns, target), rtol=1e-7, atol=1e-11)
    assert abs(found[9]) < 1e-14
    assert found[3] * size == pytest.approx(found[7], rel=1e-6)


def test_the_units_of_a_column_do_not_matter() -> None:
    columns, target = problem(100, 8)
    units = 10.0 ** np.arange(-40, 40, 10)
    assert np.allclose(least_squares(columns * units, target) * units, least_squares(columns, target), rtol=1e-9)


def test_no_columns_and_single_precision() -> None:
    columns, target = problem(100, 8)
    assert least_squares(columns[:, :0], target).shape == (0,)
    single = columns.astype(np.float32)
    assert np.allclose(least_squares(single, target), oracle(single.astype(np.float64), target), rtol=1e-12)


def test_the_columns_of_a_program_need_not_be_held() -> None:
    program, truth = zoo.planted(n=200, d=5, gates=10, weights=12, seed=0)
    support = np.concatenate([truth, (truth + 1) % program.n_weights])
    whole = least_squares(program.columns(support), program.y)
    assert np.allclose(least_squares(program.support_columns(support), program.y), whole, atol=1e-10)
