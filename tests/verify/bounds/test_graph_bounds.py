"""Bounds of networks with linear units: sound in rational arithmetic, as tight as linear units allow."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import verify
from tests.helpers import graphs, zoo
from tests.helpers.sound_bounds import MILD, WILD, assert_encloses, crown_alone, drawn_box, drawn_network, drawn_points
from verify.bounds.coupling import couple

SIZES = [3, 3, 3, 2]


def drawn_graph(data: Any, entries: Any) -> verify.ReLUGraph:
    """Return a graph of SIZES, its masks drawn too."""
    masks = [data.draw(npst.arrays(bool, size)) for size in SIZES[1:-1]]
    return verify.ReLUGraph(drawn_network(data, SIZES, entries).layers, masks)


def exact_layers(graph: verify.ReLUGraph, x: Any) -> list[list[Fraction]]:
    """Return the pre-activations of every layer in rational arithmetic, by the chain of ReLUs alone."""
    layers = zoo.exact_outputs(graphs.chain_of(graph), x)
    return [values[:size] for values, size in zip(layers, graph.sizes[1:], strict=True)]


@pytest.mark.parametrize("entries", [WILD, MILD], ids=["wild", "mild"])
@settings(max_examples=25)
@given(st.data())
def test_bounds_hold_in_exact_arithmetic(entries: Any, data: Any) -> None:
    graph, region = drawn_graph(data, entries), drawn_box(data, 3, entries)
    bounds = [verify.bound(graph, region, kind) for kind in ("interval", "crown")] + [crown_alone(graph, region)]
    for x in drawn_points(data, region):
        for known in bounds:
            assert_encloses(known, exact_layers(graph, x), finite=False)


@pytest.mark.parametrize("entries", [WILD, MILD], ids=["wild", "mild"])
@settings(max_examples=20)
@given(st.data())
def test_differences_hold_in_exact_arithmetic(entries: Any, data: Any) -> None:
    graph, region = drawn_graph(data, entries), drawn_box(data, 3, entries)
    other = graph.with_layers(drawn_network(data, SIZES, entries).layers)
    other = data.draw(st.sampled_from([other, verify.prune(graph, 0.5)]))
    found = verify.difference(graph, other, region)
    for x in drawn_points(data, region):
        outputs = [exact_layers(network, x)[-1] for network in (graph, other)]
        for low, high, a, b in zip(found.lower, found.upper, *outputs, strict=True):
            assert low == -np.inf or Fraction(low) <= a - b
            assert high == np.inf or a - b <= Fraction(high)


@pytest.mark.parametrize("kind", graphs.KINDS)
@pytest.mark.parametrize("ball", [verify.LinfBall, verify.L1Ball, verify.L2Ball])
def test_linear_programs_bound_every_point_and_are_never_looser(kind: str, ball: Any) -> None:
    graph, region = graphs.graph(kind, seed=1), ball([0.2, -0.1], 0.8)
    crown, lp = verify.bound(graph, region), verify.bound(graph, region, "lp", time_limit=5.0)
    for wide, narrow, values in zip(crown, lp, graph.activations(graphs.points_of(region)), strict=True):
        assert (narrow.lower >= wide.lower).all()
        assert (narrow.upper <= wide.upper).all()
        assert (values >= narrow.lower - 1e-12).all()
        assert (values <= narrow.upper + 1e-12).all()


def test_linear_units_are_no_relaxation() -> None:
    # x, carried three layers on and added to its negative: 0, where intervals alone know of -2 to 2.
    carried = np.vstack([np.eye(2), -np.eye(2)])
    graph = verify.ReLUGraph(
        [(carried, None), (np.eye(4), None), (np.eye(4), None), (np.hstack([np.eye(2), np.eye(2)]), None)],
        [np.ones(4, dtype=bool)] * 3,
    )
    region = verify.LinfBall([0.5, -3.0], 1.0)
    assert np.abs(verify.bound(graph, region)[-1].lower).max() <= 1e-12
    assert np.abs(verify.bound(graph, region)[-1].upper).max() <= 1e-12
    for layer in verify.bound(graph, region)[:-1]:
        assert len(layer.switching) == 0
        assert layer.live.all()
    assert (verify.bound(graph, region, "interval")[-1].upper >= 2.0).all()
    assert verify.maximize(graph, region, 0).bound <= 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_hidden_differences_lie_between_their_lines(seed: int) -> None:
    graph = graphs.random_graph(seed, (3, 6, 6, 2))
    copy, region = verify.prune(graph, 0.4), verify.L2Ball(np.full(3, 0.2), 0.4)
    points = graphs.points_of(region)
    layers = zip(couple(graph, copy, region).hidden, graph.activations(points), copy.activations(points), strict=False)
    for index, (pairs, first, second) in enumerate(layers):
        live = pairs.live[: first.shape[1]]
        moves = (first - second)[:, live]
        apart = (graph.activate(index, first) - graph.activate(index, second))[:, live]
        assert (apart <= pairs.rise * moves + pairs.above + 1e-12).all()
        assert (apart >= pairs.fall * moves - pairs.below - 1e-12).all()


@pytest.mark.parametrize("kind", graphs.KINDS)
def test_a_carried_value_is_as_good_as_the_input_itself(kind: str) -> None:
    # Functions at points, which decide about witnesses, in exact arithmetic: intervals of a box of no width.
    graph = graphs.graph(kind, seed=2)
    for x in np.random.default_rng(0).uniform(-1.0, 1.0, (10, 2)):
        for known in (verify.bound(graph, verify.Box(x, x), kind) for kind in ("interval", "crown")):
            assert_encloses(known, exact_layers(graph, x))
            assert (known[-1].upper - known[-1].lower).max() <= 1e-10


def test_bounds_that_know_no_units_are_told() -> None:
    graph, region = graphs.graph("residual", seed=3), verify.LinfBall([0.1, 0.2], 0.7)
    known = verify.bound(graph, region)
    forgetful = tuple(verify.Interval(layer.lower, layer.upper) for layer in known)
    one, two = (verify.encode(graph, region, 0, bounds) for bounds in (known, forgetful))
    assert (one.milp.rows != two.milp.rows).nnz == 0
    assert int(one.milp.integer.sum()) == int(two.milp.integer.sum())
