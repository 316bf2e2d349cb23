"""The difference of two networks, bounded over a region."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from convexnn.network import SparseReLUNetwork
from verify.answers.proven_bounds import Bounding, Difference
from verify.bounds.coupling import couple
from verify.bounds.layer_bounds import check_sizes, crown_layers, interval_bounds
from verify.bounds.objectives import rows_of, with_values
from verify.questions.resources import answer_of
from verify.reading.read_network import read_whole
from verify.reading.simplify import simplify
from verify.regions.box import Box
from verify.regions.intervals import Interval, affine_interval


def difference(dense: Any, sparse: Any, region: Box, rows: int | ArrayLike | None = None) -> Difference:
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
    Difference
        Proven `lower` and `upper`, each (r,), sound under rounding. Its `status` is INTERRUPTED after Ctrl-C: then the
        bounds are those that each network has by itself.

    Raises
    ------
    TypeError, ValueError, ImportError
        An argument is of the wrong type or range, or a package is missing; the message names it.
    KeyboardInterrupt
        Ctrl-C while a file is read: not even the number of outputs is known then.

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
    read: list[sp.csr_matrix] = []

    def begin() -> _Differing:
        first, second = (with_values(network, "difference") for network in as_pair(dense, sparse))
        check_sizes(first, region)
        read.append(rows_of(rows, first.n_outputs, "rows"))
        return _Differing((first, second), region, read[0])

    def nothing(seconds: float) -> Difference:
        if not read:
            raise KeyboardInterrupt
        unknown = np.full(read[0].shape[0], np.inf)
        return Difference(-unknown, unknown, status=Bounding.INTERRUPTED)

    return answer_of(begin, nothing)


class _Differing:
    """The bounds of a difference on their way: what is known of each network by itself."""

    def __init__(self, networks: tuple[SparseReLUNetwork, SparseReLUNetwork], region: Box, rows: sp.csr_matrix) -> None:
        self.networks, self.region, self.rows = networks, region, rows
        self.known = [interval_bounds(network, region) for network in networks]

    def decide(self) -> Difference:
        """Bound each network by CROWN, then both together."""
        for place, network in enumerate(self.networks):
            for better in crown_layers(network, self.region, self.known[place]):
                self.known[place] = better
        found = difference_of(*self.networks, self.region, self.rows, self.known)
        return Difference(found.lower, found.upper)

    def by_now(self) -> Difference:
        """Return what follows from the bounds of each network."""
        own, other = (layers[-1] for layers in self.known)
        found = affine_interval(_both(self.rows), np.zeros(self.rows.shape[0]), own.beside(other))
        return Difference(found.lower, found.upper, status=Bounding.INTERRUPTED)


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


def difference_of(
    dense: SparseReLUNetwork,
    sparse: SparseReLUNetwork,
    region: Box,
    rows: sp.csr_matrix,
    known: Sequence[Sequence[Interval]] | None = None,
) -> Interval:
    """Return bounds of rows @ (dense(x) - sparse(x)) over a region; see :func:`difference`.

    `known` are the bounds of the layers of each network by itself, those of CROWN unless they are given.
    """
    return couple(dense, sparse, region, known).bounds(_both(rows))


def _both(rows: sp.csr_matrix) -> sp.csr_matrix:
    """Return the coefficients (r, 2k) of the outputs of both networks."""
    return sp.csr_matrix(sp.hstack([rows, -rows]))
