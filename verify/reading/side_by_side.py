"""Several networks as one, whose outputs are theirs, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Bools, Ints
from convexnn.network import Layer, SparseReLUNetwork
from verify.reading.graph.affine import identity
from verify.relu_graph import ReLUGraph


def side_by_side(networks: Sequence[SparseReLUNetwork], places: Sequence[Ints], n_inputs: int) -> SparseReLUNetwork:
    """Return the network x -> (f_1(x at places_1), f_2(x at places_2), ...), exactly.

    Parameters
    ----------
    networks : sequence of SparseReLUNetwork
        Of any depths: linear units carry the outputs of a shallow one past the layers of a deep one.
    places : sequence of ndarray (d_k,)
        For each network which entries of x (`n_inputs`,) it reads, none of them twice, so that no weights are added.
    n_inputs : int
        Length of x.

    Notes
    -----
    Weights and biases lie beside each other as they are; none are multiplied or added.
    """
    depth = max(len(network.layers) for network in networks)
    stacks = [_layers(network, own, n_inputs, depth) for network, own in zip(networks, places, strict=True)]
    masks = [np.concatenate([_linear(network, index) for network in networks]) for index in range(depth - 1)]
    layers = [_joined([stack[index] for stack in stacks], index == 0) for index in range(depth)]
    return ReLUGraph(layers, masks) if any(mask.any() for mask in masks) else SparseReLUNetwork(layers)


def _layers(network: SparseReLUNetwork, places: Ints, n_inputs: int, depth: int) -> list[Layer]:
    """Return the layers of a network that reads some entries of x, and more that leave its outputs as they are."""
    (weight, bias), *rest = network.layers
    cells = sp.coo_matrix(weight)
    wide = sp.csr_matrix((cells.data, (cells.row, places[cells.col])), shape=(weight.shape[0], n_inputs))
    count = network.n_outputs
    return [(wide, bias), *rest, *[(identity(count), np.zeros(count))] * (depth - len(network.layers))]


def _linear(network: SparseReLUNetwork, index: int) -> Bools:
    """Return which units of a hidden layer pass their value on, those that carry outputs among them."""
    if index >= len(network.layers) - 1:
        return np.ones(network.n_outputs, dtype=bool)
    linear = network.linear_units(index)
    return np.zeros(network.sizes[index + 1], dtype=bool) if linear is None else linear


def _joined(parts: Sequence[Layer], first: bool) -> Layer:
    """Return a layer of several networks beside each other; of the `first` ones all read x."""
    weights = [weight for weight, _ in parts]
    stacked = sp.vstack(weights, format="csr") if first else sp.block_diag(weights, format="csr")
    return sp.csr_matrix(stacked), np.concatenate([bias for _, bias in parts])
