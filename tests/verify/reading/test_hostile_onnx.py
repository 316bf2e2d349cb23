"""Small ONNX files that ask for a large machine, or say what no file may say: refused in one line, before any work."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import verify
from verify.reading.graph import limits

NODE = helper.make_node
W = np.ones((6, 3), dtype=np.float32)
ONE = np.float32(1.0)
GEMM = NODE("Gemm", ["x", "W"], ["y"])


def model(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[Any] = ("n", 6), opset: int = 17, **constants: Any
) -> onnx.ModelProto:
    """Return a graph from x through `nodes` to y."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(inputs))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "test", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def of_type(number: int) -> onnx.ModelProto:
    made = model([GEMM], W=W)
    made.graph.input[0].type.tensor_type.elem_type = number
    return made


def of_ir(version: int) -> onnx.ModelProto:
    made = model([GEMM], W=W)
    made.ir_version = version
    return made


def padded(zeros: int) -> onnx.ModelProto:
    kernel = np.ones((1, 1, 3, 3), dtype=np.float32)
    return model([NODE("Conv", ["x", "K"], ["y"], pads=[zeros] * 4)], ("n", 1, 3, 3), K=kernel)


def reshaped(size: int) -> onnx.ModelProto:
    nodes = [NODE("Reshape", ["x", "s"], ["r"]), NODE("Gemm", ["r", "W"], ["y"])]
    return model(nodes, ("n", size), s=np.array([-1, 10**12]), W=W)


def sparse() -> onnx.ModelProto:
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    held = helper.make_sparse_tensor(values, indices, [10**6, 10**6])
    return model([NODE("Constant", [], ["c"], sparse_value=held), USE])


def chain(count: int) -> list[onnx.NodeProto]:
    """Return so many ReLUs in a row, and a Gemm."""
    names = ["x", *(f"r{index}" for index in range(count))]
    relus = [NODE("Relu", [before], [after]) for before, after in pairwise(names)]
    return [*relus, NODE("Gemm", [names[-1], "W"], ["y"])]


DOUBLED = [NODE("Concat", [f"c{index}"] * 2, [f"c{index + 1}"], axis=0) for index in range(34)]
# What is computed and used by nobody is not looked at: here something uses it.
USE = NODE("Add", ["x", "c"], ["y"])
OUTER: dict[str, Any] = {"a": np.ones((60_000, 1), dtype=np.float32), "b": np.ones((1, 60_000), dtype=np.float32)}
SUM = NODE("Sum", ["x", *(f"c{index}" for index in range(100))], ["y"])
COPIES = [NODE("Add", ["a", "b"], [f"c{index}"]) for index in range(100)]

HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "type 0": (lambda: of_type(0), "takes inputs of the unknown type 0; expected real numbers"),
    "type 99": (lambda: of_type(99), "takes inputs of the unknown type 99; expected real numbers"),
    "type -1": (lambda: of_type(-1), "takes inputs of the unknown type -1; expected real numbers"),
    "opset": (lambda: model([GEMM], opset=99, W=W), "is of opset 99 and IR version 8; expected at most opset"),
    "IR": (lambda: of_ir(99), "is of opset 17 and IR version 99; expected at most opset"),
    "reshape": (lambda: reshaped(6), "node 0 (Reshape): cannot reshape array of size 6"),
    "reshape of many": (lambda: reshaped(10**12), "would have 1,000,000,000,000 entries; expected at most"),
    "a wide input": (
        lambda: model([NODE("Add", ["x", "b"], ["y"])], ("n", 10**8), b=ONE),
        "would have 100,000,000 entries; expected at most",
    ),
    "a wide batch": (lambda: model([GEMM], (10**9, 6), W=W), "would have 6,000,000,000 entries; expected at most"),
    "constants that spread": (
        lambda: model([NODE("Add", ["a", "b"], ["c"]), USE], **OUTER),
        "node 0 (Add): a constant would have 3,600,000,000 entries",
    ),
    "many constants": (
        lambda: model([*COPIES, SUM], a=np.ones((1000, 1)), b=np.ones((1, 1000))),
        "node 16 (Add): a constant would have 1,000,000 entries; expected at most",
    ),
    "constants that double": (
        lambda: model([*DOUBLED, NODE("Add", ["x", "c34"], ["y"])], c0=np.ones(8, np.float32)),
        "(Concat): a constant",
    ),
    "a sparse constant": (sparse, "node 0 (Constant): a constant would have 1,000,000,000,000 entries"),
    "padding": (lambda: padded(2000), "node 0 (Conv): its map of places would have 144,072,009 entries"),
    "more padding": (lambda: padded(10**9), "node 0 (Conv): its map of places would have 36,000,000,036,"),
    "many nodes": (lambda: model(chain(20_000), W=W), "has 20,001 nodes; expected at most 10,000"),
    "a matrix for each row": (
        lambda: model([NODE("MatMul", ["x", "M"], ["y"])], ("n", 100_000, 2), M=np.ones((2, 2000), np.float32)),
        "node 0 (MatMul): its matrix would have 600,000,000 entries",
    ),
    "a matrix for each column": (
        lambda: model([NODE("MatMul", ["M", "x"], ["y"])], ("n", 2, 100_000), M=np.ones((2000, 2), np.float32)),
        "node 0 (MatMul): its matrix would have 600,000,000 entries",
    ),
    "a product": (
        lambda: model([NODE("MatMul", ["x", "a"], ["c"]), NODE("MatMul", ["c", "b"], ["y"])], ("n", 60_000), **OUTER),
        "two layers in a row, without a ReLU between them, would have 3,600,000,000 entries",
    ),
    "an infinite weight": (lambda: model([GEMM], W=np.inf * W), "node 0 (Gemm): it has a weight or bias that is not"),
    "no result": (lambda: model([NODE("Gemm", ["x", "W"], [])], W=W), "the output 'y' is computed by no node"),
    "a quotient by 0": (
        lambda: model([NODE("Div", ["W", "z"], ["V"]), NODE("Gemm", ["x", "V"], ["y"])], W=W, z=np.float32(0.0)),
        "node 1 (Gemm): it has a weight or bias that is not finite",
    ),
    "values that overflow": (
        lambda: model([NODE("MatMul", ["x", "W"], ["c"]), NODE("MatMul", ["c", "V"], ["y"])], W=3e38 * W, V=3e38 * W.T),
        "computes values that are not finite on random rows",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_graph_is_one_line(name: str, tmp_path: Path) -> None:
    make, words = HOSTILE[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(make().SerializeToString())
    tracemalloc.start()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        verify.read_network(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 1 << 28


def test_a_graph_as_long_as_may_be_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verify.reading.onnx_files.model_files.MOST_NODES", 101)
    for count, read in ((100, True), (101, False)):
        (tmp_path / "net.onnx").write_bytes(model(chain(count), W=W).SerializeToString())
        if read:
            assert verify.read_network(tmp_path / "net.onnx").sizes == (6, 6, 3)
            continue
        with pytest.raises(ValueError, match="has 102 nodes; expected at most 101"):
            verify.read_network(tmp_path / "net.onnx")


def test_what_all_nodes_make_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_ENTRIES", 100)
    nodes = [NODE("Add", [f"r{index}" if index else "x", "b"], [f"r{index + 1}"]) for index in range(5)]
    made = model([*nodes, NODE("Relu", ["r5"], ["y"])], ("n", 1000), b=ONE)
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match=r"ONNX node 0 \(Add\): a matrix would have 1,000 entries; expected at most"):
        verify.read_network(tmp_path / "net.onnx")


def test_weights_near_the_end_of_float32_are_read(tmp_path: Path) -> None:
    large = np.full((6, 3), 3e38, dtype=np.float32)
    (tmp_path / "net.onnx").write_bytes(model([GEMM], W=large).SerializeToString())
    network = verify.read_network(tmp_path / "net.onnx")
    np.testing.assert_array_equal(network.layers[0][0].toarray(), large.T)
