"""Networks from ONNX files, held against onnx's own reference evaluator."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats, require
from convexnn.network import SparseReLUNetwork
from verify.reading.affine_steps import assemble
from verify.reading.agreement import gap_between, largest_size
from verify.reading.onnx_nodes import STOCK, Chain, first_line
from verify.reading.unrolling import Shape

# Rows on which the network read is compared with the graph, and the largest difference relative to its activations.
N_ROWS = 3
TOLERANCE = 1e-3


def read_onnx(path: Path) -> SparseReLUNetwork:
    """Return the network of the ONNX file at `path`: a chain of the nodes of :mod:`verify.reading.onnx_nodes`.

    Conv, Gemm, MatMul (either side constant), Add, Sub, BatchNormalization, Relu, Flatten, Reshape, Identity, Dropout
    in inference; Constant, and simple nodes of constants alone. The graph is evaluated on a few rows by onnx's own
    reference, and must agree with the network in values and shape: this catches what a chain of nodes does not show
    (a batch that is mixed).

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
        raise ValueError(f"{path} is not an ONNX file ({first_line(error)})") from None
    _check_names(path, model)
    tensor = _input_of(path, model.graph, constants)
    chain = Chain(tensor.name, _row_shape(tensor), constants, model.opset_import)
    steps = [step for position, node in enumerate(model.graph.node) for step in chain.follow(position, node)]
    if chain.name != model.graph.output[0].name:
        raise ValueError(
            f"{path}: the chain of nodes ends in {chain.name!r}, not in the output {model.graph.output[0].name!r}"
        )
    network = assemble(steps, str(path))
    _compare(onnx, path, model, tensor, network, chain.shape)
    return network


def _check_names(path: Path, model: Any) -> None:
    """Raise ValueError where a name means two things, so that following names would follow another function."""
    given = {value.name for value in [*model.graph.input, *model.graph.initializer]}
    made = [name for node in model.graph.node for name in node.output if name]
    twice = next((name for index, name in enumerate(made) if name in given or name in made[:index]), None)
    if twice is not None:
        raise ValueError(f"{path} computes {twice!r} where this name stands already; expected each name once")
    own = [function.name for function in model.functions if function.domain in STOCK]
    if own:
        raise ValueError(f"{path} defines {own[0]} by a function of its own; expected the nodes of the ONNX standard")


def _input_of(path: Path, graph: Any, constants: dict[str, NDArray[Any]]) -> Any:
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(f"{path} has {len(inputs)} inputs and {len(graph.output)} outputs; expected one of each")
    return inputs[0]


def _sizes(tensor: Any) -> Shape:
    return tuple(dim.dim_value for dim in tensor.type.tensor_type.shape.dim)


def _row_shape(tensor: Any) -> Shape:
    """Return the shape of an input of one row; the first dimension is the batch where there are several."""
    sizes = _sizes(tensor)
    row = sizes[1:] if len(sizes) > 1 else sizes
    if not row or any(size < 1 for size in row):
        raise ValueError(
            f"the ONNX input {tensor.name!r} has shape {list(sizes)}; expected known sizes after the batch"
        )
    return (1, *row) if len(sizes) > 1 else row


def _compare(onnx: Any, path: Path, model: Any, tensor: Any, network: SparseReLUNetwork, shape: Shape) -> None:
    """Raise ValueError where the graph and the network differ on random rows, one by one or together."""
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type))
    if kind.kind != "f":
        raise ValueError(f"{path} takes inputs of type {kind.name}; expected real numbers")
    graph = _evaluator(path, model)
    for batch in _batches(tensor, kind):
        try:
            (output,) = graph.run(None, {tensor.name: _as_input(tensor, batch)})
        except Exception as error:
            if len(batch) > 1:
                continue  # a graph that is fixed to one row
            raise ValueError(f"{path} cannot be evaluated ({first_line(error)})") from None
        output = np.asarray(output, dtype=np.float64)
        if len(batch) == 1 and output.shape != shape:
            raise ValueError(f"{path} computes shape {output.shape} where its nodes give {shape}")
        _check_agreement(path, output, network, batch.astype(np.float64))


def _evaluator(path: Path, model: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    try:
        return ReferenceEvaluator(model)
    except Exception as error:
        raise ValueError(f"{path} cannot be evaluated ({first_line(error)})") from None


def _batches(tensor: Any, kind: np.dtype[Any]) -> list[NDArray[Any]]:
    """Return random rows, flat: one by one, and several together where the input takes a batch."""
    sizes, row = _sizes(tensor), _row_shape(tensor)
    rows = np.random.default_rng(0).standard_normal((max(N_ROWS, sizes[0]), prod(row))).astype(kind)
    batches = [row[None] for row in rows[:N_ROWS]]
    if len(sizes) > 1 and sizes[0] != 1:
        batches.append(rows[: sizes[0] or None])
    return batches


def _as_input(tensor: Any, batch: NDArray[Any]) -> NDArray[Any]:
    """Return flat rows in the shape that the graph takes."""
    return batch.reshape(len(batch), *_row_shape(tensor)[1:]) if len(_sizes(tensor)) > 1 else batch[0]


def _check_agreement(path: Path, output: Floats, network: SparseReLUNetwork, rows: Floats) -> None:
    layers = network.activations(rows)
    if output.size != layers[-1].size:
        raise ValueError(f"{path} computes shape {output.shape} where its nodes give {layers[-1].shape}: broadcasting?")
    gap = gap_between(output.reshape(layers[-1].shape), layers[-1])
    if not gap <= TOLERANCE * largest_size([rows, *layers]):
        raise ValueError(f"{path} differs from its nodes by {gap:.3g} on random rows; expected rows taken one by one")
