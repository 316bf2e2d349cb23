"""Envelopes: bounds hold at points, and come near the value that a linear program over all corners of a box gives."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.bounds.crown import output_interval
from verify.bounds.layer_bounds import crown_bounds
from verify.branching import envelopes
from verify.branching.box_bounds import BoxBounds, BoxNetwork

SIZE, NEURONS = 3, 6


def drawn(seed: int, size: int = SIZE, scale: float = 1.0) -> tuple[cx.SparseReLUNetwork, verify.Box]:
    """Return a network of one hidden layer, and a box where most neurons switch."""
    rng = np.random.default_rng(seed)
    layers = [
        (scale * rng.standard_normal((NEURONS, size)), 0.3 * scale * rng.standard_normal(NEURONS)),
        (rng.standard_normal((1, NEURONS)), rng.standard_normal(1)),
    ]
    center = rng.uniform(-0.2, 0.2, size)
    return cx.SparseReLUNetwork(layers), verify.Box(center - rng.uniform(0.0, 1.0, size), center + 1.0)


def played(network: cx.SparseReLUNetwork, box: verify.Box, level: float = -np.inf) -> tuple[Floats, BoxBounds]:
    """Return the bounds of lines, and those of envelopes."""
    known = crown_bounds(network, box)
    boxes = BoxNetwork(network.layers, known, box.lower, box.upper, np.eye(1), np.zeros(1))
    entered, asked = (
        boxes.enter(box.lower[None], box.upper[None], boxes.root_phases()[None]),
        np.ones((1, 1), dtype=bool),
    )
    found = entered.functions(asked)
    lines = found.upper.copy()
    entered.play(found, asked, level)
    return lines, found


def value_over_corners(network: cx.SparseReLUNetwork, box: verify.Box) -> float:
    """Return the maximum of the sum of all concave envelopes: each is a best mean of the values at corners.

    A neuron that counts negatively lies above the point's p and 0, and is least there.
    """
    (weight, bias), (outer, constant) = [(layer[0].toarray(), layer[1]) for layer in network.layers]
    corners = np.array(list(product(*zip(box.lower, box.upper, strict=True))))
    heights = np.maximum(corners @ weight.T + bias, 0.0)
    cost, equal, sides, below, levels = [np.zeros(SIZE)], [], [], [], []
    for neuron, count in enumerate(outer[0]):
        places = SIZE + sum(map(len, cost[1:]))
        if count > 0.0:
            cost.append(-count * heights[:, neuron])
            for row, side in [*zip(corners.T, -np.eye(SIZE), strict=True), (np.ones(len(corners)), np.zeros(SIZE))]:
                equal.append((places, side, row))
            sides += [0.0] * SIZE + [1.0]
        else:
            cost.append(np.array([-count]))
            below.append((places, weight[neuron], np.array([-1.0])))
            levels.append(-bias[neuron])
    total = np.concatenate(cost)

    def matrix(parts: list[tuple[int, Floats, Floats]]) -> Floats:
        rows = np.zeros((len(parts), len(total)))
        for row, (place, own, rest) in zip(rows, parts, strict=True):
            row[:SIZE], row[place : place + len(rest)] = own, rest
        return rows

    limits = [*zip(box.lower, box.upper, strict=True), *[(0.0, None)] * (len(total) - SIZE)]
    found = linprog(total, A_ub=matrix(below), b_ub=levels, A_eq=matrix(equal), b_eq=sides, bounds=limits)
    return float(-found.fun + constant[0])


@pytest.mark.parametrize("seed", range(12))
def test_the_game_comes_near_the_value_of_the_envelopes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelopes, "STAGES", (1000,))
    network, box = drawn(seed)
    lines, found = played(network, box)
    value = value_over_corners(network, box)
    assert value - 1e-9 <= found.upper[0, 0] <= lines[0, 0]
    assert found.upper[0, 0] <= value + 0.02 * (1.0 + abs(value))


def test_envelopes_are_far_below_lines_where_inputs_are_many() -> None:
    falls = []
    for seed in range(10):
        network, box = drawn(seed, 30)
        lines, found = played(network, box)
        best = output_interval(sp.csr_matrix(np.eye(1)), network.layers, crown_bounds(network, box), box).upper[0]
        assert lines[0, 0] == pytest.approx(best, rel=1e-9)
        X = box.lower + np.random.default_rng(seed).random((500, 30)) * (box.upper - box.lower)
        falls.append((lines[0, 0] - found.upper[0, 0]) / (lines[0, 0] - network.predict(X).max()))
    assert np.median(falls) > 0.2


@pytest.mark.parametrize("scale", [1e-160, 1e-8, 1.0, 1e8, 1e160])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_bounds_hold_at_points_of_any_size(size: int, scale: float) -> None:
    for seed in range(10):
        network, box = drawn(seed, size, scale)
        _, found = played(network, box)
        X = box.lower + np.random.default_rng(seed).random((300, size)) * (box.upper - box.lower)
        X[:2] = box.lower, box.upper
        truth, room = network.predict(X).ravel(), 1e-9 * (1.0 + np.abs(network.predict(X)).max())
        assert (truth <= found.upper[0, 0] + room).all()
        assert (truth <= X @ found.slopes[0, 0] + found.offsets[0, 0] + room).all()


def test_neurons_known_over_a_part_of_the_box_alone_are_bounded_over_all_of_it() -> None:
    # relu(x + y) over x + y <= .5: the pieces are those of the whole box, whatever is known of the part.
    network = cx.SparseReLUNetwork([([[1.0, 1.0]], [0.0]), ([[1.0]], [0.0])])
    part = verify.Box([-1.0, -1.0], [1.0, 1.0]).where([[1.0, 1.0]], [0.5])
    known = crown_bounds(network, part)
    boxes = BoxNetwork(network.layers, known, part.lower, part.upper, np.eye(1), np.zeros(1))
    entered, asked = (
        boxes.enter(part.lower[None], part.upper[None], boxes.root_phases()[None]),
        np.ones((1, 1), dtype=bool),
    )
    found = entered.functions(asked)
    entered.play(found, asked, -np.inf)
    X = np.random.default_rng(0).uniform(-1.0, 1.0, (2000, 2))
    X = X[X.sum(axis=1) <= 0.5]
    assert (network.predict(X).ravel() <= X @ found.slopes[0, 0] + found.offsets[0, 0] + 1e-12).all()
