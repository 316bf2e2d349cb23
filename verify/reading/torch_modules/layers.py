"""The layers that can be read, each with its rule, and whether a layer is as torch made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from verify.reading.graph.piecewise import clipped, largest, leaky
from verify.reading.graph.pooling import adaptive_places, averaged, max_pooled, mean_pooled
from verify.reading.graph.values import Value, relu, reshaped, scaled, shifted
from verify.reading.torch_modules import arrays, parts
from verify.reading.torch_modules.parts import Final, finite

Rule = Callable[[Any, Value], Value | Final]


def _bias(layer: Any) -> Any:
    return None if layer.bias is None else finite(layer.bias)


def _linear(layer: nn.Linear, value: Value) -> Value:
    return parts.linear(value, finite(layer.weight), _bias(layer))


def _convolve(layer: Any, value: Value) -> Value:
    if layer.padding_mode != "zeros":
        raise ValueError(f"it has padding_mode {layer.padding_mode!r}; expected 'zeros'")
    kernel = finite(layer.weight)
    return parts.convolved(value, kernel, _bias(layer), layer.stride, layer.padding, layer.dilation, layer.groups)


def _convolve_back(layer: Any, value: Value) -> Value:
    kernel, more = finite(layer.weight), layer.output_padding
    return parts.convolved_back(
        value, kernel, _bias(layer), layer.stride, layer.padding, more, layer.groups, layer.dilation
    )


def _normalise(layer: Any, value: Value) -> Value:
    if layer.training:
        raise ValueError("it is in training mode")
    return parts.normalised(value, layer.running_mean, layer.running_var, layer.weight, layer.bias, layer.eps)


def _flatten(layer: nn.Flatten, value: Value) -> Value:
    return parts.flattened(value, layer.start_dim, layer.end_dim)


def _unflatten(layer: nn.Unflatten, value: Value) -> Value:
    return parts.unflattened(value, layer.dim, layer.unflattened_size)


def _relu(layer: nn.Module, value: Value) -> Value:
    return relu(value)


def _leave(layer: nn.Module, value: Value) -> Value:
    return value


def _leaky(layer: nn.LeakyReLU, value: Value) -> Value:
    return leaky(value, np.array(float(layer.negative_slope)))


def leaky_by_channel(value: Value, weight: Any) -> Value:
    """Return a leaky ReLU with a slope for all, or for each channel."""
    slopes = finite(weight).ravel()
    if slopes.size > 1:
        slopes = slopes.reshape(-1, *(1 for _ in value.shape[2:]))
    return leaky(value, slopes)


def _parametric(layer: nn.PReLU, value: Value) -> Value:
    return leaky_by_channel(value, layer.weight)


def _clip(layer: nn.Hardtanh, value: Value) -> Value:
    return clipped(value, float(layer.min_val), float(layer.max_val))


def hard_sigmoid(value: Value) -> Value:
    """Return min(max(x + 3, 0), 6) / 6."""
    return scaled(clipped(shifted(value, np.array(3.0)), 0.0, 6.0), np.array(1.0 / 6.0))


def _hard_sigmoid(layer: nn.Hardsigmoid, value: Value) -> Value:
    return hard_sigmoid(value)


def _threshold(layer: nn.Threshold, value: Value) -> Value:
    if layer.value != layer.threshold:
        raise ValueError(f"it jumps from {layer.value:g} to {layer.threshold:g}; expected both equal")
    return clipped(value, float(layer.threshold), np.inf)


def _max_pool(layer: Any, value: Value) -> Value:
    if layer.return_indices:
        raise ValueError("it returns the places of its largest entries too; expected the entries alone")
    kernel, window = parts.pool_window(value, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return max_pooled(value, kernel, window, layer.ceil_mode)


def _mean_pool(layer: Any, value: Value) -> Value:
    kernel, window = parts.pool_window(value, layer.kernel_size, layer.stride, layer.padding, 1)
    divisor = getattr(layer, "divisor_override", None)
    return mean_pooled(value, kernel, window, layer.ceil_mode, layer.count_include_pad, divisor)


def adaptive(value: Value, sizes: Any, highest: bool) -> Value:
    """Return means or largest entries over the cells of a coarse grid."""
    grid = value.shape[2:]
    stated = list(sizes) if isinstance(sizes, list | tuple) else [sizes] * len(grid)
    asked = [size if wanted is None else int(wanted) for wanted, size in zip(stated, grid, strict=True)]
    if not grid or min(asked) < 1:
        raise ValueError(f"rows of shape {value.shape[1:]} come in for a grid of {asked}; expected channels of a grid")
    places, counts = adaptive_places(value.shape[1:], asked)
    shape = (*value.shape[:2], *asked)
    return reshaped(largest(value, places), shape) if highest else averaged(value, places, counts, shape)


def _adaptive_mean(layer: Any, value: Value) -> Value:
    return adaptive(value, layer.output_size, False)


def _adaptive_max(layer: Any, value: Value) -> Value:
    return adaptive(value, layer.output_size, True)


def _pad(layer: Any, value: Value) -> Value:
    return arrays.padded(value, layer.padding, "constant", float(getattr(layer, "value", 0.0)))


def _reflect(layer: Any, value: Value) -> Value:
    return arrays.padded(value, layer.padding, "reflect", 0.0)


def _upsample(layer: nn.Upsample, value: Value) -> Value:
    return arrays.resized(value, layer.size, layer.scale_factor, layer.mode)


def _shuffle(layer: nn.PixelShuffle, value: Value) -> Value:
    return arrays.shuffled(value, layer.upscale_factor)


def _softmax(layer: Any, value: Value) -> Final:
    return parts.final_of(value, "softmax" if isinstance(layer, nn.Softmax) else "log_softmax", layer.dim)


def _sigmoid(layer: nn.Sigmoid, value: Value) -> Final:
    return parts.final_of(value, "sigmoid", None)


# The layers that can be read. A subclass stands before its base.
RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.Conv1d: _convolve,
    nn.Conv2d: _convolve,
    nn.Conv3d: _convolve,
    nn.BatchNorm1d: _normalise,
    nn.BatchNorm2d: _normalise,
    nn.BatchNorm3d: _normalise,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    nn.Dropout: _leave,
    nn.Dropout1d: _leave,
    nn.Dropout2d: _leave,
    nn.Dropout3d: _leave,
    nn.AlphaDropout: _leave,
    nn.Identity: _leave,
    nn.ConvTranspose1d: _convolve_back,
    nn.ConvTranspose2d: _convolve_back,
    nn.ConvTranspose3d: _convolve_back,
    nn.LeakyReLU: _leaky,
    nn.PReLU: _parametric,
    nn.ReLU6: _clip,
    nn.Hardtanh: _clip,
    nn.Hardsigmoid: _hard_sigmoid,
    nn.Threshold: _threshold,
    nn.MaxPool1d: _max_pool,
    nn.MaxPool2d: _max_pool,
    nn.MaxPool3d: _max_pool,
    nn.AvgPool1d: _mean_pool,
    nn.AvgPool2d: _mean_pool,
    nn.AvgPool3d: _mean_pool,
    nn.AdaptiveAvgPool1d: _adaptive_mean,
    nn.AdaptiveAvgPool2d: _adaptive_mean,
    nn.AdaptiveMaxPool1d: _adaptive_max,
    nn.AdaptiveMaxPool2d: _adaptive_max,
    nn.ZeroPad1d: _pad,
    nn.ZeroPad2d: _pad,
    nn.ConstantPad1d: _pad,
    nn.ConstantPad2d: _pad,
    nn.ReflectionPad1d: _reflect,
    nn.ReflectionPad2d: _reflect,
    nn.Upsample: _upsample,
    nn.PixelShuffle: _shuffle,
    nn.Softmax: _softmax,
    nn.LogSoftmax: _softmax,
    nn.Sigmoid: _sigmoid,
}

# What errors say that there is.
KNOWN = (
    "Linear, ReLU, Conv, ConvTranspose, BatchNorm, MaxPool, AvgPool, LeakyReLU, PReLU, ReLU6, Hardtanh, Hardsigmoid, "
    "Flatten, Unflatten, Dropout, Identity, padding, Upsample, PixelShuffle, a final Softmax, LogSoftmax or Sigmoid, "
    "or Sequential"
)

# Layers that take rows of any shape.
NEUTRAL = (nn.ReLU, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity, nn.LeakyReLU, nn.Hardtanh)


def kind_of(module: nn.Module) -> type[nn.Module] | None:
    """Return the kind of a layer that has a rule, or Sequential; None for another module."""
    return next((kind for kind in (nn.Sequential, *RULES) if isinstance(module, kind)), None)


def own_code(module: nn.Module, kind: type[nn.Module]) -> str | None:
    """Return the words for code of its own that a layer of a kind runs; pruning and weight norms only set weights."""
    names = ["forward", *(name for name in ("_conv_forward", "_check_input_dim") if hasattr(kind, name))]
    stock = all(getattr(type(module), name) is getattr(kind, name) and name not in vars(module) for name in names)
    if not stock or type(module).__call__ is not nn.Module.__call__:
        return f"has a forward of its own; expected that of {kind.__name__}"
    setters = [type(hook).__module__.startswith("torch.nn.utils.") for hook in module._forward_pre_hooks.values()]
    return "has a forward hook; expected none" if module._forward_hooks or not all(setters) else None
