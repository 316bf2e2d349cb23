"""Replay: a witness run by the model as it was given, in the precision of that model."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from convexnn.checks import Floats, as_file, require
from convexnn.files import unpacked
from convexnn.network import SparseReLUNetwork
from verify.regions.box import Box

# Bytes that a packed model may have after unpacking.
MOST_BYTES = 1 << 31


@dataclass(frozen=True, eq=False)
class Replay:
    """A model that runs one input.

    Attributes
    ----------
    run : callable
        Takes an input (d,) of type `dtype`, returns the outputs, of any shape.
    dtype : dtype
        The precision of the inputs.
    name : str
        Who replays.
    threshold : float
        The output between two classes of a model with one output, taken off its outputs.
    """

    run: Callable[[Any], Any]
    dtype: np.dtype[Any]
    name: str
    threshold: float = 0.0

    def outputs(self, x: Floats) -> Floats:
        """Return the outputs (k,) of the model at `x` (d,) rounded to its precision; as float64 numbers."""
        with np.errstate(all="ignore"):
            return np.asarray(self.run(x.astype(self.dtype)), dtype=np.float64).ravel() - self.threshold

    def rounded(self, region: Box, x: Floats) -> list[Floats]:
        """Return inputs near `x` (d,) whose entries the model takes as they are, those likely inside `region` first.

        An entry that has no number of the model's precision between the ends of the region stays as it is.
        """
        with np.errstate(all="ignore"):
            nearest = x.astype(self.dtype)
            inward = np.nextafter(nearest, np.where(nearest > region.upper, -np.inf, np.inf).astype(self.dtype))
            outside = (nearest < region.lower) | (nearest > region.upper)
            first = np.where(outside, inward, nearest).astype(np.float64)
            # Nearer to the center than x in every entry: inside any ball.
            past = np.abs(first - region.center) > np.abs(x - region.center)
            towards = np.nextafter(first.astype(self.dtype), region.center.astype(self.dtype)).astype(np.float64)
            second = np.where(past, towards, first)
            # Linear constraints: from points drawn in from their rims.
            drawn = [y.astype(self.dtype).astype(np.float64) for y in region.drawn(x)]
        found = [np.where((y >= region.lower) & (y <= region.upper), y, x) for y in (first, second, *drawn)]
        return found[:1] if not drawn and np.array_equal(found[0], found[1]) else found


def replay_of(network: Any, model: Any = None, x: Floats | None = None, threshold: float = 0.0) -> Replay | None:
    """Return what replays witnesses: `model`, or else the `network` as the caller gave it; None for our own networks.

    Parameters
    ----------
    network : SparseReLUNetwork, torch.nn.Module, or path
        As given to the question.
    model : torch.nn.Module, path of an .onnx file, or callable, optional
        The original; a callable takes an input (d,) in float32 and returns the outputs.
    x : ndarray (d,), optional
        An input to try the model on; a `model` that cannot run it raises ValueError, a `network` is then not replayed.
    threshold : float, default 0
        The output between two classes of a model with one output: 1/2 where it ends in a sigmoid.
    """
    source = network if model is None else model
    found = _read_replay(source, explicit=model is not None)
    replay = None if found is None else replace(found, threshold=threshold)
    if replay is None or x is None:
        return replay
    try:
        replay.outputs(x)
    except Exception as error:
        if model is None:
            return None
        first = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"model cannot be run on an input of {len(x)} numbers ({type(error).__name__}: {first})"
        ) from None
    return replay


def original_of(network: Any, model: Any, x: Floats) -> Any:
    """Return what replays witnesses of a question whose network is read once: `model`, else the network if it can."""
    return model if model is not None or replay_of(network, None, x) is None else network


def _read_replay(source: Any, explicit: bool) -> Replay | None:
    if isinstance(source, SparseReLUNetwork):
        return None
    if isinstance(source, str | os.PathLike):
        path = as_file(source, "model")
        return _replay_by_onnx(path) if path.name.endswith((".onnx", ".onnx.gz")) else None
    if type(source).__module__.partition(".")[0] == "torch" or hasattr(source, "state_dict"):
        return _replay_by_torch(source)
    if explicit and callable(source):
        return Replay(source, np.dtype(np.float32), "the model")
    if explicit:
        raise TypeError(f"model is a {type(source).__name__}; expected a torch module, an .onnx path, or a callable")
    return None


def _replay_by_torch(module: Any) -> Replay:
    import torch

    first = next(module.parameters(), torch.empty(0))
    # Half precisions have no numpy type or lose the input: they take the nearest float32.
    dtype = np.dtype(np.float64 if first.dtype == torch.float64 else np.float32)

    def run(x: Any) -> Any:
        modes = {part: part.training for part in module.modules()}
        try:
            module.eval()
            with torch.no_grad():
                return module(torch.tensor(x[None], dtype=first.dtype, device=first.device)).double().cpu().numpy()
        finally:
            for part, training in modes.items():
                part.training = training

    return Replay(run, dtype, "the torch module")


def _replay_by_onnx(path: Path) -> Replay:
    onnx = require("onnx", "onnx", "reading an .onnx file")
    packed = path.suffix == ".gz"
    # Weights beside a file are found by its path alone, which onnxruntime gets where it can.
    source = unpacked(path, MOST_BYTES) if packed else str(path)
    model = onnx.load_model_from_string(source) if packed else onnx.load(source)
    constants = {constant.name for constant in model.graph.initializer}
    tensor = next(value for value in model.graph.input if value.name not in constants)
    dtype: DTypeLike = onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)
    sizes = [max(dim.dim_value, 1) for dim in tensor.type.tensor_type.shape.dim]
    if find_spec("onnxruntime") is not None:
        session = _session(source)
        return Replay(lambda x: session.run(None, {tensor.name: x.reshape(sizes)})[0], np.dtype(dtype), "onnxruntime")
    from onnx.reference import ReferenceEvaluator

    graph: Any = ReferenceEvaluator(model)
    return Replay(lambda x: graph.run(None, {tensor.name: x.reshape(sizes)})[0], np.dtype(dtype), "the onnx reference")


def _session(source: str | bytes) -> Any:
    """Return what runs the model of a path, or of bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Warnings go past Python to standard error; threads would compete with the MILP engine.
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
