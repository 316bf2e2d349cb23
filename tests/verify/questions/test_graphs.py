"""Every question about networks with linear units, held against enumeration of the chain of ReLUs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import graphs, zoo
from verify.backends.engine_chain import EngineChain
from verify.backends.registry import BACKENDS
from verify.points.polishing import polish
from verify.points.population import Population

BALLS = [verify.LinfBall, verify.L1Ball, verify.L2Ball]
KINDS = [*graphs.KINDS, "random"]


def drawn(kind: str, seed: int, depth: int = 0) -> verify.ReLUGraph:
    """Return a graph of a kind with 1 to 3 inputs and 1 or 2 hidden layers, or so many; random ones of any scale."""
    d, depth = 1 + seed % 3, depth or 1 + seed % 2
    if kind == "random":
        return graphs.random_graph(seed, (d, *[4] * depth, 2), scale=(1.0, 1e-4, 1e4)[seed % 3])
    return graphs.graph(kind, seed, d, depth)


def ball(kind: Any, graph: cx.SparseReLUNetwork, seed: int, radius: float = 0.6) -> Any:
    center = np.random.default_rng(seed).uniform(-0.3, 0.3, graph.n_inputs).round(2)
    return kind(center, radius)


def oracle(graph: verify.ReLUGraph, region: Any, row: Floats) -> float:
    cuts = None
    if isinstance(region, verify.L1Ball):
        signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * region.size)).reshape(region.size, -1).T
        cuts = signs, signs @ region.center + region.radius
    return zoo.enumerated_maximum(graphs.chain_of(graph), region.lower, region.upper, row, cuts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_extremes_are_those_of_every_pattern(kind: str, seed: int) -> None:
    graph, row = drawn(kind, seed), np.array([1.0, -0.5])
    region = ball(BALLS[seed % 2], graph, seed)
    for asked, sign in ((verify.maximize, 1.0), (verify.minimize, -1.0))[:seed]:
        found, best = asked(graph, region, row, time_limit=20.0), sign * oracle(graph, region, sign * row)
        size = max(abs(best), abs(found.value))
        assert sign * found.bound >= sign * best - 1e-9 * size
        assert sign * found.value <= sign * best + 1e-7 * size
        assert abs(found.value - float((graph.activations(found.witness[None])[-1] @ row)[0])) <= 1e-12 * size
        assert found.status is verify.Status.OPTIMAL
        assert abs(found.value - best) <= 3e-6 * size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [4, 6])
def test_verdicts_are_those_of_every_pattern(kind: str, seed: int) -> None:
    graph = drawn(kind, seed)
    for radius in (0.05, 0.9):
        region = ball(BALLS[seed % 2], graph, seed, radius)
        answer = verify.find_adversarial(graph, region, time_limit=20.0)
        if answer.label is None:
            continue
        row = np.array([1.0, -1.0]) * (1.0 if answer.label == 1 else -1.0)
        best = oracle(graph, region, row)
        # Linear programs of the oracle are as exact as that.
        if abs(best) < 1e-9 * max(float(np.abs(layer).max()) for layer in graph.activations(region.center[None])):
            continue
        assert answer.status is (verify.Verdict.COUNTEREXAMPLE if best > 0.0 else verify.Verdict.ROBUST)
        if answer.witness is not None:
            exact = zoo.exact_outputs(graphs.chain_of(graph), answer.witness)[-1]
            assert exact[1 - answer.label] > exact[answer.label]


@pytest.mark.parametrize("name", zoo.ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_engines_agree(kind: str, name: str) -> None:
    graph = drawn(kind, 1)
    region, row = ball(verify.LinfBall, graph, 1), np.array([0.3, 1.0])
    found, best = verify.maximize(graph, region, row, backend=name, time_limit=20.0), oracle(graph, region, row)
    assert found.bound + found.allowance >= best - 1e-9
    assert abs(found.value - best) <= 1e-5 * max(1.0, abs(best))


@pytest.mark.parametrize("kind", ["residual", "leaky", "largest"])
def test_cuts_of_an_l2_ball_enclose_it(kind: str) -> None:
    graph = graphs.graph(kind, seed=2)
    region, row = ball(verify.L2Ball, graph, 2), np.array([1.0, -0.5])
    found = verify.maximize(graph, region, row, backend="highs", time_limit=20.0)
    ours = verify.maximize(graph, region, row, backend="branching", time_limit=20.0)
    assert abs(found.value - ours.value) <= 1e-5 * max(1.0, abs(ours.value))
    reached = float((graph.activations(graphs.points_of(region))[-1] @ row).max())
    assert min(found.bound + found.allowance, ours.bound) >= reached - 1e-9


@pytest.mark.parametrize("kind", graphs.KINDS)
def test_points_are_polished_and_populations_grow(kind: str) -> None:
    graph, row = graphs.graph(kind, seed=4), np.array([1.0, 0.0])
    region, engine = ball(verify.LinfBall, graph, 4), EngineChain([BACKENDS["scipy"]])
    population = Population(graph, region, row, np.random.default_rng(0))
    population.grow(lambda: False)
    assert abs(population.value - graph.activations(population.point[None])[-1][0, 0]) <= 1e-4 * max(
        1.0, abs(population.value)
    )
    before = float(graph.activations(region.center[None])[-1][0, 0])
    best = polish(graph, region, row, region.center, engine, 5.0)
    assert graph.activations(best[None])[-1][0, 0] >= before - 1e-12
    assert abs(population.value - oracle(graph, region, row)) <= 1e-3 * max(1.0, abs(population.value))


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), depth=st.integers(1, 4), kind=st.sampled_from(KINDS), which=st.integers(0, 2))
def test_ranges_hold_on_samples(seed: int, depth: int, kind: str, which: int) -> None:
    graph = drawn(kind, seed, depth)
    region = ball(BALLS[which], graph, seed)
    found = verify.output_range(graph, region, time_limit=0.2)
    reached = graph.activations(graphs.points_of(region, 200, seed))[-1]
    size = np.abs(reached).max()
    assert (reached >= found.lower - 1e-12 * size).all()
    assert (reached <= found.upper + 1e-12 * size).all()
    assert (found.reached_lower >= found.lower - 1e-12 * size).all()
    assert (found.reached_upper <= found.upper + 1e-12 * size).all()


@pytest.mark.parametrize("kind", ["residual", "leaky", "largest"])
def test_radii_lie_between_proof_and_witness(kind: str) -> None:
    graph = graphs.graph(kind, seed=3)
    region = ball(verify.LinfBall, graph, 3, 2.0)
    found = verify.min_radius(graph, region, tolerance=1e-2, time_limit=20.0)
    assert found.status in (verify.Nearness.FOUND, verify.Nearness.ROBUST)
    row = np.array([1.0, -1.0]) * (1.0 if found.label == 1 else -1.0)
    inner = verify.LinfBall(region.center, found.lower)
    assert oracle(graph, inner, row) <= 1e-9
    if found.witness is not None:
        assert graph.activations(found.witness[None])[-1][0] @ row > 0.0


TEXT = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)" + "".join(
    f"(assert (>= X_{index} -0.6))(assert (<= X_{index} 0.6))" for index in range(2)
)


@pytest.mark.parametrize("kind", graphs.KINDS)
@pytest.mark.parametrize("share", [0.5, 1.5])
def test_properties_are_decided(kind: str, share: float) -> None:
    graph, region = graphs.graph(kind, seed=1), verify.Box([-0.6] * 2, [0.6] * 2)
    low, high = -oracle(graph, region, np.array([-1.0, 0.0])), oracle(graph, region, np.array([1.0, 0.0]))
    level = low + share * (high - low)
    asked = verify.parse_property(TEXT + f"(assert (>= Y_0 {level:.6f}))")
    found = verify.check_vnnlib(graph, asked, time_limit=20.0)
    assert found.status is (verify.Holding.VIOLATED if share < 1.0 else verify.Holding.HOLDS)
    both = verify.parse_property(TEXT + f"(assert (>= Y_0 {level:.6f}))(assert (>= Y_1 Y_0))")
    chain = verify.check_vnnlib(graphs.chain_of(graph), both, time_limit=20.0)
    assert verify.check_vnnlib(graph, both, time_limit=20.0).status is chain.status


def test_rows_of_a_data_set_are_evaluated() -> None:
    graph = graphs.graph("residual", seed=1)
    X = np.random.default_rng(0).uniform(-1.0, 1.0, (8, 2))
    y = graph.predict(X).argmax(axis=1)
    found = verify.evaluate(graph, X, y, lambda x: verify.LinfBall(x, 0.02), time_limit=10.0)
    chain = verify.evaluate(graphs.chain_of(graph), X, y, lambda x: verify.LinfBall(x, 0.02), time_limit=10.0)
    assert [one.status for one in found.answers] == [one.status for one in chain.answers]


@pytest.mark.parametrize("kind", graphs.KINDS)
def test_surrogates_and_copies(kind: str) -> None:
    graph = graphs.graph(kind, seed=2)
    region = ball(verify.LinfBall, graph, 2)
    best = oracle(graph, region, np.array([1.0, 0.0]))
    found = verify.maximize(graph, region, 0, surrogates=(0.3,), time_limit=3.0)
    assert found.bound >= best - 1e-9 * abs(best)
    assert abs(found.value - best) <= 1e-5 * max(1.0, abs(best))
    small = verify.LinfBall(region.center, 0.01)
    answer = verify.certify_through(graph, verify.prune(graph, 0.1), small, time_limit=10.0)
    assert answer.status in (verify.Verdict.ROBUST, verify.Verdict.UNKNOWN)
    if answer.status is verify.Verdict.ROBUST:
        assert verify.find_adversarial(graph, small, time_limit=10.0).status is verify.Verdict.ROBUST


def test_a_linear_network_has_no_relaxation_at_all() -> None:
    rng = np.random.default_rng(0)
    layers = [
        (rng.standard_normal((4, 3)), None),
        (rng.standard_normal((4, 4)), None),
        (rng.standard_normal((1, 4)), None),
    ]
    graph, region = verify.ReLUGraph(layers, [np.ones(4, dtype=bool)] * 2), verify.L2Ball([0.1, 0.2, 0.3], 0.5)
    slope = (layers[2][0] @ layers[1][0] @ layers[0][0])[0]
    best = float(slope @ region.center) + 0.5 * float(np.linalg.norm(slope))
    found = verify.maximize(graph, region)
    assert found.status is verify.Status.OPTIMAL
    assert abs(found.bound - best) <= 1e-12 * abs(best)


def test_networks_are_paired_before_neurons_leave(tmp_path: Path) -> None:
    whole = cx.SparseReLUNetwork([(np.arange(6.0).reshape(3, 2) - 2.0, None), ([[1.0, 0.1, -2.0]], None)])
    copy = verify.prune(whole, kept=1, structured=True)
    region, files = (
        verify.LinfBall([0.1, 0.2], 0.3),
        [net.to_onnx(tmp_path / f"{net.nnz}.onnx") for net in (whole, copy)],
    )
    assert verify.read_network(files[1]).sizes == (2, 1, 1)
    found, plain = verify.difference(files[0], files[1], region), verify.difference(whole, copy, region)
    assert np.allclose([found.lower, found.upper], [plain.lower, plain.upper])
    assert verify.difference(files[1], verify.read_network(files[1]), region).upper[0] <= 1e-12


def test_other_units_are_refused() -> None:
    graph = graphs.graph("leaky", seed=1)
    other = verify.ReLUGraph(graph.layers, [~mask for mask in graph.linear])
    with pytest.raises(ValueError, match="sparse has other linear units than dense; expected the same"):
        verify.difference(graph, other, verify.LinfBall([0.0, 0.0], 1.0))
