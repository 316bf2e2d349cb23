"""Differences of two networks: sound in rational arithmetic and against all joint activation patterns."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from tests.helpers.sound_bounds import MILD, WILD, drawn_box, drawn_network, drawn_points
from verify.bounds.coupling import couple, side_by_side

SHAPES = [(2, 2, 1), (2, 1, 1, 1), (3, 2, 2), (2, 2, 1, 2), (1, 3, 1)]


def drawn(seed: int) -> tuple[cx.SparseReLUNetwork, cx.SparseReLUNetwork, verify.Box]:
    """Return a network, its pruned copy (sometimes another network) and a region around a random center."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    dense = zoo.network(shape, seed=seed, bias=seed % 3 > 0)
    sparse = verify.prune(dense, float(rng.choice([0.2, 0.5, 0.8])), outputs=seed % 4 == 0, structured=False)
    if seed % 7 == 0:
        sparse = zoo.network(shape, seed=seed + 1)
    center, radius = rng.uniform(-1.0, 1.0, shape[0]), float(rng.choice([0.0, 0.1, 0.5, 1.5]))
    ball = verify.L1Ball if seed % 2 else verify.LinfBall
    return dense, sparse, ball(center, radius)


def cuts_of(region: verify.Box) -> tuple[Floats, Floats] | None:
    if not isinstance(region, verify.L1Ball):
        return None
    signs = np.array(list(product([-1.0, 1.0], repeat=region.size)))
    return signs, signs @ region.center + region.radius


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_no_joint_activation_pattern_is_outside(first: int) -> None:
    for seed in range(first, first + 20):
        dense, sparse, region = drawn(seed)
        row = np.random.default_rng(seed).standard_normal(dense.n_outputs)
        found = verify.difference(dense, sparse, region, row)
        both, objective = cx.SparseReLUNetwork(side_by_side(dense, sparse)), np.append(row, -row)
        ends = region.lower, region.upper
        highest = zoo.enumerated_maximum(both, *ends, objective, cuts_of(region))
        lowest = -zoo.enumerated_maximum(both, *ends, -objective, cuts_of(region))
        assert found.upper[0] >= highest - 1e-7, seed
        assert found.lower[0] <= lowest + 1e-7, seed


@pytest.mark.parametrize("entries", [WILD, MILD], ids=["wild", "mild"])
@settings(max_examples=60)
@given(st.data())
def test_bounds_hold_in_exact_arithmetic(entries: Any, data: Any) -> None:
    dense = drawn_network(data, [3, 3, 3, 2], entries)
    share = data.draw(st.sampled_from([0.0, 0.3, 0.8]))
    sparse = verify.prune(dense, share, method="random", outputs=data.draw(st.booleans()))
    if data.draw(st.booleans()):
        # As after training: every entry of the difference is rounded.
        sparse = cx.SparseReLUNetwork([(weight * 1.1, bias * 0.9) for weight, bias in sparse.layers])
    region = drawn_box(data, 3, entries)
    rows = data.draw(npst.arrays(float, (3, 2), elements=entries))
    found = verify.difference(dense, sparse, region, rows)
    for x in drawn_points(data, region):
        outputs = [zoo.exact_outputs(network, x)[-1] for network in (dense, sparse)]
        for row, low, high in zip(rows, found.lower, found.upper, strict=True):
            value = sum((Fraction(c) * (a - b) for c, a, b in zip(row, *outputs, strict=True)), Fraction(0))
            assert low == -np.inf or Fraction(low) <= value
            assert high == np.inf or value <= Fraction(high)


@pytest.mark.parametrize("seed", range(6))
def test_hidden_differences_lie_between_their_lines(seed: int) -> None:
    dense = zoo.network((4, 8, 8, 3), seed=seed)
    sparse = verify.prune(dense, 0.4)
    region = verify.L2Ball(np.full(4, 0.2), 0.4)
    points = region.project(np.random.default_rng(seed).uniform(-0.5, 0.8, (500, 4)))
    layers = zip(
        couple(dense, sparse, region).hidden, dense.activations(points), sparse.activations(points), strict=False
    )
    for pairs, first, second in layers:
        live = pairs.live[: first.shape[1]]
        moves = (first - second)[:, live]
        changes = (np.maximum(first, 0.0) - np.maximum(second, 0.0))[:, live]
        assert (changes <= pairs.rise * moves + pairs.above + 1e-9).all()
        assert (changes >= pairs.fall * moves - pairs.below - 1e-9).all()


@pytest.mark.parametrize("seed", range(8))
def test_it_is_never_looser_than_the_two_networks_apart(seed: int) -> None:
    dense = zoo.network((4, 6, 6, 3), seed=seed)
    sparse, region = verify.prune(dense, 0.2), verify.LinfBall(np.zeros(4), 0.2)
    found = verify.difference(dense, sparse, region)
    own, other = (verify.bound(network, region)[-1] for network in (dense, sparse))
    assert (found.upper <= own.upper - other.lower + 1e-9).all()
    assert (found.lower >= own.lower - other.upper - 1e-9).all()


def test_little_pruning_is_a_small_difference() -> None:
    # Bounds of each network alone are off by their own widths; those of the difference know that it is small.
    dense = zoo.network((5, 20, 20, 2), seed=0)
    region = verify.LinfBall(np.zeros(5), 0.3)
    found = verify.difference(dense, verify.prune(dense, 0.02), region)
    own = verify.bound(dense, region)[-1]
    assert ((found.upper - found.lower) < 0.2 * (own.upper - own.lower)).all()


def test_a_network_does_not_differ_from_itself() -> None:
    network, region = zoo.network((4, 6, 6, 3), seed=1), verify.LinfBall(np.zeros(4), 1.0)
    found = verify.difference(network, network, region)
    assert found.upper == pytest.approx(0.0, abs=1e-11)
    assert found.lower == pytest.approx(0.0, abs=1e-11)
    assert (found.lower <= 0.0).all()
    assert (found.upper >= 0.0).all()


def test_it_is_exact_where_no_neuron_can_switch() -> None:
    rng = np.random.default_rng(0)
    weight, shift = rng.standard_normal((4, 3)), np.array([50.0, -50.0, 50.0, 50.0])
    other = weight * (np.abs(weight) > 0.5)
    last = rng.standard_normal((1, 4))
    dense, sparse = (cx.SparseReLUNetwork([(matrix, shift), (last, None)]) for matrix in (weight, other))
    found = verify.difference(dense, sparse, verify.Box([-1.0] * 3, [1.0] * 3))
    reach = np.abs((last * (shift > 0.0)) @ (weight - other)).sum()
    assert found.upper == pytest.approx([reach])
    assert found.lower == pytest.approx([-reach])


def test_one_layer_is_a_difference_of_weights() -> None:
    dense = cx.SparseReLUNetwork([([[1.0, -2.0, 3.0]], [0.5])])
    found = verify.difference(dense, verify.prune(dense, kept=1, outputs=True), verify.Box([0.0] * 3, [1.0] * 3))
    assert (found.upper[0], found.lower[0]) == (pytest.approx(1.0), pytest.approx(-2.0))


def test_rows_are_an_index_one_function_or_several() -> None:
    dense = zoo.network((3, 4, 3), seed=0)
    sparse, region = verify.prune(dense, 0.5), verify.LinfBall(np.zeros(3), 0.3)
    every = verify.difference(dense, sparse, region)
    assert every.upper.shape == (3,)
    for index in range(3):
        assert verify.difference(dense, sparse, region, index).upper == pytest.approx(every.upper[index])
        assert verify.difference(dense, sparse, region, np.eye(3)[index]).lower == pytest.approx(every.lower[index])
    turned = verify.difference(dense, sparse, region, -np.eye(3))
    assert turned.upper == pytest.approx(-every.lower)


def test_overflow_is_unknown() -> None:
    layers = [([[1e200], [-1e200]], None), ([[1e200, -1e200]], None), ([[1.0]], None)]
    dense, sparse = cx.SparseReLUNetwork(layers), cx.SparseReLUNetwork([*layers[:2], ([[0.5]], None)])
    found = verify.difference(dense, sparse, verify.Box([-1.0], [1.0]))
    assert (found.lower[0], found.upper[0]) == (-np.inf, np.inf)


NETWORK = zoo.network((3, 4, 2), seed=0)
BAD: list[tuple[tuple[Any, ...], str]] = [
    ((zoo.network((3, 5, 2)), verify.Box([0.0] * 3, [1.0] * 3)), "sparse has the sizes 3-5-2; expected 3-4-2"),
    ((NETWORK, verify.Box([0.0], [1.0])), "region has 1 inputs; expected 3"),
    ((NETWORK, verify.Box([0.0] * 3, [1.0] * 3), 2), "rows is 2; expected the index of an output, 0 to 1"),
    ((NETWORK, verify.Box([0.0] * 3, [1.0] * 3), [1.0]), r"rows has shape \(1,\); expected an index, or weights"),
    ((NETWORK, verify.Box([0.0] * 3, [1.0] * 3), np.zeros((0, 2))), r"rows has shape \(0, 2\); expected"),
    ((NETWORK, verify.Box([0.0] * 3, [1.0] * 3), "last"), "rows"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments_are_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        verify.difference(NETWORK, *arguments)
