"""The layers that can be read, each with its rule, and whether a layer is as torch made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch.nn.functional as F
from torch import nn

from verify.reading.graph.piecewise import clipped, largest, leaky
from verify.reading.graph.pooling import adaptive_places, averaged, max_pooled, mean_pooled
from verify.reading.graph.values import Value, combined, relu, reshaped, scaled, shifted
from verify.reading.torch_modules import arrays, parts
from verify.reading.torch_modules.moving import linear, moving
from verify.reading.torch_modules.parts import Final, finite

Rule = Callable[[Any, Value], Value | Final]


def _bias(layer: Any) -> Any:
    return None if layer.bias is None else finite(layer.bias)


def _linear(layer: nn.Linear, value: Value) -> Value:
    return parts.linear(value, finite(layer.weight), _bias(layer))


def _convolve(layer: Any, value: Value) -> Value:
    kernel, padding = finite(layer.weight), layer.padding
    if layer.padding_mode != "zeros":
        value = arrays.padded(value, layer._reversed_padding_repeated_twice, layer.padding_mode)
        padding = 0
    return parts.convolved(value, kernel, _bias(layer), layer.stride, padding, layer.dilation, layer.groups)


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


def threshold(value: Value, edge: float, fill: float, inplace: bool = False) -> Value:
    """Return the value where it is above an edge, a number elsewhere; they must be equal."""
    if fill != edge:
        raise ValueError(f"it jumps from {fill:g} to {edge:g}; expected both equal")
    return clipped(value, float(edge), np.inf)


def _threshold(layer: nn.Threshold, value: Value) -> Value:
    return threshold(value, layer.threshold, layer.value)


def soft_shrink(value: Value, edge: float) -> Value:
    """Return x - edge above it, x + edge below -edge, 0 between: relu(x - edge) - relu(-x - edge)."""
    below = scaled(value, np.array(-1.0))
    return combined([relu(shifted(part, np.array(-edge))) for part in (value, below)], [1.0, -1.0])


def _soft_shrink(layer: nn.Softshrink, value: Value) -> Value:
    return soft_shrink(value, float(layer.lambd))


def _leaky_by_mean(layer: nn.RReLU, value: Value) -> Value:
    return leaky(value, np.array((float(layer.lower) + float(layer.upper)) / 2.0))


def _unfold(layer: nn.Unfold, value: Value) -> Value:
    return cast(Value, moving(F.unfold)(value, layer.kernel_size, layer.dilation, layer.padding, layer.stride))


def _fold(layer: nn.Fold, value: Value) -> Value:
    return cast(Value, linear(layer.forward)(value))


def _unshuffle(layer: nn.PixelUnshuffle, value: Value) -> Value:
    return cast(Value, moving(F.pixel_unshuffle)(value, layer.downscale_factor))


def _shuffle_channels(layer: nn.ChannelShuffle, value: Value) -> Value:
    return cast(Value, moving(F.channel_shuffle)(value, layer.groups))


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


def _replicate(layer: Any, value: Value) -> Value:
    return arrays.padded(value, layer.padding, "replicate", 0.0)


def _wrap(layer: Any, value: Value) -> Value:
    return arrays.padded(value, layer.padding, "circular", 0.0)


def _upsample(layer: nn.Upsample, value: Value) -> Value:
    if layer.mode == "nearest":
        return arrays.resized(value, layer.size, layer.scale_factor, layer.mode)
    return cast(Value, linear(layer.forward)(value))


def _shuffle(layer: nn.PixelShuffle, value: Value) -> Value:
    return arrays.shuffled(value, layer.upscale_factor)


def _softmax(layer: Any, value: Value) -> Final:
    return parts.final_of(value, "softmax" if isinstance(layer, nn.Softmax) else "log_softmax", layer.dim)


def _sigmoid(layer: nn.Sigmoid, value: Value) -> Final:
    return parts.final_of(value, "sigmoid", None)


def _tanh(layer: nn.Tanh, value: Value) -> Final:
    return parts.final_of(value, "tanh", None)


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
    nn.InstanceNorm1d: _normalise,
    nn.InstanceNorm2d: _normalise,
    nn.InstanceNorm3d: _normalise,
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
    nn.RReLU: _leaky_by_mean,
    nn.Softshrink: _soft_shrink,
    nn.Threshold: _threshold,
    nn.MaxPool1d: _max_pool,
    nn.MaxPool2d: _max_pool,
    nn.MaxPool3d: _max_pool,
    nn.AvgPool1d: _mean_pool,
    nn.AvgPool2d: _mean_pool,
    nn.AvgPool3d: _mean_pool,
    nn.AdaptiveAvgPool1d: _adaptive_mean,
    nn.AdaptiveAvgPool2d: _adaptive_mean,
    nn.AdaptiveAvgPool3d: _adaptive_mean,
    nn.AdaptiveMaxPool1d: _adaptive_max,
    nn.AdaptiveMaxPool2d: _adaptive_max,
    nn.AdaptiveMaxPool3d: _adaptive_max,
    nn.ZeroPad1d: _pad,
    nn.ZeroPad2d: _pad,
    nn.ZeroPad3d: _pad,
    nn.ConstantPad1d: _pad,
    nn.ConstantPad2d: _pad,
    nn.ConstantPad3d: _pad,
    nn.ReflectionPad1d: _reflect,
    nn.ReflectionPad2d: _reflect,
    nn.ReflectionPad3d: _reflect,
    nn.ReplicationPad1d: _replicate,
    nn.ReplicationPad2d: _replicate,
    nn.ReplicationPad3d: _replicate,
    nn.CircularPad1d: _wrap,
    nn.CircularPad2d: _wrap,
    nn.CircularPad3d: _wrap,
    nn.Upsample: _upsample,
    nn.PixelShuffle: _shuffle,
    nn.PixelUnshuffle: _unshuffle,
    nn.ChannelShuffle: _shuffle_channels,
    nn.Unfold: _unfold,
    nn.Fold: _fold,
    nn.Softmax: _softmax,
    nn.LogSoftmax: _softmax,
    nn.Sigmoid: _sigmoid,
    nn.Tanh: _tanh,
}

# What errors say that there is.
KNOWN = (
    "Linear, ReLU, Conv, ConvTranspose, BatchNorm, MaxPool, AvgPool, LeakyReLU, PReLU, ReLU6, Hardtanh, Hardsigmoid, "
    "Softshrink, Flatten, Unflatten, Dropout, Identity, padding, Unfold, Upsample, PixelShuffle, a final Softmax, "
    "LogSoftmax, Sigmoid or Tanh, or Sequential"
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
