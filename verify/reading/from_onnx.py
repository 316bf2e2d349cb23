"""Networks from ONNX files, held against onnx's own reference evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats, require
from convexnn.network import SparseReLUNetwork
from verify.reading.affine_steps import Step, assemble
from verify.reading.agreement import gap_between, largest_size
from verify.reading.limits import MOST_NODES, Allowance, as_size
from verify.reading.onnx_nodes import STOCK, Chain, first_line
from verify.reading.unrolling import Shape

# Rows on which the network read is compared with the graph, and the largest difference relative to its activations.
N_ROWS = 3
TOLERANCE = 1e-3

# How far below the largest number of their type the values of a comparison stay, and the least factor of its rows.
HEADROOM, LEAST_SCALE = 2.0**10, 2.0**-40


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
    _check_versions(onnx, path, model)
    _check_names(path, model)
    tensor = _input_of(path, model.graph, constants)
    kind, allowance = _kind(onnx, path, tensor), Allowance(path.stat().st_size)
    as_size(prod(map(max, _sizes(tensor), repeat(1))), f"the input of {path}", allowance.value)
    chain = Chain(tensor.name, _row_shape(tensor), constants, model.opset_import, allowance)
    # Steps are multiplied out as they come: those of a long chain would not all fit.
    network = assemble(_steps(path, model.graph, chain), str(path))
    _compare(path, model, tensor, kind, network, chain.shape)
    return network


def _steps(path: Path, graph: Any, chain: Chain) -> Iterator[Step]:
    """Yield the steps of all nodes, which must end in the output."""
    for position, node in enumerate(graph.node):
        yield from chain.follow(position, node)
    if chain.name != graph.output[0].name:
        raise ValueError(
            f"{path}: the chain of nodes ends in {chain.name!r}, not in the output {graph.output[0].name!r}"
        )


def _check_versions(onnx: Any, path: Path, model: Any) -> None:
    """Raise ValueError where a graph is of a newer standard than the one that is known, or too long."""
    known = onnx.defs.onnx_opset_version()
    opset = max((int(stated.version) for stated in model.opset_import if stated.domain in STOCK), default=1)
    if opset > known or model.ir_version > onnx.IR_VERSION:
        raise ValueError(
            f"{path} is of opset {opset} and IR version {model.ir_version}; expected at most opset {known} and IR "
            f"version {onnx.IR_VERSION}, those of the installed onnx {onnx.__version__}"
        )
    if len(model.graph.node) > MOST_NODES:
        raise ValueError(f"{path} has {len(model.graph.node):,} nodes; expected at most {MOST_NODES:,}")


def _check_names(path: Path, model: Any) -> None:
    """Raise ValueError where a name means two things, so that following names would follow another function."""
    given = {value.name for value in [*model.graph.input, *model.graph.initializer]}
    for name in (name for node in model.graph.node for name in node.output if name):
        if name in given:
            raise ValueError(f"{path} computes {name!r} where this name stands already; expected each name once")
        given.add(name)
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


def _kind(onnx: Any, path: Path, tensor: Any) -> np.dtype[Any]:
    """Return the type of the numbers that a graph takes."""
    number = tensor.type.tensor_type.elem_type
    try:
        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} takes inputs of the unknown type {number}; expected real numbers") from None
    if kind.kind != "f":
        raise ValueError(f"{path} takes inputs of type {kind.name}; expected real numbers")
    return kind


def _compare(
    path: Path, model: Any, tensor: Any, kind: np.dtype[Any], network: SparseReLUNetwork, shape: Shape
) -> None:
    """Raise ValueError where the graph and the network differ on random rows, one by one or together."""
    graph = _evaluator(path, model)
    for batch in _batches(tensor, kind, network):
        try:
            with np.errstate(all="ignore"):
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


def _batches(tensor: Any, kind: np.dtype[Any], network: SparseReLUNetwork) -> list[NDArray[Any]]:
    """Return random rows, flat: one by one, and several together where the input takes a batch."""
    sizes, row = _sizes(tensor), _row_shape(tensor)
    rows = np.random.default_rng(0).standard_normal((max(N_ROWS, sizes[0]), prod(row)))
    rows = (rows * _scale(rows, kind, network)).astype(kind)
    batches = [row[None] for row in rows[:N_ROWS]]
    if len(sizes) > 1 and sizes[0] != 1:
        batches.append(rows[: sizes[0] or None])
    return batches


def _scale(rows: Floats, kind: np.dtype[Any], network: SparseReLUNetwork) -> float:
    """Return 1, or less where the values of the network would leave the range of the graph's numbers."""
    with np.errstate(all="ignore"):
        most, peak = float(np.finfo(kind).max) / HEADROOM, largest_size(network.activations(rows))
    return max(most / peak, LEAST_SCALE) if peak > most else 1.0


def _as_input(tensor: Any, batch: NDArray[Any]) -> NDArray[Any]:
    """Return flat rows in the shape that the graph takes."""
    return batch.reshape(len(batch), *_row_shape(tensor)[1:]) if len(_sizes(tensor)) > 1 else batch[0]


def _check_agreement(path: Path, output: Floats, network: SparseReLUNetwork, rows: Floats) -> None:
    with np.errstate(all="ignore"):
        layers = network.activations(rows)
    if output.size != layers[-1].size:
        raise ValueError(f"{path} computes shape {output.shape} where its nodes give {layers[-1].shape}: broadcasting?")
    if not np.isfinite(output).all():
        raise ValueError(f"{path} computes values that are not finite on random rows; expected finite ones")
    gap = gap_between(output.reshape(layers[-1].shape), layers[-1])
    if not gap <= TOLERANCE * largest_size([rows, *layers]):
        raise ValueError(f"{path} differs from its nodes by {gap:.3g} on random rows; expected rows taken one by one")
