"""Passing inputs through: a network that has some of its inputs as outputs too, for constraints that read both."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Bools
from convexnn.network import Layer, SparseReLUNetwork
from verify.relu_graph import ReLUGraph


def with_inputs(network: SparseReLUNetwork, chosen: NDArray[np.int64]) -> SparseReLUNetwork:
    """Return a network whose outputs are those of `network`, then the inputs `chosen` (c,), by linear units."""
    layers, linear = list[Layer](), list[Bools]()
    for index, (weight, bias) in enumerate(network.layers):
        rows = sp.eye(len(chosen), format="csr") if index else _unit_rows(chosen, network.n_inputs)
        join = sp.block_diag if index else sp.vstack
        layers.append((sp.csr_matrix(join([weight, rows])), np.append(bias, np.zeros(len(chosen)))))
        own = network.linear_units(index)
        linear.append(np.append(np.zeros(len(bias), dtype=bool) if own is None else own, np.ones(len(chosen), bool)))
    return ReLUGraph(layers, linear[:-1])


def _unit_rows(chosen: NDArray[np.int64], size: int) -> sp.csr_matrix:
    """Return the rows (c, size) that read the chosen entries."""
    return sp.csr_matrix((np.ones(len(chosen)), (np.arange(len(chosen)), chosen)), shape=(len(chosen), size))
