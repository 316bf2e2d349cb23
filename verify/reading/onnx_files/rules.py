"""The nodes that can be read, each with its rule, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from verify.reading.onnx_files import arithmetic, choices, products, relus, shapes
from verify.reading.onnx_files.scope import ML, STOCK, Scope, Signal
from verify.reading.onnx_files.tables import TABLE_RULES

Rule = Callable[[Scope, Any], Signal | Sequence[Signal | None]]

RULES: dict[str, Rule] = {
    "Gemm": products.gemm,
    "MatMul": products.matmul,
    "Conv": products.convolve,
    "ConvTranspose": products.convolve_back,
    "BatchNormalization": products.normalise,
    "Add": arithmetic.add,
    "Sub": arithmetic.subtract,
    "Mul": arithmetic.multiply,
    "Div": arithmetic.divide,
    "Neg": arithmetic.negate,
    "Sum": arithmetic.add,
    "Mean": arithmetic.mean,
    "ReduceMean": arithmetic.reduce_mean,
    "ReduceSum": arithmetic.reduce_sum,
    "AveragePool": arithmetic.average_pool,
    "GlobalAveragePool": arithmetic.global_average,
    "Cast": arithmetic.cast,
    "CastLike": arithmetic.cast_like,
    "Identity": arithmetic.leave,
    "Dropout": arithmetic.dropout,
    "Relu": relus.rectify,
    "Clip": relus.clip,
    "LeakyRelu": relus.leaky_relu,
    "PRelu": relus.leaky_by_constant,
    "Abs": relus.magnitude,
    "Max": relus.larger,
    "Min": relus.smaller,
    "MaxPool": relus.max_pool,
    "GlobalMaxPool": relus.global_max,
    "ReduceMax": relus.reduce_max,
    "ReduceMin": relus.reduce_min,
    "ReduceL1": relus.reduce_l1,
    "HardSigmoid": relus.hard_sigmoid,
    "Shrink": relus.shrink,
    "Greater": choices.greater,
    "GreaterOrEqual": choices.greater,
    "Less": choices.less,
    "LessOrEqual": choices.less,
    "Not": choices.negated,
    "Where": choices.where,
    "Einsum": choices.einsum,
    "CumSum": choices.cumulative,
    "GatherND": shapes.gather_nd,
    "Flatten": shapes.flatten,
    "Reshape": shapes.reshape,
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
    "Transpose": shapes.transpose,
    "Slice": shapes.cut,
    "Gather": shapes.gather,
    "Split": shapes.split,
    "Concat": shapes.concat,
    "Pad": shapes.pad,
    "Expand": shapes.expand,
    "Tile": shapes.tile,
    "Resize": shapes.resize,
    "Upsample": shapes.resize,
    "DepthToSpace": shapes.depth_to_space,
    "SpaceToDepth": shapes.space_to_depth,
    "Softmax": relus.softmax,
    "LogSoftmax": relus.softmax,
    "Sigmoid": relus.sigmoid,
    "Tanh": relus.hyperbolic,
}

# What may follow a softmax, sigmoid or tanh: nodes that leave all numbers as they are. Others look for themselves.
PASSING = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast", "CastLike")
LOOKING = ("Sub", "Concat", "Normalizer")

JUMPS = (
    *("Sign", "Floor", "Ceil", "Round", "Equal", "And", "Or", "Xor", "IsNaN", "IsInf"),
    *("ThresholdedRelu", "ArgMax", "ArgMin", "TopK", "OneHot", "Hardmax", "Binarizer", "QuantizeLinear"),
)
CURVED = (
    *("Exp", "Log", "Sqrt", "Pow", "Erf", "Gelu", "Elu", "Selu", "Celu", "Softplus", "Softsign", "Swish"),
    *("HardSwish", "Mish", "Sin", "Cos", "Reciprocal", "LRN", "LpNormalization", "LayerNormalization"),
    *("InstanceNormalization", "GroupNormalization", "ReduceL2", "ReduceSumSquare", "LSTM", "GRU", "RNN"),
)


def rule_of(node: Any) -> Rule | None:
    """Return the rule of a node, None where there is none."""
    if node.domain == ML:
        return TABLE_RULES.get(node.op_type)
    return RULES.get(node.op_type) if node.domain in STOCK else None


def refusal(node: Any) -> str:
    """Return why a node cannot be read, and what could be done."""
    if node.domain not in (*STOCK, ML):
        return f"is not supported; it is of the domain {node.domain[:60]!r}, expected nodes of the ONNX standard"
    if node.op_type in JUMPS:
        return "is not supported; it is not continuous, expected piecewise linear nodes such as Relu, Clip or Max"
    if node.op_type in CURVED:
        return (
            "is not supported; it is not piecewise linear, expected Relu, LeakyRelu, Clip, Max or others of that kind "
            "there, and a Softmax, Sigmoid or Tanh at the very end alone"
        )
    names = TABLE_RULES if node.domain == ML else [*RULES, "Constant"]
    return f"is not supported; expected one of: {', '.join(names)}"
