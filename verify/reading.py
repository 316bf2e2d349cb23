"""Reading networks: whatever the user holds becomes a SparseReLUNetwork of (csr weight, bias) layers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from convexnn.checks import as_file
from convexnn.network import SparseReLUNetwork


def read_network(source: Any) -> SparseReLUNetwork:
    """Return any supported network as one of (csr weight, bias) layers.

    Parameters
    ----------
    source : SparseReLUNetwork, torch.nn.Module, str or path
        A network of convexnn; a torch Linear or Sequential (nested) of Linear, ReLU, Flatten, Dropout, Identity; a
        file ``.npz`` written by ``SparseReLUNetwork.save``; a file ``.onnx`` (see
        :mod:`verify.reading_onnx` for its operators). Modules and ONNX files are run on a few rows and must agree with
        what was read.

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
    Weights become float64 without loss. Affine layers in a row, without a ReLU between them, are multiplied out in
    float64; a proof is about the network returned.
    """
    if isinstance(source, SparseReLUNetwork):
        return source
    if isinstance(source, str | os.PathLike):
        return _read_file(as_file(source, "network"))
    if type(source).__module__.partition(".")[0] == "torch" or hasattr(source, "state_dict"):
        from verify.reading_torch import read_module

        return read_module(source)
    raise TypeError(
        f"network is a {type(source).__name__}; expected a SparseReLUNetwork, a torch module, "
        "or the path of an .npz or .onnx file"
    )


def _read_file(path: Path) -> SparseReLUNetwork:
    if path.suffix == ".npz":
        return SparseReLUNetwork.load(path)
    if path.suffix == ".onnx":
        from verify.reading_onnx import read_onnx

        return read_onnx(path)
    raise ValueError(f"network file {path} has the ending {path.suffix!r}; expected .npz or .onnx")
