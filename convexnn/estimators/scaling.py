"""Scaling: features and targets of one size, and the way back of a network to raw units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork

# A deviation of this share of the largest entry of its column is rounding.
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Scaling:
    """Columns less their centres, divided by their deviations; columns without a deviation are left out.

    Attributes
    ----------
    centres, deviations : ndarray (d,)
        Of the columns; the deviation of a column that is left out counts as 1.
    varies : ndarray (d,) of bool
        Which columns are not left out.
    """

    centres: Floats
    deviations: Floats
    varies: NDArray[np.bool_]

    @classmethod
    def of(cls, table: Floats, shift: bool = True, weights: Floats | None = None) -> Scaling:
        """Return the scaling of the columns of `table` (n, d) by their means, or about zero without a `shift`.

        Rows may have weights (n,).
        """
        peaks = np.abs(table).max(axis=0)
        # Columns are brought to size 1 first: squares of very large or very small numbers do not fit into float64.
        units = np.where(peaks > 0.0, peaks, 1.0)
        scaled = table / units
        centres = np.average(scaled, axis=0, weights=weights) if shift else np.zeros(len(units))
        deviations = np.sqrt(np.average(np.square(scaled - centres), axis=0, weights=weights))
        varies = deviations > ROUNDING
        return cls(centres * units, np.where(varies, deviations * units, 1.0), varies)

    @classmethod
    def unit(cls, n_columns: int) -> Scaling:
        """Return the scaling that changes nothing."""
        return cls(np.zeros(n_columns), np.ones(n_columns), np.ones(n_columns, dtype=bool))

    @property
    def kept(self) -> Scaling:
        """The scaling of the columns that are not left out."""
        return Scaling(self.centres[self.varies], self.deviations[self.varies], self.varies[self.varies])

    @property
    def selection(self) -> sp.csr_matrix:
        """The selection matrix (p, d): row i has a one at the place of the i-th kept column among all."""
        at = np.flatnonzero(self.varies)
        return sp.csr_matrix((np.ones(len(at)), (np.arange(len(at)), at)), shape=(len(at), len(self.varies)))

    def apply(self, table: Floats) -> Floats:
        """Return the columns that are not left out, scaled: (n, p)."""
        kept = self.kept
        return np.asarray((table[:, self.varies] - kept.centres) / kept.deviations)


def to_raw(network: SparseReLUNetwork, inputs: Scaling, outputs: Scaling) -> SparseReLUNetwork:
    """Return the network on raw features and in raw units, of a network on scaled ones.

    The first layer takes in the features' deviations s and centres m, W' = W / s and b' = b - W' m; the last layer the
    outputs' deviations t and centres c, W' = t W and b' = t b + c. Zero weights stay zero, and columns that the scaling
    leaves out have no weights.
    """
    layers = list(network.layers)
    weight, bias = layers[0]
    raw = weight @ sp.diags_array(1.0 / inputs.kept.deviations)
    layers[0] = (sp.csr_matrix(raw @ inputs.selection), bias - raw @ inputs.kept.centres)
    weight, bias = layers[-1]
    units = outputs.selection.T @ sp.diags_array(outputs.kept.deviations)
    layers[-1] = (sp.csr_matrix(units @ weight), units @ bias + outputs.centres)
    return SparseReLUNetwork(layers)


def to_scaled(network: SparseReLUNetwork, inputs: Scaling, outputs: Scaling) -> SparseReLUNetwork:
    """Return the network on scaled features and outputs, of one on raw ones: the way back of :func:`to_raw`."""
    layers = list(network.layers)
    weight, bias = layers[0]
    scaled = weight @ inputs.selection.T @ sp.diags_array(inputs.kept.deviations)
    layers[0] = (sp.csr_matrix(scaled), bias + weight @ inputs.centres)
    weight, bias = layers[-1]
    units = sp.diags_array(1.0 / outputs.kept.deviations) @ outputs.selection
    layers[-1] = (sp.csr_matrix(units @ weight), units @ (bias - outputs.centres))
    return SparseReLUNetwork(layers)


def constant_network(n_inputs: int, outputs: Floats) -> SparseReLUNetwork:
    """Return the network of one neuron without weights whose outputs (k,) are the same everywhere."""
    return SparseReLUNetwork([(sp.csr_matrix((1, n_inputs)), None), (sp.csr_matrix((len(outputs), 1)), outputs)])
