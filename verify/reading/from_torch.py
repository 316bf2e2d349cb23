"""Networks from torch modules, held against the module itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.reading.affine_steps import Affine, Relu, Step, assemble
from verify.reading.graph.agreement import N_ROWS, TOLERANCE, gap_between, largest_size, sample_rows
from verify.reading.graph.unrolling import Shape, Window, convolution, matrix_on_last, normalisation, same_padding


def read_module(module: nn.Module, input_shape: Shape | None = None) -> SparseReLUNetwork:
    """Return the network of a layer of `_RULES`, or of a Sequential (nested) of these, as it computes in eval mode.

    Layers that run code of their own (hooks, an overridden ``forward``) are refused. The module is run once, in eval
    mode, which brings weights up to date that are computed in the forward pass (pruning), and must agree.

    Parameters
    ----------
    module : torch.nn.Module
        It keeps its modes and its statistics.
    input_shape : tuple of int, optional
        The shape of one row, without the batch; needed where the first layer does not tell it (convolutions).

    Raises
    ------
    ValueError
        A layer of another kind (named, with its position), an entry that is not finite, or a module that computes
        another function than its layers.
    """
    layers = list(_layers_of(module))
    start = _first_shape(layers) if input_shape is None else input_shape
    # Weights that are computed when they are looked at (parametrizations) depend on the mode too.
    with _evaluating(module):
        assemble(_follow(layers, start)[0], "the torch module")
        rows = sample_rows(prod(start))
        expected = _run(module, rows.reshape(N_ROWS, *start))
        steps, shape = _follow(layers, start)
    network = assemble(steps, "the torch module")
    values = network.activations(rows)
    if expected.shape != (N_ROWS, *shape):
        raise ValueError(f"the torch module returns shape {expected.shape} where its layers give {(N_ROWS, *shape)}")
    gap = gap_between(expected.reshape(N_ROWS, -1), values[-1])
    if not gap <= TOLERANCE * largest_size([rows, *values]):
        raise ValueError(f"the torch module differs from its layers by {gap:.3g} on random rows")
    return network


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


def _layers_of(module: nn.Module, position: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a module in order, each with the words for its position."""
    where = f"layer {position}" if position else "the module"
    kind = _kind_of(module)
    if kind is None:
        names = ", ".join(kind.__name__ for kind in _RULES)
        raise ValueError(f"{where} is a {type(module).__name__}; expected {names} or Sequential")
    _check_stock(module, kind, where)
    if not isinstance(module, nn.Sequential):
        yield f"{where} ({type(module).__name__})", module
        return
    for index, child in enumerate(module):
        yield from _layers_of(child, f"{position}.{index}" if position else str(index))


def _kind_of(module: nn.Module) -> type[nn.Module] | None:
    return next((kind for kind in (nn.Sequential, *_RULES) if isinstance(module, kind)), None)


def _check_stock(module: nn.Module, kind: type[nn.Module], where: str) -> None:
    """Raise ValueError where a supported layer runs code of its own; pruning and weight norms only set weights."""
    names = ["forward", *(name for name in ("_conv_forward", "_check_input_dim") if hasattr(kind, name))]
    stock = all(getattr(type(module), name) is getattr(kind, name) and name not in vars(module) for name in names)
    if not stock or type(module).__call__ is not nn.Module.__call__:
        raise ValueError(
            f"{where} ({type(module).__name__}) has a forward of its own; expected that of {kind.__name__}"
        )
    setters = [type(hook).__module__.startswith("torch.nn.utils.") for hook in module._forward_pre_hooks.values()]
    if module._forward_hooks or not all(setters):
        raise ValueError(f"{where} ({type(module).__name__}) has a forward hook; expected none")


def _first_shape(layers: list[tuple[str, nn.Module]]) -> Shape:
    """Return the shape of a row where the first layer that knows a size tells it."""
    for where, layer in layers:
        if isinstance(layer, nn.Linear | nn.BatchNorm1d):
            return (layer.in_features if isinstance(layer, nn.Linear) else layer.num_features,)
        if isinstance(layer, nn.Unflatten) and layer.dim in (1, -1) and min(layer.unflattened_size) > 0:
            return (prod(layer.unflattened_size),)
        if not isinstance(layer, _NEUTRAL):
            raise ValueError(
                f"{where} does not tell the shape of a row; "
                "expected input_shape, as in read_network(module, input_shape=(3, 32, 32))"
            )
    raise ValueError("the torch module has no affine layer; expected at least one")


def _follow(layers: list[tuple[str, nn.Module]], shape: Shape) -> tuple[list[Step], Shape]:
    """Return the steps of layers in a row, and the shape of what comes out."""
    steps: list[Step] = []
    for where, layer in layers:
        kind = _kind_of(layer)
        assert kind is not None
        try:
            step, shape = _RULES[kind](layer, shape)
        except (ValueError, RuntimeError, TypeError, IndexError, NotImplementedError) as error:
            raise ValueError(f"{where} cannot be read: {str(error).splitlines()[0]}") from None
        steps += step
    return steps, shape


def _linear(layer: nn.Linear, shape: Shape) -> tuple[list[Step], Shape]:
    matrix = _finite(layer.weight)
    weight, result = matrix_on_last(matrix, shape)
    bias = np.zeros(len(matrix)) if layer.bias is None else _finite(layer.bias)
    return [Affine(weight, np.tile(bias, prod(shape[:-1])))], result


def _convolve(layer: nn.Conv1d | nn.Conv2d, shape: Shape) -> tuple[list[Step], Shape]:
    if layer.padding_mode != "zeros":
        raise ValueError(f"it has padding_mode {layer.padding_mode!r}; expected 'zeros'")
    kernel = _finite(layer.weight)
    if isinstance(layer.padding, str):
        valid = layer.padding == "valid" or len(shape) != len(layer.kernel_size) + 1
        zeros = [0] if valid else same_padding(shape[1:], layer.kernel_size, layer.stride, layer.dilation)
        zeros = zeros * len(layer.kernel_size) if valid else zeros
        before = [zero // 2 for zero in zeros]
        window = Window(layer.stride, layer.dilation, before, [z - b for z, b in zip(zeros, before, strict=True)])
    else:
        window = Window(layer.stride, layer.dilation, layer.padding, layer.padding)
    bias = None if layer.bias is None else _finite(layer.bias)
    step, result = convolution(kernel, bias, shape, window, layer.groups)
    return [step], result


def _normalise(layer: nn.BatchNorm1d | nn.BatchNorm2d, shape: Shape) -> tuple[list[Step], Shape]:
    if layer.running_mean is None or layer.running_var is None:
        raise ValueError("it keeps no running statistics, so that its rows depend on each other")
    mean, variance = _finite(layer.running_mean), _finite(layer.running_var)
    scale = np.ones(len(mean)) if layer.weight is None else _finite(layer.weight)
    shift = np.zeros(len(mean)) if layer.bias is None else _finite(layer.bias)
    return [normalisation((scale, shift, mean, variance), layer.eps, shape)], shape


def _flatten(layer: nn.Flatten, shape: Shape) -> tuple[list[Step], Shape]:
    n_axes = len(shape) + 1
    first, last = (axis + n_axes if axis < 0 else axis for axis in (layer.start_dim, layer.end_dim))
    if not 1 <= first <= last < n_axes:
        raise ValueError(f"it flattens axes {layer.start_dim} to {layer.end_dim} of {n_axes}; the first is the batch")
    return [], (*shape[: first - 1], prod(shape[first - 1 : last]), *shape[last:])


def _unflatten(layer: nn.Unflatten, shape: Shape) -> tuple[list[Step], Shape]:
    n_axes = len(shape) + 1
    axis = int(layer.dim) + n_axes if int(layer.dim) < 0 else int(layer.dim)
    sizes = tuple(layer.unflattened_size)
    if not 1 <= axis < n_axes or prod(sizes) != shape[axis - 1]:
        raise ValueError(f"it unflattens axis {layer.dim} to {sizes}; rows of shape {shape} come in")
    return [], (*shape[: axis - 1], *sizes, *shape[axis:])


def _relu(layer: nn.ReLU, shape: Shape) -> tuple[list[Step], Shape]:
    return [Relu()], shape


def _leave(layer: nn.Module, shape: Shape) -> tuple[list[Step], Shape]:
    return [], shape


# The layers that can be read, each with its steps and the shape that it returns for rows of a shape.
_RULES: dict[type[nn.Module], Callable[[Any, Shape], tuple[list[Step], Shape]]] = {
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.Conv1d: _convolve,
    nn.Conv2d: _convolve,
    nn.BatchNorm1d: _normalise,
    nn.BatchNorm2d: _normalise,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    nn.Dropout: _leave,
    nn.Dropout1d: _leave,
    nn.Dropout2d: _leave,
    nn.Identity: _leave,
}

# Layers that take rows of any shape.
_NEUTRAL = (nn.ReLU, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)


def _finite(parameter: Tensor) -> Floats:
    values = parameter.detach()
    dense = values if values.layout == torch.strided else values.to_dense()
    array = dense.double().cpu().numpy()
    if not np.isfinite(array).all():
        raise ValueError("it has a weight or bias that is not finite")
    return array


def _run(module: nn.Module, rows: Floats) -> Floats:
    """Return the outputs of the module for rows in its own precision."""
    numbers = (tensor for tensor in chain(module.parameters(), module.buffers()) if tensor.is_floating_point())
    first = next(numbers, torch.zeros(1))
    try:
        with warnings.catch_warnings():
            # torch warns of slow ways to compute (padding 'same' of an even kernel), which is no concern here.
            warnings.simplefilter("ignore", UserWarning)
            return module(torch.tensor(rows, dtype=first.dtype, device=first.device)).double().cpu().numpy()
    except Exception as error:
        raise ValueError(f"the torch module cannot be run on rows of numbers: {str(error).splitlines()[0]}") from None
