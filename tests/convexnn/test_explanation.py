"""Networks that can be read: formulas, tables of neurons, equality."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.formulas import folded_lines
from tests.helpers.graphs import graph


def small() -> cx.SparseReLUNetwork:
    """Return a network of two inputs and two neurons."""
    return cx.SparseReLUNetwork([([[1.0, -1.0], [0.0, -2.5]], [0.0, 0.5]), ([[1.0, -3.0]], [0.25])])


def value_of(network: cx.SparseReLUNetwork, x: list[float]) -> dict[str, float]:
    """Evaluate the formulas of a network, as Python reads them."""
    known = {f"x{index}": value for index, value in enumerate(x)}
    for line in network.formula(digits=17).split("\n"):
        name, _, words = line.partition(" = ")
        product = re.sub(r"([\d.e+-]*\d) ([xhy])", r"\1 * \2", words)
        known[name] = eval(product, {"relu": lambda value: max(value, 0.0)}, known)
    return known


@pytest.mark.parametrize("kind", ["residual", "leaky", "concatenated"])
@pytest.mark.parametrize("seed", range(3))
def test_formulas_compute_what_the_network_does(kind: str, seed: int) -> None:
    network, x = graph(kind, seed), [0.3, -0.7]
    known = value_of(network, x)
    names = ["y"] if network.n_outputs == 1 else [f"y{index}" for index in range(network.n_outputs)]
    assert np.allclose([known[name] for name in names], np.ravel(network.predict([x])), atol=1e-12)


def test_a_small_network_prints_its_formulas_and_others_their_size() -> None:
    assert str(small()).split("\n")[1:] == [
        "  h0 = relu(x0 - x1)",
        "  h1 = relu(-2.5 x1 + 0.5)",
        "  y = h0 - 3 h1 + 0.25",
    ]
    assert f"{small()}" == "sparse ReLU network 2-2-1: 7 nonzeros, 2 hidden neurons"
    large = cx.SparseReLUNetwork([(np.ones((20, 2)), None), (np.ones((1, 20)), None)])
    assert str(large) == f"{large}"
    assert "relu(x0 - x1)" in small()._repr_html_()
    assert small().formula(["debt", "age"]).startswith("h0 = relu(debt - age)")
    assert cx.SparseReLUNetwork([(np.zeros((1, 2)), None)]).formula() == "y = 0"


def test_shares_are_those_of_rows_and_of_the_variance() -> None:
    network, rows = small(), np.random.default_rng(0).standard_normal((200, 2))
    found = cx.explain(network, ["debt", "age"], rows)
    first = next(neuron for neuron in found.neurons if neuron.name == "h0")
    hidden = np.maximum(network.activations(rows)[0], 0.0)
    assert first.active_share == pytest.approx(np.mean(hidden[:, 0] > 0.0))
    assert sum(neuron.variance_share or 0.0 for neuron in found.neurons) == pytest.approx(1.0)
    expected = np.cov(hidden[:, 0], network.predict(rows))[0, 1] / np.var(network.predict(rows), ddof=1)
    assert first.variance_share == pytest.approx(expected)
    assert first.formula == "debt - age"
    assert str(found).split("\n")[-1] == "y = h0 - 3 h1 + 0.25"
    assert json.loads(json.dumps(found.to_dict()))["outputs"] == ["y = h0 - 3 h1 + 0.25"]


def test_without_rows_nothing_is_measured_and_deep_networks_name_their_layers() -> None:
    deep = cx.SparseReLUNetwork([(np.eye(2), None), (np.eye(2), None), ([[1.0, 1.0]], None)])
    found = cx.explain(deep)
    assert [neuron.name for neuron in found.neurons] == ["h1_0", "h1_1", "h2_0", "h2_1"]
    assert {neuron.active_share for neuron in found.neurons} == {None}
    assert str(cx.explain(cx.SparseReLUNetwork([([[2.0]], None)]))) == "y = 2 x0"
    assert cx.explain(deep, X=np.zeros((3, 2))).neurons[-1].variance_share is None


@pytest.mark.parametrize("call", [lambda net: cx.explain(net, ["a"]), lambda net: net.formula(["a"])])
def test_as_many_names_as_inputs_are_expected(call: object) -> None:
    with pytest.raises(ValueError, match="feature_names has 1 names; expected 2, one an input"):
        call(small())  # type: ignore[operator]


def test_a_weight_that_is_one_to_the_digits_shown_has_no_number() -> None:
    network = cx.SparseReLUNetwork([([[1.0 + 1e-12, 0.9999]], [1.0]), ([[-1.0 + 1e-12]], None)])
    assert network.formula() == "h0 = relu(x0 + x1 + 1)\ny = -h0"
    assert network.formula(digits=5).startswith("h0 = relu(x0 + 0.9999 x1 + 1)")
    assert str(network).startswith("sparse ReLU network 2-1-1: 4 nonzeros, 1 hidden neuron\n")


def test_a_fitted_estimator_is_explained_in_the_names_of_its_columns() -> None:
    X = np.random.default_rng(0).standard_normal((60, 2))
    model = cx.SparseReLURegressor(budget=4, epochs=2, random_state=0)
    with pytest.raises(
        TypeError, match="network is a SparseReLURegressor; expected a SparseReLUNetwork, a Solution or"
    ):
        cx.explain(model)
    model.fit(X, X[:, 0] - X[:, 1])
    assert str(cx.explain(model)) == str(cx.explain(model.network_))
    model.feature_names_in_ = np.array(["debt", "age"], dtype=object)
    assert str(cx.explain(model)) == str(cx.explain(model.network_, ["debt", "age"]))
    assert str(cx.explain(model, ["a", "b"])) == str(cx.explain(model.network_, ["a", "b"]))


def test_names_that_are_numbers_or_empty_are_names() -> None:
    network = cx.SparseReLUNetwork([([[1.0, -2.0]], [3.0]), ([[1.0]], None)])
    assert network.formula(range(2)) == "h0 = relu(0 - 2 1 + 3)\ny = h0"  # type: ignore[arg-type]
    assert network.formula(["", "a"]) == "h0 = relu('' - 2 a + 3)\ny = h0"
    assert cx.explain(network, ["a", ""]).neurons[0].formula == "a - 2 '' + 3"


def test_rows_whose_columns_are_the_features_in_another_order_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"debt": [1.0, 3.0, 0.0], "age": [0.0, 1.0, 2.0]})
    explained = cx.explain(small(), ["debt", "age"], frame)
    with pytest.raises(ValueError, match="X has column 'age' in place 0; expected 'debt': the features in their order"):
        cx.explain(small(), ["debt", "age"], frame[["age", "debt"]])
    # Names of their own may be in the formulas.
    assert cx.explain(small(), ["d", "a"], frame).neurons[0].active_share == explained.neurons[0].active_share


def test_networks_are_equal_where_layers_and_units_are() -> None:
    assert small() == small()
    assert hash(small()) == hash(small())
    assert small() != cx.SparseReLUNetwork([*small().layers[:1], ([[1.0, -3.0]], [0.5])])
    assert small() != 3
    plain, masked = small(), verify.ReLUGraph(small().layers, [[False, True]])
    assert plain != masked
    assert masked != plain
    assert plain == verify.ReLUGraph(small().layers, [[False, False]])
    assert small() != cx.SparseReLUNetwork(small().layers, final="sigmoid")


def test_a_solution_is_explained_as_its_network() -> None:
    rows = np.random.default_rng(0).standard_normal((60, 3))
    found = cx.recover(rows, np.maximum(rows[:, 1], 0), budget=1, width=1, seed=0, time_limit=10)
    explained = cx.explain(found)
    assert explained == cx.explain(found.to_network())
    assert repr(explained) == "<1 neuron explained>"
    assert verify.read_network(found) == found.to_network()
    with pytest.raises(TypeError, match="network is a list; expected a SparseReLUNetwork, a Solution or NetworkFit"):
        cx.explain([])


def test_neurons_that_are_always_active_are_put_into_the_outputs() -> None:
    network = cx.SparseReLUNetwork(
        [
            ([[1.0, -1.0], [0.5, 0.0], [0.0, 1.0]], [1000.0, 0.0, 500.0]),
            ([[2.0, 1.0, -1.0], [0.0, 3.0, 0.5]], [-1499.0, 1.0]),
        ]
    )
    lines = folded_lines(network.layers, np.array([True, False, True]), ["a", "b"])
    assert lines == ["y0 = 2 a - 3 b + h1 + 1", "y1 = 0.5 b + 3 h1 + 251"]
    rows = np.random.default_rng(0).uniform(-1.0, 1.0, (9, 2))
    a, b = rows.T
    hidden = np.maximum(0.5 * a, 0.0)
    assert np.allclose(network.predict(rows), np.stack([2 * a - 3 * b + hidden + 1, 0.5 * b + 3 * hidden + 251], 1))
