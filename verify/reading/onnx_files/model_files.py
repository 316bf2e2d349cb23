"""The model of a file, of bytes or in memory, and all that is checked before a node is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convexnn.checks import as_file, require
from convexnn.files import unpacked
from verify.reading.graph.limits import MOST_NODES
from verify.reading.onnx_files.scope import ML, STOCK, first_line, shown

# Bytes that a compressed file may become, and how many times its own size where that is more.
MOST_UNPACKED, MOST_RATIO = 1 << 29, 100

# What a file begins with that is no model, and what to do about it.
STRANGERS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the model itself; fetch it by `git lfs pull`",
    b"<!doctype": "is a web page; download the file itself (the raw link)",
    b"<html": "is a web page; download the file itself (the raw link)",
    b"pk\x03\x04": "is a zip archive, maybe a torch checkpoint; expected an ONNX model: export it by torch.onnx.export",
    b"\x89hdf": "is an HDF5 file, maybe of Keras; expected an ONNX model: convert it by tf2onnx",
}


@dataclass(frozen=True, eq=False)
class Model:
    """A model and where it comes from.

    Attributes
    ----------
    proto : onnx.ModelProto
        With its weights.
    name : str
        What errors call it.
    n_bytes : int
        Its size, which pays for what is made of it.
    """

    proto: Any
    name: str
    n_bytes: int


def is_model(source: Any) -> bool:
    """Return whether a source is an ONNX model in memory, or its bytes."""
    return isinstance(source, bytes | bytearray | memoryview) or (
        type(source).__name__ == "ModelProto" and hasattr(source, "graph") and hasattr(source, "opset_import")
    )


def is_model_file(path: Path) -> bool:
    """Return whether a path has the ending of an ONNX file, compressed or not."""
    return path.suffix == ".onnx" or path.name.endswith(".onnx.gz")


def load_model(source: Any) -> Model:
    """Return the model of a path (.onnx or .onnx.gz), of bytes, or of a ModelProto, checked.

    Raises
    ------
    ValueError
        It is no ONNX model (a pointer of Git LFS, a web page, a file without its weights are named), of a newer
        standard than is known, too long, or gives a name twice.
    OSError
        The file cannot be read.
    """
    onnx = require("onnx", "onnx", "reading an ONNX model")
    if isinstance(source, str | os.PathLike):
        model = _load_file(onnx, as_file(source, "network"))
    elif isinstance(source, bytes | bytearray | memoryview):
        model = _parsed(onnx, bytes(source), "the ONNX model")
    else:
        model = Model(source, "the ONNX model", source.ByteSize())
    _check_versions(onnx, model)
    _check_names(model)
    return _inlined(onnx, model)


def _load_file(onnx: Any, path: Path) -> Model:
    content = path.read_bytes()
    most = max(MOST_UNPACKED, MOST_RATIO * len(content))
    model = _parsed(onnx, unpacked(content, str(path), most), str(path))
    _load_weights(onnx, model, path)
    return model


def _parsed(onnx: Any, content: bytes, name: str) -> Model:
    head = content[:200].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for begin, words in STRANGERS.items():
        if head.startswith(begin):
            raise ValueError(f"{name} {words}")
    if not content:
        raise ValueError(f"{name} is empty; expected an ONNX model")
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:
        raise ValueError(f"{name} is not an ONNX file ({first_line(error)})") from None
    return Model(proto, name, len(content))


def _load_weights(onnx: Any, model: Model, path: Path) -> None:
    """Load weights that lie in files of their own, beside the model."""
    outside = [tensor for tensor in model.proto.graph.initializer if tensor.data_location == 1]
    if not outside:
        return
    names = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    missing = sorted(name for name in names if not (path.parent / name).is_file())
    if missing:
        raise ValueError(
            f"{path} keeps its weights in {shown(missing[0])}, which is not beside it; put it into the same folder"
        )
    try:
        onnx.load_external_data_for_model(model.proto, str(path.parent))
    except Exception as error:
        raise ValueError(f"{path} has weights in other files that cannot be read ({first_line(error)})") from None


def _check_versions(onnx: Any, model: Model) -> None:
    """Raise ValueError where a graph is of a newer standard than the one that is known, or too long."""
    known, proto = onnx.defs.onnx_opset_version(), model.proto
    opset = max((int(stated.version) for stated in proto.opset_import if stated.domain in STOCK), default=1)
    if opset > known or proto.ir_version > onnx.IR_VERSION:
        raise ValueError(
            f"{model.name} is of opset {opset} and IR version {proto.ir_version}; expected at most opset {known} and "
            f"IR version {onnx.IR_VERSION}, those of the installed onnx {onnx.__version__}"
        )
    if len(proto.graph.node) > MOST_NODES:
        raise ValueError(f"{model.name} has {len(proto.graph.node):,} nodes; expected at most {MOST_NODES:,}")


def _check_names(model: Model) -> None:
    """Raise ValueError where a name means two things, so that following names would follow another function."""
    graph, name = model.proto.graph, model.name
    for kind, values in (("input", graph.input), ("initializer", graph.initializer)):
        given = [value.name for value in values]
        if len(set(given)) < len(given):
            twice = next(one for place, one in enumerate(given) if one in given[:place])
            raise ValueError(f"{name} has the {kind} {shown(twice)} twice; expected each name once")
    known = {value.name for value in [*graph.input, *graph.initializer]}
    for made in (made for node in graph.node for made in node.output if made):
        if made in known:
            raise ValueError(f"{name} computes {shown(made)} where this name stands already; expected each name once")
        known.add(made)
    own = [function.name for function in model.proto.functions if function.domain in (*STOCK, ML)]
    if own:
        raise ValueError(f"{name} defines {own[0]} by a function of its own; expected the nodes of the ONNX standard")
    if graph.sparse_initializer:
        raise ValueError(f"{name} has sparse initializers; expected dense ones, as exporters write them")


def _inlined(onnx: Any, model: Model) -> Model:
    """Return a model whose nodes are those of the functions that it defines."""
    if not model.proto.functions:
        return model
    from onnx.inliner import inline_local_functions

    counts = _counted(model)
    total = sum(counts.get((node.domain, node.op_type), 1) for node in model.proto.graph.node)
    if total > MOST_NODES:
        raise ValueError(
            f"{model.name} has {total:,} nodes with those of its functions; expected at most {MOST_NODES:,}"
        )
    try:
        return Model(inline_local_functions(model.proto), model.name, model.n_bytes)
    except Exception as error:
        raise ValueError(f"{model.name} has functions that cannot be inlined ({first_line(error)})") from None


def _counted(model: Model) -> dict[tuple[str, str], int]:
    """Return how many nodes each function of a model is made of, those of functions in it counted."""
    open_ones = {(function.domain, function.name): function.node for function in model.proto.functions}
    counts: dict[tuple[str, str], int] = {}
    while open_ones:
        ready = [
            key for key, body in open_ones.items() if not any((node.domain, node.op_type) in open_ones for node in body)
        ]
        if not ready:
            raise ValueError(f"{model.name} has functions that call each other in a circle; expected none")
        for key in ready:
            body = open_ones.pop(key)
            counts[key] = sum(counts.get((node.domain, node.op_type), 1) for node in body)
    return counts


def constants_of(model: Model, names: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the constants of the given names."""
    from onnx import numpy_helper

    for tensor in model.proto.graph.initializer:
        if tensor.name in names:
            if min(tensor.dims, default=0) < 0:
                shape = list(tensor.dims)[:16]
                raise ValueError(f"{model.name} has the constant {shown(tensor.name)} of shape {shape}; expected sizes")
            try:
                yield tensor.name, np.asarray(numpy_helper.to_array(tensor))
            except Exception as error:
                what = f"the constant {shown(tensor.name)}"
                raise ValueError(f"{model.name} is not an ONNX file: {what} is broken ({first_line(error)})") from None
