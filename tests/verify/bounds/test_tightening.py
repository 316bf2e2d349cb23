"""Bounds by linear programs: within those of CROWN, as tight as the relaxation, sound whatever the engine says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify.backends.warm_start import ColdScipy, WarmHighs, warm_engine
from verify.bounds import tightening
from verify.bounds.crown import crown_interval, relax_layers
from verify.milp.model import Milp

REGIONS: dict[str, Callable[[Floats], verify.Box]] = {
    "box": lambda x: verify.Box(x - 0.8, x + 0.8),
    "L-inf": lambda x: verify.LinfBall(x, 0.7, clip=(-1, 1)),
    "L1": lambda x: verify.L1Ball(x, 0.9, clip=(-1, 1)),
    "L2": lambda x: verify.L2Ball(x, 0.8, clip=(-1, 1)),
}
METHODS = ("interval", "crown", "lp")


def region_of(kind: str, size: int, seed: int) -> verify.Box:
    return REGIONS[kind](np.random.default_rng(seed).uniform(-0.6, 0.6, size))


def drawn(region: verify.Box, count: int, seed: int = 0) -> Floats:
    """Return points of a region: inside, and where linear functions are largest."""
    rng = np.random.default_rng(seed)
    inside = region.project(rng.uniform(region.lower, region.upper, (count, region.size)))
    return np.concatenate([inside, region.peaks(rng.standard_normal((count, region.size)))])


def width(layer: verify.Interval) -> float:
    return float((layer.upper - layer.lower).mean())


@pytest.mark.parametrize("kind", REGIONS)
@pytest.mark.parametrize("shape", [(4, 6, 6, 3), (3, 5, 5, 5, 1), (4, 6, 2)])
def test_bounds_are_nested_and_hold_at_samples(kind: str, shape: tuple[int, ...]) -> None:
    network = zoo.network(shape, seed=sum(shape), density=0.8)
    region = region_of(kind, shape[0], 1)
    wide, middle, tight = (verify.bound(network, region, method) for method in METHODS)
    values = network.activations(drawn(region, 5000))
    for outer, inner in ((wide, middle), (middle, tight)):
        for a, b, c in zip(outer, inner, values, strict=True):
            assert (a.lower <= b.lower).all()
            assert (b.upper <= a.upper).all()
            assert (c >= b.lower - 1e-12).all()
            assert (c <= b.upper + 1e-12).all()
    if kind != "L2" and len(shape) > 3:
        assert width(tight[-1]) < width(middle[-1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(REGIONS)), st.sampled_from([1e-6, 1.0, 1e5]))
def test_bounds_hold_in_exact_arithmetic(seed: int, kind: str, size: float) -> None:
    (weight, bias), *rest = zoo.network((3, 4, 4, 2), seed=seed).layers
    network = cx.SparseReLUNetwork([(size * weight, size * bias), *rest])
    region = region_of(kind, 3, seed)
    layers = verify.bound(network, region, "lp")
    for point in drawn(region, 4, seed):
        if region.contains(point):
            for values, layer in zip(zoo.exact_outputs(network, point), layers, strict=True):
                for value, low, high in zip(values, layer.lower, layer.upper, strict=True):
                    assert Fraction(low) <= value <= Fraction(high)


def relaxed_maximum(
    network: cx.SparseReLUNetwork, region: verify.Box, known: tuple[verify.Interval, ...], c: Floats
) -> float:
    """Return max c . outputs over the triangles of `known` bounds of all hidden layers, all variables kept."""
    inputs = region.size
    bounds, rows, sides, equal, levels = list(zip(region.lower, region.upper, strict=True)), [], [], [], []
    sizes = [inputs, *(2 * weight.shape[0] for weight, _ in network.layers[:-1])]
    total, before = sum(sizes), np.arange(inputs)
    for (weight, bias), layer, start in zip(network.layers[:-1], known, np.cumsum(sizes), strict=False):
        p = start + np.arange(len(bias))
        for i, (low, high) in enumerate(zip(layer.lower, layer.upper, strict=True)):
            row = np.zeros(total)
            row[before], row[p[i]] = -weight.toarray()[i], 1.0
            equal.append(row)
            levels.append(bias[i])
            for slope, lift in ((0.0, 0.0), (1.0, 0.0)):
                row = np.zeros(total)
                row[p[i]], row[p[i] + len(bias)] = slope, -1.0
                rows.append(row)
                sides.append(lift)
            s = 1.0 if low >= 0 else 0.0 if high <= 0 else high / (high - low)
            row = np.zeros(total)
            row[p[i]], row[p[i] + len(bias)] = -s, 1.0
            rows.append(row)
            sides.append(0.0 if s in (0.0, 1.0) else -s * low)
        bounds += [*zip(layer.lower, layer.upper, strict=True), *[(None, None)] * len(bias)]
        before = p + len(bias)
    if isinstance(region, verify.L1Ball):
        for signs in np.ndindex(*[2] * inputs):
            row = np.zeros(total)
            row[:inputs] = 1.0 - 2.0 * np.array(signs)
            rows.append(row)
            sides.append(float(region.radius + row[:inputs] @ region.center))
    weight, bias = network.layers[-1]
    cost = np.zeros(total)
    cost[before] = c @ weight.toarray()
    found = linprog(-cost, np.array(rows), sides, np.array(equal), levels, bounds)
    assert found.status == 0
    return float(c @ bias - found.fun)


@pytest.mark.parametrize("kind", ["box", "L-inf", "L1"])
@pytest.mark.parametrize("seed", range(4))
def test_outputs_are_bounded_as_the_relaxation_is(kind: str, seed: int) -> None:
    network = zoo.network((3, 5, 4, 2), seed=seed)
    region = region_of(kind, 3, seed)
    layers = verify.bound(network, region, "lp")
    for index, c in enumerate(np.eye(2)):
        assert layers[-1].upper[index] <= relaxed_maximum(network, region, layers, c) + 1e-6
        assert -layers[-1].lower[index] <= relaxed_maximum(network, region, layers, -c) + 1e-6
    # No tighter than that, but where CROWN of the layers found by the way was.
    crown = crown_interval(*network.layers[-1], relax_layers(network.layers[:-1], layers, region), region)
    for index, c in enumerate(np.eye(2)):
        least = min(relaxed_maximum(network, region, layers, c), crown.upper[index])
        assert layers[-1].upper[index] >= least - 1e-6


@pytest.mark.parametrize("kind", REGIONS)
def test_without_time_the_bounds_are_those_of_crown(kind: str) -> None:
    network, region = zoo.network((4, 6, 6, 3), seed=1), region_of(kind, 4, 0)
    for a, b in zip(verify.bound(network, region), verify.bound(network, region, "lp", time_limit=0), strict=True):
        assert np.array_equal(a.lower, b.lower)
        assert np.array_equal(a.upper, b.upper)


@pytest.mark.parametrize("limit", [-1.0, np.nan, "soon"])
def test_a_time_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="time_limit"):
        verify.bound(zoo.network((2, 2, 1)), verify.Box([0.0] * 2, [1.0] * 2), "lp", time_limit=limit)


class TestDegenerate:
    def test_no_unstable_neuron_and_a_dead_layer(self) -> None:
        stable = cx.SparseReLUNetwork([([[1.0], [1.0]], [9.0, -9.0]), ([[1.0, 5.0]], [1.0]), ([[2.0]], None)])
        first, second, last = verify.bound(stable, verify.Box([-1.0], [1.0]), "lp")
        assert (first.lower[0], second.upper[0]) == pytest.approx((8.0, 11.0))
        assert (last.lower[0], last.upper[0]) == pytest.approx((18.0, 22.0))
        dead = cx.SparseReLUNetwork([([[1.0]], [-9.0]), ([[1.0]], [0.5]), ([[2.0]], None)])
        layers = verify.bound(dead, verify.Box([-1.0], [1.0]), "lp")
        assert (layers[1].lower[0], layers[1].upper[0]) == pytest.approx((0.5, 0.5))

    @pytest.mark.parametrize("kind", [verify.LinfBall, verify.L1Ball, verify.L2Ball])
    def test_a_region_of_one_point(self, kind: Any) -> None:
        network, x = zoo.network((3, 5, 5, 2), seed=0), np.array([0.1, -0.2, 0.3])
        for values, layer in zip(network.activations(x[None]), verify.bound(network, kind(x, 0.0), "lp"), strict=True):
            assert np.allclose(layer.lower, values[0], atol=1e-9)
            assert np.allclose(layer.upper, values[0], atol=1e-9)

    def test_one_layer_and_bounds_that_overflow(self) -> None:
        flat = cx.SparseReLUNetwork([([[1.0, -1.0]], [0.5])])
        assert verify.bound(flat, verify.Box([0.0] * 2, [1.0] * 2), "lp")[0].upper[0] == pytest.approx(1.5)
        huge = cx.SparseReLUNetwork([([[1e200], [-1e200]], None), ([[1e200, -1e200]], [1.0]), ([[1.0]], None)])
        layers = verify.bound(huge, verify.Box([-1.0], [1.0]), "lp")
        assert not np.isnan([[layer.lower.max(), layer.upper.max()] for layer in layers]).any()


class Noise:
    """An engine whose multipliers are made up."""

    def __init__(self, milp: Milp) -> None:
        self.count, self.rng = len(milp.row_lower), np.random.default_rng(0)

    def maximise(self, cost: Floats, seconds: float) -> Floats:
        wild = self.rng.choice([0.0, 1.0, -1.0, 1e9, np.nan, np.inf], self.count)
        return wild * self.rng.standard_normal(self.count)

    def confine(self, lower: Floats, upper: Floats) -> None:
        pass


class TestEngines:
    @pytest.mark.parametrize("kind", REGIONS)
    def test_scipy_gives_the_same_bounds_as_a_warm_engine(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("highspy")
        network, region = zoo.network((4, 6, 6, 3), seed=2), region_of(kind, 4, 2)
        monkeypatch.setattr(tightening, "warm_engine", WarmHighs)
        warm = verify.bound(network, region, "lp")
        monkeypatch.setattr(tightening, "warm_engine", ColdScipy)
        cold = verify.bound(network, region, "lp")
        # Over an L2 ball multipliers that are as good for the engine's box are not as good for the ball.
        tolerance = 0.1 if kind == "L2" else 1e-6
        assert width(warm[-1]) == pytest.approx(width(cold[-1]), rel=tolerance)

    @pytest.mark.parametrize("kind", REGIONS)
    def test_multipliers_that_are_made_up_give_no_false_bound(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        network, region = zoo.network((4, 6, 6, 3), seed=3), region_of(kind, 4, 3)
        monkeypatch.setattr(tightening, "warm_engine", Noise)
        layers = verify.bound(network, region, "lp")
        for values, layer in zip(network.activations(drawn(region, 2000)), layers, strict=True):
            assert (values >= layer.lower - 1e-12).all()
            assert (values <= layer.upper + 1e-12).all()

    def test_an_engine_that_gives_up_leaves_what_is_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network, region = zoo.network((4, 6, 3), seed=3), region_of("L2", 4, 3)
        monkeypatch.setattr(Noise, "maximise", lambda self, cost, seconds: None)
        monkeypatch.setattr(tightening, "warm_engine", Noise)
        for a, b in zip(verify.bound(network, region), verify.bound(network, region, "lp"), strict=True):
            assert np.array_equal(a.upper, b.upper)

    def test_without_highspy_it_is_scipy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        milp = verify.encode(zoo.network((4, 6, 3), seed=0), verify.Box([0.0] * 4, [1.0] * 4), [1.0, 0.0, 0.0]).milp
        monkeypatch.setitem(sys.modules, "highspy", None)
        assert isinstance(warm_engine(milp), ColdScipy)
