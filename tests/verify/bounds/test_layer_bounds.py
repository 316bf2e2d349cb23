"""Bounds of layers under a limit: what is left keeps its intervals, and large matrices go by tiles of rows."""

from __future__ import annotations

from fractions import Fraction
from itertools import count
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify.bounds import crown
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import crown_bounds, interval_bounds
from verify.regions import intervals
from verify.regions.intervals import Interval, affine_interval


def same(first: Interval, second: Interval) -> bool:
    return np.array_equal(first.lower, second.lower) and np.array_equal(first.upper, second.upper)


@pytest.mark.parametrize("asked", range(12))
def test_a_pass_that_is_stopped_leaves_sound_bounds_and_does_no_more_work(
    asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, region = zoo.network((4, 9, 9, 9, 2), seed=3), verify.LinfBall(np.zeros(4), 0.5)
    monkeypatch.setattr(crown, "TILE", 2 * 9 * 4)
    calls, tiles = count(), list[int]()
    before = crown.crown_upper

    def counted(*given: Any) -> Floats:
        tiles.append(1)
        return before(*given)

    monkeypatch.setattr(crown, "crown_upper", counted)
    plain, whole = interval_bounds(network, region), verify.bound(network, region)
    tiles.clear()
    found = crown_bounds(network, region, plain, lambda: next(calls) >= asked)
    assert len(tiles) <= asked
    for layer, least, most in zip(found, whole, plain, strict=True):
        assert (most.lower <= layer.lower).all()
        assert (layer.lower <= least.lower + 1e-12).all()
        assert (least.upper - 1e-12 <= layer.upper).all()
        assert (layer.upper <= most.upper).all()


def test_bounds_that_are_known_are_not_made_again() -> None:
    network, region = zoo.network((4, 9, 9, 2), seed=5), verify.L1Ball(np.zeros(4), 0.5)
    for found, whole in zip(
        crown_bounds(network, region, interval_bounds(network, region)), crown_bounds(network, region), strict=True
    ):
        assert same(found, whole)


@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
def test_rows_by_tiles_are_rows_at_once(density: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    weight = sp.random(40, 30, density=density, random_state=rng, data_rvs=rng.standard_normal, format="csr")
    bias = np.where(rng.random(40) < 0.5, 0.0, rng.standard_normal(40))
    lower = np.where(rng.random(30) < 0.3, 0.0, rng.standard_normal(30))
    values = Interval(lower, lower + np.where(rng.random(30) < 0.5, 0.0, 1.0))
    whole = affine_interval(weight, bias, values)
    for tile in (1, 7, 64):
        monkeypatch.setattr(intervals, "TILE", tile)
        found = affine_interval(weight, bias, values)
        assert found.lower == pytest.approx(whole.lower, rel=1e-14, abs=1e-300)
        assert found.upper == pytest.approx(whole.upper, rel=1e-14, abs=1e-300)


def test_dense_rows_hold_in_rational_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((12, 9)) * 10.0 ** rng.integers(-8, 8, (12, 9))
    bias = np.where(rng.random(12) < 0.5, 0.0, rng.standard_normal(12))
    lower = np.where(rng.random(9) < 0.3, 0.0, rng.standard_normal(9))
    values = Interval(lower, lower + np.where(rng.random(9) < 0.4, 0.0, rng.random(9)))
    plain = affine_interval(sp.csr_matrix(weight), bias, values)
    monkeypatch.setattr(intervals, "TILE", 20)
    monkeypatch.setattr(intervals, "_magnitudes", None)
    found = affine_interval(sp.csr_matrix(weight), bias, values)
    for row, (weights, shift) in enumerate(zip(weight, bias, strict=True)):
        low, high = (exact_end(weights, shift, values, side) for side in (-1, 1))
        assert Fraction(found.lower[row]) <= low <= high <= Fraction(found.upper[row])
    assert found.lower == pytest.approx(plain.lower, rel=1e-12)
    assert found.upper == pytest.approx(plain.upper, rel=1e-12)


def exact_end(weights: Floats, bias: float, values: Interval, side: int) -> Fraction:
    """Return the smallest (side -1) or largest value of weights . h + bias."""
    ends = [values.upper[i] if (weight > 0.0) == (side > 0) else values.lower[i] for i, weight in enumerate(weights)]
    return sum((Fraction(a) * Fraction(b) for a, b in zip(weights, ends, strict=True)), Fraction(bias))


@pytest.mark.parametrize("high", [0.0, np.inf])
def test_dense_rows_with_sums_of_zeros_or_without_ends_are_as_before(
    high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, values = sp.csr_matrix(np.ones((3, 4))), Interval(np.zeros(4), np.full(4, high))
    plain = affine_interval(weight, np.zeros(3), values)
    monkeypatch.setattr(intervals, "TILE", 1)
    assert same(affine_interval(weight, np.zeros(3), values), plain)
    assert plain.lower.tolist() == [0.0] * 3


def test_a_matrix_with_a_place_left_out_or_twice_is_not_taken_for_a_dense_one() -> None:
    dense = np.arange(1.0, 7.0).reshape(2, 3)
    whole = intervals.stored_whole(sp.csr_matrix(dense))
    assert whole is not None
    assert np.array_equal(whole, dense)
    twice = sp.csr_matrix((np.ones(4), [0, 0, 0, 1], [0, 2, 4]), shape=(2, 2))
    for other in (sp.csr_matrix([[1.0, 0.0], [1.0, 1.0]]), twice):
        assert intervals.stored_whole(other) is None


def test_a_pass_through_many_layers_is_stopped_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    network, region = zoo.network((4, *[7] * 20, 2), seed=3), verify.LinfBall(np.zeros(4), 0.5)
    plain, layers, through = interval_bounds(network, region), list[int](), crown._through_layer

    def counted(*given: Any) -> Any:
        layers.append(1)
        return through(*given)

    monkeypatch.setattr(crown, "_through_layer", counted)
    found = crown_bounds(network, region, plain, lambda: len(layers) >= 30)
    assert len(layers) == 30
    assert all(layer.finite for layer in found)
    assert same(found[-1], plain[-1])


def test_linear_programs_without_time_leave_the_bounds_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    network, region = zoo.network((4, 9, 9, 9, 2), seed=3), verify.LinfBall(np.zeros(4), 0.5)
    now = count()
    monkeypatch.setattr("verify.clock.perf_counter", lambda: float(next(now)))
    found, plain = verify.bound(network, region, "lp", time_limit=0.5), interval_bounds(network, region)
    assert all(same(*layers) for layers in zip(found, plain, strict=True))


def test_a_point_is_bounded_by_what_there_is_time_for() -> None:
    network, x = zoo.network((4, *[7] * 6, 2), seed=3), np.zeros(4)
    functions = Functions(sp.csr_matrix(np.eye(2)), np.zeros(2), network)
    asked = count()
    sharp, plain = functions.sharply_at(x), functions.proven_at(x)
    assert (sharp.upper - sharp.lower < plain.upper - plain.lower).all()
    assert same(functions.sharply_at(x, lambda: next(asked) >= 3), plain)
    assert next(asked) <= 8


def test_a_sum_that_underflows_is_not_taken_for_an_exact_zero() -> None:
    weight, values = (
        sp.csr_matrix([[1e-200, 0.0], [1.0, 0.0]]),
        Interval(np.array([1e-200, 1.0]), np.array([1e-200, 2.0])),
    )
    found = affine_interval(weight, np.zeros(2), values)
    assert found.lower[0] < 0.0 < found.upper[0]
    zero = affine_interval(weight, np.zeros(2), Interval(np.array([0.0, 1.0]), np.array([0.0, 2.0])))
    assert (zero.lower.tolist(), zero.upper.tolist()) == ([0.0, 0.0], [0.0, 0.0])
