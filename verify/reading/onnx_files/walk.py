"""The walk over a graph, from its inputs to the output that is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import Any

import numpy as np

from verify.reading.graph.limits import as_size
from verify.reading.graph.values import Value, input_value, pinned, reshaped, selected
from verify.reading.onnx_files.choices import TAKING, TRUTH, masked
from verify.reading.onnx_files.constants import fold, is_folded
from verify.reading.onnx_files.entry import Entries
from verify.reading.onnx_files.rules import LOOKING, PASSING, refusal, rule_of
from verify.reading.onnx_files.scope import STOCK, Scope, Signal, first_line, shown

# Entries that a term counts for where a value has more than a few.
TERM_SIZE, FEW_TERMS = 256, 8

# Nodes that look at the shape of a signal alone.
SHAPES = ("Shape", "Size")


def live_nodes(nodes: Sequence[Any], wanted: str) -> list[int]:
    """Return the positions of the nodes on which the value `wanted` depends, each behind those that it needs.

    A model that lists them in another order, as some writers do, has them in the order of need; a circle stays as it is
    listed, and the walk finds the value that is missing.
    """
    makers = {name: position for position, node in enumerate(nodes) for name in node.output if name}
    needs: dict[int, set[int]] = {}
    names = [wanted]
    while names:
        position = makers.get(names.pop(), -1)
        if position >= 0 and position not in needs:
            given = [name for name in nodes[position].input if name]
            needs[position] = {makers[name] for name in given if name in makers}
            names += given
    listed = sorted(needs)
    if all(need < position for position in listed for need in needs[position]):
        return listed
    try:
        return list(TopologicalSorter({position: sorted(needs[position]) for position in listed}).static_order())
    except CycleError:
        return listed


def follow(nodes: Sequence[Any], live: Sequence[int], wanted: str, scope: Scope) -> Signal:
    """Return the signal `wanted` of a graph whose input and constants a scope holds."""
    uses = Counter(name for place in live for name in set(nodes[place].input) if nodes[place].op_type not in SHAPES)
    uses[wanted] += 1
    last = Counter(name for place in live for name in nodes[place].input)
    for position in live:
        node = nodes[position]
        for name, signal in _made(position, node, scope).items():
            scope.signals[name] = signal.of(pinned(signal.value)) if uses[name] > 1 else signal
        for name in node.input:
            # A signal that nobody will look at again is let go: those of a long graph would not all fit.
            last[name] -= 1
            if not last[name] and name != wanted:
                scope.signals.pop(name, None)
    if wanted not in scope.signals:
        what = "is a constant" if wanted in scope.constants else "is computed by no node"
        raise ValueError(f"the output {shown(wanted)} {what}; expected one that depends on the input")
    if scope.signals[wanted].kind == TRUTH:
        raise ValueError(f"the output {shown(wanted)} is a comparison; expected numbers that depend on the input")
    return scope.signals[wanted]


def _made(position: int, node: Any, scope: Scope) -> dict[str, Signal]:
    """Return the signals that a node makes; constants go to the scope."""
    where = named(position, node)
    if is_folded(node, scope):
        fold(node, scope, where)
        return {}
    if node.op_type in SHAPES and node.domain in STOCK and node.input and node.input[0] in scope.signals:
        shape = np.array(scope.signals[node.input[0]].shape, dtype=np.int64)
        scope.constants[node.output[0]] = _shape_of(node, shape)
        return {}
    rule = rule_of(node)
    if rule is None:
        raise ValueError(f"{where} {refusal(node)}")
    if not node.output:
        raise ValueError(f"{where} does not give a result; expected a name for it")
    try:
        _check_finals(node, scope)
        rule = _rule_by_truth(node, rule, scope)
        with np.errstate(all="ignore"):
            made = rule(scope, node)
        signals = [made] if isinstance(made, Signal) else list(made)
        _pay(signals, [scope.signals[name] for name in node.input if name in scope.signals], scope)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: {first_line(error).removeprefix('ValueError: ')}") from None
    return {name: signal for name, signal in zip(node.output, signals, strict=False) if name and signal is not None}


def _shape_of(node: Any, shape: Any) -> Any:
    """Return the sizes that a node looks at."""
    from verify.reading.onnx_files.scope import options_of

    if node.op_type == "Size":
        return np.array(shape.prod(), dtype=np.int64)
    options = options_of(node)
    return shape[options.get("start", 0) : options.get("end", len(shape))]


def _rule_by_truth(node: Any, rule: Any, scope: Scope) -> Any:
    """Return the rule of a node, another one for a product with a comparison; ValueError where it takes none."""
    truths = [name for name in node.input if name in scope.signals and scope.signals[name].kind == TRUTH]
    if not truths or (node.op_type == "Where" and truths == [node.input[0]]):
        return rule
    if node.op_type not in TAKING or node.op_type == "Where":
        raise ValueError(f"it acts on a comparison ({shown(truths[0])}); expected Where, or a product with it")
    return masked if node.op_type == "Mul" else rule


def _check_finals(node: Any, scope: Scope) -> None:
    """Raise ValueError where a node acts on what a softmax or sigmoid has made."""
    finals = [scope.signals[name].final for name in node.input if name in scope.signals]
    if any(finals) and node.op_type not in (*PASSING, *LOOKING):
        kind = next(final for final in finals if final)
        raise ValueError(
            f"it acts on the result of a {kind}, which is not piecewise linear; expected that at the very end alone: "
            "export the network up to there"
        )


def _pay(signals: Sequence[Signal | None], given: Sequence[Signal], scope: Scope) -> None:
    """Count what a node has made; more than the allowance is refused."""
    known = {id(part) for signal in given for part in _parts(signal.value)}
    for signal in signals:
        if signal is None:
            continue
        as_size(signal.value.size, "its result", scope.allowance.value)
        new = [part for part in _parts(signal.value) if id(part) not in known]
        # Each term is an object of its own, however small.
        terms = TERM_SIZE * len(signal.value.terms) if len(signal.value.terms) > FEW_TERMS else 0
        scope.allowance.take(terms + sum(part.size for part in new), "a matrix")


def _parts(value: Value) -> list[Any]:
    matrices: list[Any] = [matrix for _, matrix in value.terms if matrix is not None]
    return matrices if value.bias is None else [*matrices, value.bias]


def named(position: int, node: Any) -> str:
    """Return the words for a node: its position, its name if it has one, what it is."""
    name = f" {shown(node.name)}" if node.name else ""
    return f"ONNX node {position}{name} ({node.op_type[:40]})"


def start(scope: Scope, entries: Entries) -> None:
    """Begin a walk at the inputs, which lie one after the other in the input of the network."""
    row = input_value((entries.size,))
    first = 0
    for entry in entries.parts:
        places = first + np.arange(prod(entry.shape)).reshape(entry.shape)
        value = reshaped(row, entry.shape) if places.size == row.size else selected(row, places)
        scope.signals[entry.name] = Signal(value, entry.kind)
        first += places.size
