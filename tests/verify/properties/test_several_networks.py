"""Properties of several networks (VNN-LIB 2.0): equivalence, monotonicity, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from tests.helpers.graphs import graph
from verify import Holding
from verify.properties.s_expressions import VnnlibError
from verify.properties.several_networks import with_merged_inputs
from verify.reading.side_by_side import side_by_side
from verify.relu_graph import ReLUGraph

D = 2
BOX = "".join(f"(assert (<= -1 a[{i}] 1))" for i in range(D))
SAME = "".join(f"(assert (== a[{i}] c[{i}]))" for i in range(D))


def declared(second: str = "", outputs: int = 1) -> str:
    return f"""(vnnlib-version <2.0>)
        (declare-network f (declare-input a float32 [{D}]) (declare-output b float32 [{outputs}]))
        (declare-network g {second} (declare-input c float32 [{D}]) (declare-output d float32 [{outputs}]))
    """


def blocks(one: cx.SparseReLUNetwork, other: cx.SparseReLUNetwork) -> cx.SparseReLUNetwork:
    """Return x -> (one(x), other(x)) of two chains of equal depth, as an oracle would build it."""
    layers: list[Any] = []
    for index, ((left, b), (right, c)) in enumerate(zip(one.layers, other.layers, strict=True)):
        weight = sp.vstack([left, right]) if index == 0 else sp.block_diag([left, right])
        layers.append((sp.csr_matrix(weight), np.concatenate([b, c])))
    return cx.SparseReLUNetwork(layers)


class TestSideBySide:
    @pytest.mark.parametrize("kinds", [("residual", "leaky"), ("absolute", "concatenated"), ("largest", "residual")])
    @pytest.mark.parametrize("depths", [(1, 3), (2, 2)])
    def test_outputs_are_those_of_the_networks(self, kinds: tuple[str, str], depths: tuple[int, int]) -> None:
        networks = [
            graph(kind, seed, depth=depth) for seed, (kind, depth) in enumerate(zip(kinds, depths, strict=True))
        ]
        places = [np.array([2, 0]), np.array([0, 1])]
        joint = side_by_side(networks, places, 3)
        rows = np.random.default_rng(0).standard_normal((50, 3))
        expected = np.hstack(
            [net.predict(rows[:, own]).reshape(50, -1) for net, own in zip(networks, places, strict=True)]
        )
        assert np.allclose(joint.predict(rows).reshape(50, -1), expected, rtol=1e-12, atol=1e-12)

    def test_linear_units_round_nothing(self) -> None:
        # 0.1 * 0.1 multiplied out is another number than 0.1 and 0.1 one after the other.
        graphs = [ReLUGraph([([[a]], [0.0]), ([[a]], [0.0])], [[True]]) for a in (0.1, 0.3)]
        chain = cx.SparseReLUNetwork([([[0.1]], [0.0])])
        joint = side_by_side([*graphs, chain], [np.arange(1)] * 3, 1)
        (first, _), (last, _) = joint.layers
        assert first.toarray().tolist() == [[0.1], [0.3], [0.1]]
        assert last.toarray().tolist() == np.diag([0.1, 0.3, 1.0]).tolist()

    def test_weights_of_chains_are_kept_to_the_last_bit(self) -> None:
        one, other = zoo.network((2, 4, 3, 1), seed=1), zoo.network((2, 5, 2, 1), seed=2)
        joint, oracle = side_by_side([one, other], [np.arange(2)] * 2, 2), blocks(one, other)
        for (weight, bias), (known, known_bias) in zip(joint.layers, oracle.layers, strict=True):
            assert np.array_equal(np.sort(weight.toarray(), axis=None), np.sort(known.toarray(), axis=None))
            assert sorted(bias) == sorted(known_bias)


class TestMerging:
    def test_equal_inputs_are_one(self) -> None:
        asked = verify.parse_property(f"{declared()}{BOX}{SAME}(assert (>= b[0] d[0]))")
        merged, places = with_merged_inputs(asked)
        assert places.tolist() == [0, 1, 0, 1]
        assert merged.n_inputs == 2
        assert [merged.input_name(index) for index in range(2)] == ["a[0]", "a[1]"]
        assert merged.cases[0].lower.tolist() == [-1.0, -1.0]

    def test_only_what_all_alternatives_say(self) -> None:
        text = f"{declared()}{BOX}(assert (<= -1 c[0] 1))(assert (<= -1 c[1] 1))"
        either = "(assert (or (and (== a[0] c[0]) (>= b[0] d[0])) (>= b[0] (+ d[0] 1))))"
        assert with_merged_inputs(verify.parse_property(text + either))[1].tolist() == [0, 1, 2, 3]
        assert with_merged_inputs(verify.parse_property(text + "(assert (<= a[0] c[0]))"))[1].tolist() == [0, 1, 2, 3]

    def test_inputs_of_one_network_stay_apart(self) -> None:
        text = f"{declared()}{BOX}{SAME}(assert (== a[0] a[1]))(assert (>= b[0] d[0]))"
        merged, places = with_merged_inputs(verify.parse_property(text))
        assert places.tolist() == [0, 1, 0, 1]
        assert len(merged.asserted) == len(verify.parse_property(text).asserted)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sizes", [(2, 4, 1), (2, 3, 3, 1)])
def test_the_difference_of_two_networks_is_decided_as_enumeration_does(seed: int, sizes: tuple[int, ...]) -> None:
    one, other = zoo.network(sizes, seed=seed), zoo.network(sizes, seed=seed + 100)
    joint = blocks(one, other)
    largest = zoo.enumerated_maximum(joint, -np.ones(D), np.ones(D), np.array([1.0, -1.0]))
    for shift, status in ((-0.01, Holding.VIOLATED), (0.01, Holding.HOLDS)):
        text = f"{declared()}{BOX}{SAME}(assert (>= (- b[0] d[0]) {largest + shift}))"
        found = verify.check_vnnlib([one, other], verify.parse_property(text))
        assert found.status is status, str(found)
        if found.witness is not None:
            check_witness(found, [one, other], largest + shift)


def check_witness(found: verify.Check, networks: Sequence[cx.SparseReLUNetwork], level: float) -> None:
    assert found.witness is not None
    assert found.outputs is not None
    left, right = found.witness[:D], found.witness[D:]
    assert np.array_equal(left, right)
    values = [float(net.predict(x[None]).ravel()[0]) for net, x in zip(networks, (left, right), strict=True)]
    assert found.outputs.tolist() == pytest.approx(values)
    assert values[0] - values[1] >= level - 1e-12


def test_the_same_function_in_another_order_of_neurons_is_equivalent() -> None:
    one = zoo.network((2, 5, 4, 1), seed=3)
    (w, b), (v, c), (u, a) = ((weight.toarray(), bias) for weight, bias in one.layers)
    order, second = np.array([4, 2, 0, 1, 3]), np.array([1, 3, 2, 0])
    other = cx.SparseReLUNetwork([(w[order], b[order]), (v[second][:, order], c[second]), (u[:, second], a)])
    text = f"{declared('(isomorphic-to f)')}{BOX}{SAME}(assert (or (>= b[0] (+ d[0] 0.1)) (>= d[0] (+ b[0] 0.1))))"
    assert verify.check_vnnlib([one, other], verify.parse_property(text)).status is Holding.HOLDS


def values_on(network: cx.SparseReLUNetwork, rows: Floats) -> Floats:
    return network.predict(rows).ravel()


@pytest.mark.parametrize("rising", [True, False])
def test_monotonicity_is_a_question_about_one_network_twice(rising: bool) -> None:
    rng = np.random.default_rng(7)
    first, last = rng.standard_normal((4, D)), rng.standard_normal((1, 4))
    if rising:
        # Each neuron adds what rises in the first input.
        first[:, 0] = np.abs(first[:, 0]) * np.sign(last[0])
    network = cx.SparseReLUNetwork([(first, rng.standard_normal(4)), (last, [0.0])])
    more = "(assert (<= a[0] c[0]))(assert (<= -1 c[0] 1))(assert (== a[1] c[1]))(assert (> b[0] (+ d[0] 0.05)))"
    asked = verify.parse_property(f"{declared('(equal-to f)')}{BOX}{more}")
    for given in (network, [network], [network, network]):
        found = verify.check_vnnlib(given, asked)
        assert found.status is (Holding.HOLDS if rising else Holding.VIOLATED)
    if found.witness is not None:
        assert found.witness[0] <= found.witness[2]
        assert found.witness[1] == found.witness[3]
        assert values_on(network, found.witness[None, :D]) > values_on(network, found.witness[None, D:])


def test_networks_of_other_depths_are_compared(tmp_path: Path) -> None:
    deep = zoo.network((2, 3, 3, 1), seed=5)
    shallow = cx.SparseReLUNetwork([([[1.0, 0.0]], [0.0])])
    path = tmp_path / "deep.npz"
    deep.save(path)
    rows = np.random.default_rng(0).uniform(-1, 1, (2000, D))
    most = float((values_on(deep, rows) - rows[:, 0]).max())
    text = f"{declared()}{BOX}{SAME}(assert (>= (- b[0] d[0]) {{}}))"
    for level, status in ((most, Holding.VIOLATED), (most + 5.0, Holding.HOLDS)):
        assert verify.check_vnnlib([path, shallow], verify.parse_property(text.format(level))).status is status


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (zoo.network((2, 3, 1)), "about 2 networks, f and g, and 1 is given; expected a list of them"),
        ([zoo.network((2, 3, 1))] * 3, "about 2 networks, f and g, and 3 are given"),
        ([zoo.network((2, 3, 1)), zoo.network((3, 3, 1))], "g has 2 inputs and 1 output in the property; expected 3"),
    ],
)
def test_networks_that_do_not_fit_are_refused_in_a_line(given: Any, words: str) -> None:
    asked = verify.parse_property(f"{declared()}{BOX}{SAME}(assert (>= b[0] d[0]))")
    with pytest.raises(ValueError, match=words) as caught:
        verify.check_vnnlib(given, asked)
    assert "\n" not in str(caught.value)


def test_another_network_for_one_that_equals_it_is_refused() -> None:
    asked = verify.parse_property(f"{declared('(equal-to f)')}{BOX}{SAME}(assert (> b[0] (+ d[0] 0.1)))")
    network, other = zoo.network((2, 3, 1)), zoo.network((2, 3, 1), seed=9)
    rest = ReLUGraph(network.layers, [[True, False, False]])
    for second in (other, rest):
        with pytest.raises(ValueError, match="g is equal to f in the property, and another network is given for it"):
            verify.check_vnnlib([network, second], asked)
    again = cx.SparseReLUNetwork(network.layers)
    assert verify.check_vnnlib([network, again], asked).status is Holding.HOLDS


def test_a_list_of_one_network_is_that_network() -> None:
    single = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(assert (<= 0 X_0 X_1 1))"
    for given in ([zoo.network((2, 3, 1))], {"f": zoo.network((2, 3, 1))}):
        assert verify.check_vnnlib(given, verify.parse_property(single)).status is Holding.VIOLATED


def test_lists_and_models_belong_to_their_kind_of_property() -> None:
    network = zoo.network((2, 3, 1))
    asked = verify.parse_property(f"{declared()}{BOX}{SAME}(assert (>= b[0] d[0]))")
    with pytest.raises(ValueError, match="model is given for a property of several networks"):
        verify.check_vnnlib([network, network], asked, model=network.to_torch())
    single = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(assert (<= 0 X_0 X_1 1))"
    with pytest.raises(ValueError, match="2 networks are given for a property of one"):
        verify.check_vnnlib([network, network], verify.parse_property(single))


def test_a_final_function_is_refused_with_the_way_around() -> None:
    network = zoo.network((2, 3, 1))
    final = cx.SparseReLUNetwork(network.layers, final="sigmoid")
    asked = verify.parse_property(f"{declared()}{BOX}{SAME}(assert (>= b[0] d[0]))")
    with pytest.raises(ValueError, match=r"g ends in a sigmoid, .* network.without_final\(\)"):
        verify.check_vnnlib([network, final], asked)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (declared("(equal-to h)"), "equal to 'h'; expected one declared before it"),
        (declared("(equal-to)"), "equal to ''; expected one declared before it"),
        (
            declared("(equal-to f)").replace("c float32 [2]", "c float32 [3]"),
            "g is equal to f; expected as many inputs and outputs",
        ),
    ],
)
def test_a_network_that_equals_none_is_refused_in_a_line(text: str, words: str) -> None:
    with pytest.raises(VnnlibError, match=words):
        verify.parse_property(text)


def test_an_input_without_bounds_is_named_as_declared() -> None:
    text = f"{declared()}{BOX}(assert (== a[0] c[0]))(assert (>= b[0] d[0]))"
    with pytest.raises(ValueError, match=r"^c\[1\] has no finite bounds"):
        verify.check_vnnlib([zoo.network((2, 3, 1))] * 2, verify.parse_property(text))
