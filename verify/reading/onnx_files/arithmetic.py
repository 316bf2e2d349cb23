"""Rules of entrywise arithmetic, means and sums: with constants, and of several signals where the result is affine."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.reading.graph.piecewise import rows_of
from verify.reading.graph.pooling import averaged, mean_pooled
from verify.reading.graph.values import Shape, Value, combined, constant_value, scaled, shifted
from verify.reading.onnx_files.products import window_of
from verify.reading.onnx_files.scope import Scope, Signal, axes_of, options_of, shown


def operands(scope: Scope, node: Any) -> tuple[Signal, list[Value]]:
    """Return all operands of an entrywise node as values, and one of those that are signals."""
    given = [index for index, name in enumerate(node.input) if name]
    found = [scope.signals[node.input[index]] for index in given if node.input[index] in scope.signals]
    if not found:
        raise ValueError("it does not act on the value that the network computes")
    values = [
        scope.signals[node.input[index]].value
        if node.input[index] in scope.signals
        else constant_value(scope.reals(node, index, found[0].kind))
        for index in given
    ]
    for value in values:
        check_growth(found[0].shape, value.shape)
    return found[0], values


def check_growth(shape: Shape, other: Shape) -> None:
    """Raise ValueError where broadcasting would mix the rows of a batch, or the shapes do not fit."""
    try:
        result = np.broadcast_shapes(shape, other)
    except ValueError:
        result = ()
    longest = max(len(shape), len(other))
    if (not result and longest) or (len(shape) > 1 and (len(result) > len(shape) or result[0] > shape[0])):
        raise ValueError(
            f"it adds a constant of shape {other} to an array of shape {shape}; expected broadcasting to that shape"
        )


def add(scope: Scope, node: Any) -> Signal:
    """Read a sum of any number of signals and constants."""
    _check_plain(node)
    signal, values = operands(scope, node)
    return signal.of(_total(values, [1.0] * len(values)))


def mean(scope: Scope, node: Any) -> Signal:
    """Read the mean of several operands."""
    signal, values = operands(scope, node)
    return signal.of(scaled(_total(values, [1.0] * len(values)), np.array(1.0 / len(values))))


def subtract(scope: Scope, node: Any) -> Signal:
    """Read a difference; 1 less a final sigmoid is that of the negated value."""
    _check_plain(node)
    if scope.has(node, 1) and node.input[1] in scope.signals and scope.signals[node.input[1]].final == "sigmoid":
        signal = scope.signals[node.input[1]]
        if (scope.reals(node, 0, signal.kind) != 1.0).any():
            raise ValueError("it takes a Sigmoid from a number; expected 1")
        return Signal(scaled(signal.value, np.array(-1.0)), signal.kind, "sigmoid")
    signal, values = operands(scope, node)
    return signal.of(_total(values, [1.0, -1.0]))


def _check_plain(node: Any) -> None:
    if node.attribute:
        raise ValueError(f"it has an option {node.attribute[0].name!r} of an older operator set; expected none")


def _total(values: list[Value], slopes: list[float]) -> Value:
    """Return a sum of values, constants added to what the others make."""
    moving = [(value, slope) for value, slope in zip(values, slopes, strict=True) if value.terms]
    fixed = [(value, slope) for value, slope in zip(values, slopes, strict=True) if not value.terms]
    if len(moving) == 1:
        value, slope = moving[0]
        result = value if slope == 1.0 else scaled(value, np.array(slope))
    else:
        result = combined(*zip(*moving, strict=True))
    for value, slope in fixed:
        result = shifted(result, slope * value.offsets.reshape(value.shape))
    return result


def negate(scope: Scope, node: Any) -> Signal:
    """Read the negated signal."""
    return _times(scope.signal(node), np.array(-1.0))


def multiply(scope: Scope, node: Any) -> Signal:
    """Read a product with a constant, entry by entry."""
    place = scope.place(node, 0, 1)
    signal = scope.signals[node.input[place]]
    return _times(signal, scope.reals(node, 1 - place, signal.kind))


def divide(scope: Scope, node: Any) -> Signal:
    """Read a quotient by a constant, entry by entry."""
    if scope.place(node, 0, 1):
        raise ValueError("it divides by the value that the network computes; expected a constant there")
    signal = scope.signals[node.input[0]]
    divisor = scope.reals(node, 1, signal.kind)
    if not divisor.all():
        raise ValueError(f"its constant {shown(node.input[1])} has a zero; expected none in a divisor")
    return _times(signal, 1.0 / divisor)


def _times(signal: Signal, factor: Floats) -> Signal:
    check_growth(signal.shape, factor.shape)
    return signal.of(scaled(signal.value, factor))


def cast(scope: Scope, node: Any) -> Signal:
    """Read a change of the type of real numbers."""
    from onnx import helper

    signal = scope.signal(node)
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(int(options_of(node)["to"])))
    if signal.kind == np.dtype(bool):
        # Zeros and ones: what takes them asks whether they come of a comparison.
        return signal
    if kind.kind != "f":
        raise ValueError(f"it makes numbers of type {kind.name} of real ones; expected a type of real numbers")
    return Signal(signal.value, kind, signal.final, signal.logits)


def cast_like(scope: Scope, node: Any) -> Signal:
    """Read a change to the type of another operand."""
    signal, other = scope.signal(node), node.input[1]
    kind = scope.signals[other].kind if other in scope.signals else scope.constant(node, 1).dtype
    if kind.kind != "f":
        raise ValueError(f"it makes numbers of type {kind} of real ones; expected a type of real numbers")
    return Signal(signal.value, kind, signal.final, signal.logits)


def reduce_mean(scope: Scope, node: Any) -> Signal:
    """Read the mean over some axes."""
    return _reduced(scope, node, True)


def reduce_sum(scope: Scope, node: Any) -> Signal:
    """Read the sum over some axes."""
    return _reduced(scope, node, False)


def _reduced(scope: Scope, node: Any, divide: bool) -> Signal:
    signal = scope.signal(node)
    axes, shape = reduced_axes(scope, node, signal.shape)
    places, _ = rows_of(signal.value, axes)
    counts = np.full(len(places), places.shape[1] if divide else 1)
    return signal.of(averaged(signal.value, places, counts, shape))


def reduced_axes(scope: Scope, node: Any, shape: Shape) -> tuple[list[int], Shape]:
    """Return the axes that a node reduces and the shape that is left."""
    options = options_of(node)
    stated = scope.integers(node, 1, "axes")
    if not stated and options.get("noop_with_empty_axes", 0):
        return [], shape
    axes = axes_of(stated, len(shape)) if stated else list(range(len(shape)))
    if options.get("keepdims", 1):
        return axes, tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return axes, tuple(size for axis, size in enumerate(shape) if axis not in axes)


def average_pool(scope: Scope, node: Any) -> Signal:
    """Read means over windows; padding counts where the node says so."""
    signal, options = scope.signal(node), options_of(node)
    shape = pooled_shape(signal)
    kernel = tuple(options["kernel_shape"])
    window = window_of(options, shape[1:], kernel)
    ceil, padding = bool(options.get("ceil_mode", 0)), bool(options.get("count_include_pad", 0))
    return signal.of(mean_pooled(signal.value, kernel, window, ceil, padding, None))


def global_average(scope: Scope, node: Any) -> Signal:
    """Read the mean of each channel."""
    signal = scope.signal(node)
    shape = pooled_shape(signal)
    places = np.arange(signal.value.size).reshape(shape[0], -1)
    counts = np.full(len(places), places.shape[1])
    return signal.of(averaged(signal.value, places, counts, (1, shape[0], *(1 for _ in shape[1:]))))


def pooled_shape(signal: Signal) -> Shape:
    """Return channels and grid of an array of one row that a pool acts on."""
    if len(signal.shape) < 3 or signal.shape[0] != 1 or not prod(signal.shape):
        raise ValueError(f"an array of shape {signal.shape} comes in; expected one row of channels of a grid")
    return signal.shape[1:]


def leave(scope: Scope, node: Any) -> Signal:
    """Read a node that changes nothing."""
    return scope.signal(node)


def dropout(scope: Scope, node: Any) -> Signal:
    """Read dropout as it is in inference."""
    training = scope.constant(node, 2).any() if scope.has(node, 2) else False
    if training or (scope.opset < 7 and not options_of(node).get("is_test", 0)):
        raise ValueError("it is in training mode")
    return scope.signal(node)
