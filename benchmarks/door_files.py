"""The files that `doors.py` reads, made by hand as tf2onnx lays out networks of Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NODE = helper.make_node


def model_of(nodes: Sequence[Any], shape: Sequence[Any], opset: int = 13, **constants: Any) -> onnx.ModelProto:
    """Return a graph from x through nodes to y."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "tf2onnx", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def keras_like() -> dict[str, onnx.ModelProto]:
    """Return files laid out as tf2onnx does: images with channels last, transposed around each convolution."""
    rng = np.random.default_rng(0)

    def draw(*sizes: int) -> Any:
        return rng.standard_normal(sizes).astype(np.float32)

    to_first: dict[str, Any] = {"perm": [0, 3, 1, 2]}
    to_last: dict[str, Any] = {"perm": [0, 2, 3, 1]}
    W, b, V, c = draw(6, 8), draw(8), draw(8, 3), draw(3)
    hidden = [NODE("MatMul", ["x", "W"], ["p"]), NODE("Add", ["p", "b"], ["h"])]
    last = [NODE("MatMul", ["r", "V"], ["q"]), NODE("Add", ["q", "c"], ["z"])]
    dense: dict[str, Any] = {"W": W, "b": b, "V": V, "c": c}
    image = ("unk__6", 6, 6, 1)
    conv_first = [NODE("Transpose", ["x"], ["t"], **to_first), NODE("Conv", ["t", "K", "k"], ["a"], pads=[1, 1, 1, 1])]
    flat = [
        NODE("Transpose", ["r"], ["l"], **to_last),
        NODE("Reshape", ["l", "s"], ["f"]),
        NODE("MatMul", ["f", "D"], ["y"]),
    ]
    grid: dict[str, Any] = {"K": draw(3, 1, 3, 3), "k": draw(3), "s": np.array([-1, 108]), "D": draw(108, 2)}
    small = grid | {"s": np.array([-1, 27]), "D": draw(27, 2)}
    return {
        "dense": model_of(
            [*hidden, NODE("Relu", ["h"], ["r"]), *last[:1], NODE("Add", ["q", "c"], ["y"])], ("n", 6), **dense
        ),
        "dense, softmax": model_of(
            [*hidden, NODE("Relu", ["h"], ["r"]), *last, NODE("Softmax", ["z"], ["y"], axis=1)], ("n", 6), **dense
        ),
        "dense, LeakyReLU": model_of(
            [*hidden, NODE("LeakyRelu", ["h"], ["r"], alpha=0.3), *last[:1], NODE("Add", ["q", "c"], ["y"])],
            ("n", 6),
            **dense,
        ),
        "rescaling": model_of(
            [NODE("Mul", ["x", "u"], ["v"]), NODE("Add", ["v", "w"], ["g"]), NODE("MatMul", ["g", "W"], ["y"])],
            ("n", 6),
            u=np.float32(1 / 127.5),
            w=np.float32(-1.0),
            W=W,
        ),
        "normalization": model_of(
            [NODE("Sub", ["x", "m"], ["v"]), NODE("Div", ["v", "d"], ["g"]), NODE("MatMul", ["g", "W"], ["y"])],
            ("n", 6),
            m=draw(1, 6),
            d=np.float32(1.0) + np.abs(draw(1, 6)),
            W=W,
        ),
        "convolution": model_of([*conv_first, NODE("Relu", ["a"], ["r"]), *flat], image, **grid),
        "max pooling": model_of(
            [
                *conv_first,
                NODE("Relu", ["a"], ["e"]),
                NODE("MaxPool", ["e"], ["r"], kernel_shape=[2, 2], strides=[2, 2]),
                *flat,
            ],
            image,
            **small,
        ),
        "average pooling": model_of(
            [
                *conv_first,
                NODE("Relu", ["a"], ["e"]),
                NODE("AveragePool", ["e"], ["r"], kernel_shape=[2, 2], strides=[2, 2]),
                *flat,
            ],
            image,
            **small,
        ),
        "global pooling": model_of(
            [
                *conv_first,
                NODE("Relu", ["a"], ["r"]),
                NODE("ReduceMean", ["r"], ["f"], axes=[2, 3], keepdims=0),
                NODE("MatMul", ["f", "D"], ["y"]),
            ],
            image,
            **(grid | {"D": draw(3, 2)}),
        ),
        "batch norm as Mul and Add": model_of(
            [
                *conv_first,
                NODE("Mul", ["a", "u"], ["v"]),
                NODE("Add", ["v", "w"], ["e"]),
                NODE("Relu", ["e"], ["r"]),
                *flat,
            ],
            image,
            u=draw(1, 3, 1, 1),
            w=draw(1, 3, 1, 1),
            **grid,
        ),
        "shape into reshape": model_of(
            [
                *conv_first,
                NODE("Relu", ["a"], ["r"]),
                NODE("Shape", ["r"], ["o"]),
                NODE("Cast", ["o"], ["o2"], to=TensorProto.INT32),
                NODE("Slice", ["o2", "zero", "one", "zero"], ["o3"]),
                NODE("Concat", ["o3", "minus"], ["o4"], axis=0),
                NODE("Cast", ["o4"], ["o5"], to=TensorProto.INT64),
                NODE("Reshape", ["r", "o5"], ["f"]),
                NODE("MatMul", ["f", "D"], ["y"]),
            ],
            image,
            **(grid | {"zero": np.array([0]), "one": np.array([1]), "minus": np.array([108], dtype=np.int32)}),
        ),
        "one-dimensional convolution": model_of(
            [
                NODE("Unsqueeze", ["x", "axis"], ["t0"]),
                NODE("Transpose", ["t0"], ["t"], **to_first),
                NODE("Conv", ["t", "K"], ["a"]),
                NODE("Squeeze", ["a", "axis2"], ["e"]),
                NODE("Transpose", ["e"], ["g"], perm=[0, 2, 1]),
                NODE("Relu", ["g"], ["r"]),
                NODE("Reshape", ["r", "s"], ["f"]),
                NODE("MatMul", ["f", "D"], ["y"]),
            ],
            ("n", 6, 2),
            axis=np.array([1]),
            axis2=np.array([2]),
            K=draw(3, 2, 1, 3),
            s=np.array([-1, 12]),
            D=draw(12, 2),
        ),
        "skip connection": model_of(
            [*hidden, NODE("Relu", ["h"], ["r"]), NODE("MatMul", ["r", "V"], ["q"]), NODE("Add", ["q", "x"], ["y"])],
            ("n", 6),
            W=W,
            b=b,
            V=draw(8, 6),
        ),
        "relu with a ceiling": model_of(
            [
                *hidden,
                NODE("Min", ["h", "six"], ["e"]),
                NODE("Relu", ["e"], ["r"]),
                *last[:1],
                NODE("Add", ["q", "c"], ["y"]),
            ],
            ("n", 6),
            six=np.float32(6.0),
            **dense,
        ),
        "softplus": model_of([*hidden, NODE("Softplus", ["h"], ["y"])], ("n", 6), W=W, b=b),
    }
