"""The largest price: against enumeration, in exact arithmetic, on degenerate data, at all scales, within limits."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convexnn.checks import Floats
from convexnn.pricing.ascent import ascend, random_starts
from convexnn.pricing.cones import Ball
from convexnn.pricing.functions import PricedFunction, plain_gated_bound
from convexnn.pricing.price import price_exactly
from convexnn.pricing.proof import ProofLimits, prove
from convexnn.pricing.reduction import reduce


def value(rows: Floats, theta: Floats, points: Floats) -> Floats:
    """Return max over columns of |sum_i theta_ic relu(x_i . u)| at points (p, d)."""
    found: Floats = np.abs(np.maximum(points @ rows.T, 0.0) @ theta).max(axis=1)
    return found


def largest_in_the_plane(rows: Floats, theta: Floats) -> float:
    """Return the maximum over the unit circle: f is g . u between two neighbouring kinks, so largest at g or a kink."""
    kinks = np.sort(np.mod(np.arctan2(rows[:, 1], rows[:, 0])[:, None] + np.array([np.pi / 2, -np.pi / 2]), 2 * np.pi))
    kinks = np.sort(kinks.ravel())
    middles = 0.5 * (kinks + np.append(kinks[1:], kinks[0] + 2 * np.pi))
    at = np.column_stack([np.cos(kinks), np.sin(kinks)])
    inside = np.column_stack([np.cos(middles), np.sin(middles)])
    slopes = np.einsum("pn,nc,nd->pcd", (inside @ rows.T > 0.0) * 1.0, theta, rows).reshape(-1, 2)
    tips = slopes / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), 1e-300)
    return float(value(rows, theta, np.concatenate([at, tips, -tips])).max())


@pytest.mark.parametrize("seed", range(8))
def test_in_the_plane_the_bound_is_that_of_all_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((rng.integers(1, 30), 2))
    theta = rng.standard_normal((len(rows), 1 + seed % 2))
    top = largest_in_the_plane(rows, theta)
    found = price_exactly(rows, theta, top, top * (1.0 + 1e-6))
    assert found.reason == "proven"
    assert top <= found.bound <= top * (1.0 + 1e-6)
    assert price_exactly(rows, theta, 0.99 * top, 0.995 * top).reason == "beaten"


DATA = st.sampled_from(["plain", "whole numbers", "repeated", "zero rows", "flat", "few rows", "zero column"])


def data_of(kind: str, rng: np.random.Generator, d: int) -> Floats:
    """Return rows (n, d) of a kind that breaks careless geometry."""
    rows = rng.standard_normal((rng.integers(3, 12), d))
    if kind == "whole numbers":
        rows = np.round(rows)
    elif kind == "repeated":
        rows[1], rows[2] = rows[0], -2.0 * rows[0]
    elif kind == "zero rows":
        rows[0] = 0.0
    elif kind == "flat":
        rows[:, -1] = rows[:, 0]
    elif kind == "few rows":
        rows = rows[:2]
    elif kind == "zero column":
        rows[:, 0] = 0.0
    return rows


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    d=st.integers(1, 4),
    kind=DATA,
    ball=st.sampled_from(["l2", "l1"]),
    power=st.integers(-8, 8),
)
def test_the_bound_is_above_what_is_met_and_the_points_reach_their_values(
    seed: int, d: int, kind: str, ball: str, power: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = data_of(kind, rng, d) * 10.0**power
    theta = rng.standard_normal((len(rows), 1 + seed % 2)) * 10.0 ** (power // 2)
    values, points = ascend(rows, theta, np.concatenate([random_starts(rows, 40, rng), np.eye(d), -np.eye(d)]), ball)
    order = 2 if ball == "l2" else 1
    np.testing.assert_allclose(value(rows, theta, points[:5]), np.maximum(values[:5], 0.0), rtol=1e-9)
    assert np.all(np.linalg.norm(points, order, axis=1) <= 1.0 + 1e-12)
    if values[0] <= 0.0:
        return
    found = price_exactly(
        rows, theta, values[0], 1.002 * values[0], ball=ball, beat=1.0001 * values[0], max_cones=30_000
    )
    assert found.bound >= max(values[0], found.value) * (1.0 - 1e-12)
    assert found.reason == "beaten" or found.bound <= 1.002 * values[0]
    if len(found.points):
        np.testing.assert_allclose(value(rows, theta, found.points), found.values, rtol=1e-6)


def exact_value(rows: Floats, theta: Floats, point: Floats) -> Fraction:
    """Return |sum_i theta_i relu(x_i . u)| in rational arithmetic."""
    total = Fraction(0)
    for row, weight in zip(rows.tolist(), theta.tolist(), strict=True):
        inner = sum((Fraction(x) * Fraction(u) for x, u in zip(row, point.tolist(), strict=True)), Fraction(0))
        total += Fraction(weight) * max(inner, Fraction(0))
    return abs(total)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_holds_in_rational_arithmetic_where_terms_cancel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Pairs of rows that differ by a unit in the last place, with opposite weights: f is rounding and little else.
    half = rng.standard_normal((6, 3))
    rows = np.concatenate([half, np.nextafter(half, np.inf)])
    theta = np.concatenate([np.ones(6), -np.ones(6)]) * np.tile(rng.standard_normal(6), 2)
    _, points = ascend(rows, theta[:, None], random_starts(rows, 30, rng))
    tops = [
        exact_value(rows, theta, point) ** 2 / sum(Fraction(u) ** 2 for u in point.tolist()) for point in points[:10]
    ]
    found = price_exactly(rows, theta[:, None], 1e-9, 2e-9, max_cones=20_000)
    assert all(top <= Fraction(found.bound) ** 2 for top in tops)


def test_a_weak_bound_is_above_every_corner() -> None:
    rng = np.random.default_rng(2)
    rows, theta = rng.standard_normal((9, 3)), rng.standard_normal(9)
    function = PricedFunction(rows, theta)
    points = rng.standard_normal((4000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert (np.maximum(points @ rows.T, 0.0) @ theta).max() <= function.plain_bound() <= function.size
    every = np.array(list(product([0.0, 1.0], repeat=9)))
    assert np.linalg.norm((every * theta) @ rows, axis=1).max() <= plain_gated_bound(rows, theta)


def test_rows_in_a_plane_of_many_features_are_priced_in_the_plane() -> None:
    rng = np.random.default_rng(4)
    plane, basis = rng.standard_normal((20, 2)), np.linalg.qr(rng.standard_normal((30, 2)))[0]
    theta = rng.standard_normal((20, 1))
    rows = plane @ basis.T
    assert reduce(rows, theta, "l2").rows.shape == (20, 2)
    top = largest_in_the_plane(plane, theta)
    found = price_exactly(rows, theta, top, top * (1.0 + 1e-6), beat=0.9 * top)
    assert top * (1.0 - 1e-9) <= found.bound <= top * (1.0 + 1e-6) or found.reason == "beaten"
    assert found.points.shape[1] == 30
    np.testing.assert_allclose(value(rows, theta, found.points), found.values, rtol=1e-6)


def test_nothing_to_price_is_zero() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 3))
    for data, theta in ((rows, np.zeros((5, 1))), (np.zeros((5, 3)), np.ones((5, 1)))):
        found = price_exactly(data, theta, 1.0, 1.1)
        assert (found.bound, found.reason, found.points.shape) == (0.0, "proven", (0, 3))


def test_limits_leave_a_bound() -> None:
    rng = np.random.default_rng(1)
    rows, theta = rng.standard_normal((60, 5)), rng.standard_normal((60, 1))
    top = ascend(rows, theta, random_starts(rows, 200, rng))[0][0]
    for options, reason in (({"time_limit": 0.0}, "time limit"), ({"max_cones": 1}, "limit of cones")):
        found = price_exactly(rows, theta, top, 1.001 * top, **options)
        assert found.reason == reason
        assert found.bound > top
    wide = price_exactly(rng.standard_normal((20, 13)), theta[:20], 1.0, 1.1)
    assert (wide.reason, wide.cones) == ("more than 12 inputs", 0)


def test_with_and_without_a_limit_the_same_level_is_proven() -> None:
    rng = np.random.default_rng(3)
    rows, theta = rng.standard_normal((40, 3)), rng.standard_normal((40, 1))
    top = ascend(rows, theta, random_starts(rows, 400, rng))[0][0]
    found = [price_exactly(rows, theta, top, 1.002 * top, time_limit=limit) for limit in (None, 600.0)]
    assert [one.reason for one in found] == ["proven", "proven"]
    assert found[0].bound == found[1].bound
    # Without a limit no coarser level is tried before.
    assert found[0].cones < found[1].cones


def test_a_proof_stops_soon_after_a_point_above_its_level() -> None:
    rng = np.random.default_rng(5)
    function = PricedFunction(rng.standard_normal((30, 4)), rng.standard_normal(30))
    proof = prove(function, Ball("l2"), 1e-3, 0.0, ProofLimits(10**6))
    assert proof.reason == "beaten"
    assert proof.value > 1e-3
    np.testing.assert_allclose(
        proof.values, np.maximum(proof.points @ function.rows.T, 0.0) @ function.theta, rtol=1e-9
    )
    assert proof.bound >= proof.value
