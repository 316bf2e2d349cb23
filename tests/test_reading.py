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
from torch.nn.utils.parametrizations import spectral_norm

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
        (nn.ConvTranspose2d(1, 1, 3), "the module is a ConvTranspose2d; expected Linear, ReLU"),
        (nn.Sequential(nn.ReLU()), "the torch module has no affine layer"),
        (nn.Sequential(nn.Linear(6, 4), nn.Linear(5, 2)), "layer 1 (Linear) cannot be read: it takes 5 entries; 4"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(5, 2)), "layer 2 (Linear) cannot be read: it takes 5"),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 3)), "layer 1 (Conv2d) does not tell the shape of a row; expected"),
        (nn.Sequential(nn.Unflatten(1, (-1, 3))), "layer 0 (Unflatten) does not tell the shape of a row"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(6, 4)), "layer 0 (Flatten) cannot be read: it flattens axes 0 to -1"),
        (nn.Sequential(nn.Linear(6, 4), nn.Flatten(), nn.BatchNorm1d(3)), "layer 2 (BatchNorm1d) cannot be read"),
        (nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False)), "it keeps no running statistics"),
        (nn.Sequential(nn.Linear(6, 4), nn.LazyLinear(2)), "layer 1 (LazyLinear) has a forward hook"),
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


def test_modes_and_statistics_stay_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 1))
    module[2].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    verify.read_network(module)
    assert [part.training for part in module.modules()] == [True, True, True, False, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_weights_that_a_mode_computes_are_those_of_eval_mode() -> None:
    # In training mode a look at such a weight takes a step of the power iteration and changes it.
    module = nn.Sequential(spectral_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    network = verify.read_network(module)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    with torch.no_grad():
        assert np.allclose(network.predict(ROWS), module.eval()(torch.tensor(ROWS)).numpy(), atol=1e-5)


def test_a_module_that_trains_on_in_eval_mode_is_read_as_in_eval_mode() -> None:
    class Stubborn(nn.Sequential):
        def train(self, mode: bool = True) -> Stubborn:
            return self

    module = Stubborn(nn.BatchNorm1d(6), nn.Linear(6, 2))
    network = verify.read_network(module)
    assert torch.equal(module.state_dict()["0.running_mean"], torch.zeros(6))
    for part in module:
        part.eval()
    with torch.no_grad():
        assert np.allclose(network.predict(ROWS), module(torch.tensor(ROWS)).numpy(), atol=1e-5)


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
        "ONNX node 0 (MatMul): it takes 5 entries; 6 come in",
    ),
    "a shift of another size": (
        [NODE("Add", ["x", "b"], ["y"])],
        {"b": draw(5)},
        "ONNX node 0 (Add): it adds a constant of shape (5,) to an array of shape (1, 6); expected broadcasting to",
    ),
    "an outer sum": (
        [NODE("Add", ["x", "b"], ["y"])],
        {"b": draw(6, 1)},
        "it adds a constant of shape (6, 1) to an array of shape (1, 6)",
    ),
    "a shift of more axes": ([NODE("Add", ["x", "b"], ["y"])], {"b": draw(1, 1, 6)}, "ONNX node 0 (Add): it adds"),
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
    "transposed": ([NODE("Gemm", ["x", "W"], ["y"], transA=1)], {"W": draw(6, 3)}, "it takes 6 entries; 1 come in"),
    "a skip connection": (
        [NODE("Relu", ["x"], ["p"]), NODE("Add", ["p", "x"], ["y"])],
        {},
        "ONNX node 1 (Add): operand 'x' is not a constant",
    ),
    "a value twice": ([NODE("Add", ["x", "x"], ["y"])], {}, "ONNX node 0 (Add): operand 'x' is not a constant"),
    "a value as bias": (
        [NODE("Gemm", ["W", "W", "x"], ["y"])],
        {"W": draw(6, 6)},
        "ONNX node 0 (Gemm): it does not act on the value that the network computes",
    ),
    "a name for two things": (
        [NODE("Relu", ["x"], ["p"]), NODE("Identity", ["p"], ["W"]), NODE("MatMul", ["p", "W"], ["y"])],
        {"W": draw(6, 6)},
        "computes 'W' where this name stands already",
    ),
    "an output in between": (
        [NODE("Relu", ["x"], ["y"]), NODE("Identity", ["y"], ["z"])],
        {},
        "the chain of nodes ends in 'z', not in the output 'y'",
    ),
    "NaN in a kernel": (
        [NODE("Reshape", ["x", "shape"], ["p"]), NODE("Conv", ["p", "K"], ["y"])],
        {"shape": np.array([-1, 1, 6]), "K": np.full((1, 1, 2), np.nan, np.float32)},
        "ONNX node 1 (Conv): it has a weight or bias that is not finite",
    ),
    "a kernel too large": (
        [NODE("Reshape", ["x", "shape"], ["p"]), NODE("Conv", ["p", "K"], ["y"])],
        {"shape": np.array([-1, 1, 6]), "K": draw(1, 1, 7)},
        "ONNX node 1 (Conv): it has a kernel of shape (1, 1, 7), too large for an array of shape (1, 6)",
    ),
    "a stride of zero": (
        [NODE("Reshape", ["x", "shape"], ["p"]), NODE("Conv", ["p", "K"], ["y"], strides=[0], auto_pad="SAME_UPPER")],
        {"shape": np.array([-1, 1, 6]), "K": draw(1, 1, 2)},
        "ONNX node 1 (Conv): ZeroDivisionError",
    ),
    "crop by padding": (
        [NODE("Reshape", ["x", "shape"], ["p"]), NODE("Conv", ["p", "K"], ["y"], pads=[-1, 0])],
        {"shape": np.array([-1, 1, 6]), "K": draw(1, 1, 2)},
        "expected strides and dilations of at least 1, padding of at least 0",
    ),
    "rows normalised by themselves": (
        [NODE("BatchNormalization", ["x", "s", "s", "s", "s"], ["y"], training_mode=1)],
        {"s": np.ones(6, np.float32)},
        "ONNX node 0 (BatchNormalization): it is in training mode",
    ),
    "a negative variance": (
        [NODE("BatchNormalization", ["x", "s", "s", "s", "v"], ["y"])],
        {"s": np.ones(6, np.float32), "v": -np.ones(6, np.float32)},
        "ONNX node 0 (BatchNormalization): it has a scale or variance from which no finite slope follows",
    ),
    "a shape that does not fit": (
        [NODE("Reshape", ["x", "shape"], ["y"])],
        {"shape": np.array([1, 5])},
        "ONNX node 0 (Reshape): cannot reshape",
    ),
    "constants that cannot be folded": (
        [NODE("Reshape", ["W", "shape"], ["V"]), NODE("MatMul", ["x", "V"], ["y"])],
        {"W": draw(6, 3), "shape": np.array([5, -1])},
        "ONNX node 0 (Reshape) cannot be evaluated",
    ),
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


def test_a_function_under_the_name_of_a_node_is_refused(tmp_path: Path) -> None:
    model = onnx.load(graph([NODE("Relu", ["x"], ["y"])], {}, tmp_path / "net.onnx"))
    body = [NODE("Neg", ["a"], ["b"])]
    model.functions.append(helper.make_function("", "Relu", ["a"], ["b"], body, model.opset_import))
    onnx.save(model, str(tmp_path / "net.onnx"))
    with pytest.raises(ValueError, match="defines Relu by a function of its own"):
        verify.read_network(tmp_path / "net.onnx")


@pytest.mark.parametrize(("kind", "operands"), [("Dropout", ["p"]), ("BatchNormalization", ["p", *"ssss"])])
def test_the_training_mode_of_old_operator_sets_is_refused(kind: str, operands: list[str], tmp_path: Path) -> None:
    nodes = [NODE("MatMul", ["x", "I"], ["p"]), NODE(kind, operands, ["y"])]
    constants = {"I": np.eye(6, dtype=np.float32), "s": np.ones(6, np.float32)}
    model = onnx.load(graph(nodes, constants, tmp_path / "net.onnx"))
    model.opset_import[0].version = 6
    onnx.save(model, str(tmp_path / "net.onnx"))
    with pytest.raises(ValueError, match=r"ONNX node 1 \(.*\): it is in training mode"):
        verify.read_network(tmp_path / "net.onnx")
    model.graph.node[1].attribute.append(helper.make_attribute("is_test", 1))
    onnx.save(model, str(tmp_path / "net.onnx"))
    if kind == "Dropout":
        # onnx's reference does not know it, and what cannot be compared is not read.
        with pytest.raises(ValueError, match=r"net.onnx cannot be evaluated \(RuntimeError: No implementation"):
            verify.read_network(tmp_path / "net.onnx")
    else:
        # The identity, but for the epsilon in its slope.
        assert np.allclose(verify.read_network(tmp_path / "net.onnx").predict(ROWS), ROWS, atol=1e-4)


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

    @pytest.mark.parametrize("shape", [6, (), "6", (6.0,), (0,)])
    def test_an_input_shape_that_is_none(self, shape: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"input_shape is .*; expected"):
            verify.read_network(nn.Linear(6, 2), input_shape=shape)

    def test_an_input_shape_without_a_module(self) -> None:
        with pytest.raises(ValueError, match="input_shape is given; expected it with a torch module alone"):
            verify.read_network(zoo.network((6, 4, 3)), input_shape=(6,))


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist-net_256x2.onnx", "mnist-net_256x4.onnx"])
def test_the_mnist_networks_of_vnn_comp_are_read(name: str, data_folder: Path) -> None:
    path = data_folder / "mnist_fc" / name
    network = verify.read_network(path)
    session = onnxruntime.InferenceSession(path)
    for row in np.random.default_rng(0).random((10, 784)).astype(np.float32):
        (expected,) = session.run(None, {session.get_inputs()[0].name: row.reshape(1, 784, 1)})
        assert np.allclose(network.predict(row[None])[0], expected[0], atol=1e-4)
