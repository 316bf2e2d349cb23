"""Running a model: by onnxruntime where it is installed, else by onnx's reference with its known faults mended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.reading.onnx_files.entry import Entries
from verify.reading.onnx_files.scope import STOCK, first_line

Arrays = NDArray[Any]
Feeds = Mapping[str, Arrays]

# Bytes of a model of which copies are made to give it to onnxruntime; a larger one is run as it lies in memory.
MOST_COPIED = 1 << 26


@dataclass(frozen=True, eq=False)
class Runner:
    """A part of a model that can be run.

    Attributes
    ----------
    run : callable
        Takes the inputs by name, in the model's shapes and types, and returns the output.
    name : str
        Who runs it.
    """

    run: Callable[[Feeds], Arrays]
    name: str


def part_of(model: Any, entries: Entries, live: Sequence[int], wanted: str) -> Any:
    """Return the model that computes the value `wanted` of its inputs alone, by the nodes at `live`."""
    import onnx

    graph = model.graph
    if list(live) == list(range(len(graph.node))) and [value.name for value in graph.output] == [wanted]:
        return model
    nodes = [graph.node[place] for place in live]
    names = {name for node in nodes for name in node.input} | {wanted}
    tensors = {entry.name for entry in entries.parts}
    inputs = [value for value in graph.input if value.name in tensors]
    output = next((value for value in graph.output if value.name == wanted), None)
    part = onnx.helper.make_graph(
        nodes,
        "part",
        inputs,
        [onnx.helper.make_empty_tensor_value_info(wanted) if output is None else output],
        [tensor for tensor in graph.initializer if tensor.name in names],
    )
    # A shape that is stated may be wrong; the nodes say what comes out.
    part.output[0].ClearField("type")
    return onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=max(model.ir_version, 3))


def runner_of(part: Any, name: str, n_bytes: int) -> Runner:
    """Return what runs a model of one output; `n_bytes` is its size.

    Raises
    ------
    ValueError
        Nobody here can.
    """
    failure: Exception | None = None
    ways = (_by_onnxruntime, _by_reference) if n_bytes < MOST_COPIED else (_by_reference,)
    for make in ways:
        try:
            made = make(part)
        except Exception as error:
            failure = failure or error
            continue
        if made is not None:
            return made
    assert failure is not None
    raise ValueError(f"{name} cannot be evaluated ({first_line(failure)})")


def _by_onnxruntime(part: Any) -> Runner | None:
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # What it logs goes past Python to standard error; threads would compete with the engines.
    options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Its fallback would print a failure to standard output and try the same again.
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    return Runner(lambda feeds: np.asarray(session.run(None, dict(feeds))[0]), "onnxruntime")


def _by_reference(part: Any) -> Runner:
    from onnx.reference import ReferenceEvaluator

    opset = max((int(stated.version) for stated in part.opset_import if stated.domain in STOCK), default=1)
    evaluator: Any = ReferenceEvaluator(part, new_ops=[_batch_norm()] if 7 <= opset < 14 else [])

    def run(feeds: Feeds) -> Arrays:
        with np.errstate(all="ignore"):
            return np.asarray(evaluator.run(None, dict(feeds))[0])

    return Runner(run, "onnx's reference")


def _batch_norm() -> Any:
    """Return batch norm as operator sets 7 to 13 define it; onnx's reference is wrong there."""
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):
        op_domain = ""

        def _run(
            self, x: Any, scale: Any, shift: Any, mean: Any, variance: Any, epsilon: Any = None, **rest: Any
        ) -> Any:
            sizes = (1, -1, *(1,) * (x.ndim - 2))
            slope = scale / np.sqrt(variance + (1e-5 if epsilon is None else epsilon))
            return (((x - mean.reshape(sizes)) * slope.reshape(sizes) + shift.reshape(sizes)).astype(x.dtype),)

    return BatchNormalization
