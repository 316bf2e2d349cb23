"""Functions of torch that move a window over a grid, or make another grid of it, with their arguments."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from verify.reading.graph.pooling import max_pooled, mean_pooled
from verify.reading.graph.values import Value
from verify.reading.torch_modules import arrays, parts
from verify.reading.torch_modules.layers import adaptive
from verify.reading.torch_modules.moving import linear
from verify.reading.torch_modules.parts import finite


def convolve(
    value: Value, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Value:
    """Return a convolution with a constant kernel."""
    shift = None if bias is None else finite(bias)
    return parts.convolved(value, finite(weight), shift, stride, padding, dilation, groups)


def convolve_back(
    value: Value,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    """Return a transposed convolution with a constant kernel."""
    shift = None if bias is None else finite(bias)
    return parts.convolved_back(value, finite(weight), shift, stride, padding, output_padding, groups, dilation)


def max_pool(
    value: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:
    """Return the largest entry of each window."""
    if return_indices:
        raise ValueError("it returns the places of its largest entries too; expected the entries alone")
    kernel, window = parts.pool_window(value, kernel_size, stride, padding, dilation)
    return max_pooled(value, kernel, window, ceil_mode)


def mean_pool(
    value: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Value:
    """Return the mean of each window."""
    kernel, window = parts.pool_window(value, kernel_size, stride, padding, 1)
    return mean_pooled(value, kernel, window, ceil_mode, count_include_pad, divisor_override)


def adaptive_mean(value: Value, output_size: Any) -> Value:
    """Return means over the cells of a coarse grid."""
    return adaptive(value, output_size, False)


def adaptive_max(value: Value, output_size: Any, return_indices: bool = False) -> Value:
    """Return the largest entries over the cells of a coarse grid."""
    if return_indices:
        raise ValueError("it returns the places of its largest entries too; expected the entries alone")
    return adaptive(value, output_size, True)


def interpolate(value: Value, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **rest: Any) -> Value:
    """Return an array on another grid."""
    if any(option for option in rest.values()) or mode != "nearest":
        return linear(F.interpolate)(value, size=size, scale_factor=scale_factor, mode=mode, **rest)
    return arrays.resized(value, size, scale_factor, mode)
