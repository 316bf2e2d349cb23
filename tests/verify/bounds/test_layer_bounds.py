"""Bounds of layers under a limit: what is left keeps its intervals, and large matrices go by tiles of rows."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify.bounds import crown
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


def test_a_sum_that_underflows_is_not_taken_for_an_exact_zero() -> None:
    weight, values = (
        sp.csr_matrix([[1e-200, 0.0], [1.0, 0.0]]),
        Interval(np.array([1e-200, 1.0]), np.array([1e-200, 2.0])),
    )
    found = affine_interval(weight, np.zeros(2), values)
    assert found.lower[0] < 0.0 < found.upper[0]
    zero = affine_interval(weight, np.zeros(2), Interval(np.array([0.0, 1.0]), np.array([0.0, 2.0])))
    assert (zero.lower.tolist(), zero.upper.tolist()) == ([0.0, 0.0], [0.0, 0.0])
