"""Bounds on the pre-activations of a network over a region, sound in floating point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats, as_known
from convexnn.network import SparseReLUNetwork
from verify.regions import Box

METHODS = ("interval",)


@dataclass(frozen=True, eq=False)
class Interval:
    """Proven bounds lower <= value <= upper of the entries of a vector, each (k,); infinite where nothing is known."""

    lower: Floats
    upper: Floats

    def relu(self) -> Interval:
        """Return the bounds of max(value, 0)."""
        return Interval(np.maximum(self.lower, 0.0), np.maximum(self.upper, 0.0))


def bound(network: SparseReLUNetwork, region: Box, method: str = "interval") -> tuple[Interval, ...]:
    """Bound the pre-activations of every layer over a region.

    Parameters
    ----------
    network : SparseReLUNetwork
        L layers.
    region : Box
        Over as many inputs as the network has.
    method : {"interval"}
        Interval arithmetic, layer by layer.

    Returns
    -------
    tuple of Interval
        One a layer, the last for the outputs; each `lower` and `upper` has shape (out,).

    Notes
    -----
    lower = W+ l + W- u + b and upper = W+ u + W- l + b, moved outward by more than the rounding error of the sums,
    so the bounds hold for the real-number network with these float64 weights. Over a box they are exact for the first
    layer, up to that rounding.
    """
    as_known(method, "method", METHODS)
    check_sizes(network, region)
    values, result = Interval(region.lower, region.upper), []
    for weight, bias in network.layers:
        result.append(affine_interval(weight, bias, values))
        values = result[-1].relu()
    return tuple(result)


def check_sizes(network: SparseReLUNetwork, region: Box) -> None:
    """Raise ValueError where a region has not as many inputs as the network."""
    if not isinstance(region, Box):
        raise TypeError(f"region is a {type(region).__name__}; expected Box or LinfBall")
    if region.size != network.n_inputs:
        raise ValueError(f"region has {region.size} inputs; expected {network.n_inputs}, as the network has")


def affine_interval(weight: sp.csr_matrix, bias: Floats, values: Interval) -> Interval:
    """Return outward-rounded bounds of W h + b for h in `values`."""
    with np.errstate(all="ignore"):
        positive, negative = weight.maximum(0.0), weight.minimum(0.0)
        lower = _one_side(weight, (positive, values.lower), (negative, values.upper), bias, -1.0)
        upper = _one_side(weight, (positive, values.upper), (negative, values.lower), bias, 1.0)
    # 0 * inf is NaN: an entry that overflowed is unknown, never proven.
    return Interval(np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper))


def _one_side(
    weight: sp.csr_matrix,
    first: tuple[sp.csr_matrix, Floats],
    second: tuple[sp.csr_matrix, Floats],
    bias: Floats,
    outward: float,
) -> Floats:
    """Return the sum of two products and `bias`, moved `outward` (-1 or 1) by more than its rounding error.

    A sum whose terms are all zero is exact and stays, so that ties of equal outputs are seen as such.
    """
    parts = (first, second)
    total = sum(matrix @ values for matrix, values in parts) + bias
    sizes = sum(abs(matrix) @ np.abs(values) for matrix, values in parts) + np.abs(bias)
    terms = sum((matrix != 0.0).astype(float) @ (values != 0.0) for matrix, values in parts) + (bias != 0.0)
    error = rounding(weight) * sizes + (terms + 1.0) * np.finfo(np.float64).tiny
    return np.where(terms == 0.0, total, np.nextafter(total + outward * error, outward * np.inf))


def rounding(weight: sp.csr_matrix) -> Floats:
    """Return for each row a relative error that exceeds that of its sum, in any order of the terms.

    A sum of k products has error at most (k + 1) u / (1 - (k + 1) u) of the sum of magnitudes, u = eps / 2; twice
    that, with a few terms more, also covers the rounding of this bound and of weights that are differences.
    """
    return (np.diff(weight.indptr) + 8) * np.finfo(np.float64).eps
