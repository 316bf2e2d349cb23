"""Replay: a witness run by the model as it was given, in the precision of that model."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convexnn.checks import Floats, as_file
from convexnn.network import SparseReLUNetwork
from verify.reading.onnx_files.entry import entries_of, output_of
from verify.reading.onnx_files.model_files import is_model, is_model_file, load_model
from verify.reading.onnx_files.running import part_of, runner_of
from verify.reading.onnx_files.walk import live_nodes
from verify.reading.read_network import ENDINGS
from verify.regions.box import Box
from verify.relu_graph import load_network


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
    model : torch.nn.Module, ONNX model (path, bytes or ModelProto), network of ours, or callable, optional
        The original; a callable takes an input (d,) in float32 and returns the outputs.
    x : ndarray (d,), optional
        An input to try the model on; a `model` that cannot run it raises ValueError, a `network` is then not replayed.
    threshold : float, default 0
        The output between two classes of a model with one output: 1/2 where it ends in a sigmoid.
    """
    if model is not None:
        model = _loaded(model)
    source = network if model is None else model
    found = _read_replay(source, explicit=model is not None)
    # Networks of ours leave the sigmoid out.
    taken_off = 0.0 if isinstance(source, SparseReLUNetwork) else threshold
    replay = None if found is None else replace(found, threshold=taken_off)
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


def _loaded(model: Any) -> Any:
    """Return the network of a file that `save` wrote, another model as it is; ValueError for files of other kinds."""
    if not isinstance(model, str | os.PathLike) or is_model_file(path := as_file(model, "model")):
        return model
    if path.suffix != ".npz":
        way = ENDINGS.get(path.suffix.lower(), "")
        raise ValueError(f"model file {path} has the ending {path.suffix!r}; expected .onnx, .onnx.gz or .npz{way}")
    return load_network(path)


def _read_replay(source: Any, explicit: bool) -> Replay | None:
    if isinstance(source, SparseReLUNetwork):
        return _replay_by_network(source) if explicit else None
    if isinstance(source, str | os.PathLike):
        path = as_file(source, "model")
        return _replay_by_onnx(path) if is_model_file(path) else None
    if is_model(source):
        return _replay_by_onnx(source)
    if type(source).__module__.partition(".")[0] == "torch" or hasattr(source, "state_dict"):
        return _replay_by_torch(source)
    if explicit and callable(source):
        return Replay(source, np.dtype(np.float32), "the model")
    if explicit:
        raise TypeError(
            f"model is a {type(source).__name__}; expected a torch module, an ONNX model, a network, or a callable"
        )
    return None


def _replay_by_network(network: SparseReLUNetwork) -> Replay:
    return Replay(lambda x: network.activations(x[None])[-1], np.dtype(np.float64), "the model")


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


def _replay_by_onnx(source: Any) -> Replay:
    # The whole model, a softmax or sigmoid at its end among it.
    model = load_model(source)
    entries, wanted = entries_of(model), output_of(model, None)
    part = part_of(model.proto, entries, live_nodes(model.proto.graph.node, wanted), wanted)
    runner = runner_of(part, model.name, model.n_bytes)
    return Replay(lambda x: runner.run(entries.feeds(x[None])), entries.kind, runner.name)
