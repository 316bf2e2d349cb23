"""What a rule sees of the model: the signals and constants by their names, and how options are stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.reading.graph.limits import Allowance
from verify.reading.graph.values import Shape, Value

# The domains of the nodes that the ONNX standard defines, and that of its models from tables.
STOCK, ML = ("", "ai.onnx"), "ai.onnx.ml"

# Letters of a name that an error shows.
LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class Signal:
    """An array that depends on the input.

    Attributes
    ----------
    value : Value
        The array for one row, its batch of one included.
    kind : dtype
        Of its numbers in the model.
    final : str or None
        The function of the value that the signal is, where it is no longer piecewise linear: softmax, log_softmax,
        sigmoid or tanh.
    logits : str or None
        The name of the signal before that function, where the model has one.
    """

    value: Value
    kind: np.dtype[Any]
    final: str | None = None
    logits: str | None = None

    @property
    def shape(self) -> Shape:
        """The shape of the array."""
        return self.value.shape

    def of(self, value: Value) -> Signal:
        """Return a signal of another array, all else the same."""
        return Signal(value, self.kind, self.final, self.logits)


class Scope:
    """The names of a graph that are known so far.

    Parameters
    ----------
    constants : dict
        Arrays by name.
    opsets : sequence
        The operator sets that the model states.
    allowance : Allowance
        Pays for what is made.
    """

    def __init__(self, constants: dict[str, NDArray[Any]], opsets: Any, allowance: Allowance) -> None:
        self.constants, self.opsets, self.allowance = constants, opsets, allowance
        self.signals: dict[str, Signal] = {}

    @property
    def opset(self) -> int:
        """The version of the ONNX standard that the nodes follow; 1 where a model states none."""
        return max((int(stated.version) for stated in self.opsets if stated.domain in STOCK), default=1)

    def has(self, node: Any, index: int) -> bool:
        """Return whether a node is given the operand at `index`."""
        return len(node.input) > index and bool(node.input[index])

    def constant(self, node: Any, index: int) -> NDArray[Any]:
        """Return the constant operand of a node."""
        name = node.input[index]
        if name not in self.constants:
            raise ValueError(f"operand {shown(name)} is not a constant")
        return self.constants[name]

    def reals(self, node: Any, index: int, kind: np.dtype[Any] | None = None) -> Floats:
        """Return the constant operand of a node as finite float64; it must be of the type `kind` where one is given."""
        array = self.constant(node, index)
        if kind is not None and array.dtype != kind:
            raise ValueError(
                f"its constant {shown(node.input[index])} is of type {array.dtype} beside numbers of type {kind}; "
                "expected the same type"
            )
        values = np.asarray(array, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it has a weight or bias that is not finite")
        return values

    def number(self, node: Any, index: int, default: float) -> float:
        """Return an operand that is a single number, infinite ones too."""
        if not self.has(node, index):
            return default
        array = self.constant(node, index)
        if array.size != 1:
            raise ValueError(f"its operand {shown(node.input[index])} has shape {array.shape}; expected one number")
        return float(array.ravel()[0])

    def signal(self, node: Any, index: int = 0) -> Signal:
        """Return the operand of a node that depends on the input."""
        if not self.has(node, index) or node.input[index] not in self.signals:
            raise ValueError("it does not act on the value that the network computes")
        return self.signals[node.input[index]]

    def place(self, node: Any, *indices: int) -> int:
        """Return which one of the operands `indices` depends on the input; the others must be constants."""
        found = [index for index in indices if self.has(node, index) and node.input[index] in self.signals]
        if not found:
            raise ValueError("it does not act on the value that the network computes")
        if len(found) > 1:
            raise ValueError(
                f"operand {shown(node.input[found[1]])} is not a constant; expected one value that the network "
                "computes, with constants beside it"
            )
        return found[0]

    def integers(self, node: Any, index: int, option: str) -> list[int] | None:
        """Return whole numbers that a node states by an operand, or by an option in older operator sets."""
        if self.has(node, index):
            return [int(number) for number in self.constant(node, index).ravel()]
        stated = options_of(node).get(option)
        return None if stated is None else [int(number) for number in np.ravel(stated)]


def options_of(node: Any) -> dict[str, Any]:
    """Return the options of a node by name."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def axis_of(axis: int, count: int) -> int:
    """Return an axis counted from the first of so many."""
    if not -count <= axis < count:
        raise ValueError(f"its axis {axis} is out of range for an array of {count} axes")
    return axis % count


def axes_of(axes: Sequence[int], count: int) -> list[int]:
    """Return axes counted from the first of so many, in order."""
    return sorted({axis_of(axis, count) for axis in axes})


def shown(name: str) -> str:
    """Return a name in quotes, a long one cut."""
    return repr(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}...")


def first_line(error: Exception) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")
