"""Reading networks: whatever the user holds becomes a SparseReLUNetwork of (csr weight, bias) layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from convexnn.checks import as_count, as_file
from convexnn.files import unpacked
from convexnn.network import SparseReLUNetwork
from verify.reading.simplify import simplify

# Bytes that a packed network may have after unpacking.
MOST_BYTES = 1 << 31


def read_network(source: Any, *, input_shape: Sequence[int] | None = None) -> SparseReLUNetwork:
    """Return any supported network as one of (csr weight, bias) layers.

    Parameters
    ----------
    source : SparseReLUNetwork, torch.nn.Module, scikit-learn estimator, str or path
        A network of convexnn, returned as it is; a torch Linear, or Sequential (nested) of Linear, ReLU, Conv1d,
        Conv2d, BatchNorm1d, BatchNorm2d, Flatten, Unflatten, Dropout, Identity, as in eval mode; a fitted
        MLPRegressor or MLPClassifier with activation relu or identity, without the activation of its outputs (a
        classifier's outputs are scores in the order of ``classes_``, or one logit for ``classes_[1]``); a file
        ``.npz`` written by ``SparseReLUNetwork.save``; a file ``.onnx`` or ``.onnx.gz`` (its nodes:
        :mod:`verify.reading.from_onnx`).
        Modules, estimators and ONNX files are run on a few rows and must agree with what was read.
    input_shape : sequence of int, optional
        The shape of one row of a torch module, without the batch, such as (3, 32, 32); needed where its first layer
        does not tell it. The network takes these entries in row-major order.

    Raises
    ------
    ValueError
        An unsupported layer (named, with its position), an entry that is not finite, sizes that do not chain, or a
        file that is not a network.
    OSError
        The file cannot be read (FileNotFoundError and so on).
    TypeError
        A source of another type.

    Notes
    -----
    Weights become float64 without loss, and stay sparse: convolutions are unrolled to csr matrices. Affine layers in
    a row, without a ReLU between them (batch norm among them), are multiplied out in float64, which rounds; a proof
    is about the network returned. Hidden neurons that cannot matter are dropped without rounding
    (:func:`verify.simplify`); inputs all stay, used or not.
    """
    if input_shape is not None and not _is_torch(source):
        raise ValueError("input_shape is given; expected it with a torch module alone")
    if isinstance(source, SparseReLUNetwork):
        return source
    if isinstance(source, str | os.PathLike):
        return _read_file(as_file(source, "network"))
    if _is_torch(source):
        from verify.reading.from_torch import read_module

        return simplify(read_module(source, None if input_shape is None else _as_shape(input_shape)))
    if hasattr(source, "coefs_") or any(base.__module__.startswith("sklearn.") for base in type(source).__mro__):
        from verify.reading.from_sklearn import read_perceptron

        return simplify(read_perceptron(source))
    raise TypeError(
        f"network is a {type(source).__name__}; expected a SparseReLUNetwork, a torch module, "
        "a scikit-learn MLP, or the path of an .npz or .onnx file"
    )


def read_simple(source: Any) -> SparseReLUNetwork:
    """Return the network of a question: as :func:`read_network` gives it, without the neurons that cannot matter."""
    return simplify(read_network(source))


def _as_shape(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, Sequence) or isinstance(sizes, str) or not sizes:
        raise TypeError(f"input_shape is {sizes!r}; expected the sizes of one row, such as (3, 32, 32)")
    return tuple(as_count(size, "input_shape") for size in sizes)


def _is_torch(source: Any) -> bool:
    return type(source).__module__.partition(".")[0] == "torch" or hasattr(source, "state_dict")


def _read_file(path: Path) -> SparseReLUNetwork:
    if path.suffix == ".npz":
        return SparseReLUNetwork.load(path)
    if path.suffix == ".onnx":
        from verify.reading.from_onnx import read_onnx

        return simplify(read_onnx(path))
    if path.name.endswith(".onnx.gz"):
        return _read_packed(path)
    raise ValueError(f"network file {path} has the ending {path.suffix!r}; expected .npz, .onnx or .onnx.gz")


def _read_packed(path: Path) -> SparseReLUNetwork:
    """Return the network of an ONNX file that gzip has packed."""
    with TemporaryDirectory() as folder:
        plain = Path(folder) / path.name.removesuffix(".gz")
        plain.write_bytes(unpacked(path, MOST_BYTES))
        try:
            return _read_file(plain)
        except ValueError as error:
            raise ValueError(str(error).replace(str(plain), str(path))) from None
