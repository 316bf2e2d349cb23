"""Steps: the common form of every network that is read, a chain of affine maps and ReLUs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.reading.limits import as_size


@dataclass(frozen=True)
class Affine:
    """The step h -> W h + b, weight (out, in), bias (out,)."""

    weight: sp.csr_matrix
    bias: Floats

    def __post_init__(self) -> None:
        # Checked here, since a later product with a zero would hide it.
        if not (np.isfinite(self.weight.data).all() and np.isfinite(self.bias).all()):
            raise ValueError("it has a weight or bias that is not finite")

    def after(self, first: Affine) -> Affine:
        """Return this step applied to the result of `first`, as one step."""
        if self.weight.shape[1] != first.weight.shape[0]:
            raise ValueError(f"a layer takes {self.weight.shape[1]} inputs where {first.weight.shape[0]} come in")
        as_size(_product_size(self.weight, first.weight), "two layers in a row, without a ReLU between them,")
        with np.errstate(all="ignore"):
            return Affine(sp.csr_matrix(self.weight @ first.weight), self.weight @ first.bias + self.bias)


def _product_size(left: sp.csr_matrix, right: sp.csr_matrix) -> int:
    """Return at most how many entries a product stores."""
    columns = np.bincount(left.indices, minlength=left.shape[1])
    return min(left.shape[0] * right.shape[1], int(columns @ np.diff(right.indptr)))


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
