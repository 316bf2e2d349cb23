"""Reading networks: torch, ONNX and files, held against the originals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils import prune

import verify
from tests import zoo

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((20, 6)).astype(np.float32)

MODULES = {
    "linear": nn.Linear(6, 2),
    "one hidden layer": nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1)),
    "no bias": nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)),
    "nested, with neutral layers": nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Dropout(0.5)), nn.Identity(), nn.Linear(4, 3)
    ),
    "two affine layers in a row": nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)),
    "a ReLU at both ends": nn.Sequential(nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 2), nn.ReLU()),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_torch_module_keeps_its_function(name: str) -> None:
    module = MODULES[name].eval()
    network = verify.read_network(module)
    with torch.no_grad():
        expected = module(torch.tensor(ROWS)).numpy()
    assert np.allclose(network.predict(ROWS).reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.Tanh())), "layer 1.0 is a Tanh; expected Linear, ReLU"),
        (nn.Conv2d(1, 1, 3), "the module is a Conv2d; expected Linear, ReLU"),
        (nn.Sequential(nn.ReLU()), "the torch module has no affine layer"),
        (nn.Sequential(nn.Linear(6, 4), nn.Linear(5, 2)), "a layer takes 5 inputs where 4 come in"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(5, 2)), "layers[1] takes 5 inputs; expected 4"),
    ],
)
def test_an_unsupported_torch_layer_is_named_with_its_position(module: nn.Module, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        verify.read_network(module)


def test_weights_that_are_not_finite_are_refused_even_where_a_zero_hides_them() -> None:
    broken, blind = nn.Linear(2, 2), nn.Linear(2, 1)
    nn.init.constant_(broken.weight, float("nan"))
    nn.init.zeros_(blind.weight)
    with pytest.raises(ValueError, match=r"layer 0 \(Linear\) cannot be read: it has .* that is not finite"):
        verify.read_network(nn.Sequential(broken, blind))


class Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]
        return out


class Leaky(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.01 * x)


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    module[0].register_forward_hook(lambda layer, inputs, output: 3 * output)
    return module


def patched() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    # Unlike relu only far from any row that a comparison would try.
    module[1].forward = lambda x: torch.where(x < 1e4, torch.relu(x), -x)
    return module


class Called(nn.Linear):
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return super().__call__(x) if len(x) > 1 else -super().__call__(x)


@pytest.mark.parametrize(
    "module",
    [
        Residual(nn.Linear(6, 6)),
        nn.Sequential(nn.Linear(6, 6), Leaky(), nn.Linear(6, 2)),
        hooked(),
        patched(),
        Called(6, 2),
    ],
)
def test_a_module_that_computes_something_else_than_its_layers_is_refused(module: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"has a forward (hook|of its own); expected"):
        verify.read_network(module)


def test_pruned_weights_are_those_of_the_next_forward_pass() -> None:
    source, target = (nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)) for _ in range(2))
    for module in (source, target):
        prune.l1_unstructured(module[0], "weight", amount=0.5)
    target.load_state_dict(source.state_dict())
    network = verify.read_network(target)
    with torch.no_grad():
        assert np.allclose(network.predict(ROWS), source(torch.tensor(ROWS)).numpy(), atol=1e-5)


def test_modes_stay_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 1))
    module[2].eval()
    verify.read_network(module)
    assert [part.training for part in module.modules()] == [True, True, True, False, True]


def test_a_module_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer 0 \(Linear\) cannot be read"):
        verify.read_network(nn.Sequential(nn.Linear(6, 4, device="meta")))


def graph(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Any], path: Path, inputs: Sequence[Any] = ("n", 6)
) -> Path:
    """Write an ONNX file whose graph goes from x through `nodes` to y."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(inputs))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(list(nodes), "test", [x], [y], stored),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, str(path))
    return path


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


NODE = helper.make_node
CHAINS: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "gemm with its options": (
        [NODE("Gemm", ["x", "W", "b"], ["y"], alpha=0.5, beta=2.0, transB=1)],
        {"W": draw(3, 6), "b": draw(3)},
    ),
    "gemm without bias": ([NODE("Gemm", ["x", "W"], ["y"])], {"W": draw(6, 3)}),
    "matmul, add, sub, relu": (
        [
            NODE("Sub", ["x", "mean"], ["c"]),
            NODE("MatMul", ["c", "W"], ["p"]),
            NODE("Add", ["b", "p"], ["q"]),
            NODE("Relu", ["q"], ["r"]),
            NODE("Sub", ["one", "r"], ["y"]),
        ],
        {"mean": draw(6), "W": draw(6, 4), "b": draw(1, 4), "one": np.float32(1.0)},
    ),
    "neutral nodes and a constant node": (
        [
            NODE("Constant", [], ["W"], value=numpy_helper.from_array(draw(6, 3))),
            NODE("Flatten", ["x"], ["f"]),
            NODE("Reshape", ["f", "shape"], ["g"]),
            NODE("Identity", ["g"], ["h"]),
            NODE("MatMul", ["h", "W"], ["y"]),
        ],
        {"shape": np.array([-1, 6])},
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_an_onnx_file_keeps_its_function(name: str, tmp_path: Path) -> None:
    path = graph(*CHAINS[name], tmp_path / "net.onnx")
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": ROWS})
    assert np.allclose(verify.read_network(path).predict(ROWS), expected, atol=1e-5)


def test_a_column_multiplied_from_the_left_is_read(tmp_path: Path) -> None:
    path = graph([NODE("MatMul", ["W", "x"], ["y"])], {"W": draw(3, 6)}, tmp_path / "net.onnx", (1, 6, 1))
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": ROWS[:1, :, None]})
    assert np.allclose(verify.read_network(path).predict(ROWS[:1]), expected[..., 0], atol=1e-5)


BROKEN: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "unsupported": (
        [NODE("Gemm", ["x", "W"], ["p"]), NODE("Tanh", ["p"], ["y"])],
        {"W": draw(6, 3)},
        "ONNX node 1 (Tanh) is not supported; expected one of: Gemm",
    ),
    "two values multiplied": ([NODE("MatMul", ["x", "x"], ["y"])], {}, "operand 'x' is not a constant"),
    "a branch": (
        [NODE("Relu", ["x"], ["p"]), NODE("Relu", ["x"], ["y"])],
        {},
        "ONNX node 1 (Relu) does not take 'p'; expected a chain",
    ),
    "sizes": (
        [NODE("MatMul", ["x", "W"], ["y"])],
        {"W": draw(5, 3)},
        "ONNX node 0 (MatMul) takes 5 entries; 6 come in",
    ),
    "a shift of another size": (
        [NODE("Add", ["x", "b"], ["y"])],
        {"b": draw(5)},
        "a constant of 5 entries; expected 1 or 6",
    ),
    "an outer sum": ([NODE("Add", ["x", "b"], ["y"])], {"b": draw(6, 1)}, "where its nodes give (1, 6): broadcasting?"),
    "another domain": ([NODE("Relu", ["x"], ["y"], domain="mine")], {}, "ONNX node 0 (Relu) is not supported"),
    "a missing operand": ([NODE("MatMul", ["x"], ["y"])], {}, "ONNX node 0 (MatMul): IndexError"),
    "a bias of another size": (
        [NODE("Gemm", ["x", "W", "b"], ["y"])],
        {"W": draw(6, 3), "b": draw(2)},
        "ONNX node 0 (Gemm): ",
    ),
    "training": (
        [NODE("Dropout", ["x", "ratio", "mode"], ["y"])],
        {"ratio": np.float32(0.1), "mode": np.array(True)},
        "ONNX node 0 (Dropout): it is in training mode",
    ),
    "not finite": (
        [NODE("MatMul", ["x", "W"], ["y"])],
        {"W": draw(6, 3) * np.inf},
        "a weight or bias that is not finite",
    ),
    "transposed": ([NODE("Gemm", ["x", "W"], ["y"], transA=1)], {"W": draw(6, 3)}, "expected y = x W + b"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_unsupported_node_is_named_with_its_position(name: str, tmp_path: Path) -> None:
    nodes, constants, words = BROKEN[name]
    with pytest.raises(ValueError, match=re.escape(words)):
        verify.read_network(graph(nodes, constants, tmp_path / "net.onnx"))


def test_a_graph_that_mixes_its_rows_is_refused(tmp_path: Path) -> None:
    path = graph([NODE("MatMul", ["W", "x"], ["y"])], {"W": draw(3, 3)}, tmp_path / "net.onnx", ("n", 1))
    with pytest.raises(ValueError):  # noqa: PT011
        verify.read_network(path)
    column = graph(
        [NODE("MatMul", ["W", "x"], ["p"]), NODE("Add", ["p", "b"], ["y"])],
        {"W": draw(2, 3), "b": draw(2)},
        tmp_path / "column.onnx",
        (1, 3, 1),
    )
    with pytest.raises(ValueError, match="broadcasting"):
        verify.read_network(column)


def test_inputs_that_are_no_real_numbers_are_refused(tmp_path: Path) -> None:
    model = onnx.load(graph([NODE("Sub", ["x", "b"], ["y"])], {"b": np.ones(6, np.uint8)}, tmp_path / "net.onnx"))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, str(tmp_path / "net.onnx"))
    with pytest.raises(ValueError, match="takes inputs of type uint8; expected real numbers"):
        verify.read_network(tmp_path / "net.onnx")


def test_unknown_sizes_are_refused(tmp_path: Path) -> None:
    path = graph([NODE("Relu", ["x"], ["y"])], {}, tmp_path / "net.onnx", ("n", "d"))
    with pytest.raises(ValueError, match="expected known sizes after the batch"):
        verify.read_network(path)


class TestFiles:
    def test_what_convexnn_writes_is_read_back(self, tmp_path: Path) -> None:
        network = zoo.network((6, 4, 3), density=0.5)
        exact = verify.read_network(str(network.save(tmp_path / "net.npz")))
        rounded = verify.read_network(network.to_onnx(tmp_path / "net.onnx"))
        assert np.array_equal(exact.predict(ROWS), network.predict(ROWS))
        assert np.allclose(rounded.predict(ROWS), network.predict(ROWS), atol=1e-5)
        assert verify.read_network(network) is network

    @pytest.mark.parametrize("name", ["none.npz", "none.onnx"])
    def test_a_missing_file(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            verify.read_network(tmp_path / name)

    def test_other_files_and_types(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(b"not a model")
        (tmp_path / "net.pt").write_bytes(b"not a network")
        with pytest.raises(ValueError, match="is not an ONNX file"):
            verify.read_network(tmp_path / "net.onnx")
        with pytest.raises(ValueError, match=r"has the ending '.pt'; expected .npz or .onnx"):
            verify.read_network(tmp_path / "net.pt")
        with pytest.raises(TypeError, match="network is a list; expected a SparseReLUNetwork"):
            verify.read_network([1, 2])


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist-net_256x2.onnx", "mnist-net_256x4.onnx"])
def test_the_mnist_networks_of_vnn_comp_are_read(name: str, data_folder: Path) -> None:
    path = data_folder / "mnist_fc" / name
    network = verify.read_network(path)
    session = onnxruntime.InferenceSession(path)
    for row in np.random.default_rng(0).random((10, 784)).astype(np.float32):
        (expected,) = session.run(None, {session.get_inputs()[0].name: row.reshape(1, 784, 1)})
        assert np.allclose(network.predict(row[None])[0], expected[0], atol=1e-4)
