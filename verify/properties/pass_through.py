"""Passing inputs through: a network that has some of its inputs as outputs too, for constraints that read both."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import Layer, SparseReLUNetwork
from verify.regions.box import Box


def with_inputs(network: SparseReLUNetwork, chosen: NDArray[np.int64], region: Box) -> SparseReLUNetwork:
    """Return a network whose outputs are those of `network`, then the inputs `chosen` (c,), over a region.

    Notes
    -----
    x = relu(x - l) + l wherever x >= l, in real arithmetic, and a value of at least 0 passes through any number of
    ReLUs. l is minus a power of two beyond the size of x over the region, so that float64 rounds x - l little. The
    neurons are active all over the region: they cost a search nothing.
    """
    if len(network.layers) == 1:
        weight, bias = network.layers[0]
        return _like(network, [_below(weight, bias, _unit_rows(chosen, network.n_inputs), np.zeros(len(chosen)))], 0)
    # A power of two above the size, at least the least one whose products do not underflow.
    size = np.maximum(region.reach[chosen], 2.0**-400)
    lowest = -np.exp2(np.floor(np.log2(size)) + 1.0)
    layers: list[Layer] = []
    for index, (weight, bias) in enumerate(network.layers):
        last = index == len(network.layers) - 1
        rows = _unit_rows(chosen, network.n_inputs) if index == 0 else sp.eye(len(chosen), format="csr")
        shift = -lowest if index == 0 else lowest if last else np.zeros(len(chosen))
        layers.append(_below(weight, bias, rows, shift) if index == 0 else _beside(weight, bias, rows, shift))
    return _like(network, layers, len(chosen))


def _like(network: SparseReLUNetwork, layers: list[Layer], more: int) -> SparseReLUNetwork:
    """Return a network of other layers whose units are of the same kinds, with `more` ReLUs in each."""
    linear = getattr(network, "linear", None)
    if linear is None:
        return SparseReLUNetwork(layers)
    kind: Any = type(network)
    result: SparseReLUNetwork = kind(layers, [np.append(mask, np.zeros(more, dtype=bool)) for mask in linear])
    return result


def _unit_rows(chosen: NDArray[np.int64], size: int) -> sp.csr_matrix:
    """Return the rows (c, size) that read the chosen entries."""
    return sp.csr_matrix((np.ones(len(chosen)), (np.arange(len(chosen)), chosen)), shape=(len(chosen), size))


def _below(weight: sp.csr_matrix, bias: Floats, rows: sp.csr_matrix, shift: Floats) -> Layer:
    """Return a layer with more neurons that read the same values."""
    return sp.csr_matrix(sp.vstack([weight, rows])), np.concatenate([bias, shift])


def _beside(weight: sp.csr_matrix, bias: Floats, rows: sp.csr_matrix, shift: Floats) -> Layer:
    """Return a layer with more neurons that read more values."""
    return sp.csr_matrix(sp.block_diag([weight, rows])), np.concatenate([bias, shift])
