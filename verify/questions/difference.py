"""The difference of two networks, bounded over a region."""

from __future__ import annotations

from itertools import product
from typing import Any

import scipy.sparse as sp
from numpy.typing import ArrayLike

from convexnn.network import SparseReLUNetwork
from verify.bounds.coupling import couple
from verify.bounds.layer_bounds import check_sizes
from verify.bounds.objectives import rows_of, with_values
from verify.reading.read_network import read_whole
from verify.reading.simplify import simplify
from verify.regions.box import Box
from verify.regions.intervals import Interval


def difference(dense: Any, sparse: Any, region: Box, rows: int | ArrayLike | None = None) -> Interval:
    """Bound c . (dense(x) - sparse(x)) over a region.

    Parameters
    ----------
    dense, sparse : SparseReLUNetwork, torch module, scikit-learn MLP, or path
        Two networks of the same sizes and linear units, such as one and its copy by :func:`verify.prune`; neuron is
        paired with neuron, those that cannot matter too.
    region : Box, LinfBall, L1Ball or L2Ball
        The inputs.
    rows : int or array_like (k,) or (r, k), optional
        The index of an output, or one c or several; default every output by itself.

    Returns
    -------
    Interval
        Proven `lower` and `upper`, each (r,), sound under rounding.

    Notes
    -----
    A linear function of both networks goes from the outputs back to the inputs, as in :func:`verify.bound`, and is
    bounded there over the region. With a and b the pre-activations of a pair of neurons, d = a - b within [l, u] and
    e = relu(a) - relu(b), min(0, d) <= e <= max(0, d), so that e <= s d - s l with s = u / (u - l) where l < 0 < u, and
    e >= t d - t u with t = -l / (u - l) (the differences of two networks: Paulsen, Wang and Wang, ReluDiff, 2020;
    their bounds are symbolic forwards, these are linear backwards). A pair is relaxed so, or each of its ReLUs apart,
    whichever is lower at the middle; apart is exact where both are stable. The less is pruned, the tighter: of a copy
    without 80 % of the weights little is known.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> dense = cx.SparseReLUNetwork([([[1.0, 0.01], [-0.01, 1.0]], None), ([[1.0, 1.0]], None)])
    >>> apart = verify.difference(dense, verify.prune(dense, kept=2), verify.Box([0.0, 0.0], [1.0, 1.0]))
    >>> apart.lower.round(4).tolist(), apart.upper.round(4).tolist()
    ([-0.01], [0.01])
    """
    first, second = (with_values(network, "difference") for network in as_pair(dense, sparse))
    check_sizes(first, region)
    return difference_of(first, second, region, rows_of(rows, first.n_outputs, "rows"))


def as_pair(dense: Any, sparse: Any) -> tuple[SparseReLUNetwork, SparseReLUNetwork]:
    """Return two networks, read; ValueError where they have not the same sizes and kinds of units.

    They are paired before neurons leave that cannot matter; without these where one of them was read so before.
    """
    wholes = read_whole(dense), read_whole(sparse)
    for first, second in product(*((whole, simplify(whole)) for whole in wholes)):
        if _kinds(first) == _kinds(second):
            return first, second
    sizes = ["-".join(map(str, network.sizes)) for network in wholes]
    if sizes[0] == sizes[1]:
        raise ValueError("sparse has other linear units than dense; expected the same, unit by unit")
    raise ValueError(f"sparse has the sizes {sizes[1]}; expected {sizes[0]}, neuron by neuron as in dense")


def _kinds(network: SparseReLUNetwork) -> tuple[Any, ...]:
    """Return the sizes of the layers and their linear units, to be compared."""
    linear = (network.linear_units(index) for index in range(len(network.layers) - 1))
    return network.sizes, *(None if mask is None else mask.tobytes() for mask in linear)


def difference_of(dense: SparseReLUNetwork, sparse: SparseReLUNetwork, region: Box, rows: sp.csr_matrix) -> Interval:
    """Return bounds of rows @ (dense(x) - sparse(x)) over a region; see :func:`difference`."""
    both = sp.csr_matrix(sp.hstack([rows, -rows]))
    return couple(dense, sparse, region).bounds(both)
