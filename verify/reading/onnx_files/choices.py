"""Rules of comparisons, of what is chosen by them where that is continuous, and of products stated by indices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from verify.reading.graph.limits import as_size
from verify.reading.graph.piecewise import chosen
from verify.reading.graph.probing import probed
from verify.reading.graph.values import Value, combined, constant_value, scaled
from verify.reading.onnx_files.arithmetic import check_growth, operands
from verify.reading.onnx_files.scope import Scope, Signal, axis_of, options_of

# The type of a signal that says where its value is above zero; where it is zero, nothing is known.
TRUTH = np.dtype(bool)

# Nodes that take such a signal.
TAKING = ("Where", "Not", "Cast", "Mul", "Identity")

# Products that a node may add up.
MOST_PRODUCTS = 1 << 30


def greater(scope: Scope, node: Any) -> Signal:
    """Read where the first operand is larger, or as large."""
    return Signal(_difference(scope, node, 1.0), TRUTH)


def less(scope: Scope, node: Any) -> Signal:
    """Read where the first operand is smaller, or as small."""
    return Signal(_difference(scope, node, -1.0), TRUTH)


def _difference(scope: Scope, node: Any, sign: float) -> Value:
    _, values = operands(scope, node)
    if len(values) != 2:
        raise ValueError(f"it has {len(values)} operands; expected two")
    return combined(values, [sign, -sign])


def negated(scope: Scope, node: Any) -> Signal:
    """Read where a comparison does not hold."""
    signal = scope.signal(node)
    _check_truth(signal)
    return signal.of(scaled(signal.value, np.array(-1.0)))


def _check_truth(signal: Signal) -> None:
    if signal.kind != TRUTH:
        raise ValueError(f"it takes numbers of type {signal.kind} for a comparison; expected one, such as Greater")


def where(scope: Scope, node: Any) -> Signal:
    """Read one of two operands, by a comparison or by a constant."""
    kinds = [scope.signals[name].kind for name in node.input[1:] if name in scope.signals]
    names = zip(node.input[1:], (1, 2), strict=True)
    parts = [_operand(scope, node, index, name, kinds) for name, index in names]
    if node.input[0] in scope.signals:
        condition = scope.signals[node.input[0]]
        _check_truth(condition)
        kind = kinds[0] if kinds else scope.constant(node, 1).dtype
        for part in parts:
            check_growth(condition.shape, part.shape)
        return Signal(chosen(condition.value, parts[0], parts[1]), kind)
    share = np.asarray(scope.constant(node, 0), dtype=np.float64)
    moving = next(scope.signals[name] for name in node.input[1:] if name in scope.signals)
    for shape in (share.shape, *(part.shape for part in parts)):
        check_growth(moving.shape, shape)
    return moving.of(combined([scaled(parts[0], share), scaled(parts[1], 1.0 - share)], [1.0, 1.0]))


def _operand(scope: Scope, node: Any, index: int, name: str, kinds: list[Any]) -> Value:
    if name in scope.signals:
        return scope.signals[name].value
    return constant_value(scope.reals(node, index, kinds[0] if kinds else None))


def masked(scope: Scope, node: Any) -> Signal:
    """Read the product of an operand and a comparison that has become zeros and ones."""
    signals = [scope.signals.get(name) for name in node.input]
    tests = [signal for signal in signals if signal is not None and signal.kind == TRUTH]
    others = [index for index, signal in enumerate(signals) if signal is None or signal.kind != TRUTH]
    if len(tests) != 1 or len(others) != 1:
        raise ValueError("it multiplies two comparisons; expected one beside a value")
    found = signals[others[0]]
    value = constant_value(scope.reals(node, others[0])) if found is None else found.value
    check_growth(tests[0].shape, value.shape)
    kind = scope.constant(node, others[0]).dtype if found is None else found.kind
    return Signal(chosen(tests[0].value, value, constant_value(np.array(0.0))), kind)


def einsum(scope: Scope, node: Any) -> Signal:
    """Read a product stated by indices, of one value and constants."""
    place = scope.place(node, *range(len(node.input)))
    signal = scope.signals[node.input[place]]
    others = {index: scope.reals(node, index, signal.kind) for index in range(len(node.input)) if index != place}
    equation = bytes(options_of(node).get("equation", b"")).decode()
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if not equation or len(terms) != len(node.input):
        raise ValueError(f"its equation is {equation[:60]!r} for {len(node.input)} operands; expected a term for each")
    shapes = [signal.shape if index == place else others[index].shape for index in range(len(node.input))]
    sizes = {
        letter: size
        for term, shape in zip(terms, shapes, strict=True)
        for letter, size in zip(term, shape, strict=False)
    }
    as_size(signal.value.size * prod(sizes.values()), "what it adds up", MOST_PRODUCTS)

    def product(entries: Any) -> Any:
        given = [entries if index == place else others[index] for index in range(len(node.input))]
        return np.einsum(equation, *given)

    return signal.of(probed(signal.value, product))


def cumulative(scope: Scope, node: Any) -> Signal:
    """Read sums of all entries up to each, along an axis."""
    signal, options = scope.signal(node), options_of(node)
    if options.get("exclusive", 0) or options.get("reverse", 0):
        raise ValueError("it is exclusive or reversed; expected neither")
    axis = axis_of(int(scope.number(node, 1, 0.0)), len(signal.shape))
    return signal.of(probed(signal.value, lambda entries: np.cumsum(entries, axis=axis)))
