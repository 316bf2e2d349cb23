"""Reading networks: whatever the user holds becomes a SparseReLUNetwork of (csr weight, bias) layers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork


@dataclass(frozen=True)
class Affine:
    """The step h -> W h + b, weight (out, in), bias (out,)."""

    weight: sp.csr_matrix
    bias: Floats

    def after(self, first: Affine) -> Affine:
        """Return this step applied to the result of `first`, as one step."""
        if self.weight.shape[1] != first.weight.shape[0]:
            raise ValueError(f"a layer takes {self.weight.shape[1]} inputs where {first.weight.shape[0]} come in")
        return Affine(sp.csr_matrix(self.weight @ first.weight), self.weight @ first.bias + self.bias)


class Relu:
    """The step h -> max(h, 0)."""


Step = Affine | Relu


def assemble(steps: Iterable[Step], source: str) -> SparseReLUNetwork:
    """Return the network of a chain of steps: affine steps in a row are multiplied out, a ReLU at either end stays.

    Raises ValueError where no affine step is left to give the network its size.
    """
    layers: list[Affine] = []
    open_layer, leading_relu = True, False
    for step in steps:
        if isinstance(step, Relu):
            leading_relu = leading_relu or not layers
            open_layer = True
        elif open_layer:
            layers.append(step)
            open_layer = False
        else:
            layers[-1] = step.after(layers[-1])
    if not layers:
        raise ValueError(f"{source} has no affine layer; expected at least one")
    if leading_relu:
        layers.insert(0, _identity(layers[0].weight.shape[1]))
    if open_layer:
        layers.append(_identity(layers[-1].weight.shape[0]))
    return SparseReLUNetwork((layer.weight, layer.bias) for layer in layers)


def _identity(size: int) -> Affine:
    return Affine(sp.csr_matrix(sp.identity(size)), np.zeros(size))


def read_network(source: Any) -> SparseReLUNetwork:
    """Return any supported network as one of (csr weight, bias) layers.

    Parameters
    ----------
    source : SparseReLUNetwork, torch.nn.Module, str or path
        A network of convexnn; a torch Linear or Sequential (nested) of Linear, ReLU, Flatten, Dropout, Identity; a
        file ``.npz`` written by ``SparseReLUNetwork.save``; a file ``.onnx`` (see
        :mod:`verify.reading_onnx` for its operators). Weights are taken as float64 without loss.

    Raises
    ------
    ValueError
        An unsupported layer (named, with its position), an entry that is not finite, sizes that do not chain, or a
        file that is not a network.
    FileNotFoundError
        No such file.
    TypeError
        A source of another type.
    """
    if isinstance(source, SparseReLUNetwork):
        return source
    if isinstance(source, str | os.PathLike):
        return _read_file(Path(source))
    if type(source).__module__.partition(".")[0] == "torch" or hasattr(source, "state_dict"):
        from verify.reading_torch import steps_of

        return assemble(steps_of(source), "the torch module")
    raise TypeError(
        f"network is a {type(source).__name__}; expected a SparseReLUNetwork, a torch module, "
        "or the path of an .npz or .onnx file"
    )


def _read_file(path: Path) -> SparseReLUNetwork:
    if path.suffix == ".npz":
        return SparseReLUNetwork.load(path)
    if path.suffix == ".onnx":
        from verify.reading_onnx import steps_in

        return assemble(steps_in(path), str(path))
    raise ValueError(f"network file {path} has the ending {path.suffix!r}; expected .npz or .onnx")
