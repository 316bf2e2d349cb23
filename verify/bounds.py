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
        lower = _one_side(weight, bias, values.lower, values.upper, -1.0)
        upper = _one_side(weight, bias, values.upper, values.lower, 1.0)
    # 0 * inf is NaN: an entry that overflowed is unknown, never proven.
    return Interval(np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper))


def _one_side(weight: sp.csr_matrix, bias: Floats, rising: Floats, falling: Floats, outward: float) -> Floats:
    """Return W+ rising + W- falling + bias, moved `outward` (-1 or 1) by more than its rounding error.

    A sum whose terms are all zero is exact and stays, so that ties of equal outputs are seen as such.
    """
    ends = np.where(weight.data > 0.0, rising[weight.indices], falling[weight.indices])
    terms = np.append(weight.data * ends, 0.0)
    used = np.append(((weight.data != 0.0) & (ends != 0.0)).astype(float), 0.0)
    total = _row_sums(weight, terms) + bias
    sizes = _row_sums(weight, np.abs(terms)) + np.abs(bias)
    count = _row_sums(weight, used) + (bias != 0.0)
    error = rounding(weight) * sizes + (count + 1.0) * np.finfo(np.float64).tiny
    return np.where(count == 0.0, total, np.nextafter(total + outward * error, outward * np.inf))


def _row_sums(weight: sp.csr_matrix, entries: Floats) -> Floats:
    """Return the sums of `entries`, one for each stored entry of `weight` and a last 0, over the rows."""
    sums = np.add.reduceat(entries, weight.indptr[:-1])
    return np.where(np.diff(weight.indptr) > 0, sums, 0.0)


def rounding(weight: sp.csr_matrix) -> Floats:
    """Return for each row a relative error that exceeds that of its sum, in any order of the terms.

    A sum of k products has error at most (k + 1) u / (1 - (k + 1) u) of the sum of magnitudes, u = eps / 2; twice
    that, with a few terms more, also covers the rounding of this bound and of weights that are differences.
    """
    return (np.diff(weight.indptr) + 8) * np.finfo(np.float64).eps
