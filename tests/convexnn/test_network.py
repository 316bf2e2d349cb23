"""The network: exact zeros, one function in every form, files without pickle."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.sparse as sp
import torch

import convexnn as cx
from convexnn.checks import Floats
from tests.helpers import zoo

SHAPES = [(4, 1), (4, 3), (5, 6, 1), (5, 6, 3), (5, 7, 4, 2)]


def by_hand(network: cx.SparseReLUNetwork, X: Floats) -> Floats:
    value = X
    for index, (weight, bias) in enumerate(network.layers):
        value = value @ weight.toarray().T + bias
        if index < len(network.layers) - 1:
            value = np.where(value > 0, value, 0)
    return value


def largest_activation(network: cx.SparseReLUNetwork, X: Floats) -> float:
    return max(float(np.abs(layer).max()) for layer in network.activations(X))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_form_computes_the_same_function(shape: tuple[int, ...], bias: bool, tmp_path: Path) -> None:
    network = zoo.network(shape, seed=1, density=0.5, bias=bias)
    X = np.random.default_rng(0).standard_normal((50, shape[0])) * 10
    expected = by_hand(network, X)
    shown = network.predict(X)
    assert shown.shape == ((50,) if shape[-1] == 1 else (50, shape[-1]))
    assert np.allclose(shown.reshape(50, -1), expected)
    tolerance = 1e-5 * largest_activation(network, X)
    with torch.no_grad():
        from_torch = network.to_torch()(torch.tensor(X, dtype=torch.float32)).numpy()
        from_torch64 = network.to_torch("float64")(torch.tensor(X)).numpy()
    session = onnxruntime.InferenceSession(network.to_onnx(tmp_path / "net.onnx"))
    (from_onnx,) = session.run(None, {"x": X.astype(np.float32)})
    assert np.abs(from_torch - expected).max() <= tolerance
    assert np.abs(from_onnx - expected).max() <= tolerance
    assert np.allclose(from_torch64, expected)
    loaded = cx.SparseReLUNetwork.load(network.save(tmp_path / "net.npz"))
    assert np.array_equal(loaded.predict(X), shown)
    assert loaded.nnz == network.nnz


def test_zeros_are_not_stored_and_everything_else_is_counted() -> None:
    weight = sp.csr_matrix((np.array([1.0, 0.0, 2.0, -2.0]), ([0, 0, 1, 1], [0, 1, 1, 1])), shape=(2, 2))
    network = cx.SparseReLUNetwork([(weight, [0.0, 0.5]), ([[3.0, 0.0]], None)])
    assert network.layers[0][0].toarray().tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert network.layers[0][0].nnz == 1
    assert (network.nnz, network.n_neurons, network.sizes) == (3, 2, (2, 2, 1))


def test_the_arrays_given_are_not_changed_or_shared() -> None:
    weight, bias = sp.csr_matrix(np.eye(2)), np.ones(2)
    network = cx.SparseReLUNetwork([(weight, bias)])
    weight.data[:] = 7.0
    bias[:] = 7.0
    assert network.predict([[1.0, 0.0]]).tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ([], ValueError, "layers is empty"),
        ([([[1.0, 2.0]], None), ([[1.0, 2.0]], None)], ValueError, "layers[1] takes 2 inputs; expected 1"),
        ([([[1.0, np.nan]], None)], ValueError, "layers[0] weight holds nan"),
        ([(sp.csr_matrix([[np.inf]]), None)], ValueError, "layers[0] weight holds inf"),
        ([([[1.0]], [1.0, 2.0])], ValueError, "layers[0] bias has shape (2,); expected (1,)"),
        ([([[1.0]], [np.nan])], ValueError, "layers[0] bias holds nan"),
        (None, TypeError, "layers is None; expected an iterable of (weight, bias) pairs"),
        ([(1, 2, 3)], TypeError, "layers[0] is a tuple; expected a pair (weight, bias)"),
        ([(sp.csr_matrix([[1j]]), None)], TypeError, "layers[0] weight has dtype complex128"),
        ([([1.0], None)], ValueError, "layers[0] weight has shape (1,)"),
    ],
)
def test_bad_layers_are_one_clear_line(layers: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        cx.SparseReLUNetwork(layers)
    assert words in str(caught.value)


def test_bad_rows_are_refused() -> None:
    network = zoo.network((4, 3, 1))
    with pytest.raises(ValueError, match="X has 3 features; expected 4"):
        network.predict(np.ones((2, 3)))
    with pytest.raises(ValueError, match="X holds nan"):
        network.predict(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="dtype 'float16' is unknown"):
        network.to_torch("float16")


class TestFiles:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"path '.*none.npz' cannot be read \(No such file or directory\)"):
            cx.SparseReLUNetwork.load(tmp_path / "none.npz")
        with pytest.raises(TypeError, match="path is 3; expected the path of a file"):
            cx.SparseReLUNetwork.load(3)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            zoo.network((2, 1)).save(3)  # type: ignore[arg-type]

    @pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken"])
    def test_a_file_of_another_kind(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "other.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a network saved by convexnn"):
            cx.SparseReLUNetwork.load(path)

    def test_flipped_bits_are_a_clear_error_or_no_error(self, tmp_path: Path) -> None:
        path, rng = zoo.network((6, 4, 1)).save(tmp_path / "net.npz"), np.random.default_rng(0)
        whole, loaded = path.read_bytes(), 0
        for place in rng.integers(0, len(whole), 200):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            with contextlib.suppress(ValueError):
                loaded += cx.SparseReLUNetwork.load(path).n_inputs == 6
        assert loaded < 200

    def test_a_pickle_inside_is_never_run(self, tmp_path: Path) -> None:
        path = tmp_path / "evil.npz"
        np.savez(path, format=np.array([object()], dtype=object), allow_pickle=True)
        with pytest.raises(ValueError, match="is not a network saved by convexnn"):
            cx.SparseReLUNetwork.load(path)

    def test_what_is_no_archive_is_told_without_advice_to_unpickle_it(self, tmp_path: Path) -> None:
        for content in (b"a,y\n1,2\n", b"\x80\x04.", b""):
            (tmp_path / "net.npz").write_bytes(content)
            with pytest.raises(
                ValueError, match=r"net.npz is not a network saved by convexnn \(it is no .npz archive\)"
            ):
                cx.SparseReLUNetwork.load(tmp_path / "net.npz")

    @pytest.mark.parametrize("path", [None, 3, ""])
    def test_a_path_that_is_none_is_named(self, path: Any) -> None:
        with pytest.raises(TypeError, match=f"path is {path!r}; expected the path of a file"):
            zoo.network((2, 1)).save(path)

    @pytest.mark.parametrize(("name", "value"), [("indices0", [99, 0]), ("data0", [np.nan, 1.0]), ("format", "other")])
    def test_a_damaged_file(self, name: str, value: Any, tmp_path: Path) -> None:
        path = cx.SparseReLUNetwork([([[1.0, 2.0]], None)]).save(tmp_path / "net.npz")
        with np.load(path) as stored:
            arrays = dict(stored)
        arrays[name] = np.asarray(value, dtype=arrays[name].dtype if name != "format" else None)
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match="is not a network saved by convexnn"):
            cx.SparseReLUNetwork.load(path)

    def test_any_file_name_is_kept(self, tmp_path: Path) -> None:
        network = zoo.network((2, 1))
        assert network.save(tmp_path / "net.bin") == tmp_path / "net.bin"
        assert (tmp_path / "net.bin").is_file()


def test_it_reads_well() -> None:
    network = zoo.network((4, 3, 2))
    assert f"{network}" == "sparse ReLU network 4-3-2: 23 nonzeros, 3 hidden neurons"
    assert str(network).startswith(f"{network}\n  h0 = relu(")
    assert repr(network) == f"<{network}>"


def test_what_float32_cannot_hold_is_not_written(tmp_path: Path) -> None:
    for layer in (([[1e39]], None), ([[1.0]], [-1e39])):
        with pytest.raises(ValueError, match=r"layers\[0\] has an entry of size 1e\+39; expected at most 3.4e\+38"):
            cx.SparseReLUNetwork([layer]).to_onnx(tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
    assert cx.SparseReLUNetwork([([[3e38]], None)]).to_onnx(tmp_path / "net.onnx").exists()


def test_an_onnx_file_says_who_wrote_it_and_names_its_ends(tmp_path: Path) -> None:
    model = onnx.load(str(cx.SparseReLUNetwork([([[1.0, 2.0]], None)]).to_onnx(tmp_path / "net.onnx")))
    assert (model.producer_name, model.producer_version) == ("convexnn", cx.__version__)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["x", "y"]
    assert onnxruntime.InferenceSession(tmp_path / "net.onnx").get_modelmeta().producer_name == "convexnn"


def test_what_torch_and_rows_that_are_no_rows_are_taken_as() -> None:
    network = zoo.network((3, 4, 2), seed=0)
    rows = torch.randn(5, 3, requires_grad=True)
    assert np.array_equal(network(rows), network.predict(rows.detach().numpy()))
    with pytest.raises(ValueError, match=r"X has shape \(3,\); .*: one row is np.reshape\(X, \(1, -1\)\)"):
        network.predict([1.0, 2.0, 3.0])
