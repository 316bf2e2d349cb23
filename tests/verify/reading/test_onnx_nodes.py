"""Every kind of ONNX node that is read, in every form of its options, beside onnxruntime; and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import verify
from convexnn import SparseReLUNetwork
from tests.helpers.onnx_models import NODE, held_against_onnxruntime, model_of
from verify.reading.onnx_files import running
from verify.relu_graph import ReLUGraph

RNG = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


ROW, IMAGE, LINE = (1, 6), (1, 2, 5, 4), (1, 3, 8)
POOL: dict[str, Any] = {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 0, 0, 1]}
Case = tuple[list[onnx.NodeProto], tuple[int, ...], dict[str, Any]]

# The nodes from x to y, the shape of one row, constants, and the operator set if not 17.
CASES: dict[str, Case] = {
    "Mul by one number": ([NODE("Mul", ["x", "k"], ["y"])], ROW, {"k": np.float32(0.5)}),
    "Mul by channel": ([NODE("Mul", ["k", "x"], ["y"])], IMAGE, {"k": draw(2, 1, 1)}),
    "Div": ([NODE("Div", ["x", "k"], ["y"])], ROW, {"k": draw(6) + 5}),
    "Sub from a constant": ([NODE("Sub", ["k", "x"], ["y"])], ROW, {"k": draw(6)}),
    "Neg, Sum, Mean": (
        [NODE("Neg", ["x"], ["n"]), NODE("Sum", ["n", "k", "x", "x"], ["s"]), NODE("Mean", ["s", "x"], ["y"])],
        ROW,
        {"k": draw(6)},
    ),
    "Cast to double and back": (
        [
            NODE("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
            NODE("Mul", ["d", "k"], ["e"]),
            NODE("CastLike", ["e", "x"], ["y"]),
        ],
        ROW,
        {"k": np.float64(0.1)},
    ),
    "Transpose": ([NODE("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])], IMAGE, {}),
    "Squeeze and Unsqueeze": (
        [NODE("Unsqueeze", ["x", "a"], ["u"]), NODE("Squeeze", ["u", "b"], ["y"])],
        ROW,
        {"a": ints(1, -1), "b": ints(-1)},
    ),
    "Where by a comparison": (
        [NODE("Greater", ["x", "e"], ["g"]), NODE("Mul", ["x", "k"], ["s"]), NODE("Where", ["g", "x", "s"], ["y"])],
        ROW,
        {"e": np.float32(0.0), "k": np.float32(0.1)},
    ),
    "Where by a negated comparison": (
        [NODE("LessOrEqual", ["x", "e"], ["l"]), NODE("Not", ["l"], ["g"]), NODE("Where", ["g", "x", "e"], ["y"])],
        ROW,
        {"e": np.float32(0.25)},
    ),
    "Where by a constant": ([NODE("Where", ["m", "x", "k"], ["y"])], ROW, {"m": draw(6) > 0, "k": draw(6)}),
    "a product with a comparison": (
        [
            NODE("Less", ["x", "e"], ["l"]),
            NODE("Cast", ["l"], ["c"], to=TensorProto.FLOAT),
            NODE("Mul", ["c", "x"], ["y"]),
        ],
        ROW,
        {"e": np.float32(0.0)},
    ),
    "Einsum": ([NODE("Einsum", ["x", "w"], ["y"], equation="bi,oi->bo")], ROW, {"w": draw(4, 6)}),
    "MatMul with several matrices": ([NODE("MatMul", ["x", "w"], ["y"])], (1, 2, 3, 4), {"w": draw(2, 4, 5)}),
    "several matrices before": ([NODE("MatMul", ["w", "x"], ["y"])], (1, 2, 3, 4), {"w": draw(2, 5, 3)}),
    "CumSum": ([NODE("CumSum", ["x", "a"], ["y"])], LINE, {"a": ints(-1)}),
    "GatherND": (
        [
            NODE("Transpose", ["x"], ["t"], perm=[1, 0]),
            NODE("GatherND", ["t", "i"], ["g"]),
            NODE("Transpose", ["g"], ["y"], perm=[1, 0]),
        ],
        ROW,
        {"i": np.array([[3], [0], [3]])},
    ),
    "weight norm": (
        [
            NODE("ReduceL2", ["w"], ["n"], axes=[1], keepdims=1),
            NODE("Div", ["w", "n"], ["u"]),
            NODE("Gemm", ["x", "u"], ["y"], transB=1),
        ],
        ROW,
        {"w": draw(4, 6)},
    ),
    "Squeeze of all": ([NODE("Unsqueeze", ["x", "a"], ["u"]), NODE("Squeeze", ["u"], ["y"])], ROW, {"a": ints(1)}),
    "Squeeze and Unsqueeze of old": (
        [NODE("Unsqueeze", ["x"], ["u"], axes=[1]), NODE("Squeeze", ["u"], ["y"], axes=[1])],
        ROW,
        {"opset": 11},
    ),
    "Slice": (
        [NODE("Slice", ["x", "s", "e", "a", "t"], ["y"])],
        IMAGE,
        {"s": ints(-1, 0), "e": ints(-100, 3), "a": ints(2, 3), "t": ints(-2, 1)},
    ),
    "Slice of old": ([NODE("Slice", ["x"], ["y"], starts=[1], ends=[100], axes=[2])], IMAGE, {"opset": 9}),
    "Gather": ([NODE("Gather", ["x", "i"], ["y"], axis=2)], IMAGE, {"i": np.array([[0, -1], [2, 2]])}),
    "Gather of one": ([NODE("Gather", ["x", "i"], ["y"], axis=1)], IMAGE, {"i": np.int64(1)}),
    "Split": (
        [NODE("Split", ["x", "s"], ["a", "b"], axis=1), NODE("Concat", ["b", "a", "k"], ["y"], axis=1)],
        ROW,
        {"s": ints(2, 4), "k": draw(1, 3)},
    ),
    "Split in equal parts": (
        [NODE("Split", ["x"], ["a", "b"], axis=1), NODE("Max", ["a", "b"], ["y"])],
        ROW,
        {},
    ),
    "Split of new": (
        [NODE("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), NODE("Sub", ["a", "b"], ["y"])],
        ROW,
        {"opset": 18},
    ),
    "Pad": ([NODE("Pad", ["x", "p", "v"], ["y"])], IMAGE, {"p": ints(0, 0, 1, 0, 0, 0, 2, -1), "v": np.float32(1.5)}),
    "Pad by copies": ([NODE("Pad", ["x", "p"], ["y"], mode="reflect")], IMAGE, {"p": ints(0, 0, 1, 0, 0, 0, 2, 1)}),
    "Pad of the edge": ([NODE("Pad", ["x", "p"], ["y"], mode="edge")], IMAGE, {"p": ints(0, 0, 1, 0, 0, 0, 2, 1)}),
    "Pad of old": ([NODE("Pad", ["x"], ["y"], pads=[0, 1, 0, 2], value=2.0)], ROW, {"opset": 10}),
    "Pad of some axes": (
        [NODE("Pad", ["x", "p", "", "a"], ["y"])],
        IMAGE,
        {"p": ints(1, 2), "a": ints(-1), "opset": 18},
    ),
    "Expand": ([NODE("Expand", ["x", "s"], ["y"])], (1, 3, 1), {"s": ints(1, 3, 4)}),
    "Tile": ([NODE("Tile", ["x", "r"], ["y"])], ROW, {"r": ints(1, 2)}),
    "Resize": ([NODE("Resize", ["x", "", "s"], ["y"])], IMAGE, {"s": np.array([1, 1, 2, 1.5], np.float32)}),
    "Resize to sizes": (
        [NODE("Resize", ["x", "", "", "s"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        IMAGE,
        {"s": ints(1, 2, 7, 3)},
    ),
    "Upsample": ([NODE("Upsample", ["x", "s"], ["y"])], IMAGE, {"s": np.array([1, 1, 2, 2], np.float32), "opset": 9}),
    "DepthToSpace": ([NODE("DepthToSpace", ["x"], ["y"], blocksize=2)], (1, 8, 2, 3), {}),
    "DepthToSpace CRD": ([NODE("DepthToSpace", ["x"], ["y"], blocksize=2, mode="CRD")], (1, 8, 2, 3), {}),
    "SpaceToDepth": ([NODE("SpaceToDepth", ["x"], ["y"], blocksize=2)], (1, 2, 4, 6), {}),
    "AveragePool": ([NODE("AveragePool", ["x"], ["y"], **POOL)], IMAGE, {}),
    "AveragePool with padding": ([NODE("AveragePool", ["x"], ["y"], count_include_pad=1, **POOL)], IMAGE, {}),
    "AveragePool with a last window": (
        [NODE("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 3], ceil_mode=1)],
        IMAGE,
        {"opset": 19},
    ),
    "AveragePool same": (
        [NODE("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER")],
        IMAGE,
        {},
    ),
    "GlobalAveragePool": ([NODE("GlobalAveragePool", ["x"], ["y"])], IMAGE, {}),
    "ReduceMean": ([NODE("ReduceMean", ["x"], ["y"], axes=[2, -1], keepdims=0)], IMAGE, {}),
    "ReduceMean of new": ([NODE("ReduceMean", ["x", "a"], ["y"])], IMAGE, {"a": ints(1), "opset": 18}),
    "ReduceSum": ([NODE("ReduceSum", ["x", "a"], ["y"])], IMAGE, {"a": ints(1, 3)}),
    "ReduceSum of nothing": ([NODE("ReduceSum", ["x", "a"], ["y"], noop_with_empty_axes=1)], ROW, {"a": ints()}),
    "ReduceL1": ([NODE("ReduceL1", ["x"], ["y"], axes=[1])], ROW, {}),
    "MatMul from the left": ([NODE("MatMul", ["W", "x"], ["y"])], (1, 3, 4), {"W": draw(2, 3)}),
    "MatMul with a vector": ([NODE("MatMul", ["x", "w"], ["y"])], ROW, {"w": draw(6)}),
    "MatMul with more axes": ([NODE("MatMul", ["x", "W"], ["y"])], (1, 2, 6), {"W": draw(1, 6, 3)}),
    "matrix times a vector without a batch": (
        [NODE("MatMul", ["W", "x"], ["p"]), NODE("Relu", ["p"], ["r"]), NODE("MatMul", ["r", "V"], ["y"])],
        (6,),
        {"W": draw(4, 6), "V": draw(4, 2)},
    ),
    "a column without a batch": ([NODE("MatMul", ["W", "x"], ["y"])], (6, 1), {"W": draw(2, 6)}),
    "ConvTranspose": (
        [NODE("ConvTranspose", ["x", "K", "b"], ["y"], strides=[2, 1], pads=[1, 0, 0, 1], output_padding=[1, 0])],
        IMAGE,
        {"K": draw(2, 3, 3, 2), "b": draw(3)},
    ),
    "ConvTranspose in groups": (
        [NODE("ConvTranspose", ["x", "K"], ["y"], strides=[2, 2], group=2, dilations=[1, 2])],
        IMAGE,
        {"K": draw(2, 2, 2, 2)},
    ),
    "ConvTranspose of one axis, same": (
        [NODE("ConvTranspose", ["x", "K"], ["y"], strides=[2], auto_pad="SAME_UPPER")],
        LINE,
        {"K": draw(3, 2, 3)},
    ),
    **{
        f"BatchNormalization of {opset}": (
            [NODE("BatchNormalization", ["x", *"sbmv"], ["y"], epsilon=0.01)],
            IMAGE,
            {"s": draw(2), "b": draw(2), "m": draw(2), "v": np.abs(draw(2)) + 0.5, "opset": opset},
        )
        for opset in (7, 8, 9, 13, 14, 15)
    },
    "Relu, Identity, Dropout": (
        [NODE("Relu", ["x"], ["a"]), NODE("Identity", ["a"], ["b"]), NODE("Dropout", ["b"], ["y"])],
        ROW,
        {},
    ),
    "Clip": ([NODE("Clip", ["x", "l", "u"], ["y"])], ROW, {"l": np.float32(-0.5), "u": np.float32(1.0)}),
    "Clip from below": ([NODE("Clip", ["x", "l"], ["y"])], ROW, {"l": np.float32(0.5)}),
    "Clip from above": ([NODE("Clip", ["x", "", "u"], ["y"])], ROW, {"u": np.float32(0.5)}),
    "Clip of old": ([NODE("Clip", ["x"], ["y"], min=0.0, max=6.0)], ROW, {"opset": 9}),
    "LeakyRelu": ([NODE("LeakyRelu", ["x"], ["y"], alpha=0.3)], ROW, {}),
    "LeakyRelu above one": ([NODE("LeakyRelu", ["x"], ["y"], alpha=1.5)], ROW, {}),
    "PRelu": ([NODE("PRelu", ["x", "k"], ["y"])], IMAGE, {"k": draw(2, 1, 1)}),
    "Abs": ([NODE("Abs", ["x"], ["y"])], ROW, {}),
    "HardSigmoid": ([NODE("HardSigmoid", ["x"], ["y"], alpha=0.4)], ROW, {}),
    "Shrink": ([NODE("Shrink", ["x"], ["y"], lambd=0.5, bias=0.5)], ROW, {}),
    "Max of three": ([NODE("Neg", ["x"], ["n"]), NODE("Max", ["x", "k", "n"], ["y"])], ROW, {"k": draw(6)}),
    "Min": ([NODE("Neg", ["x"], ["n"]), NODE("Min", ["n", "x", "k"], ["y"])], ROW, {"k": np.float32(-0.2)}),
    "Max with zero": ([NODE("Max", ["z", "x"], ["y"])], ROW, {"z": np.float32(0.0)}),
    "MaxPool": ([NODE("MaxPool", ["x"], ["y"], **POOL)], IMAGE, {}),
    "MaxPool with a last window, dilated": (
        [NODE("MaxPool", ["x"], ["y"], kernel_shape=[2], strides=[3], dilations=[2], ceil_mode=1)],
        LINE,
        {},
    ),
    "GlobalMaxPool": ([NODE("GlobalMaxPool", ["x"], ["y"])], IMAGE, {}),
    "ReduceMax": ([NODE("ReduceMax", ["x"], ["y"], axes=[1], keepdims=0)], IMAGE, {}),
    "ReduceMin": ([NODE("ReduceMin", ["x", "a"], ["y"])], IMAGE, {"a": ints(2, 3), "opset": 18}),
    "Softmax": ([NODE("Softmax", ["x"], ["y"])], ROW, {}),
    "Softmax of old, and a shape": ([NODE("Softmax", ["x"], ["s"]), NODE("Flatten", ["s"], ["y"])], ROW, {"opset": 11}),
    "LogSoftmax": ([NODE("LogSoftmax", ["x"], ["y"], axis=1)], ROW, {}),
    "Sigmoid": ([NODE("Sigmoid", ["x"], ["y"])], ROW, {}),
    "Sigmoids of both classes": (
        [NODE("Sigmoid", ["x"], ["p"]), NODE("Sub", ["one", "p"], ["q"]), NODE("Concat", ["q", "p"], ["y"], axis=1)],
        (1, 1),
        {"one": np.float32(1.0)},
    ),
    "a residual": (
        [NODE("MatMul", ["x", "W"], ["p"]), NODE("Relu", ["p"], ["r"]), NODE("Add", ["r", "x"], ["y"])],
        ROW,
        {"W": draw(6, 6)},
    ),
    "a value twice": ([NODE("Add", ["x", "x"], ["y"])], ROW, {}),
    "ReLU alone": ([NODE("Relu", ["x"], ["y"])], ROW, {}),
    "nothing but a shape": ([NODE("Flatten", ["x"], ["y"])], IMAGE, {}),
    "a dead branch": ([NODE("Relu", ["x"], ["y"]), NODE("Exp", ["x"], ["t"])], ROW, {}),
    "the output in between": ([NODE("Relu", ["x"], ["y"]), NODE("Exp", ["y"], ["z"])], ROW, {}),
    "a batch from the shape": (
        [
            NODE("Shape", ["x"], ["s"]),
            NODE("Gather", ["s", "zero"], ["g"]),
            NODE("Unsqueeze", ["g", "axis"], ["u"]),
            NODE("Concat", ["u", "rest"], ["t"], axis=0),
            NODE("Reshape", ["x", "t"], ["y"]),
        ],
        IMAGE,
        {"zero": np.int64(0), "axis": ints(0), "rest": ints(-1)},
    ),
    "sizes from ranges": (
        [
            NODE("Shape", ["x"], ["s"], start=1),
            NODE("ReduceProd", ["s"], ["n"], keepdims=0),
            NODE("Range", ["zero", "n", "two"], ["i"]),
            NODE("Flatten", ["x"], ["f"]),
            NODE("Gather", ["f", "i"], ["y"], axis=1),
        ],
        IMAGE,
        {"zero": np.int64(0), "two": np.int64(2)},
    ),
    "a constant of a shape": (
        [
            NODE("Shape", ["x"], ["s"]),
            NODE("ConstantOfShape", ["s"], ["c"], value=onnx.numpy_helper.from_array(np.array([0.5], np.float32))),
            NODE("Add", ["x", "c"], ["y"]),
        ],
        ROW,
        {},
    ),
}


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("name", CASES)
def test_a_node_is_what_onnxruntime_makes_of_it(name: str, batch: Any) -> None:
    nodes, shape, constants = CASES[name]
    if batch == "n" and ("without a batch" in name or "to sizes" in name):
        batch = 1  # the model is of one row
    held_against_onnxruntime(model_of(nodes, (batch if shape[0] == 1 else shape[0], *shape[1:]), **constants), shape)


@pytest.mark.parametrize("name", ["Mul by channel", "BatchNormalization of 9", "MaxPool", "Sigmoids of both classes"])
def test_without_onnxruntime_the_reference_is_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    nodes, shape, constants = CASES[name]
    held_against_onnxruntime(model_of(nodes, ("n", *shape[1:]), **constants), shape)


def test_kinds_of_networks() -> None:
    kinds = {
        name: verify.read_network(model_of(*CASES[name][:2], **CASES[name][2]))
        for name in ("LeakyRelu", "Clip", "a residual")
    }
    assert type(kinds["Clip"]) is SparseReLUNetwork
    assert isinstance(kinds["LeakyRelu"], ReLUGraph)
    assert kinds["a residual"].notes == ()


def test_half_and_double_precision_are_read() -> None:
    for kind, number in ((np.float16, TensorProto.FLOAT16), (np.float64, TensorProto.DOUBLE)):
        model = model_of([NODE("Gemm", ["x", "W"], ["p"]), NODE("Relu", ["p"], ["y"])], W=draw(6, 3).astype(kind))
        model.graph.input[0].type.tensor_type.elem_type = number
        model.graph.output[0].type.tensor_type.elem_type = number
        network = verify.read_network(model)
        np.testing.assert_array_equal(
            network.layers[0][0].toarray(), onnx.numpy_helper.to_array(model.graph.initializer[0]).T.astype(float)
        )


REFUSED: dict[str, tuple[list[onnx.NodeProto], tuple[int, ...], dict[str, Any], str]] = {
    "two values multiplied": (
        [NODE("Relu", ["x"], ["r"]), NODE("Mul", ["x", "r"], ["y"])],
        ROW,
        {},
        "ONNX node 1 (Mul): operand 'r' is not a constant; expected one value that the network computes",
    ),
    "a named node": (
        [NODE("Mul", ["x", "x"], ["y"], name="attention")],
        ROW,
        {},
        "ONNX node 0 'attention' (Mul): operand 'x' is not a constant",
    ),
    "a quotient by the value": (
        [NODE("Div", ["k", "x"], ["y"])],
        ROW,
        {"k": draw(6)},
        "ONNX node 0 (Div): it divides by the value that the network computes",
    ),
    "a quotient by zero": ([NODE("Div", ["x", "k"], ["y"])], ROW, {"k": np.float32(0)}, "its constant 'k' has a zero"),
    "a sigmoid inside": (
        [NODE("Sigmoid", ["x"], ["s"]), NODE("MatMul", ["s", "W"], ["y"])],
        ROW,
        {"W": draw(6, 2)},
        "ONNX node 1 (MatMul): it acts on the result of a sigmoid, which is not piecewise linear; expected that at the "
        "very end alone",
    ),
    "a softmax of channels": (
        [NODE("Softmax", ["x"], ["y"], axis=1)],
        IMAGE,
        {},
        "it acts on 2 of 40 entries at a time",
    ),
    "a choice by numbers": (
        [NODE("Where", ["x", "x", "x"], ["y"])],
        ROW,
        {},
        "ONNX node 0 (Where): it takes numbers of type float32 for a comparison; expected one, such as Greater",
    ),
    "an equation of another number of terms": (
        [NODE("Einsum", ["x", "w"], ["y"], equation="bi->b")],
        ROW,
        {"w": draw(6)},
        "ONNX node 0 (Einsum): its equation is 'bi->b' for 2 operands; expected a term for each",
    ),
    "a choice whose small jump lies beside a large slope": (
        [
            NODE("Greater", ["x", "e"], ["g"]),
            NODE("Mul", ["x", "s"], ["m"]),
            NODE("Add", ["m", "k"], ["a"]),
            NODE("Where", ["g", "a", "e"], ["y"]),
        ],
        ROW,
        {"e": np.float32(0), "s": np.float32(1e7), "k": np.float32(1e-7)},
        "ONNX node 3 (Where): it chooses between values that are not known to be equal where its condition changes",
    ),
    "a choice that jumps": (
        [NODE("Greater", ["x", "e"], ["g"]), NODE("Where", ["g", "x", "k"], ["y"])],
        ROW,
        {"e": np.float32(0.0), "k": np.float32(1.0)},
        "ONNX node 1 (Where): it chooses between values that are not known to be equal where its condition changes",
    ),
    "a comparison as a number": (
        [
            NODE("Greater", ["x", "e"], ["g"]),
            NODE("Cast", ["g"], ["c"], to=TensorProto.FLOAT),
            NODE("Add", ["c", "x"], ["y"]),
        ],
        ROW,
        {"e": np.float32(0.0)},
        "ONNX node 2 (Add): it acts on a comparison ('c'); expected Where, or a product with it",
    ),
    "a comparison at the end": (
        [NODE("Greater", ["x", "e"], ["g"]), NODE("Cast", ["g"], ["y"], to=TensorProto.FLOAT)],
        ROW,
        {"e": np.float32(0.0)},
        "the output 'y' is a comparison",
    ),
    "a jump": ([NODE("Sign", ["x"], ["y"])], ROW, {}, "ONNX node 0 (Sign) is not supported; it is not continuous"),
    "a threshold": (
        [NODE("ThresholdedRelu", ["x"], ["y"])],
        ROW,
        {},
        "(ThresholdedRelu) is not supported; it is not c",
    ),
    "a jump of Shrink": ([NODE("Shrink", ["x"], ["y"])], ROW, {}, "it has lambd 0.5 and bias 0, a jump"),
    "LRN": ([NODE("LRN", ["x"], ["y"], size=3)], IMAGE, {}, "(LRN) is not supported; it is not piecewise linear"),
    "weights of whole numbers": (
        [NODE("MatMul", ["x", "W"], ["y"])],
        ROW,
        {"W": np.ones((6, 2), np.int32)},
        "its constant 'W' is of type int32 beside numbers of type float32; expected the same type",
    ),
    "weights of another precision": (
        [NODE("MatMul", ["x", "W"], ["y"])],
        ROW,
        {"W": np.ones((6, 2))},
        "its constant 'W' is of type float64 beside numbers of type float32",
    ),
    "whole numbers": ([NODE("Cast", ["x"], ["y"], to=TensorProto.INT64)], ROW, {}, "it makes numbers of type int64"),
    "places of a pool": (
        [NODE("MaxPool", ["x"], ["y", "z"], kernel_shape=[2, 2])],
        IMAGE,
        {},
        "ONNX node 0 (MaxPool): it gives the places of its largest entries too",
    ),
    "linear interpolation": (
        [NODE("Resize", ["x", "", "s"], ["y"], mode="linear")],
        IMAGE,
        {"s": np.array([1, 1, 2, 2], np.float32)},
        "its mode is 'linear'; expected 'nearest'",
    ),
    "another domain": ([NODE("Relu", ["x"], ["y"], domain="mine")], ROW, {}, "it is of the domain 'mine'"),
    "nothing": ([NODE("Slice", ["x", "s", "s", "s"], ["y"])], ROW, {"s": ints(1)}, "it leaves nothing of an array"),
    "a constant": ([NODE("Identity", ["k"], ["y"])], ROW, {"k": draw(1, 6)}, "the output 'y' is a constant"),
    "softmax of one": (
        [NODE("MatMul", ["x", "W"], ["p"]), NODE("Softmax", ["p"], ["y"])],
        ROW,
        {"W": draw(6, 1)},
        "final is 'softmax' for one output",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_said_in_one_line(name: str) -> None:
    nodes, shape, constants, words = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        verify.read_network(model_of(nodes, ("n", *shape[1:]), **constants))
    assert "\n" not in str(caught.value)
