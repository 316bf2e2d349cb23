"""Networks from torch modules, held against the module itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.reading.graph.agreement import N_ROWS, TOLERANCE, finished, gap_between, largest_size, sample_rows
from verify.reading.graph.layering import network_of
from verify.reading.graph.limits import Allowance
from verify.reading.graph.values import Shape, Value
from verify.reading.torch_modules.joined import Joined, check_inputs
from verify.reading.torch_modules.parts import Final
from verify.reading.torch_modules.tracing import (
    first_shape,
    follow_graph,
    follow_layers,
    layers_of,
    one_of,
    traced,
)

# Bytes that pay for all that a module makes: it is in memory already.
WHOLE = 1 << 50


def read_module(module: Any, shapes: Sequence[Shape] = (), output: str | None = None) -> SparseReLUNetwork:
    """Return the network of a torch module, as it computes in eval mode.

    A chain of layers (Sequential, nested) is read as it stands; any other module is traced by torch.fx, whose graph
    holds for every input. The module is run once, in eval mode, which brings weights up to date that are computed in
    the forward pass (pruning), and must agree.

    Parameters
    ----------
    module : torch.nn.Module
        It keeps its modes and its statistics.
    shapes : sequence of tuple of int, optional
        The shape of one row of each input, without the batch; needed where the first layer does not tell it
        (convolutions), and with several inputs, which lie one after the other in the input of the network.
    output : str, optional
        The name or place of one of several outputs.

    Raises
    ------
    ValueError
        A layer or operation of another kind (named, with its position), an entry that is not finite, or a module that
        computes another function than its layers.
    """
    module, output = _plain(module), None if output is None else str(output)
    if any(is_lazy(parameter) for parameter in module.parameters()):
        raise ValueError(
            "the torch module has lazy layers whose sizes are not known; expected a module that has run once"
        )
    check_inputs(module, max(len(shapes), 1))
    if len(shapes) > 1:
        joined = Joined(module, shapes)
        module, shapes = joined, [(joined.size,)]
    # Weights that are computed when they are looked at (parametrizations) depend on the mode too.
    with _evaluating(module):
        follow, start = _way(module, shapes[0] if shapes else None, output)
        follow()
        rows = sample_rows(prod(start))
        expected = _run(module, rows.reshape(N_ROWS, *start), output)
        result = follow()
    value, final = (result.value, result.kind) if isinstance(result, Final) else (result, None)
    if not value.terms:
        raise ValueError("the torch module has no affine layer; expected at least one")
    network = network_of(value, Allowance(WHOLE), _notes(final), final=final)
    _compare(network, rows, expected, value.shape[1:])
    return network


def _plain(given: Any) -> nn.Module:
    """Return a torch module, the one that torch.compile has wrapped; what has no code to follow is refused."""
    # Other modules may have a part of this name, and more code.
    compiled = type(given).__module__.startswith("torch._dynamo")
    module = getattr(given, "_orig_mod", given) if compiled else given
    if isinstance(given, type) or not isinstance(module, nn.Module):
        what = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__} of torch"
        raise TypeError(f"network is {what}; expected a torch.nn.Module, the one that it belongs to or was made of")
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            "the torch module is a ScriptModule, whose code torch.fx cannot follow; expected the nn.Module that it was "
            "made of, or its export to ONNX"
        )
    return module


def _way(module: nn.Module, input_shape: Shape | None, output: str | None) -> tuple[Callable[[], Value | Final], Shape]:
    """Return what follows a module on a row, and the shape of the row."""
    layers = layers_of(module)
    if layers is not None:
        start = first_shape(layers) if input_shape is None else input_shape
        return lambda: follow_layers(layers, start), start
    graph, root, shape = traced(module, input_shape)
    return lambda: follow_graph(graph, root, shape, output), shape


def _notes(final: str | None) -> list[str]:
    return [] if final is None else [f"the {final} at the end is left out: outputs are what comes before it"]


def _compare(network: SparseReLUNetwork, rows: Floats, expected: Floats, shape: Shape) -> None:
    """Raise ValueError where the module and the network differ on rows."""
    values = network.activations(rows)
    found, scale = values[-1], largest_size([rows, *values])
    if expected.shape != (N_ROWS, *shape):
        raise ValueError(f"the torch module returns shape {expected.shape} where its layers give {(N_ROWS, *shape)}")
    if network.final is not None:
        found, scale = finished(found, network.final), 1.0
    gap = gap_between(expected.reshape(N_ROWS, -1), found)
    if not gap <= TOLERANCE * scale:
        raise ValueError(f"the torch module differs from its layers by {gap:.3g} on random rows")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part of a module in eval mode, without gradients; the modes come back as they were."""
    modes = {part: part.training for part in module.modules()}
    try:
        for part in modes:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def _run(module: nn.Module, rows: Floats, output: str | None) -> Floats:
    """Return the outputs of the module for rows in its own precision, or in float32 where that is lower."""
    numbers = (tensor for tensor in chain(module.parameters(), module.buffers()) if tensor.is_floating_point())
    first = next(numbers, torch.zeros(1))
    if first.dtype in (torch.float16, torch.bfloat16):
        module, first = deepcopy(module).float(), first.float()
    try:
        with warnings.catch_warnings():
            # torch warns of slow ways to compute (padding 'same' of an even kernel), which is no concern here.
            warnings.simplefilter("ignore", UserWarning)
            result = module(torch.tensor(rows, dtype=first.dtype, device=first.device))
    except Exception as error:
        raise ValueError(f"the torch module cannot be run on rows of numbers: {str(error).splitlines()[0]}") from None
    found = one_of(result, output)
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"the torch module returns a {type(found).__name__}; expected one array that depends on x")
    return found.double().cpu().numpy()
