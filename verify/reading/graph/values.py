"""Values: arrays that are affine functions of the input and of the outputs of earlier ReLUs, and maps of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats, Ints
from verify.reading.graph.affine import Affine, check_finite, identity, times
from verify.reading.graph.limits import MOST_PLACES, as_size

Shape = tuple[int, ...]
Kind = Literal["input", "affine", "relu"]


class Node:
    """A vector of the graph that values refer to: the input, an affine function with several users, or a ReLU of one.

    Attributes
    ----------
    kind : "input", "affine" or "relu"
        What it is of its terms and bias.
    size : int
        Length of the vector.
    terms : tuple of (Node, matrix (size, size of the node) or None for the identity)
        What it is a function of.
    bias : ndarray (size,) or None
        What is added; None for zeros.
    level : int
        The most ReLUs on a way from the input to here, its own among them.
    number : int
        Larger than those of the nodes of its terms.
    """

    def __init__(self, kind: Kind, size: int, terms: Terms = (), bias: Floats | None = None) -> None:
        self.kind: Kind = kind
        self.size, self.terms, self.bias = size, terms, bias
        deepest = max((node.level for node, _ in terms), default=0)
        self.level: int = deepest + 1 if kind == "relu" else deepest
        self.number: int = max((node.number for node, _ in terms), default=-1) + 1


Term = tuple[Node, "sp.csr_matrix | None"]
Terms = tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Value:
    """An array of a shape, whose entries in row-major order are a sum of matrices times nodes, and a bias.

    Attributes
    ----------
    shape : tuple of int
        Of the array.
    terms : tuple of (Node, matrix or None for the identity)
        No node twice.
    bias : ndarray or None
        None for zeros.
    nonnegative : bool
        Whether it is known that no entry is ever below zero.
    """

    shape: Shape
    terms: Terms
    bias: Floats | None = None
    nonnegative: bool = False

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    @property
    def offsets(self) -> Floats:
        """The bias, zeros where there is none."""
        return np.zeros(self.size) if self.bias is None else self.bias

    @property
    def is_node(self) -> bool:
        """Whether it is a node as it stands."""
        return self.bias is None and len(self.terms) == 1 and self.terms[0][1] is None


def input_value(shape: Shape) -> Value:
    """Return the input of a graph."""
    return Value(shape, ((Node("input", prod(shape)), None),))


def constant_value(array: NDArray[Any]) -> Value:
    """Return a value that depends on nothing."""
    numbers = np.asarray(array, dtype=np.float64).ravel()
    check_finite(numbers)
    return Value(np.shape(array), (), numbers, bool((numbers >= 0.0).all()))


def pinned(value: Value) -> Value:
    """Return a value that several others will use, as a node: what they make of it is multiplied out later."""
    if value.is_node or not value.terms:
        return value
    node = Node("affine", value.size, value.terms, value.bias)
    return Value(value.shape, ((node, None),), None, value.nonnegative)


def relu(value: Value) -> Value:
    """Return max(value, 0)."""
    if value.nonnegative:
        return value
    node = Node("relu", value.size, value.terms, value.bias)
    return Value(value.shape, ((node, None),), None, True)


def mapped(value: Value, step: Affine, shape: Shape) -> Value:
    """Return an affine map of the entries of a value, as an array of a shape."""
    if step.weight.shape[1] != value.size:
        raise ValueError(f"a layer takes {step.weight.shape[1]} inputs where {value.size} come in")
    terms = tuple((node, times(step.weight, matrix)) for node, matrix in value.terms)
    with np.errstate(all="ignore"):
        bias = step.bias if value.bias is None else step.weight @ value.bias + step.bias
    check_finite(bias)
    return Value(shape, terms, bias)


def reshaped(value: Value, shape: Shape) -> Value:
    """Return the same entries as an array of another shape."""
    if prod(shape) != value.size:
        raise ValueError(f"cannot reshape array of size {value.size} into shape {shape}")
    return Value(shape, value.terms, value.bias, value.nonnegative)


def shifted(value: Value, constant: Floats) -> Value:
    """Return the sum of a value and a constant that is broadcast, which may be to a larger shape."""
    shape = np.broadcast_shapes(value.shape, np.shape(constant))
    wide = expanded(value, shape)
    offsets = np.broadcast_to(constant, shape).ravel()
    with np.errstate(all="ignore"):
        bias = offsets.copy() if wide.bias is None else wide.bias + offsets
    check_finite(bias)
    return Value(shape, wide.terms, bias)


def scaled(value: Value, factor: Floats) -> Value:
    """Return the product of a value and a constant that is broadcast, which may be to a larger shape."""
    shape = np.broadcast_shapes(value.shape, np.shape(factor))
    wide = expanded(value, shape)
    factors = np.broadcast_to(factor, shape).ravel()
    check_finite(factors)
    if (factors == 1.0).all():
        return wide
    slopes = sp.csr_matrix(sp.diags(factors))
    terms = tuple((node, times(slopes, matrix)) for node, matrix in wide.terms)
    bias = None if wide.bias is None else factors * wide.bias
    if bias is not None:
        check_finite(bias)
    return Value(shape, terms, bias, wide.nonnegative and bool((factors >= 0.0).all()))


def selected(value: Value, places: Ints, fill: float = 0.0) -> Value:
    """Return the entries at flat `places` of a value, as an array of their shape; -1 stands for the number `fill`."""
    flat = np.asarray(places).ravel()
    outside = flat < 0
    terms = [(node, _rows(matrix, node.size, flat, outside)) for node, matrix in value.terms]
    if len(terms) > 1:
        terms = [(node, matrix) for node, matrix in terms if matrix.nnz]
    bias = None if value.bias is None else np.where(outside, 0.0, value.bias[np.maximum(flat, 0)])
    if fill != 0.0 and outside.any():
        bias = (np.zeros(flat.size) if bias is None else bias) + np.where(outside, fill, 0.0)
    return Value(np.shape(places), tuple(terms), bias, value.nonnegative and fill >= 0.0)


def _rows(matrix: sp.csr_matrix | None, size: int, places: Ints, outside: NDArray[np.bool_]) -> sp.csr_matrix:
    """Return some rows of a matrix, the identity where it is None; zeros for those outside."""
    if matrix is None:
        inside = np.flatnonzero(~outside)
        indptr = np.concatenate([[0], np.cumsum(~outside)])
        parts = (np.ones(len(inside)), places[inside], indptr)
        return sp.csr_matrix(parts, shape=(len(places), size))
    if not outside.any():
        return sp.csr_matrix(matrix[places])
    kept = sp.csr_matrix(sp.diags((~outside).astype(float)))
    rows = sp.csr_matrix(kept @ matrix[np.maximum(places, 0)])
    rows.eliminate_zeros()
    return rows


def places_of(value: Value) -> Ints:
    """Return the flat places of the entries of a value, as an array of its shape: index it, then select."""
    return np.arange(value.size).reshape(value.shape)


def expanded(value: Value, shape: Shape) -> Value:
    """Return a value broadcast to a shape."""
    if value.shape == shape:
        return value
    as_size(prod(shape), "its result", MOST_PLACES)
    if prod(shape) == value.size:
        np.broadcast_shapes(value.shape, shape)
        return reshaped(value, shape)
    return selected(value, np.broadcast_to(places_of(value), shape))


def combined(values: Sequence[Value], slopes: Sequence[float]) -> Value:
    """Return the sum of values times slopes of 1 or -1, broadcast to one shape."""
    shape = np.broadcast_shapes(*(value.shape for value in values))
    terms: dict[Node, sp.csr_matrix | None] = {}
    bias: Floats | None = None
    for value, slope in zip(values, slopes, strict=True):
        wide = expanded(value, shape)
        for node, matrix in wide.terms:
            part = matrix if slope == 1.0 else (identity(node.size) if matrix is None else matrix) * slope
            terms[node] = part if node not in terms else added(terms[node], part, node.size)
        if wide.bias is not None:
            bias = slope * wide.bias if bias is None else bias + slope * wide.bias
    positive = all(value.nonnegative and slope == 1.0 for value, slope in zip(values, slopes, strict=True))
    return Value(shape, tuple(terms.items()), bias, positive)


def added(left: sp.csr_matrix | None, right: sp.csr_matrix | None, size: int) -> sp.csr_matrix:
    """Return the sum of two matrices, None for the identity."""
    one, other = (identity(size) if matrix is None else matrix for matrix in (left, right))
    total = sp.csr_matrix(one + other)
    check_finite(total.data)
    return total


def concatenated(values: Sequence[Value], axis: int) -> Value:
    """Return values of equal shapes but for one axis, joined along this axis."""
    starts = np.cumsum([0, *(value.size for value in values)])
    places = [places_of(value) + start for value, start in zip(values, starts, strict=False)]
    joined = np.concatenate(places, axis=axis)
    nodes = dict.fromkeys(node for value in values for node, _ in value.terms)
    terms = tuple((node, _stacked([matrix_of(value, node) for value in values])) for node in nodes)
    bias = None
    if any(value.bias is not None for value in values):
        bias = np.concatenate([value.offsets for value in values])
    flat = Value((int(starts[-1]),), terms, bias, all(value.nonnegative for value in values))
    return selected(flat, joined) if (np.diff(joined.ravel()) != 1).any() else reshaped(flat, joined.shape)


def matrix_of(value: Value, node: Node) -> sp.csr_matrix:
    """Return the matrix of a node in a value, zeros where the value does not know it."""
    for other, matrix in value.terms:
        if other is node:
            return identity(node.size) if matrix is None else matrix
    return sp.csr_matrix((value.size, node.size))


def _stacked(matrices: list[sp.csr_matrix]) -> sp.csr_matrix:
    return matrices[0] if len(matrices) == 1 else sp.csr_matrix(sp.vstack(matrices, format="csr"))
