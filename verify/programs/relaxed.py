"""The relaxation of a network as rows, and where each neuron that can switch stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import of_units
from verify.bounds.triangles import Triangles, over_inputs
from verify.regions.box import Box
from verify.regions.intervals import EPS, TINY, Interval

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neurons:
    """Where the u neurons a = max(p, 0) that can switch stand.

    Attributes
    ----------
    layer, unit : ndarray (u,) of int
        Which neuron of the network each is.
    before, value : ndarray (u,) of int
        The variables p and a.
    above, chord : ndarray (u,) of int
        The rows a - p >= 0 and a - s p <= t.
    feed, bias : csr_matrix (u, v), ndarray (u,)
        p = feed v + bias.
    """

    layer: Places
    unit: Places
    before: Places
    value: Places
    above: Places
    chord: Places
    feed: sp.csr_matrix
    bias: Floats

    def __len__(self) -> int:
        return len(self.bias)

    def phases(self, network: SparseReLUNetwork, x: Floats) -> NDArray[np.int8]:
        """Return 1 for each neuron (u,) that is active at an input (d,), -1 for the others."""
        values = network.activations(x[None])
        active = [values[layer][0, unit] > 0.0 for layer, unit in zip(self.layer, self.unit, strict=True)]
        return np.where(active, 1, -1).astype(np.int8)


@dataclass(frozen=True, eq=False)
class Relaxed:
    """One function of a network over a box, relaxed: cost . v + `constant` over the rows of `triangles`.

    Attributes
    ----------
    triangles, neurons : Triangles, Neurons
        The rows, and where neurons stand in them.
    lower, upper : ndarray (v,)
        Bounds of all variables.
    cost, constant : ndarray (v,), float
        The function, rounded.
    paid : float
        What that rounding can amount to.
    """

    triangles: Triangles
    neurons: Neurons
    lower: Floats
    upper: Floats
    cost: Floats
    constant: float
    paid: float

    @property
    def reach(self) -> Floats:
        """The largest size (v,) of each variable."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    def with_rows(self, rows: sp.csr_matrix, upper: Floats) -> Relaxed:
        """Return the same with further rows rows v <= upper."""
        own = self.triangles
        joined = replace(
            own,
            rows=sp.vstack([own.rows, rows], format="csr"),
            lower=np.concatenate([own.lower, np.full(len(upper), -np.inf)]),
            upper=np.concatenate([own.upper, upper]),
        )
        return replace(self, triangles=joined)


def relax(functions: Functions, index: int, region: Box, known: Sequence[Interval]) -> Relaxed:
    """Return one of some functions relaxed over a box; `known` are finite bounds of the hidden layers."""
    with np.errstate(all="ignore"):
        return _relax(functions, index, region, known)


def _relax(functions: Functions, index: int, region: Box, known: Sequence[Interval]) -> Relaxed:
    triangles, neurons = _rows(functions.network, region, known)
    (weight, bias), row = functions.network.layers[-1], functions.row(index)
    offset = float(functions.offsets[index])
    lower, upper = np.append(region.lower, triangles.low), np.append(region.upper, triangles.high)
    cost = triangles.costs(sp.csr_matrix(row[None] @ weight)).toarray()[0]
    sizes = np.zeros(weight.shape[1])
    kept = triangles.places >= 0
    sizes[kept] = np.maximum(np.abs(lower), np.abs(upper))[triangles.places[kept]]
    # Weights and constant are rounded sums: that is paid for at the largest values of the last layer.
    reach, terms = float(np.abs(row) @ (abs(weight) @ sizes + np.abs(bias))) + abs(offset), sum(weight.shape) + 16
    lost = TINY * terms * (2.0 + float(np.abs(row).sum())) * (2.0 + float(sizes.sum()))
    return Relaxed(triangles, neurons, lower, upper, cost, float(row @ bias) + offset, 2.0 * terms * EPS * reach + lost)


def _rows(network: SparseReLUNetwork, region: Box, known: Sequence[Interval]) -> tuple[Triangles, Neurons]:
    triangles, parts = over_inputs(region), []
    hidden = zip(network.layers, of_units(network, known[: len(network.layers) - 1]), strict=False)
    for depth, (own, bounds) in enumerate(hidden):
        live = np.flatnonzero(bounds.live)
        unstable = bounds.take(live).switching
        first, start, count, more = triangles.rows.shape[1], len(triangles.lower), len(live), len(unstable)
        at, feed = np.arange(more), triangles.costs(own[0][live[unstable]])
        which = np.full(more, depth), live[unstable]
        places = *which, first + unstable, first + count + at, start + count + at, start + count + more + at
        parts.append((*places, feed, own[1][live[unstable]]))
        triangles = triangles.deeper(own, bounds)
    width = triangles.rows.shape[1]
    feeds = [sp.csr_matrix((feed.data, feed.indices, feed.indptr), (feed.shape[0], width)) for *_, feed, _ in parts]
    fields = [np.concatenate([part[number] for part in parts]).astype(np.int64) for number in range(6)]
    layer, unit, before, value, above, chord = fields
    bias = np.concatenate([part[-1] for part in parts])
    return triangles, Neurons(layer, unit, before, value, above, chord, sp.vstack(feeds, format="csr"), bias)
