"""The inputs of a model: their shapes for one row, types, batches; and which output is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.reading.graph.values import Shape
from verify.reading.onnx_files.model_files import Model, is_model, is_model_file, load_model
from verify.reading.onnx_files.scope import ML, shown


@dataclass(frozen=True, eq=False)
class Entry:
    """One input of a model.

    Attributes
    ----------
    name : str
        Of the input.
    shape : tuple of int
        Of one row in the model; its first axis is a batch of one where there are several axes.
    kind : dtype
        Of its numbers.
    batched : bool
        Whether the first axis is the batch.
    batch : int
        The size of the batch that the model states; 0 where it states none.
    """

    name: str
    shape: Shape
    kind: np.dtype[Any]
    batched: bool
    batch: int

    def array(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return flat rows as an input of the model."""
        shape = (len(rows), *self.shape[1:]) if self.batched else self.shape
        return (rows if self.batched else rows[0]).reshape(shape).astype(self.kind, copy=False)

    def whole(self) -> Entry:
        """Return the input with a first axis that is no batch: all of it is one row."""
        return self if self.batch < 2 else replace(self, shape=(self.batch, *self.shape[1:]), batched=False)


@dataclass(frozen=True, eq=False)
class Entries:
    """The inputs of a model, one after the other in a flat row: `parts`, in the order in which the model names them."""

    parts: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """How many numbers a flat row has."""
        return sum(prod(entry.shape) for entry in self.parts)

    @property
    def kind(self) -> np.dtype[Any]:
        """The type of the numbers, the coarsest where there are several."""
        return min((entry.kind for entry in self.parts), key=lambda kind: np.finfo(kind).nmant)

    @property
    def batched(self) -> bool:
        """Whether the first axis of every input is the batch, of one size."""
        return all(entry.batched for entry in self.parts) and len({entry.batch for entry in self.parts}) == 1

    @property
    def batch(self) -> int:
        """The size of the batch that the model states; 0 where it states none, 1 where it takes a row at a time."""
        return self.parts[0].batch if self.batched else 1

    def feeds(self, rows: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Return flat rows as the inputs of the model, by name."""
        ends = np.cumsum([prod(entry.shape) for entry in self.parts])
        pieces = np.split(rows, ends[:-1], axis=1)
        return {entry.name: entry.array(piece) for entry, piece in zip(self.parts, pieces, strict=True)}

    def whole(self) -> Entries:
        """Return the inputs with first axes that are no batches."""
        return Entries(tuple(entry.whole() for entry in self.parts))


def entries_of(model: Model, shapes: Sequence[Shape] = ()) -> Entries:
    """Return the inputs of a model; `shapes`, one for each, tell the sizes of a row that the model does not.

    Raises
    ------
    ValueError
        No input, another number of them than of shapes, sizes that nobody tells or that contradict each other, or a
        type that is no real number.
    """
    inputs = _inputs_of(model)
    if not inputs:
        raise ValueError(f"{model.name} has no input; expected one at least")
    if shapes and len(shapes) != len(inputs):
        names = ", ".join(shown(value.name) for value in inputs[:8])
        raise ValueError(
            f"input_shape has {len(shapes)} shapes, and {model.name} has {len(inputs)} inputs ({names}); expected a "
            "shape for each, such as [(3,), (2,)]"
        )
    pairs = zip_longest(inputs, shapes)
    return Entries(tuple(_entry_of(model, tensor, shape) for tensor, shape in pairs))


def _inputs_of(model: Model) -> list[Any]:
    weights = {tensor.name for tensor in model.proto.graph.initializer}
    return [value for value in model.proto.graph.input if value.name not in weights]


def check_titles(titles: Sequence[str], source: Any) -> None:
    """Raise ValueError where the names that a property has for the inputs of a model are not its own, in its order.

    Parameters
    ----------
    titles : sequence of str
        One for each input, empty where the property names none; no names at all are right for every network.
    source : object
        The network as it was given; only an ONNX model tells the names of its inputs.
    """
    if not titles:
        return
    named = is_model(source) or (isinstance(source, str | os.PathLike) and is_model_file(Path(source)))
    known = [value.name for value in _inputs_of(load_model(source))] if named else []
    if len(known) == len(titles) and all(title in ("", name) for title, name in zip(titles, known, strict=True)):
        return
    listed = ", ".join(shown(title) for title in titles)
    own = ", ".join(map(shown, known[:8])) if named else "give an ONNX model, or leave the names out"
    raise ValueError(f"the property calls the inputs {listed}; expected those of the model, in its order: {own}")


def _entry_of(model: Model, tensor: Any, input_shape: Shape | None) -> Entry:
    kind = _kind(model, tensor)
    stated = [dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
    if any(size < 0 for size in stated):
        raise ValueError(f"the ONNX input {shown(tensor.name)} has shape {stated[:16]}; expected sizes of at least 1")
    batched = len(stated) > 1 or (input_shape is not None and len(stated) == 0)
    row = _row(tensor.name, stated, batched, input_shape)
    return Entry(tensor.name, (1, *row) if batched else row, kind, batched, stated[0] if batched and stated else 0)


def _row(name: str, stated: list[int], batched: bool, input_shape: Shape | None) -> Shape:
    """Return the sizes of one row."""
    sizes = stated[1:] if batched and stated else stated
    if input_shape is not None:
        fits = not stated or (
            len(sizes) == len(input_shape)
            and all(size in (0, given) for size, given in zip(sizes, input_shape, strict=True))
        )
        if not fits:
            raise ValueError(
                f"input_shape is {input_shape}; expected that of the ONNX input {shown(name)} after the batch, {sizes}"
            )
        return input_shape
    if not sizes or min(sizes) < 1:
        raise ValueError(
            f"the ONNX input {shown(name)} has shape {stated[:16]}; expected known sizes after the batch, or "
            "input_shape, as in read_network(path, input_shape=(3, 32, 32))"
        )
    return tuple(sizes)


def _kind(model: Model, tensor: Any) -> np.dtype[Any]:
    """Return the type of the numbers that a graph takes."""
    from onnx import helper

    number = tensor.type.tensor_type.elem_type
    try:
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{model.name} takes inputs of the unknown type {number}; expected real numbers") from None
    if kind.kind != "f":
        raise ValueError(f"{model.name} takes inputs of type {kind.name}; expected real numbers")
    return kind


def output_of(model: Model, asked: str | None) -> str:
    """Return the name of the value that is asked for: the output `asked`, or the only one of real numbers.

    Labels are no real numbers, and the map of names to scores that skl2onnx makes (ZipMap) is its scores.

    Raises
    ------
    ValueError
        No output of that name, or several to choose from; the message lists them.
    """
    graph = model.proto.graph
    names = [value.name for value in graph.output]
    listed = ", ".join(shown(name) for name in names[:16]) or "none"
    if asked is not None and asked not in names:
        raise ValueError(f"output is {asked!r}; expected one of the outputs of {model.name}: {listed}")
    makers = {name: node for node in graph.node for name in node.output if name}
    found = [asked] if asked is not None else [value.name for value in graph.output if _is_real(value, makers)]
    found = names if not found and len(names) == 1 else found
    if len(found) != 1:
        raise ValueError(
            f"{model.name} has {len(names)} outputs ({listed}); expected one, or output= with the name of one of them"
        )
    maker = makers.get(found[0])
    zipped = maker is not None and maker.domain == ML and maker.op_type == "ZipMap" and maker.input
    return str(maker.input[0]) if maker is not None and zipped else str(found[0])


def _is_real(value: Any, makers: dict[str, Any]) -> bool:
    """Return whether an output may hold real numbers, or the scores of a map."""
    if value.name in makers and makers[value.name].op_type == "ZipMap":
        return True
    if not value.type.HasField("tensor_type"):
        return not value.type.WhichOneof("value")
    return value.type.tensor_type.elem_type in (0, 1, 10, 11, 16)


def size_of(entries: Entries) -> int:
    """Return how many numbers a model takes at once."""
    return sum(prod(entry.shape) * max(entry.batch if entry.batched else 1, 1) for entry in entries.parts)
