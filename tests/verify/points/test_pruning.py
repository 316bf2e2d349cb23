"""Pruning: torch's own pruning as the oracle, exact counts, nested supports, and nothing else touched."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune as oracle

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import graphs, zoo
from verify.relu_graph import carried_units

SIZES = (6, 9, 7, 4)
REGION = verify.Box([-1.0, 0.0, 0.0, -3.0, 1.0, 0.0], [1.0, 0.0, 0.5, 3.0, 1.5, 2.0])
CALLS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["magnitude", "random", "importance"]),
        "scope": st.sampled_from(["layer", "global"]),
        "structured": st.booleans(),
        "seed": st.integers(0, 3),
    }
)


def dense(network: cx.SparseReLUNetwork) -> list[Floats]:
    return [weight.toarray() for weight, _ in network.layers]


def module(seed: int) -> torch.nn.Sequential:
    """Return a dense torch network of SIZES."""
    torch.manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(SIZES):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def linears(model: torch.nn.Sequential) -> list[torch.nn.Linear]:
    return [layer for layer in model if isinstance(layer, torch.nn.Linear)]


def assert_same(found: cx.SparseReLUNetwork, model: torch.nn.Sequential) -> None:
    for (weight, bias), layer in zip(found.layers, linears(model), strict=True):
        assert (weight.toarray() == layer.weight.detach().double().numpy()).all()
        assert (bias == layer.bias.detach().double().numpy()).all()


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.55, 0.8, 0.95])
@pytest.mark.parametrize("outputs", [False, True])
def test_layers_agree_with_torch(sparsity: float, outputs: bool) -> None:
    model = module(0)
    network = verify.read_network(module(0))
    for layer in linears(model)[: None if outputs else -1]:
        size = layer.weight.numel()
        oracle.l1_unstructured(layer, "weight", amount=size - round((1.0 - sparsity) * size))
        oracle.remove(layer, "weight")
    assert_same(verify.prune(network, sparsity, outputs=outputs), model)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.55, 0.8, 0.95])
@pytest.mark.parametrize("outputs", [False, True])
def test_all_layers_together_agree_with_torch(sparsity: float, outputs: bool) -> None:
    model = module(1)
    network = verify.read_network(module(1))
    chosen = [(layer, "weight") for layer in linears(model)[: None if outputs else -1]]
    size = sum(layer.weight.numel() for layer, _ in chosen)
    amount = size - round((1.0 - sparsity) * size)
    oracle.global_unstructured(chosen, pruning_method=oracle.L1Unstructured, amount=amount)
    for layer, name in chosen:
        oracle.remove(layer, name)
    assert_same(verify.prune(network, sparsity, scope="global", outputs=outputs), model)


def removable(network: cx.SparseReLUNetwork, structured: bool) -> list[int]:
    """Return how many weights or neurons of each layer may go."""
    return list(network.sizes[1:-1]) if structured else [weight.nnz for weight, _ in network.layers[:-1]]


def left(before: cx.SparseReLUNetwork, after: cx.SparseReLUNetwork, structured: bool) -> list[int]:
    """Return how many of them are left; a neuron is one while weights go into it (every row of the zoo has some)."""
    if not structured:
        return [weight.nnz for weight, _ in after.layers[:-1]]
    return [int((abs(weight[:, :]).sum(axis=0) > 0).sum()) for weight, _ in after.layers[1:]]


@settings(max_examples=150)
@given(CALLS, st.floats(0.0, 0.999), st.integers(0, 5))
def test_counts_are_exact_and_nothing_else_is_touched(call: dict[str, Any], sparsity: float, seed: int) -> None:
    network = zoo.network(SIZES, seed=seed, density=1.0 if call["structured"] else 0.7)
    pruned = verify.prune(network, sparsity, region=REGION, **call)
    sizes, counts = removable(network, call["structured"]), left(network, pruned, call["structured"])
    if call["scope"] == "layer" and not call["structured"]:
        assert counts == [round((1.0 - sparsity) * size) for size in sizes]
    elif not call["structured"]:
        assert sum(counts) == round((1.0 - sparsity) * sum(sizes))
    for (weight, bias), (whole, shift) in zip(pruned.layers, network.layers, strict=True):
        assert (bias == shift).all()
        assert weight.shape == whole.shape
        entries = weight.toarray()
        assert ((entries == 0.0) | (entries == whole.toarray())).all()
    if not call["structured"]:
        assert (pruned.layers[-1][0] != network.layers[-1][0]).nnz == 0
    again = verify.prune(network, sparsity, region=REGION, **call)
    assert all((a == b).all() for a, b in zip(dense(pruned), dense(again), strict=True))


@settings(max_examples=60)
@given(CALLS, st.tuples(st.floats(0.0, 0.999), st.floats(0.0, 0.999)), st.integers(0, 5))
def test_more_sparsity_keeps_a_part_of_what_less_keeps(
    call: dict[str, Any], shares: tuple[float, float], seed: int
) -> None:
    network = zoo.network(SIZES, seed=seed)
    # A few equal weights: ties are decided the same way at every sparsity.
    layers = [(np.round(weight.toarray(), 1), bias) for weight, bias in network.layers]
    network = cx.SparseReLUNetwork(layers)
    more, less = (verify.prune(network, share, region=REGION, **call) for share in sorted(shares, reverse=True))
    for small, large in zip(dense(more), dense(less), strict=True):
        assert not ((small != 0.0) & (large == 0.0)).any()


@pytest.mark.parametrize("method", ["magnitude", "random", "importance"])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.75])
def test_whole_neurons_go(method: str, scope: str, sparsity: float) -> None:
    network = zoo.network(SIZES, seed=2)
    pruned = verify.prune(network, sparsity, method=method, scope=scope, structured=True, region=REGION)
    gone = []
    for (into, _), (out, _) in zip(pruned.layers, pruned.layers[1:], strict=False):
        gone.append(np.diff(out.tocsc().indptr) == 0)
        # Neurons that are gone have no weights in either; those after a layer that is gone have none in, but stay.
        assert (np.diff(into.indptr) == 0)[gone[-1]].all()
    counts = [int((~mask).sum()) for mask in gone]
    if scope == "layer":
        assert counts == [round((1.0 - sparsity) * size) for size in SIZES[1:-1]]
    else:
        assert sum(counts) == round((1.0 - sparsity) * sum(SIZES[1:-1]))
    small = verify.simplify(pruned)
    assert small.sizes[1:-1] == tuple(counts) or not all(counts)
    X = np.random.default_rng(0).standard_normal((20, SIZES[0]))
    assert small.predict(X) == pytest.approx(pruned.predict(X))


def test_neurons_are_ranked_by_both_of_their_sides() -> None:
    # Norms in: 3, 1, 2; norms out: 1, 5, 2; products 3, 5, 4.
    network = cx.SparseReLUNetwork([([[3.0, 0.0], [0.0, 1.0], [0.0, 2.0]], None), ([[1.0, 5.0, 2.0]], None)])
    for kept, alive in ((1, [1]), (2, [1, 2])):
        pruned = verify.prune(network, kept=kept, structured=True)
        assert pruned.layers[1][0].indices.tolist() == alive
    # Widths of the values: 3, 0 and 2; importance 3, 0, 4.
    region = verify.Box([0.0, 1.0], [1.0, 1.0 + 0.0])
    pruned = verify.prune(network, kept=1, structured=True, method="importance", region=region)
    assert pruned.layers[1][0].indices.tolist() == [0]


def test_importance_knows_the_widths_over_the_region() -> None:
    network = cx.SparseReLUNetwork([([[1.0, 2.0, 3.0]], [9.0]), ([[1.0]], None)])
    region = verify.Box([0.0, 0.0, 0.0], [4.0, 1.0, 0.5])
    supports = [
        verify.prune(network, kept=kept, method="importance", region=region).layers[0][0].indices.tolist()
        for kept in (1, 2, 3)
    ]
    assert supports == [[0], [0, 1], [0, 1, 2]]
    # Over a point nothing has a width: sizes decide.
    point = verify.Box([0.0] * 3, [0.0] * 3)
    assert verify.prune(network, kept=1, method="importance", region=point).layers[0][0].indices.tolist() == [2]


def test_importance_of_later_layers_reads_the_bounds_before() -> None:
    # The first neuron is stuck at 10, the second runs from 0 to 1: a change of the input moves the second alone.
    network = cx.SparseReLUNetwork([([[0.0], [1.0]], [10.0, 0.0]), ([[5.0, 0.1]], None), ([[1.0]], None)])
    region = verify.Box([0.0], [1.0])
    pruned = verify.prune(network, kept=1, method="importance", region=region)
    assert pruned.layers[1][0].indices.tolist() == [1]
    assert verify.prune(network, kept=1).layers[1][0].indices.tolist() == [0]


def test_overflowing_bounds_leave_an_order() -> None:
    network = cx.SparseReLUNetwork([([[1e200], [1.0]], None), ([[1e200, 1.0]], None), ([[1.0, 0.0, 0.0][:1]], None)])
    pruned = verify.prune(network, kept=1, method="importance", region=verify.Box([0.0], [1e99]))
    assert pruned.layers[1][0].indices.tolist() == [0]


def test_kept_is_of_each_layer_or_of_all() -> None:
    network = zoo.network(SIZES, seed=0)
    assert [weight.nnz for weight, _ in verify.prune(network, kept=60).layers] == [54, 60, 28]
    together = verify.prune(network, kept=60, scope="global")
    assert sum(weight.nnz for weight, _ in together.layers[:-1]) == 60
    assert sum(weight.nnz for weight, _ in verify.prune(network, kept=60, scope="global", outputs=True).layers) == 60


def test_equal_weights_go_from_the_end() -> None:
    network = cx.SparseReLUNetwork([(np.ones((2, 3)), None), (np.ones((1, 2)), None)])
    assert dense(verify.prune(network, 0.5))[0].tolist() == [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]


def test_a_network_of_one_layer_has_nothing_to_lose_but_by_outputs() -> None:
    network = cx.SparseReLUNetwork([(np.arange(1.0, 7.0).reshape(2, 3), [1.0, 2.0])])
    for structured in (False, True):
        for scope in ("layer", "global"):
            for method in ("magnitude", "random"):
                same = verify.prune(network, 0.5, scope=scope, method=method, structured=structured)
                assert (dense(same)[0] == dense(network)[0]).all()
    assert verify.prune(network, 0.5, outputs=True).layers[0][0].nnz == 3


def test_random_choices_follow_the_seed() -> None:
    network = zoo.network(SIZES, seed=0)
    first, same, other = (verify.prune(network, 0.5, method="random", seed=seed) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(dense(first), dense(same), strict=True))
    assert any((a != b).any() for a, b in zip(dense(first), dense(other), strict=True))


@pytest.mark.parametrize("kind", ["classes", "signs", "floats"])
def test_finetuning_lowers_the_loss_within_the_mask(kind: str) -> None:
    rng = np.random.default_rng(0)
    outputs = 1 if kind == "signs" else 3
    teacher = zoo.network((6, 8, outputs), seed=3)
    X = rng.standard_normal((300, 6))
    values = teacher.predict(X)
    y: Any = {
        "classes": values.argmax,
        "signs": lambda axis: np.where(values > 0, 1, -1),
        "floats": lambda axis: values,
    }
    y = y[kind](axis=-1)
    bare = verify.prune(teacher, 0.7)
    options = verify.Finetune(X, y, epochs=20, rate=1e-2, batch=50)
    trained = verify.prune(teacher, 0.7, finetune=options, seed=1)

    def loss(network: cx.SparseReLUNetwork) -> float:
        found = network.predict(X)
        if kind == "floats":
            return float(((found - y) ** 2).mean())
        if kind == "signs":
            return float((np.sign(found) != y).mean())
        return float((found.argmax(axis=1) != y).mean())

    assert loss(trained) < loss(bare)
    for after, before in zip(dense(trained), dense(bare), strict=True):
        assert not ((after != 0.0) & (before == 0.0)).any()
    assert any((a != b).any() for (_, a), (_, b) in zip(trained.layers, bare.layers, strict=True))
    again = verify.prune(teacher, 0.7, finetune=options, seed=1)
    assert all((a == b).all() for a, b in zip(dense(trained), dense(again), strict=True))
    other = verify.prune(teacher, 0.7, finetune=(X, y), seed=2)
    assert other.sizes == teacher.sizes


def test_finetuning_works_in_any_mode_of_torch() -> None:
    network, X = zoo.network((4, 5, 2), seed=0), np.random.default_rng(0).standard_normal((20, 4))
    plain = verify.prune(network, 0.5, finetune=(X, np.arange(20) % 2))
    with torch.inference_mode():
        inside = verify.prune(network, 0.5, finetune=(X, np.arange(20) % 2))
    assert all((a == b).all() for a, b in zip(dense(plain), dense(inside), strict=True))


X10, Y10 = np.zeros((10, 6)), np.zeros(10, dtype=int)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"sparsity": 1.0}, r"sparsity is 1.0; expected a number in \[0, 1\)"),
    ({"sparsity": -0.1}, r"sparsity is -0.1; expected a number in \[0, 1\)"),
    ({"sparsity": float("nan")}, r"sparsity is nan; expected"),
    ({"sparsity": "0.5"}, r"sparsity is '0.5'; expected"),
    ({"sparsity": True}, "sparsity is True; expected"),
    ({}, "sparsity and kept are both None; expected exactly one"),
    ({"sparsity": 0.5, "kept": 3}, "sparsity and kept are both given; expected exactly one"),
    ({"kept": 0}, "kept is 0; expected a whole number of at least 1"),
    ({"sparsity": 0.5, "method": "size"}, "method 'size' is unknown; expected one of: magnitude, random, importance"),
    ({"sparsity": 0.5, "scope": "net"}, "scope 'net' is unknown; expected one of: layer, global"),
    ({"sparsity": 0.5, "structured": 1}, "structured is 1; expected True or False"),
    ({"sparsity": 0.5, "outputs": "no"}, "outputs is 'no'; expected True or False"),
    ({"sparsity": 0.5, "structured": True, "outputs": True}, "outputs is True with structured=True"),
    ({"sparsity": 0.5, "method": "importance"}, "region is None with method="),
    ({"sparsity": 0.5, "method": "importance", "region": verify.Box([0.0], [1.0])}, "region has 1 inputs; expected 6"),
    ({"sparsity": 0.5, "method": "importance", "region": (0, 1)}, "region is a tuple; expected a Box"),
    ({"sparsity": 0.5, "seed": -1}, "seed is -1; expected"),
    ({"sparsity": 0.5, "finetune": X10}, "finetune is a ndarray; expected a Finetune or a pair"),
    ({"sparsity": 0.5, "finetune": (X10[:, :5], Y10)}, "X has 5 features; expected 6"),
    ({"sparsity": 0.5, "finetune": (X10, Y10[:9])}, r"y has shape \(9,\); expected \(10,\)"),
    ({"sparsity": 0.5, "finetune": (X10, Y10 + 4)}, "y has classes 4 to 4; expected 0 to 3"),
    ({"sparsity": 0.5, "finetune": (X10, Y10.astype(float))}, r"y has shape \(10,\); expected \(10, 4\)"),
    ({"sparsity": 0.5, "finetune": (X10, np.array(["a"] * 10))}, "y has entries of dtype <U1; expected whole"),
    ({"sparsity": 0.5, "finetune": verify.Finetune(X10, Y10, epochs=0)}, "epochs is 0; expected"),
    ({"sparsity": 0.5, "finetune": verify.Finetune(X10, Y10, rate=2.0)}, "rate is 2; expected a step of at most 1"),
    (
        {"sparsity": 0.5, "finetune": (X10 + 1e30, np.zeros((10, 4)))},
        "finetune diverged at rate 0.001; expected a smaller one",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        verify.prune(zoo.network(SIZES, seed=0), **arguments)
    assert "\n" not in str(caught.value)


class TestLinearUnits:
    @pytest.mark.parametrize("method", ["magnitude", "random", "importance"])
    @pytest.mark.parametrize("scope", ["layer", "global"])
    @pytest.mark.parametrize("kind", graphs.KINDS)
    def test_carried_rows_stay_and_do_not_count(self, kind: str, scope: str, method: str) -> None:
        graph, region = graphs.graph(kind, seed=1, d=3, depth=3), verify.LinfBall([0.1] * 3, 0.5)
        found = verify.prune(graph, 0.7, method=method, scope=scope, region=region)
        own, kept = [], []
        for index, ((before, _), (after, _)) in enumerate(zip(graph.layers[:-1], found.layers[:-1], strict=True)):
            held = carried_units(graph, index)
            carried = np.zeros(len(before.toarray()), dtype=bool) if held is None else held
            assert np.array_equal(before.toarray()[carried], after.toarray()[carried])
            own.append(before[~carried].nnz)
            kept.append(after[~carried].nnz)
        wanted = [round((1.0 - 0.7) * count) for count in (own if scope == "layer" else [sum(own)])]
        assert (kept if scope == "layer" else [sum(kept)]) == wanted
        assert isinstance(found, verify.ReLUGraph)
        assert all(np.array_equal(*masks) for masks in zip(found.linear, graph.linear, strict=True))

    @pytest.mark.parametrize("kind", graphs.KINDS)
    def test_neurons_are_relus(self, kind: str) -> None:
        graph = graphs.graph(kind, seed=1, d=3, depth=2)
        found = verify.prune(graph, 0.5, structured=True)
        for index, mask in enumerate(graph.linear):
            rows = np.diff(found.layers[index][0].indptr) > 0
            assert np.array_equal(rows[mask], (np.diff(graph.layers[index][0].indptr) > 0)[mask])
            assert rows[~mask].sum() <= np.ceil(0.5 * (~mask).sum())

    def test_training_leaves_carried_rows(self) -> None:
        graph, rng = graphs.graph("concatenated", seed=1, d=3, depth=2), np.random.default_rng(0)
        X = rng.standard_normal((64, 3))
        y = graph.predict(X) + 0.1
        found = verify.prune(graph, 0.3, finetune=verify.Finetune(X, y, epochs=3, rate=1e-2))
        error = [float(np.square(net.predict(X) - y).mean()) for net in (verify.prune(graph, 0.3), found)]
        assert error[1] < error[0]
        for index in range(len(graph.layers) - 1):
            before, after = carried_units(graph, index), carried_units(found, index)
            assert before is not None
            assert after is not None
            assert np.array_equal(before, after)
