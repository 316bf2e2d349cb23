"""Bounds by a few linear programs against exact points and enumeration."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from tests.helpers import zoo
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import crown_bounds, of_units
from verify.clock import Clock
from verify.splitting import settling
from verify.splitting.settling import Settling

pytest.importorskip("highspy")

CENTER = np.array([0.2, -0.3, 0.1])


class StillClock(Clock):
    """A clock that stands still."""

    def __init__(self, seconds: float) -> None:
        super().__init__(100.0)
        self.now = seconds

    @property
    def seconds(self) -> float:
        return self.now


def settling_of(region: verify.Box, seconds: float = 10.0) -> Settling:
    """Return bounds by programs some seconds after the beginning."""
    return Settling(region, StillClock(seconds), 0.0, 100.0)


def graph(seed: int) -> verify.ReLUGraph:
    """Return a random graph with linear units in its hidden layers."""
    rng = np.random.default_rng(seed)
    layers = zoo.network((3, 6, 6, 6, 2), seed=seed).layers
    return verify.ReLUGraph(layers, [rng.random(6) < 0.3 for _ in range(3)])


@pytest.mark.parametrize("make", [lambda seed: zoo.network((3, 6, 6, 6, 2), seed=seed), graph])
@pytest.mark.parametrize("seed", range(4))
def test_bounds_of_layers_hold_and_are_no_looser(make: Any, seed: int) -> None:
    network, box = make(seed), verify.LinfBall(CENTER, 1.0)
    known = list(of_units(network, crown_bounds(network, box)))
    points = CENTER + np.random.default_rng(seed).uniform(-1.0, 1.0, (200, 3))
    values, changed = network.activations(points), 0
    for index in range(1, 3):
        old, new = known[index], settling_of(box).layer(network.upto(index), known[: index + 1])
        assert (new.lower >= old.lower).all()
        assert (new.upper <= old.upper).all()
        assert new.floor is old.floor
        assert (new.lower <= values[index] + 1e-9).all()
        assert (values[index] <= new.upper + 1e-9).all()
        changed += int((new.lower > old.lower).sum() + (new.upper < old.upper).sum())
        known[index] = new
    assert changed
    for x in points[:20] if make is not graph else []:
        exact = zoo.exact_outputs(network, x)
        for layer, own in zip(known[:3], exact, strict=False):
            assert all(
                Fraction(low) <= value <= Fraction(high)
                for low, value, high in zip(layer.lower, own, layer.upper, strict=True)
            )


@pytest.mark.parametrize("seed", range(6))
def test_functions_are_bounded_above_their_maxima(seed: int) -> None:
    network, box = zoo.network((3, 5, 4, 2), seed=seed), verify.LinfBall(CENTER, 1.0)
    row = np.random.default_rng(seed).standard_normal(2)
    truth = zoo.enumerated_maximum(network, box.lower, box.upper, row)
    functions, known = Functions(sp.csr_matrix(row[None]), np.zeros(1), network), crown_bounds(network, box)[:-1]
    for level in (truth - 1.0, truth + 0.1):
        found = settling_of(box).function(functions, 0, known, level)
        assert found >= truth - 1e-9
        assert (found <= level) == (level > truth)


def test_what_does_not_suit_or_has_no_time_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network, box = zoo.network((3, 6, 6, 6, 2), seed=0), verify.LinfBall(CENTER, 1.0)
    known = crown_bounds(network, box)
    functions = Functions(sp.csr_matrix(np.eye(2)), np.zeros(2), network)
    assert settling_of(box).able(network, known[:-1])
    assert not settling_of(verify.L2Ball(CENTER, 1.0)).able(network, known[:-1])
    late = settling_of(box, 0.0)
    assert late.function(functions, 0, known[:-1], 0.0) == np.inf
    own = late.layer(network.upto(1), known[:2])
    assert (own.lower == known[1].lower).all()
    assert (own.upper == known[1].upper).all()
    monkeypatch.setattr(settling, "NARROW", 0)
    assert settling_of(box).layer(network.upto(1), known[:2]) is known[1]
    monkeypatch.setattr(settling, "LARGEST", 0)
    assert not settling_of(box).able(network, known[:-1])


def test_neurons_that_are_constant_are_left_alone() -> None:
    layers = list(zoo.network((3, 6, 6, 2), seed=0).layers)
    weight, bias = layers[1][0].toarray(), layers[1][1].copy()
    weight[0], bias[0] = 0.0, 0.0
    network, box = cx.SparseReLUNetwork([layers[0], (weight, bias), layers[2]]), verify.LinfBall(CENTER, 1.0)
    known = [replace(layer, lower=layer.lower.copy()) for layer in crown_bounds(network, box)]
    known[1].lower[0] = known[1].upper[0] = 0.0
    found = settling_of(box).layer(network.upto(1), known[:2])
    assert found.lower[0] == found.upper[0] == 0.0
