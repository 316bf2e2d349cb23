"""Networks from ONNX models, held against the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convexnn.network import SparseReLUNetwork
from verify.reading.graph.layering import network_of
from verify.reading.graph.limits import Allowance, as_size
from verify.reading.graph.values import Shape
from verify.reading.onnx_files.comparison import compare
from verify.reading.onnx_files.entry import Entries, entries_of, output_of, size_of
from verify.reading.onnx_files.model_files import Model, constants_of, load_model
from verify.reading.onnx_files.running import Runner, part_of, runner_of
from verify.reading.onnx_files.scope import Scope, Signal
from verify.reading.onnx_files.walk import follow, live_nodes, start


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of a model, and what runs it.

    Attributes
    ----------
    network : SparseReLUNetwork
        The function of one row; the last softmax or sigmoid is left out.
    entries : Entries
        The inputs of the model.
    signal : Signal
        The output.
    runner : Runner
        Runs the model up to that function; with it where the model has no name for what stands before it.
    """

    network: SparseReLUNetwork
    entries: Entries
    signal: Signal
    runner: Runner


def read_onnx(source: Any, shapes: Sequence[Shape] = (), output: str | None = None) -> SparseReLUNetwork:
    """Return the network of an ONNX model: a graph of affine and piecewise linear nodes.

    The nodes are those of :mod:`verify.reading.onnx_files.rules`; nodes on which the output does not depend are not
    looked at. A softmax, log-softmax or sigmoid at the very end is left out and named (``final``). The model is run on
    a few rows, by onnxruntime where it is installed and else by onnx's reference, and must agree with the network in
    values and shape: this catches what the nodes do not show (a batch that is mixed). Several inputs lie one after the
    other in the input of the network.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        A file may be compressed (``.onnx.gz``).
    shapes : sequence of tuple of int, optional
        The shape of one row of each input, without the batch, where the model leaves sizes open.
    output : str, optional
        The name of one of several outputs.

    Raises
    ------
    ValueError
        The source is no ONNX model, a node is unsupported (named, with its position), or the graph computes another
        function than its nodes.
    """
    return read_model(source, shapes, output).network


def read_model(source: Any, shapes: Sequence[Shape] = (), output: str | None = None) -> Reading:
    """Return the network of an ONNX model with what runs the model; arguments and errors as of :func:`read_onnx`."""
    model = load_model(source)
    entries, wanted = entries_of(model, shapes), output_of(model, output)
    try:
        return _read(model, entries, wanted)
    except ValueError:
        if not any(entry.batched and entry.batch > 1 for entry in entries.parts):
            raise
        try:
            # Matrices or columns that have no batch.
            return _read(model, entries.whole(), wanted)
        except ValueError:
            pass
        raise


def _read(model: Model, entries: Entries, wanted: str) -> Reading:
    allowance, nodes = Allowance(model.n_bytes), model.proto.graph.node
    as_size(size_of(entries), f"the input of {model.name}", allowance.value)
    live = live_nodes(nodes, wanted)
    names = {name for place in live for name in nodes[place].input} | {wanted}
    scope = Scope(dict(constants_of(model, names)), model.proto.opset_import, allowance)
    start(scope, entries)
    signal = follow(nodes, live, wanted, scope)
    if not signal.value.size:
        raise ValueError(f"{model.name} has an output of shape {signal.shape}; expected one number at least")
    network = network_of(signal.value, allowance, _notes(signal), final=signal.final)
    last = signal.logits or wanted
    part = part_of(model.proto, entries, live_nodes(nodes, last), last)
    runner = runner_of(part, model.name, model.n_bytes)
    compare(model.name, entries, signal, network, runner)
    return Reading(network, entries, signal, runner)


def _notes(signal: Signal) -> list[str]:
    if signal.final is None:
        return []
    return [f"the {signal.final} at the end is left out: outputs are what comes before it"]
