"""Exact values: functions of a network at a point in rational arithmetic, where the work of it is little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Bools, Floats
from convexnn.network import Layer
from verify.bounds.dyadics import Dyadics

# Words of 64 bits that one evaluation may multiply, weight by weight: a tenth of a second. Beyond, nothing is exact.
MOST_WORDS = 2_000_000


@dataclass(frozen=True, eq=False)
class ExactLayer:
    """An affine layer W h + b of dyadic numbers: `data` at the places of `weight`, and `bias`."""

    weight: sp.csr_matrix
    data: Dyadics
    bias: Dyadics

    @classmethod
    def of(cls, layer: Layer) -> ExactLayer:
        """Return a layer of float64 numbers as they are."""
        weight, bias = layer
        return cls(weight, Dyadics.of(weight.data), Dyadics.of(bias))

    def at(self, values: Dyadics) -> Dyadics:
        """Return W h + b for h = `values` (k,)."""
        starts, filled = self.weight.indptr[:-1], np.diff(self.weight.indptr) > 0
        # The last entry is a row's that has none.
        terms = np.append(self.data.units * values.units[self.weight.indices], np.array([0], dtype=object))
        sums: Any = np.add.reduceat(terms, starts) if len(starts) else terms[:0]
        total = np.where(filled, sums, 0).astype(object)
        return Dyadics(total, self.data.exponent + values.exponent) + self.bias


@dataclass(frozen=True, eq=False)
class ExactFunctions:
    """The functions rows @ outputs + offsets of the layers of a network, evaluated exactly.

    Attributes
    ----------
    layers : sequence of (csr_matrix, ndarray)
        The network's, and the functions as a last one.
    linear : sequence of ndarray of bool or None
        Which units of each hidden layer are linear.
    """

    layers: Sequence[Layer]
    linear: Sequence[Bools | None]

    @cached_property
    def _exact(self) -> list[ExactLayer]:
        return [ExactLayer.of(layer) for layer in self.layers]

    def affordable(self, x: Floats) -> bool:
        """Whether the point (d,) is finite and evaluating it is little work."""
        return bool(np.isfinite(x).all()) and self._words(x) <= MOST_WORDS

    def at(self, x: Floats) -> list[Fraction] | None:
        """Return the exact functions (t,) at a point (d,); None where that is too much work."""
        if not self.affordable(x):
            return None
        values = Dyadics.of(x)
        for layer, linear in zip(self._exact[:-2], self.linear, strict=True):
            values = layer.at(values).activated(linear)
        for layer in self._exact[-2:]:
            values = layer.at(values)
        return values.fractions()

    @cached_property
    def _spans(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """The spans of the weights and biases of each layer."""
        return [(_span(weight.data), _span(bias)) for weight, bias in self.layers]

    def _words(self, x: Floats) -> float:
        """Return at least how many words of 64 bits are multiplied: the bits of a layer add to those before."""
        words = float(sum(weight.nnz for weight, _ in self.layers))
        if words > MOST_WORDS:
            return words
        low, high = _span(x)
        for (weight, bias), (own, shift) in zip(self.layers, self._spans, strict=True):
            words += weight.nnz * max(high - low, 0.0) / 64.0
            low, high = low + own[0], high + own[1] + np.log2(weight.shape[1] + 1.0)
            if bias.any():
                low, high = min(low, shift[0]), max(high, shift[1]) + 1.0
        return words


def _span(values: Floats) -> tuple[float, float]:
    """Return the exponents between which the bits of float64 numbers lie, all of 53 bits counted."""
    exponents = np.frexp(values[values != 0.0])[1]
    return (float(exponents.min()) - 53.0, float(exponents.max())) if len(exponents) else (0.0, 0.0)
