"""The nodes of an ONNX graph: a chain of affine maps and ReLUs, followed from the graph's input to its output.

The chain knows the shape of the value that it follows, for one row; every other operand must be a constant, or follow
from constants by nodes of `FOLDED`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.reading.affine_steps import Affine, Relu, Step
from verify.reading.limits import Allowance, as_size
from verify.reading.unrolling import (
    Shape,
    Window,
    convolution,
    matrix_on_last,
    matrix_on_rows,
    normalisation,
    same_padding,
    transposition,
)

# The domains of the nodes that the ONNX standard defines.
STOCK = ("", "ai.onnx")

# Nodes that onnx's reference evaluates where all their inputs are constants.
FOLDED = (
    *("Constant", "Identity", "Cast", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat"),
    *("Neg", "Sqrt", "Add", "Sub", "Mul", "Div"),
)

# Those of them whose result can be larger than all their inputs together.
SPREADING = ("Add", "Sub", "Mul", "Div")


class Chain:
    """The value that the reader follows: its present name, its shape for one row, and the constants beside it."""

    def __init__(
        self, name: str, shape: Shape, constants: dict[str, NDArray[Any]], opsets: Any, allowance: Allowance
    ) -> None:
        self.name, self.shape, self.constants, self.opsets = name, shape, constants, opsets
        self.allowance = allowance

    def follow(self, position: int, node: Any) -> list[Step]:
        """Return the steps of one node and move on to its output."""
        where = f"ONNX node {position} ({node.op_type})"
        stock = node.domain in STOCK
        if stock and node.op_type in FOLDED and all(name in self.constants for name in node.input if name):
            self._fold(node, where)
            return []
        if not stock or node.op_type not in _RULES:
            raise ValueError(f"{where} is not supported; expected one of: {', '.join([*_RULES, 'Constant'])}")
        if not node.output or self.name not in node.input:
            what = f"take {self.name!r}" if node.output else "give a result"
            raise ValueError(f"{where} does not {what}; expected a chain, each node taking the last result")
        try:
            with np.errstate(all="ignore"):
                steps, shape = _RULES[node.op_type](self, node)
            as_size(prod(shape), "its result", self.allowance.value)
            self.allowance.take(sum(step.weight.nnz for step in steps if isinstance(step, Affine)), "a matrix")
        except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise ValueError(f"{where}: {first_line(error).removeprefix('ValueError: ')}") from None
        self.name, self.shape = node.output[0], shape
        return steps

    @property
    def opset(self) -> int:
        """The version of the ONNX standard that the nodes follow; 1 where a model states none."""
        return max((int(stated.version) for stated in self.opsets if stated.domain in STOCK), default=1)

    def operand(self, node: Any, index: int) -> NDArray[Any]:
        """Return the constant operand of a node."""
        name = node.input[index]
        if name not in self.constants:
            raise ValueError(f"operand {name!r} is not a constant")
        return self.constants[name]

    def reals(self, node: Any, index: int) -> Floats:
        """Return the constant operand of a node as finite float64."""
        values = np.asarray(self.operand(node, index), dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it has a weight or bias that is not finite")
        return values

    def place(self, node: Any, *indices: int) -> int:
        """Return which of the inputs `indices` of a node is the value followed."""
        found = [index for index in indices if node.input[index] == self.name]
        if not found:
            raise ValueError("it does not act on the value that the network computes")
        return found[0]

    def _folded_size(self, node: Any) -> int:
        """Return the entries of what a node of constants makes; 0 where its evaluation will say what is wrong."""
        given = [self.constants[name] for name in node.input if name]
        if node.op_type == "Constant":
            return sum(prod(option.sparse_tensor.dims) for option in node.attribute)
        if node.op_type not in SPREADING:
            return sum(constant.size for constant in given)
        try:
            return prod(np.broadcast_shapes(*(constant.shape for constant in given)))
        except ValueError:
            return 0

    def _fold(self, node: Any, where: str) -> None:
        """Make a constant of constants."""
        try:
            self.allowance.take(self._folded_size(node), "a constant")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        try:
            self._evaluate(node)
        except Exception as error:
            raise ValueError(f"{where} cannot be evaluated ({first_line(error)})") from None

    def _evaluate(self, node: Any) -> None:
        from onnx import helper, numpy_helper
        from onnx.reference import ReferenceEvaluator

        inputs = [numpy_helper.from_array(self.constants[name], name) for name in dict.fromkeys(node.input) if name]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "constant", [], outputs, inputs)
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(helper.make_model(graph, opset_imports=self.opsets)).run(None, {})
        self.constants |= {name: np.asarray(value) for name, value in zip(node.output, values, strict=True)}


def first_line(error: Exception) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")


def _options(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


Rule = Callable[[Chain, Any], tuple[list[Step], Shape]]


def _gemm(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    options, place = _options(node), chain.place(node, 0, 1)
    if len(chain.shape) != 2:
        raise ValueError(f"an array of shape {chain.shape} comes in; expected a matrix")
    steps: list[Step] = []
    shape = chain.shape
    if options.get(("transA", "transB")[place], 0):
        steps, shape = [transposition(shape, (1, 0))], shape[::-1]
    matrix = chain.reals(node, 1 - place)
    matrix = matrix.T if options.get(("transB", "transA")[place], 0) else matrix
    step, result = _product(float(options.get("alpha", 1.0)) * matrix, shape, place)
    if len(node.input) > 2 and node.input[2]:
        bias = float(options.get("beta", 1.0)) * chain.reals(node, 2)
        step = Affine(step.weight, _spread(bias, result))
    return [*steps, step], result


def _matmul(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    place = chain.place(node, 0, 1)
    step, shape = _product(chain.reals(node, 1 - place), chain.shape, place)
    return [step], shape


def _product(matrix: Floats, shape: Shape, place: int) -> tuple[Affine, Shape]:
    """Return x matrix (the value in place 0) or matrix x (in place 1)."""
    if matrix.ndim != 2:
        raise ValueError(f"it has a constant of shape {matrix.shape}; expected a matrix")
    weight, result = matrix_on_rows(matrix, shape) if place else matrix_on_last(matrix.T, shape)
    return Affine(weight, np.zeros(weight.shape[0])), result


def _add(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    return _shift(chain, node, 1.0, 1.0)


def _sub(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    return _shift(chain, node, 1.0, -1.0) if chain.place(node, 0, 1) == 0 else _shift(chain, node, -1.0, 1.0)


def _shift(chain: Chain, node: Any, slope: float, sign: float) -> tuple[list[Step], Shape]:
    if node.attribute:
        raise ValueError(f"it has an option {node.attribute[0].name!r} of an older operator set; expected none")
    constant = sign * chain.reals(node, 1 - chain.place(node, 0, 1))
    return [Affine(_scaling(prod(chain.shape), slope), _spread(constant, chain.shape))], chain.shape


def _scaling(size: int, slope: float) -> sp.csr_matrix:
    return sp.csr_matrix(slope * sp.identity(size))


def _spread(constant: Floats, shape: Shape) -> Floats:
    """Return a constant as one number for each entry of an array; arrays that would grow are refused."""
    try:
        return np.broadcast_to(constant, shape).ravel().copy()
    except ValueError:
        raise ValueError(
            f"it adds a constant of shape {constant.shape} to an array of shape {shape}; expected broadcasting to "
            "that shape"
        ) from None


def _convolve(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    options, kernel = _options(node), chain.reals(node, 1)
    chain.place(node, 0)
    batch, shape = chain.shape[:1], chain.shape[1:]
    if batch != (1,) or kernel.ndim != len(chain.shape) or kernel.ndim < 3:
        raise ValueError(f"it has a kernel of shape {kernel.shape}; an array of shape {chain.shape} comes in")
    if tuple(options.get("kernel_shape", kernel.shape[2:])) != kernel.shape[2:]:
        raise ValueError(f"its kernel_shape is {options['kernel_shape']}, its kernel of shape {kernel.shape}")
    bias = chain.reals(node, 2) if len(node.input) > 2 and node.input[2] else None
    window = _window(options, shape[1:], kernel.shape[2:])
    step, result = convolution(kernel, bias, shape, window, int(options.get("group", 1)))
    return [step], (1, *result)


def _window(options: dict[str, Any], grid: Shape, kernel: Shape) -> Window:
    ones = [1] * len(grid)
    strides, dilations = options.get("strides", ones), options.get("dilations", ones)
    auto = options.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        zeros = same_padding(grid, kernel, strides, dilations)
        small, large = [zero // 2 for zero in zeros], [zero - zero // 2 for zero in zeros]
        return Window(strides, dilations, *((small, large) if auto == "SAME_UPPER" else (large, small)))
    if auto not in ("NOTSET", "VALID"):
        raise ValueError(f"its auto_pad is {auto!r}; expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    pads = options.get("pads", [0] * 2 * len(grid)) if auto == "NOTSET" else [0] * 2 * len(grid)
    return Window(strides, dilations, pads[: len(grid)], pads[len(grid) :])


def _normalise(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    options = _options(node)
    chain.place(node, 0)
    training = options.get("training_mode", 0) or (chain.opset < 7 and not options.get("is_test", 0))
    if training or sum(map(bool, node.output)) > 1 or not options.get("spatial", 1):
        raise ValueError("it is in training mode, or normalises entry by entry; expected the inference of channels")
    if chain.shape[0] != 1 or len(chain.shape) < 2:
        raise ValueError(f"an array of shape {chain.shape} comes in; expected rows of channels")
    statistics = [chain.reals(node, index) for index in (1, 2, 3, 4)]
    return [normalisation(statistics, float(options.get("epsilon", 1e-5)), chain.shape[1:])], chain.shape


def _relu(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    return [Relu()], chain.shape


def _leave(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    chain.place(node, 0)
    return [], chain.shape


def _dropout(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    training = chain.operand(node, 2).any() if len(node.input) > 2 and node.input[2] else False
    if training or (chain.opset < 7 and not _options(node).get("is_test", 0)):
        raise ValueError("it is in training mode")
    return _leave(chain, node)


def _flatten(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    chain.place(node, 0)
    axis = int(_options(node).get("axis", 1))
    axis += len(chain.shape) if axis < 0 else 0
    if not 0 <= axis <= len(chain.shape):
        raise ValueError(f"its axis is out of range for an array of shape {chain.shape}")
    return [], (prod(chain.shape[:axis]), prod(chain.shape[axis:]))


def _reshape(chain: Chain, node: Any) -> tuple[list[Step], Shape]:
    chain.place(node, 0)
    sizes = [int(size) for size in chain.operand(node, 1).ravel()]
    if not _options(node).get("allowzero", 0):
        sizes = [chain.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    # An array of one byte that stands for all entries: only the shapes matter.
    return [], np.broadcast_to(np.False_, prod(chain.shape)).reshape(sizes).shape


# The nodes that can be read, each with its steps and the shape that comes out.
_RULES: dict[str, Rule] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Sub": _sub,
    "Relu": _relu,
    "Conv": _convolve,
    "BatchNormalization": _normalise,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Identity": _leave,
    "Dropout": _dropout,
}
