"""Rules of piecewise linear nodes, and of the functions that may stand at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from verify.reading.graph.piecewise import absolute, clipped, largest, leaky, maximum, minimum, rows_of
from verify.reading.graph.pooling import max_pooled, summed
from verify.reading.graph.values import Value, combined, relu, reshaped, scaled, shifted
from verify.reading.onnx_files.arithmetic import check_growth, operands, pooled_shape, reduced_axes
from verify.reading.onnx_files.products import window_of
from verify.reading.onnx_files.scope import Scope, Signal, axis_of, options_of


def rectify(scope: Scope, node: Any) -> Signal:
    """Read max(x, 0)."""
    signal = scope.signal(node)
    return signal.of(relu(signal.value))


def clip(scope: Scope, node: Any) -> Signal:
    """Read min(max(x, lower), upper), its ends numbers."""
    signal, options = scope.signal(node), options_of(node)
    # The least and largest float32 of older operator sets mean no end.
    most = float(np.finfo(np.float32).max)
    lower = scope.number(node, 1, float(options.get("min", -np.inf)))
    upper = scope.number(node, 2, float(options.get("max", np.inf)))
    lower, upper = (-np.inf if lower <= -most else lower), (np.inf if upper >= most else upper)
    return signal.of(clipped(signal.value, lower, upper))


def leaky_relu(scope: Scope, node: Any) -> Signal:
    """Read x where it is above zero, a multiple of it below."""
    signal = scope.signal(node)
    return signal.of(leaky(signal.value, np.array(float(options_of(node).get("alpha", 0.01)))))


def leaky_by_constant(scope: Scope, node: Any) -> Signal:
    """Read x where it is above zero, x times a constant below (PRelu)."""
    signal = scope.signal(node)
    slope = scope.reals(node, 1, signal.kind)
    if slope.ndim > len(signal.shape) and slope.size == 1:
        slope = slope.reshape(())
    check_growth(signal.shape, slope.shape)
    return signal.of(leaky(signal.value, slope))


def magnitude(scope: Scope, node: Any) -> Signal:
    """Read |x|."""
    signal = scope.signal(node)
    return signal.of(absolute(signal.value))


def larger(scope: Scope, node: Any) -> Signal:
    """Read the largest of any number of operands."""
    signal, values = operands(scope, node)
    return signal.of(_folded(values, maximum))


def smaller(scope: Scope, node: Any) -> Signal:
    """Read the smallest of any number of operands."""
    signal, values = operands(scope, node)
    return signal.of(_folded(values, minimum))


def _folded(values: list[Value], better: Any) -> Value:
    """Return the extreme of values, by a tree of pairs."""
    while len(values) > 1:
        pairs = [better(one, other) for one, other in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[2 * len(pairs) :]
    return values[0]


def max_pool(scope: Scope, node: Any) -> Signal:
    """Read the largest entry of each window; padding is none."""
    signal, options = scope.signal(node), options_of(node)
    if sum(map(bool, node.output)) > 1 or options.get("storage_order", 0):
        raise ValueError("it gives the places of its largest entries too; expected the entries alone")
    shape = pooled_shape(signal)
    kernel = tuple(options["kernel_shape"])
    window = window_of(options, shape[1:], kernel)
    result = max_pooled(signal.value, kernel, window, bool(options.get("ceil_mode", 0)))
    scope.allowance.take(4 * result.size * int(np.prod(kernel)), "a matrix")
    return signal.of(result)


def _largest(scope: Scope, value: Value, places: Any) -> Value:
    scope.allowance.take(4 * places.size, "a matrix")
    return largest(value, places)


def global_max(scope: Scope, node: Any) -> Signal:
    """Read the largest entry of each channel."""
    signal = scope.signal(node)
    shape = pooled_shape(signal)
    places = np.arange(signal.value.size).reshape(shape[0], -1)
    return signal.of(reshaped(_largest(scope, signal.value, places), (1, shape[0], *(1 for _ in shape[1:]))))


def reduce_max(scope: Scope, node: Any) -> Signal:
    """Read the largest entry along some axes."""
    signal = scope.signal(node)
    axes, shape = reduced_axes(scope, node, signal.shape)
    return signal.of(reshaped(_largest(scope, signal.value, rows_of(signal.value, axes)[0]), shape))


def reduce_min(scope: Scope, node: Any) -> Signal:
    """Read the smallest entry along some axes."""
    signal = scope.signal(node)
    axes, shape = reduced_axes(scope, node, signal.shape)
    most = _largest(scope, scaled(signal.value, np.array(-1.0)), rows_of(signal.value, axes)[0])
    return signal.of(reshaped(scaled(most, np.array(-1.0)), shape))


def reduce_l1(scope: Scope, node: Any) -> Signal:
    """Read the sum of magnitudes along some axes."""
    signal = scope.signal(node)
    axes, shape = reduced_axes(scope, node, signal.shape)
    return signal.of(summed(absolute(signal.value), rows_of(signal.value, axes)[0], shape))


def hard_sigmoid(scope: Scope, node: Any) -> Signal:
    """Read max(0, min(1, alpha x + beta))."""
    signal, options = scope.signal(node), options_of(node)
    slope, shift = float(options.get("alpha", 0.2)), float(options.get("beta", 0.5))
    return signal.of(clipped(shifted(scaled(signal.value, np.array(slope)), np.array(shift)), 0.0, 1.0))


def shrink(scope: Scope, node: Any) -> Signal:
    """Read what is left of x after a step towards zero, where it is continuous."""
    signal, options = scope.signal(node), options_of(node)
    edge, step = float(options.get("lambd", 0.5)), float(options.get("bias", 0.0))
    if edge != step or edge < 0.0:
        raise ValueError(f"it has lambd {edge:g} and bias {step:g}, a jump; expected them equal")
    below, above = scaled(signal.value, np.array(-1.0)), signal.value
    parts = [relu(shifted(part, np.array(-edge))) for part in (above, below)]
    return signal.of(combined(parts, [1.0, -1.0]))


def softmax(scope: Scope, node: Any) -> Signal:
    """Read a softmax, or its logarithm, over all outputs of a row; nothing else may follow."""
    signal, options = scope.signal(node), options_of(node)
    shape, old = signal.shape, scope.opset < 13
    axis = axis_of(int(options.get("axis", 1 if old else -1)), len(shape))
    along = int(np.prod(shape[axis:] if old else shape[axis], dtype=int))
    if along != signal.value.size:
        raise ValueError(f"it acts on {along} of {signal.value.size} entries at a time; expected all outputs of a row")
    kind = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[node.op_type]
    return Signal(signal.value, signal.kind, kind, node.input[0])


def sigmoid(scope: Scope, node: Any) -> Signal:
    """Read a sigmoid of the outputs; nothing else may follow."""
    signal = scope.signal(node)
    return Signal(signal.value, signal.kind, "sigmoid", node.input[0])


def hyperbolic(scope: Scope, node: Any) -> Signal:
    """Read a tanh of the outputs; nothing else may follow."""
    signal = scope.signal(node)
    return Signal(signal.value, signal.kind, "tanh", node.input[0])
