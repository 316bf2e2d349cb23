"""Small ONNX models from x to y, and what onnxruntime makes of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import verify
from convexnn import SparseReLUNetwork
from convexnn.checks import Floats
from verify.reading.graph.agreement import finished

NODE = helper.make_node


def model_of(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[Any] | None = ("n", 6),
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    **constants: Any,
) -> onnx.ModelProto:
    """Return a graph from x through `nodes` to its outputs."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, None if shape is None else list(shape))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(
        helper.make_graph(list(nodes), "test", [x], ends, stored), opset_imports=opsets, ir_version=8
    )


def answers(model: onnx.ModelProto, rows: Sequence[NDArray[np.float32]], output: str = "y") -> Floats:
    """Return the outputs (n, k) of onnxruntime for inputs one by one, each in the model's shape."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.array([session.run([output], {"x": row})[0].ravel() for row in rows], dtype=np.float64)


def held_against_onnxruntime(
    model: onnx.ModelProto, shape: Sequence[int], count: int = 4, seed: int = 0, **options: Any
) -> SparseReLUNetwork:
    """Read a model, hold it against onnxruntime on rows in its shape, and return it."""
    network = verify.read_network(model, **options)
    rng = np.random.default_rng(seed)
    rows = [rng.uniform(-3.0, 3.0, tuple(shape)).astype(np.float32) for _ in range(count)]
    expected = answers(model, rows, options.get("output", "y"))
    found = network.activations(np.array([row.ravel() for row in rows], dtype=np.float64))[-1]
    found = found if network.final is None else finished(found, network.final)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(expected).max()))
    return network
