"""The steps of an ONNX file: a chain of Gemm, MatMul, Add, Sub, Relu, Flatten, Reshape, Identity, Dropout, Constant.

The reader follows one value from the graph's input to its output; every other operand must be a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats, require
from convexnn.network import SparseReLUNetwork
from verify.steps import Affine, Relu, Step, assemble

Constants = dict[str, NDArray[Any]]


# Rows on which the network read is compared with the graph, and the largest difference relative to its activations.
N_ROWS = 3
TOLERANCE = 1e-3


def read_onnx(path: Path) -> SparseReLUNetwork:
    """Return the network of the ONNX file at `path`.

    The graph is evaluated on a few rows by onnx's own reference, and must agree with the network in values and shape:
    this catches what a chain of nodes does not show (broadcasting, a batch that is mixed).

    Raises
    ------
    ValueError
        The file is not ONNX, the graph is no chain, a node is unsupported (named, with its position), or the graph
        computes another function than its nodes.
    """
    onnx = require("onnx", "onnx", "reading an .onnx file")
    try:
        model = onnx.load(str(path))
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    except Exception as error:
        raise ValueError(f"{path} is not an ONNX file ({_first_line(error)})") from None
    network = assemble(_steps_in(path, model.graph, constants), str(path))
    _compare(onnx, path, model, network)
    return network


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")


def _steps_in(path: Path, graph: Any, constants: Constants) -> Iterator[Step]:
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(f"{path} has {len(inputs)} inputs and {len(graph.output)} outputs; expected one of each")
    chain = _Chain(inputs[0].name, _width(inputs[0]), constants)
    for position, node in enumerate(graph.node):
        yield from chain.follow(position, node)
    if chain.name != graph.output[0].name:
        raise ValueError(
            f"{path}: the chain of nodes ends in {chain.name!r}, not in the output {graph.output[0].name!r}"
        )


def _compare(onnx: Any, path: Path, model: Any, network: SparseReLUNetwork) -> None:
    """Raise ValueError where the graph and the network differ on random rows, one by one or together."""
    from onnx.reference import ReferenceEvaluator

    tensor = next(v for v in model.graph.input if v.name not in {c.name for c in model.graph.initializer})
    sizes = [dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)
    if np.dtype(kind).kind != "f":
        raise ValueError(f"{path} takes inputs of type {np.dtype(kind).name}; expected real numbers")
    rows = np.random.default_rng(0).standard_normal((N_ROWS, network.n_inputs)).astype(kind)
    row_shape = sizes[1:] if len(sizes) > 1 else sizes
    batches = [row[None] for row in rows] + ([rows] if len(sizes) > 1 and not sizes[0] else [])
    for batch in batches:
        shape = (len(batch), *row_shape) if len(sizes) > 1 else tuple(row_shape)
        try:
            (output,) = ReferenceEvaluator(model).run(None, {tensor.name: batch.reshape(shape)})
        except Exception as error:
            if len(batch) > 1:
                continue  # a graph that is fixed to one row
            raise ValueError(f"{path} cannot be evaluated ({_first_line(error)})") from None
        _check_agreement(path, np.asarray(output, dtype=np.float64), network, batch.astype(np.float64))


def _check_agreement(path: Path, output: Floats, network: SparseReLUNetwork, rows: Floats) -> None:
    layers = network.activations(rows)
    if output.size != layers[-1].size:
        raise ValueError(f"{path} computes shape {output.shape} where its nodes give {layers[-1].shape}: broadcasting?")
    gap = float(np.abs(output.reshape(layers[-1].shape) - layers[-1]).max())
    if not gap <= TOLERANCE * max(float(np.abs(layer).max()) for layer in [rows, *layers]):
        raise ValueError(f"{path} differs from its nodes by {gap:.3g} on random rows; expected rows taken one by one")


class _Chain:
    """The value that the reader follows: its present name, the number of its entries, and the constants beside it."""

    def __init__(self, name: str, width: int, constants: Constants) -> None:
        self.name, self.width, self.constants = name, width, constants

    def follow(self, position: int, node: Any) -> list[Step]:
        """Return the steps of one node and move on to its output."""
        where = f"ONNX node {position} ({node.op_type})"
        if node.op_type == "Constant":
            self.constants[node.output[0]] = _constant(where, node)
            return []
        if node.op_type not in _STEPS or node.domain not in ("", "ai.onnx"):
            raise ValueError(f"{where} is not supported; expected one of: {', '.join([*_STEPS, 'Constant'])}")
        if self.name not in node.input:
            raise ValueError(f"{where} does not take {self.name!r}; expected a chain, each node taking the last result")
        try:
            steps = _STEPS[node.op_type](self, where, node)
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{where}: {_first_line(error).removeprefix('ValueError: ')}") from None
        for step in steps:
            if isinstance(step, Affine):
                if step.weight.shape[1] != self.width:
                    raise ValueError(f"{where} takes {step.weight.shape[1]} entries; {self.width} come in")
                self.width = step.weight.shape[0]
        self.name = node.output[0]
        return steps

    def operand(self, where: str, node: Any, index: int) -> Floats:
        """Return the constant operand of a node as float64."""
        name = node.input[index]
        if name not in self.constants:
            raise ValueError(f"operand {name!r} is not a constant")
        return np.asarray(self.constants[name], dtype=np.float64)


def _width(value: Any) -> int:
    """Return the number of entries of one row of an input; the first dimension is the batch where there are several."""
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    row = sizes[1:] if len(sizes) > 1 else sizes
    if not row or any(size < 1 for size in row):
        raise ValueError(f"the ONNX input {value.name!r} has shape {sizes}; expected known sizes after the batch")
    return int(np.prod(row))


def _constant(where: str, node: Any) -> NDArray[Any]:
    from onnx import numpy_helper

    for attribute in node.attribute:
        if attribute.name == "value":
            return np.asarray(numpy_helper.to_array(attribute.t))
        if attribute.name in ("value_float", "value_int"):
            return np.asarray(attribute.f if attribute.name == "value_float" else attribute.i)
        if attribute.name in ("value_floats", "value_ints"):
            return np.asarray(attribute.floats if attribute.name == "value_floats" else attribute.ints)
    raise ValueError(f"{where} holds no value that can be read")


def _gemm(chain: _Chain, where: str, node: Any) -> list[Step]:
    options = {attribute.name: attribute for attribute in node.attribute}
    if node.input[0] != chain.name or ("transA" in options and options["transA"].i):
        raise ValueError("it multiplies from the left; expected y = x W + b")
    weight = chain.operand(where, node, 1)
    weight = weight if "transB" in options and options["transB"].i else weight.T
    weight = weight * (options["alpha"].f if "alpha" in options else 1.0)
    bias = chain.operand(where, node, 2) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    bias = bias * (options["beta"].f if "beta" in options else 1.0)
    return [Affine(sp.csr_matrix(weight), np.broadcast_to(bias.ravel(), len(weight)).copy())]


def _matmul(chain: _Chain, where: str, node: Any) -> list[Step]:
    left = node.input[1] == chain.name
    weight = chain.operand(where, node, 0 if left else 1)
    if weight.ndim != 2:
        raise ValueError(f"it has a constant of shape {weight.shape}; expected a matrix")
    weight = weight if left else weight.T
    return [Affine(sp.csr_matrix(weight), np.zeros(len(weight)))]


def _add(chain: _Chain, where: str, node: Any) -> list[Step]:
    return [_shift(chain, where, node, 1.0, 1.0)]


def _sub(chain: _Chain, where: str, node: Any) -> list[Step]:
    minuend = node.input[0] == chain.name
    return [_shift(chain, where, node, 1.0, -1.0) if minuend else _shift(chain, where, node, -1.0, 1.0)]


def _shift(chain: _Chain, where: str, node: Any, slope: float, sign: float) -> Affine:
    constant = chain.operand(where, node, 1 if node.input[0] == chain.name else 0).ravel()
    if constant.size not in (1, chain.width):
        raise ValueError(f"it has a constant of {constant.size} entries; expected 1 or {chain.width}")
    shift = np.broadcast_to(sign * constant, chain.width).copy()
    return Affine(sp.csr_matrix(slope * sp.identity(chain.width)), shift)


def _relu(chain: _Chain, where: str, node: Any) -> list[Step]:
    return [Relu()]


def _neutral(chain: _Chain, where: str, node: Any) -> list[Step]:
    if node.input[0] != chain.name:
        raise ValueError("it does not act on the value that the network computes")
    return []


def _dropout(chain: _Chain, where: str, node: Any) -> list[Step]:
    if len(node.input) > 2 and node.input[2] and chain.operand(where, node, 2).any():
        raise ValueError("it is in training mode")
    return _neutral(chain, where, node)


_STEPS: dict[str, Callable[[_Chain, str, Any], list[Step]]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Sub": _sub,
    "Relu": _relu,
    "Flatten": _neutral,
    "Reshape": _neutral,
    "Identity": _neutral,
    "Dropout": _dropout,
}
