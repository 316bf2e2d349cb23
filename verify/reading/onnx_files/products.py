"""Rules of nodes with weights: matrix products, convolutions, batch norm."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from convexnn.checks import Floats
from verify.reading.graph.affine import Affine
from verify.reading.graph.probing import probed
from verify.reading.graph.unrolling import (
    convolution,
    matrix_on_last,
    matrix_on_rows,
    normalisation,
    transposed_convolution,
)
from verify.reading.graph.values import Shape, Value, mapped, places_of, reshaped, selected
from verify.reading.graph.windows import Window, same_padding
from verify.reading.onnx_files.scope import Scope, Signal, options_of


def gemm(scope: Scope, node: Any) -> Signal:
    """Read alpha A B + beta C, one of A and B the signal; C a constant."""
    options, place = options_of(node), scope.place(node, 0, 1)
    signal = scope.signals[node.input[place]]
    value = signal.value
    if len(value.shape) != 2:
        raise ValueError(f"an array of shape {value.shape} comes in; expected a matrix")
    if options.get(("transA", "transB")[place], 0):
        value = selected(value, places_of(value).T)
    matrix = scope.reals(node, 1 - place, signal.kind)
    matrix = matrix.T if options.get(("transB", "transA")[place], 0) else matrix
    step, shape = _product(float(options.get("alpha", 1.0)) * matrix, value.shape, place)
    if scope.has(node, 2):
        if node.input[2] in scope.signals:
            raise ValueError(f"operand {node.input[2]!r} is not a constant")
        bias = float(options.get("beta", 1.0)) * scope.reals(node, 2, signal.kind)
        step = Affine(step.weight, spread(bias, shape))
    return signal.of(mapped(value, step, shape))


def matmul(scope: Scope, node: Any) -> Signal:
    """Read a product with a constant on either side, as NumPy has it."""
    place = scope.place(node, 0, 1)
    signal = scope.signals[node.input[place]]
    matrix = scope.reals(node, 1 - place, signal.kind)
    while matrix.ndim > 2 and len(matrix) == 1:
        matrix = matrix[0]
    if matrix.ndim > 2:
        return signal.of(_batched(signal.value, matrix, place))
    value, cut = signal.value, None
    if matrix.ndim == 1:
        matrix, cut = (matrix[None] if place else matrix[:, None]), (-2 if place else -1)
    if place and len(value.shape) == 1:
        value, cut = reshaped(value, (*value.shape, 1)), -1
    step, shape = _product(matrix, value.shape, place)
    result = mapped(value, step, shape)
    if cut is not None:
        result = reshaped(result, tuple(np.delete(result.shape, cut).tolist()))
    return signal.of(result)


def _batched(value: Value, matrices: Floats, place: int) -> Value:
    """Return the products with several matrices."""
    return probed(value, lambda entries: matrices @ entries if place else entries @ matrices)


def _product(matrix: Floats, shape: Shape, place: int) -> tuple[Affine, Shape]:
    """Return x matrix (the value in place 0) or matrix x (in place 1)."""
    if matrix.ndim != 2:
        raise ValueError(f"it has a constant of shape {matrix.shape}; expected a matrix")
    weight, result = matrix_on_rows(matrix, shape) if place else matrix_on_last(matrix.T, shape)
    return Affine(weight, np.zeros(weight.shape[0])), result


def spread(constant: Floats, shape: Shape) -> Floats:
    """Return a constant as one number for each entry of an array; arrays that would grow are refused."""
    try:
        return np.broadcast_to(constant, shape).ravel().copy()
    except ValueError:
        raise ValueError(
            f"it adds a constant of shape {constant.shape} to an array of shape {shape}; expected broadcasting to "
            "that shape"
        ) from None


def convolve(scope: Scope, node: Any) -> Signal:
    """Read a convolution with a constant kernel."""
    signal, options, kernel, bias = _kernel(scope, node)
    grid = signal.shape[2:]
    window = window_of(options, grid, kernel.shape[2:])
    step, result = convolution(kernel, bias, signal.shape[1:], window, int(options.get("group", 1)))
    return signal.of(mapped(signal.value, step, (1, *result)))


def _kernel(scope: Scope, node: Any) -> tuple[Signal, dict[str, Any], Floats, Floats | None]:
    """Return what a convolution acts on, its options, kernel and bias."""
    signal, options = scope.signal(node), options_of(node)
    kernel = scope.reals(node, 1, signal.kind)
    shape = signal.shape
    if shape[:1] != (1,) or kernel.ndim != len(shape) or kernel.ndim < 3:
        raise ValueError(f"it has a kernel of shape {kernel.shape}; an array of shape {shape} comes in")
    if tuple(options.get("kernel_shape", kernel.shape[2:])) != kernel.shape[2:]:
        raise ValueError(f"its kernel_shape is {options['kernel_shape']}, its kernel of shape {kernel.shape}")
    return signal, options, kernel, scope.reals(node, 2, signal.kind) if scope.has(node, 2) else None


def window_of(options: dict[str, Any], grid: Shape, kernel: Shape) -> Window:
    """Return how the kernel of a node moves over a grid."""
    ones = [1] * len(grid)
    strides, dilations = options.get("strides", ones), options.get("dilations", ones)
    auto = options.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        zeros = same_padding(grid, kernel, strides, dilations)
        small, large = [zero // 2 for zero in zeros], [zero - zero // 2 for zero in zeros]
        return Window(strides, dilations, *((small, large) if auto == "SAME_UPPER" else (large, small)))
    if auto not in ("NOTSET", "VALID"):
        raise ValueError(f"its auto_pad is {auto!r}; expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    pads = options.get("pads", [0] * 2 * len(grid)) if auto == "NOTSET" else [0] * 2 * len(grid)
    return Window(strides, dilations, pads[: len(grid)], pads[len(grid) :])


def convolve_back(scope: Scope, node: Any) -> Signal:
    """Read a transposed convolution with a constant kernel."""
    signal, options, kernel, bias = _kernel(scope, node)
    grid, size = signal.shape[2:], kernel.shape[2:]
    ones = [1] * len(grid)
    strides, dilations = options.get("strides", ones), options.get("dilations", ones)
    more = options.get("output_padding", [0] * len(grid))
    window = window_of({name: option for name, option in options.items() if name != "auto_pad"}, grid, size)
    auto = options.get("auto_pad", b"NOTSET").decode()
    full = [
        (n - 1) * s + m + d * (k - 1) + 1 for n, s, m, d, k in zip(grid, strides, more, dilations, size, strict=True)
    ]
    asked = options.get("output_shape") or (
        [n * s for n, s in zip(grid, strides, strict=True)] if "SAME" in auto else None
    )
    if asked is not None:
        zeros = [whole - wanted for whole, wanted in zip(full, asked[-len(grid) :], strict=True)]
        small, large = [zero // 2 for zero in zeros], [zero - zero // 2 for zero in zeros]
        window = Window(strides, dilations, *((small, large) if auto == "SAME_UPPER" else (large, small)))
    step, result = transposed_convolution(kernel, bias, signal.shape[1:], window, more, int(options.get("group", 1)))
    return signal.of(mapped(signal.value, step, (1, *result)))


def normalise(scope: Scope, node: Any) -> Signal:
    """Read batch norm as it is in inference, of any operator set."""
    options, signal = options_of(node), scope.signal(node)
    training = options.get("training_mode", 0) or (scope.opset < 7 and not options.get("is_test", 0))
    if training or sum(map(bool, node.output)) > 1 or not options.get("spatial", 1):
        raise ValueError("it is in training mode, or normalises entry by entry; expected the inference of channels")
    if signal.shape[0] != 1 or len(signal.shape) < 2:
        raise ValueError(f"an array of shape {signal.shape} comes in; expected rows of channels")
    statistics = [scope.reals(node, index) for index in (1, 2, 3, 4)]
    step = normalisation(statistics, float(options.get("epsilon", 1e-5)), signal.shape[1:])
    return signal.of(mapped(signal.value, step, signal.shape))


def by_matrix(value: Value, weight: Floats, bias: Floats) -> Value:
    """Return x weight^T + bias over the last axis of an array."""
    matrix, shape = matrix_on_last(weight, value.shape)
    return mapped(value, Affine(matrix, np.tile(bias, prod(shape[:-1]))), shape)
