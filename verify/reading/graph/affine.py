"""Affine maps of vectors, sparse, and their products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.reading.graph.limits import as_size


@dataclass(frozen=True)
class Affine:
    """The map h -> W h + b, weight (out, in), bias (out,)."""

    weight: sp.csr_matrix
    bias: Floats

    def __post_init__(self) -> None:
        # Checked here, since a later product with a zero would hide it.
        check_finite(self.weight.data, self.bias)


def check_finite(*arrays: Floats) -> None:
    """Raise ValueError where an entry is not finite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("it has a weight or bias that is not finite")


def times(left: sp.csr_matrix, right: sp.csr_matrix | None) -> sp.csr_matrix:
    """Return the product of two matrices, None for the identity; a product that would be too large is refused."""
    if right is None:
        return left
    as_size(product_size(left, right), "two layers in a row, without a ReLU between them,")
    with np.errstate(all="ignore"):
        product = sp.csr_matrix(left @ right)
    check_finite(product.data)
    return product


def product_size(left: sp.csr_matrix, right: sp.csr_matrix) -> int:
    """Return at most how many entries a product stores."""
    columns = np.bincount(left.indices, minlength=left.shape[1])
    return min(left.shape[0] * right.shape[1], int(columns @ np.diff(right.indptr)))


def identity(size: int) -> sp.csr_matrix:
    """Return the identity matrix (size, size)."""
    return sp.csr_matrix(sp.identity(size, format="csr"))
