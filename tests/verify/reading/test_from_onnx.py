"""Reading ONNX graphs: chains of nodes held against onnxruntime, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import verify

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((20, 6)).astype(np.float32)


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
        [NODE("Gemm", ["x", "W"], ["p"]), NODE("Exp", ["p"], ["y"])],
        {"W": draw(6, 3)},
        "ONNX node 1 (Exp) is not supported; it is not piecewise linear, expected Relu, LeakyRelu",
    ),
    "two values multiplied": ([NODE("MatMul", ["x", "x"], ["y"])], {}, "operand 'x' is not a constant"),
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
    "a name for two things": (
        [NODE("Relu", ["x"], ["p"]), NODE("Identity", ["p"], ["W"]), NODE("MatMul", ["p", "W"], ["y"])],
        {"W": draw(6, 6)},
        "computes 'W' where this name stands already",
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
    summed = graph([NODE("ReduceSum", ["x"], ["y"], keepdims=0)], {}, tmp_path / "summed.onnx", ("n", 6))
    with pytest.raises(ValueError, match="broadcasting"):
        verify.read_network(summed)


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
        # Nobody runs it any more, and what cannot be compared is not read.
        with pytest.raises(ValueError, match=r"net.onnx cannot be evaluated \(NotImplemented"):
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


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist-net_256x2.onnx", "mnist-net_256x4.onnx"])
def test_the_mnist_networks_of_vnn_comp_are_read(name: str, data_folder: Path) -> None:
    path = data_folder / "mnist_fc" / name
    network = verify.read_network(path)
    session = onnxruntime.InferenceSession(path)
    for row in np.random.default_rng(0).random((10, 784)).astype(np.float32):
        (expected,) = session.run(None, {session.get_inputs()[0].name: row.reshape(1, 784, 1)})
        assert np.allclose(network.predict(row[None])[0], expected[0], atol=1e-4)
