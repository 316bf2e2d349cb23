"""Cones: the batched least-distance kernel against scipy and cvxpy one by one, and what it promises at any accuracy."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from convexnn.checks import Floats
from convexnn.mapping.cones import least_distance
from convexnn.patterns.activation_patterns import Bools


def problems(n: int, d: int, b: int, seed: int) -> tuple[Floats, Bools, Floats]:
    """Return Gaussian rows (n, d), the masks (n, b) of Gaussian gates, and centres (b, d)."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X @ rng.standard_normal((d, b)) >= 0.0, rng.standard_normal((b, d))


def signed(X: Floats, mask: Bools) -> Floats:
    return np.where(mask, 1.0, -1.0)[:, None] * X


def oracle(G: Floats, centre: Floats, levels: Floats) -> Floats:
    """Return the nearest point by a conic solver."""
    z = cp.Variable(len(centre))
    problem = cp.Problem(cp.Minimize(cp.sum_squares(z - centre)), [G @ z >= levels])
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    assert z.value is not None
    return np.asarray(z.value)


@pytest.mark.parametrize(("n", "d", "b"), [(40, 4, 9), (3, 6, 5), (200, 20, 30), (60, 1, 4), (16, 3, 1), (1, 2, 3)])
def test_projections_are_those_of_non_negative_least_squares(n: int, d: int, b: int) -> None:
    X, active, centres = problems(n, d, b, seed=n)
    found = least_distance(X, active, centres)
    assert found.feasible.all()
    for j in range(b):
        G = signed(X, active[:, j])
        multipliers, distance = nnls(G.T, -centres[j])
        assert np.allclose(found.points[j], centres[j] + G.T @ multipliers, atol=1e-9)
        assert np.linalg.norm(found.points[j]) == pytest.approx(distance, abs=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_points_above_levels_are_the_nearest(seed: int) -> None:
    X, active, centres = problems(25, 4, 3, seed)
    levels = np.abs(X @ centres.T)
    found = least_distance(X, active, centres, levels)
    assert found.feasible.all()
    for j in range(3):
        best = oracle(signed(X, active[:, j]), centres[j], levels[:, j])
        assert np.allclose(found.points[j], best, atol=1e-5 * np.abs(best).max())


@pytest.mark.parametrize("raised", [False, True])
def test_owned_features_are_a_problem_of_their_own(raised: bool) -> None:
    X, active, centres = problems(30, 6, 8, seed=1)
    features = np.random.default_rng(2).random((8, 6)) < 0.5
    features[0], features[1] = False, True
    active = X @ (features * centres).T + 0.1 >= 0.0
    levels = np.abs(X @ (0.1 * features * centres).T) * (features.sum(axis=1) > 3) if raised else None
    found = least_distance(X, active, centres, levels, features)
    assert not found.points[~features].any()
    for j in range(1, 8):
        own = features[j]
        alone = least_distance(
            X[:, own], active[:, [j]], centres[[j]][:, own], None if levels is None else levels[:, [j]]
        )
        assert alone.feasible[0] == found.feasible[j]
        if alone.feasible[0]:
            assert np.allclose(found.points[j, own], alone.points[0], atol=1e-9)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("raised", [False, True])
def test_units_do_not_matter(unit: float, raised: bool) -> None:
    X, active, centres = problems(50, 5, 6, seed=3)
    levels = np.abs(X @ centres.T) if raised else None
    stretch = unit ** np.random.default_rng(0).random(50)
    expected = least_distance(X, active, centres, levels)
    other = least_distance(
        stretch[:, None] * X, active, unit * centres, None if levels is None else unit * stretch[:, None] * levels
    )
    assert np.array_equal(expected.feasible, other.feasible)
    assert np.allclose(other.points / unit, expected.points, atol=1e-7 * np.abs(expected.points).max())


def test_a_point_in_the_cone_stays_as_it_is() -> None:
    X, _, centres = problems(50, 5, 6, seed=4)
    found = least_distance(X, X @ centres.T >= 0.0, centres)
    assert np.array_equal(found.points, centres)
    assert found.feasible.all()
    assert not found.violation.any()


def test_doubled_and_zero_rows_change_nothing() -> None:
    X, active, centres = problems(30, 4, 7, seed=5)
    again = np.concatenate([X, 2.0 * X, np.zeros((3, 4)), X * (1.0 + 1e-13)])
    masks = np.concatenate([active, active, np.zeros((3, 7), dtype=bool), active])
    assert np.allclose(least_distance(again, masks, centres).points, least_distance(X, active, centres).points)


def test_rows_without_a_common_point_are_flagged() -> None:
    X = np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    active, centre = np.ones((4, 2), dtype=bool), np.zeros((1, 2))
    assert least_distance(X, active[:, :1], centre).feasible.all()
    opposite = least_distance(X, active[:, :1], centre, np.array([[1.0], [1.0], [0.0], [0.0]]))
    assert not opposite.feasible[0]
    assert opposite.violation[0] > 1e-3
    assert not least_distance(X, active[:, :1], centre, np.array([[0.0], [0.0], [0.0], [1.0]])).feasible[0]
    both = least_distance(X, active, np.zeros((2, 2)), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert both.feasible.tolist() == [False, True]


@pytest.mark.parametrize("third", [[0.0, 0.0, 1.0], [0.0, -1.0, 1e-2]])
def test_problems_out_of_reach_are_flagged(third: list[float]) -> None:
    X = np.array([[1.0, 1e-2, 0.0], [-1.0, 1e-2, 0.0], third])
    active, levels = np.ones((3, 1), dtype=bool), np.ones((3, 1))
    assert least_distance(X, active, np.zeros((1, 3)), levels).feasible[0]
    assert not least_distance(X, active, np.zeros((1, 3)), levels, reach=50.0).feasible[0]


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 6), st.booleans())
def test_the_norm_bounds_the_distance_whatever_the_masks(seed: int, n: int, d: int, thin: bool) -> None:
    # Masks that no gate cuts out, and rows that nearly cancel: the cone may be {0} or have no interior.
    rng = np.random.default_rng(seed)
    X, centres = rng.standard_normal((n, d)), rng.standard_normal((4, d))
    if thin:
        X[n // 2 :] = -X[: n - n // 2] * (1.0 + 1e-9 * rng.standard_normal((n - n // 2, 1)))
    active = rng.random((n, 4)) < 0.5
    found = least_distance(X, active, centres)
    assert found.feasible.all()
    for j in range(4):
        distance = nnls(signed(X, active[:, j]).T, -centres[j], maxiter=1000)[1]
        assert distance - 1e-9 <= np.linalg.norm(found.points[j]) <= distance + 1e-6


@pytest.mark.parametrize("tolerance", [0.3, 1e-2, 1e-5])
def test_the_norm_bounds_the_distance_at_any_tolerance(tolerance: float) -> None:
    X, active, centres = problems(150, 12, 20, seed=7)
    found = least_distance(X, active, centres, tolerance=tolerance)
    exact = least_distance(X, active, centres)
    lengths, least = np.linalg.norm(found.points, axis=1), np.linalg.norm(exact.points, axis=1)
    assert found.feasible.all()
    assert (found.violation <= tolerance).all()
    assert (lengths >= least - 1e-12).all()
    assert tolerance < 1e-3 or (lengths > least + 1e-12).any()


def test_problems_that_wait_are_solved_like_those_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    X, active, centres = problems(90, 7, 40, seed=8)
    expected = least_distance(X, active, centres)
    monkeypatch.setattr("convexnn.mapping.active_set.STEP_ENTRIES", 7 * 7 * 3)
    monkeypatch.setattr("convexnn.mapping.cones.BATCH_ENTRIES", 96 * 17)
    assert np.allclose(least_distance(X, active, centres).points, expected.points, atol=1e-10)


def test_a_nearly_flat_cone_has_its_point_at_the_tip() -> None:
    # Unit rows that differ by a millionth: condition numbers above 1e7 on the way.
    rng = np.random.default_rng(255)
    X = rng.standard_normal((21, 1)) @ rng.standard_normal((1, 9)) + 1e-6 * rng.standard_normal((21, 9))
    found = least_distance(X, rng.random((21, 6)) < 0.5, rng.standard_normal((6, 9)))
    assert found.feasible.all()


def test_no_problem_and_no_feature_are_no_error() -> None:
    X, active, centres = problems(10, 3, 2, seed=6)
    assert least_distance(X, active[:, :0], centres[:0]).points.shape == (0, 3)
    nothing = least_distance(X, active, centres, None, np.zeros((2, 3), dtype=bool))
    assert nothing.feasible.all()
    assert not nothing.points.any()
    assert str(nothing) == "2 nearest points, 0 of them not feasible"
