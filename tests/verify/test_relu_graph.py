"""ReLU graphs: one function in every form, held against chains of ReLUs alone; files without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import convexnn as cx
import verify
from tests.helpers import graphs, zoo

GRAPHS = [graphs.random_graph(seed, sizes) for seed, sizes in enumerate([(1, 3, 1), (2, 5, 4, 2), (3, 4, 4, 4, 2)])]
GRAPHS += [graphs.graph(kind, seed=1, d=3, depth=3) for kind in graphs.KINDS]


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_every_form_computes_the_same_function(graph: verify.ReLUGraph, tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((50, graph.n_inputs)) * 3.0
    expected, chain = graph.activations(X)[-1], graphs.chain_of(graph)
    assert np.allclose(graph.predict(X).reshape(expected.shape), expected)
    assert np.allclose(chain.activations(X)[-1], expected)
    size = max(float(np.abs(layer).max()) for layer in graph.activations(X))
    with torch.no_grad():
        assert np.allclose(graph.to_torch("float64")(torch.tensor(X)).numpy(), expected)
    session = onnxruntime.InferenceSession(graph.to_onnx(tmp_path / "net.onnx"))
    (found,) = session.run(None, {"x": X.astype(np.float32)})
    assert np.abs(found - expected).max() <= 1e-5 * size
    path = graph.save(tmp_path / "net.npz")
    for loaded in (verify.ReLUGraph.load(path), verify.read_network(path)):
        assert isinstance(loaded, verify.ReLUGraph)
        assert np.array_equal(loaded.activations(X)[-1], expected)


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_parts_keep_their_units(graph: verify.ReLUGraph) -> None:
    X = np.random.default_rng(1).standard_normal((20, graph.n_inputs))
    for index, values in enumerate(graph.activations(X)):
        assert np.array_equal(graph.upto(index).activations(X)[-1], values)
    assert np.array_equal(graph.with_layers(graph.layers).activations(X)[-1], graph.activations(X)[-1])


def test_a_graph_without_linear_units_is_the_chain() -> None:
    chain = zoo.network((3, 4, 2), seed=1)
    graph, X = verify.ReLUGraph(chain.layers, [np.zeros(4, dtype=bool)]), np.ones((1, 3))
    assert np.array_equal(graph.predict(X), chain.predict(X))
    assert graph.linear_units(0) is None
    assert graph.floor(0) == 0.0
    assert graph.n_neurons == chain.n_neurons


def test_units_are_counted_and_named() -> None:
    graph = verify.ReLUGraph([(np.eye(3), None), (np.ones((2, 3)), None)], [[True, False, True]], final="softmax")
    assert f"{graph}" == "ReLU graph 3-[1+2]-2: 9 nonzeros, 1 ReLU and 2 linear units, before a softmax"
    assert (graph.n_neurons, graph.final, graph.without_final().final) == (1, "softmax", None)


@pytest.mark.parametrize(
    ("linear", "error", "words"),
    [
        ("ab", TypeError, "linear is a str; expected a sequence of masks"),
        ([], ValueError, "linear has 0 masks; expected 1"),
        ([[0.0, 1.0]], TypeError, "linear[0] has dtype float64; expected booleans"),
        ([[True]], ValueError, "linear[0] has shape (1,); expected (2,)"),
    ],
)
def test_bad_masks_are_one_clear_line(linear: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        verify.ReLUGraph([(np.eye(2), None), (np.eye(2), None)], linear)
    assert words in str(caught.value)


@pytest.mark.parametrize("network", [GRAPHS[1], zoo.network((3, 4, 2), seed=1)], ids=["graph", "chain"])
def test_final_and_notes_are_kept(network: cx.SparseReLUNetwork, tmp_path: Path) -> None:
    kind, masks = type(network), [network.linear] if isinstance(network, verify.ReLUGraph) else []
    noted = kind(network.layers, *masks, final="log_softmax", notes=("Read so.", "And so."))
    loaded = kind.load(noted.save(tmp_path / "net.npz"))
    assert (loaded.final, loaded.notes) == ("log_softmax", ("Read so.", "And so."))
    assert loaded.with_layers(loaded.layers).final == "log_softmax"
    assert (loaded.without_final().final, loaded.upto(0).final) == (None, None)
    X = np.ones((2, network.n_inputs))
    assert np.array_equal(loaded.predict(X), network.predict(X))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"final": "erf"}, ValueError, "final 'erf' is unknown; expected one of: softmax, log_softmax, sigmoid, tanh"),
        ({"final": "softmax"}, ValueError, "final is 'softmax' for one output, which is constant; expected 'sigmoid'"),
        ({"notes": "words"}, TypeError, "notes is 'words'; expected a sequence of str"),
    ],
)
def test_bad_finals_and_notes_are_one_clear_line(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        cx.SparseReLUNetwork([([[1.0]], None)], **options)
    assert words in str(caught.value)


def test_a_file_of_the_other_kind_says_who_reads_it(tmp_path: Path) -> None:
    path = GRAPHS[0].save(tmp_path / "graph.npz")
    with pytest.raises(ValueError, match=r"expected verify\.read_network to read a network with linear units"):
        cx.SparseReLUNetwork.load(path)
    with pytest.raises(ValueError, match="is not a network saved by convexnn"):
        verify.ReLUGraph.load(zoo.network((2, 1)).save(tmp_path / "chain.npz"))
    (tmp_path / "other.npz").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="is not a network saved by convexnn"):
        verify.read_network(tmp_path / "other.npz")
