"""Several networks as one, whose outputs are theirs, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convexnn.checks import Bools, Ints
from convexnn.network import SparseReLUNetwork
from verify.reading.graph.affine import Affine
from verify.reading.graph.layering import network_of
from verify.reading.graph.limits import MOST_ENTRIES, Allowance
from verify.reading.graph.values import Value, concatenated, input_value, mapped, relu, selected


def side_by_side(networks: Sequence[SparseReLUNetwork], places: Sequence[Ints], n_inputs: int) -> SparseReLUNetwork:
    """Return the network x -> (f_1(x at places_1), f_2(x at places_2), ...), exactly.

    Parameters
    ----------
    networks : sequence of SparseReLUNetwork
        Of any depths: the value of a shallow one is carried past the layers of a deep one.
    places : sequence of ndarray (d_k,)
        For each network which entries of x (`n_inputs`,) it reads, none of them twice, so that no weights are added.
    n_inputs : int
        Length of x.
    """
    row = input_value((n_inputs,))
    outputs = [_outputs(network, selected(row, own)) for network, own in zip(networks, places, strict=True)]
    stored = sum(int(weight.nnz) for network in networks for weight, _ in network.layers)
    return network_of(concatenated(outputs, 0), Allowance(MOST_ENTRIES + stored))


def _outputs(network: SparseReLUNetwork, value: Value) -> Value:
    last = len(network.layers) - 1
    for index, (weight, bias) in enumerate(network.layers):
        value = mapped(value, Affine(weight, bias), (len(bias),))
        if index < last:
            value = _activated(value, network.linear_units(index))
    return value


def _activated(value: Value, linear: Bools | None) -> Value:
    """Return a layer's values after its ReLUs; linear units keep theirs."""
    if linear is None:
        return relu(value)
    kept, lifted = np.flatnonzero(linear), np.flatnonzero(~linear)
    parts = [selected(value, kept), relu(selected(value, lifted))]
    return selected(concatenated(parts, 0), np.argsort(np.concatenate([kept, lifted])))
