"""The functions and methods of torch that can be read, each with its rule."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convexnn.checks import Floats
from verify.reading.graph.affine import Affine
from verify.reading.graph.piecewise import absolute, clipped, leaky
from verify.reading.graph.unrolling import matrix_on_rows
from verify.reading.graph.values import Value, combined, mapped, relu, scaled
from verify.reading.torch_modules import arrays, choices, parts, reductions, windowed
from verify.reading.torch_modules.choices import Mask
from verify.reading.torch_modules.layers import hard_sigmoid, leaky_by_channel, soft_shrink, threshold
from verify.reading.torch_modules.moving import linear, moving
from verify.reading.torch_modules.parts import Final, finite


def _numbers(operand: Any) -> Floats:
    """Return a tensor or number as float64."""
    return finite(operand) if isinstance(operand, Tensor) else np.asarray(float(operand))


def _add(left: Any, right: Any, *, alpha: Any = 1) -> Any:
    if isinstance(left, Final) or isinstance(right, Final):
        raise ValueError("it acts on what a softmax, sigmoid or tanh makes; expected that at the very end alone")
    other = arrays.as_value(right)
    other = other if alpha == 1 else scaled(other, np.array(float(alpha)))
    return arrays.checked(combined([arrays.as_value(left), other], [1.0, 1.0]), left, right)


def _subtract(left: Any, right: Any, *, alpha: Any = 1) -> Value:
    other = arrays.as_value(right)
    other = other if alpha == 1 else scaled(other, np.array(float(alpha)))
    return arrays.checked(combined([arrays.as_value(left), other], [1.0, -1.0]), left, right)


def _reversed_subtract(left: Any, right: Any) -> Value:
    return _subtract(right, left)


def _multiply(left: Any, right: Any) -> Value:
    for mask, other in ((left, right), (right, left)):
        if isinstance(mask, Mask):
            return choices.masked(mask, other)
    if isinstance(left, Value) and isinstance(right, Value):
        raise ValueError("it multiplies two values that the network computes; expected a constant on one side")
    value, factor = (left, right) if isinstance(left, Value) else (right, left)
    return arrays.checked(scaled(value, _numbers(factor)), value)


def _divide(left: Any, right: Any, *, rounding_mode: Any = None) -> Value:
    if isinstance(right, Value) or rounding_mode is not None:
        raise ValueError("it divides by a value that the network computes, or rounds; expected a constant divisor")
    divisor = _numbers(right)
    if not divisor.all():
        raise ValueError("its divisor has a zero; expected none")
    return arrays.checked(scaled(left, 1.0 / divisor), left)


def _negate(value: Value) -> Value:
    return scaled(value, np.array(-1.0))


def _matmul(left: Any, right: Any) -> Value:
    if isinstance(left, Value) and isinstance(right, Value):
        raise ValueError("it multiplies two values that the network computes; expected a constant on one side")
    if isinstance(left, Value):
        matrix = _numbers(right)
        if matrix.ndim == 1:
            return arrays.squeezed(parts.linear(left, matrix[None], None), -1)
        if matrix.ndim != 2:
            return linear(torch.matmul)(left, right)
        return parts.linear(left, matrix.T, None)
    weight, shape = matrix_on_rows(_numbers(left), right.shape)
    return arrays.checked(mapped(right, Affine(weight, np.zeros(weight.shape[0])), shape), right)


def _linear(value: Value, weight: Tensor, bias: Any = None) -> Value:
    return parts.linear(value, finite(weight), None if bias is None else finite(bias))


def _addmm(bias: Any, left: Any, right: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    product = scaled(_matmul(left, right), np.array(float(alpha)))
    return _add(product, _multiply(bias, beta) if isinstance(bias, Value) else bias * beta)


def _lerp(start: Any, end: Any, weight: Any) -> Any:
    return _add(start, _multiply(_subtract(end, start), weight))


def _normalise(
    value: Value,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    if training:
        raise ValueError("it is in training mode")
    return parts.normalised(value, running_mean, running_var, weight, bias, eps)


def _dropout(value: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    if training and p > 0.0:
        raise ValueError("it is in training mode, as F.dropout is by default; expected training=self.training")
    return value


def _relu(value: Value, inplace: bool = False) -> Value:
    return relu(value)


def _relu6(value: Value, inplace: bool = False) -> Value:
    return clipped(value, 0.0, 6.0)


def _leaky(value: Value, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    return leaky(value, np.array(float(negative_slope)))


def _hardtanh(value: Value, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Value:
    return clipped(value, float(min_val), float(max_val))


def _hard_sigmoid(value: Value, inplace: bool = False) -> Value:
    return hard_sigmoid(value)


def _clamp(value: Value, min: Any = None, max: Any = None) -> Value:
    if isinstance(min, Value | Tensor) or isinstance(max, Value | Tensor):
        raised = value if min is None else reductions.larger(value, min)
        return raised if max is None else reductions.smaller(raised, max)
    return clipped(value, -np.inf if min is None else float(min), np.inf if max is None else float(max))


def _pad(array: Value, pad: Any, mode: str = "constant", value: Any = None) -> Value:
    return arrays.padded(array, pad, mode, value)


def _flatten(value: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if isinstance(value, Final):
        return Final(_flatten(value.value, start_dim, end_dim), value.kind)
    return parts.flattened(value, start_dim, end_dim)


def _softmax(value: Value, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Final:
    return parts.final_of(value, "softmax", dim)


def _log_softmax(value: Value, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Final:
    return parts.final_of(value, "log_softmax", dim)


def _sigmoid(value: Value) -> Final:
    return parts.final_of(value, "sigmoid", None)


def _tanh(value: Value) -> Final:
    return parts.final_of(value, "tanh", None)


def _leave(value: Any, *rest: Any, **options: Any) -> Any:
    return value


def _retyped(value: Any, *asked: Any, **options: Any) -> Any:
    """Return a value as it is, and refuse a type that rounds it to whole numbers, which random rows need not show."""
    for one in (*asked, *options.values()):
        kind = one.dtype if isinstance(one, Tensor) else one
        if isinstance(kind, torch.dtype) and not kind.is_floating_point and isinstance(value, Value):
            raise ValueError(f"it makes numbers of type {kind} of real ones; expected a type of real numbers")
    return value


def _part(value: Any, key: Any) -> Any:
    return arrays.part(value, key) if isinstance(value, Value) else value[key]


def _size(value: Value, axis: Any = None) -> Any:
    return torch.Size(value.shape) if axis is None else value.shape[int(axis)]


def _attribute(value: Any, name: str) -> Any:
    if name == "shape":
        return _size(value)
    if name == "ndim":
        return len(value.shape)
    if name == "T":
        return arrays.turned(value)
    if name == "mT":
        return arrays.swapped(value, -1, -2)
    if name in ("device", "dtype"):
        return None
    if isinstance(value, tuple) and name == "values":
        return value[0]
    raise ValueError(f"it asks for the attribute {name!r}; expected shape, ndim, T, mT or values")


Rule = Callable[..., Any]

# What torch calls the arguments that a function begins with, in their order, and what NumPy calls others.
FIRST, NUMPY = ("condition", "input", "tensors", "other"), {"axis": "dim", "keepdims": "keepdim"}


def by_place(args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return arguments with the first ones in their places, as in `torch.relu(input=x)`, and the others by one name."""
    first = [options[name] for name in FIRST if name in options]
    return (*args, *first), {NUMPY.get(name, name): value for name, value in options.items() if name not in FIRST}


# Methods that move entries, that are linear, and that make constants of a shape.
MOVING = (
    *("flip", "fliplr", "flipud", "roll", "movedim", "moveaxis", "swapdims", "select", "unbind", "tensor_split"),
    *("hsplit", "vsplit", "index_select", "tile", "repeat_interleave", "tril", "triu", "diagonal", "view_as"),
)
LINEAR = ("cumsum", "diff", "bmm", "baddbmm", "inner")
CONSTANT = ("new_zeros", "new_ones", "new_full", "new_tensor")


def constant(function: Callable[..., Tensor]) -> Rule:
    """Return the rule of a function that looks at no number of its argument."""
    return lambda value, *args, **options: function(torch.zeros(value.shape), *args, **options)


# By the names of methods; functions of torch have the same names.
METHODS: dict[str, Rule] = {
    **dict.fromkeys(("add", "add_", "__add__"), _add),
    **dict.fromkeys(("sub", "sub_", "subtract"), _subtract),
    **dict.fromkeys(("mul", "mul_", "multiply"), _multiply),
    **dict.fromkeys(("div", "div_", "divide", "true_divide"), _divide),
    **dict.fromkeys(("neg", "negative"), _negate),
    **dict.fromkeys(("matmul", "mm", "mv"), _matmul),
    **dict.fromkeys(("relu", "relu_"), _relu),
    **dict.fromkeys(("clamp", "clamp_", "clip"), _clamp),
    **dict.fromkeys(("clamp_min", "clamp_min_"), lambda value, min: _clamp(value, min)),
    **dict.fromkeys(("clamp_max", "clamp_max_"), lambda value, max: _clamp(value, None, max)),
    **dict.fromkeys(("abs", "absolute", "abs_"), lambda value: absolute(value)),
    **dict.fromkeys(("view", "reshape"), arrays.shaped),
    **dict.fromkeys(("transpose", "swapaxes"), arrays.swapped),
    **dict.fromkeys(("contiguous", "detach", "clone", "float", "double", "half", "cpu"), _leave),
    **dict.fromkeys(("to", "type_as"), _retyped),
    **dict.fromkeys(("gt", "ge", "greater", "greater_equal"), choices.above),
    **dict.fromkeys(("lt", "le", "less", "less_equal"), choices.below),
    **{name: moving(getattr(torch.Tensor, name)) for name in MOVING},
    **{name: linear(getattr(torch.Tensor, name)) for name in LINEAR},
    **{name: constant(getattr(torch.Tensor, name)) for name in CONSTANT},
    "where": lambda value, condition, other: choices.where(condition, value, other),
    "masked_fill": choices.filled,
    "lerp": _lerp,
    "norm": reductions.p_norm,
    "positive": _leave,
    "nan_to_num": _leave,
    "addmm": _addmm,
    "rsub": _reversed_subtract,
    "maximum": reductions.larger,
    "minimum": reductions.smaller,
    "max": reductions.highest,
    "min": reductions.lowest,
    "amax": reductions.amax,
    "amin": reductions.amin,
    "sum": reductions.total,
    "mean": reductions.mean,
    "permute": arrays.permuted,
    "t": arrays.turned,
    "flatten": _flatten,
    "unflatten": parts.unflattened,
    "squeeze": arrays.squeezed,
    "unsqueeze": arrays.unsqueezed,
    "expand": arrays.widened,
    "expand_as": lambda value, other: arrays.widened(value, *other.shape),
    "broadcast_to": arrays.widened,
    "repeat": arrays.repeated,
    "chunk": arrays.chunked,
    "split": arrays.split,
    "narrow": arrays.narrowed,
    "size": _size,
    "dim": lambda value: len(value.shape),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
}

FUNCTIONS: dict[Any, Rule] = {
    **{getattr(torch, name): rule for name, rule in METHODS.items() if hasattr(torch, name)},
    **dict.fromkeys((operator.gt, operator.ge), choices.above),
    **dict.fromkeys((operator.lt, operator.le), choices.below),
    **{function: constant(function) for function in (torch.zeros_like, torch.ones_like, torch.full_like)},
    **{function: moving(function) for function in (F.pixel_unshuffle, F.channel_shuffle, F.unfold)},
    **{function: linear(function) for function in (torch.einsum, torch.tensordot, torch.sparse.mm, F.fold)},
    torch.linalg.vector_norm: reductions.norm,
    torch.where: choices.where,
    operator.pos: _leave,
    torch.atleast_2d: _leave,
    F.softshrink: lambda value, lambd=0.5: soft_shrink(value, float(lambd)),
    **dict.fromkeys((F.threshold, torch.threshold), threshold),
    torch.norm: reductions.p_norm,
    **dict.fromkeys((operator.add, operator.iadd), _add),
    **dict.fromkeys((operator.sub, operator.isub), _subtract),
    **dict.fromkeys((operator.mul, operator.imul), _multiply),
    **dict.fromkeys((operator.truediv, operator.itruediv), _divide),
    **dict.fromkeys((operator.matmul, operator.imatmul), _matmul),
    **dict.fromkeys((F.relu, F.relu_), _relu),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), arrays.joined),
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d), windowed.convolve),
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout), _dropout),
    **dict.fromkeys((F.max_pool1d, F.max_pool2d, F.max_pool3d, torch.max_pool1d, torch.max_pool2d), windowed.max_pool),
    **dict.fromkeys((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d), windowed.mean_pool),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), windowed.convolve_back),
    **dict.fromkeys((F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d), windowed.adaptive_mean),
    **dict.fromkeys((F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d), windowed.adaptive_max),
    operator.neg: _negate,
    operator.getitem: _part,
    getattr: _attribute,
    abs: lambda value: absolute(value),
    torch.stack: arrays.stacked,
    F.linear: _linear,
    F.batch_norm: _normalise,
    F.relu6: _relu6,
    F.leaky_relu: _leaky,
    F.hardtanh: _hardtanh,
    F.hardsigmoid: _hard_sigmoid,
    F.prelu: lambda value, weight: leaky_by_channel(value, weight),
    F.interpolate: windowed.interpolate,
    F.pad: _pad,
    F.pixel_shuffle: lambda value, factor: arrays.shuffled(value, int(factor)),
    F.softmax: _softmax,
    F.log_softmax: _log_softmax,
    F.sigmoid: _sigmoid,
    F.tanh: _tanh,
    torch.hstack: lambda tensors: arrays.joined(tensors, 1),
}

# What may follow a softmax, sigmoid or tanh.
PASSING = (*("flatten", "squeeze", "unsqueeze", "view", "reshape", "contiguous", "float", "double", "detach"),)
