"""Constants: nodes that depend on constants alone, evaluated by onnx's reference after a look at their sizes."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.reading.onnx_files.scope import STOCK, Scope, first_line, options_of

Sizes = Callable[[Any, list[NDArray[Any]]], int]


def _broadcast(node: Any, given: list[NDArray[Any]]) -> int:
    return prod(np.broadcast_shapes(*(constant.shape for constant in given)))


def _constant(node: Any, given: list[NDArray[Any]]) -> int:
    return sum(prod(option.sparse_tensor.dims) for option in node.attribute)


def _expand(node: Any, given: list[NDArray[Any]]) -> int:
    target = [int(size) for size in given[1].ravel()]
    return given[0].size * prod(max(size, 1) for size in target)


def _filled(node: Any, given: list[NDArray[Any]]) -> int:
    return prod(int(size) for size in given[0].ravel())


def _tile(node: Any, given: list[NDArray[Any]]) -> int:
    return given[0].size * prod(int(size) for size in given[1].ravel())


def _range(node: Any, given: list[NDArray[Any]]) -> int:
    start, limit, delta = (float(number.ravel()[0]) for number in given)
    return max(ceil((limit - start) / delta), 0)


def _gather(node: Any, given: list[NDArray[Any]]) -> int:
    axis = int(options_of(node).get("axis", 0))
    return given[0].size // max(given[0].shape[axis], 1) * given[1].size


def _pad(node: Any, given: list[NDArray[Any]]) -> int:
    pads = given[1].ravel() if len(given) > 1 else np.ravel(options_of(node).get("pads", []))
    if len(pads) != 2 * given[0].ndim:
        raise ValueError("pads of another number of axes; expected two for each axis")
    return prod(
        size + max(int(before), 0) + max(int(after), 0)
        for size, before, after in zip(given[0].shape, pads, pads[given[0].ndim :], strict=False)
    )


def _product(node: Any, given: list[NDArray[Any]]) -> int:
    return given[0].size * given[1].size


# What is evaluated where all inputs are constants, and how many entries come out; None where no more than go in.
FOLDED: dict[str, Sizes | None] = {
    "Constant": _constant,
    **dict.fromkeys(
        (
            *(
                "Identity",
                "Cast",
                "Transpose",
                "Reshape",
                "Flatten",
                "Squeeze",
                "Unsqueeze",
                "Concat",
                "Slice",
                "Split",
            ),
            *("Neg", "Sqrt", "Abs", "Exp", "Log", "Floor", "Ceil", "Reciprocal", "Not", "Relu", "Clip", "Sigmoid"),
            *(
                "ReduceSum",
                "ReduceProd",
                "ReduceMax",
                "ReduceMin",
                "ReduceMean",
                "ReduceL1",
                "ReduceL2",
                "Shape",
                "Size",
                "Dropout",
            ),
        )
    ),
    **dict.fromkeys(
        (
            *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mod", "Where", "Sum", "Mean"),
            *("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or"),
        ),
        _broadcast,
    ),
    "Expand": _expand,
    "ConstantOfShape": _filled,
    "Tile": _tile,
    "Range": _range,
    "Gather": _gather,
    "Pad": _pad,
    "MatMul": _product,
}


def is_folded(node: Any, scope: Scope) -> bool:
    """Return whether a node makes constants of constants, in a way that can be evaluated."""
    return (
        node.domain in STOCK and node.op_type in FOLDED and all(name in scope.constants for name in node.input if name)
    )


def fold(node: Any, scope: Scope, where: str) -> None:
    """Make constants of constants."""
    given = [scope.constants[name] for name in node.input if name]
    size = FOLDED[node.op_type]
    try:
        count = sum(constant.size for constant in given) if size is None else size(node, given)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        count = 0  # its evaluation says what is wrong
    try:
        scope.allowance.take(count, "a constant")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    try:
        scope.constants |= _evaluated(node, scope)
    except Exception as error:
        raise ValueError(f"{where} cannot be evaluated ({first_line(error)})") from None


def _evaluated(node: Any, scope: Scope) -> dict[str, NDArray[Any]]:
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    inputs = [numpy_helper.from_array(scope.constants[name], name) for name in dict.fromkeys(node.input) if name]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "constant", [], outputs, inputs)
    with np.errstate(all="ignore"):
        values = ReferenceEvaluator(helper.make_model(graph, opset_imports=scope.opsets)).run(None, {})
    return {name: np.asarray(value) for name, value in zip(node.output, values, strict=True)}
