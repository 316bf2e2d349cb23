"""Mapping back: from gated blocks D_j X w_j to the neurons of a ReLU network, on arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convexnn.checks import Bools, Floats, Ints
from convexnn.mapping.pairs import cone_pairs
from convexnn.mapping.refit import better_signs, refit
from convexnn.network import SparseReLUNetwork
from convexnn.patterns.activation_patterns import gate_tiles
from convexnn.program.losses import Loss

# An exact mapping further than this from the convex model, over the model's largest value, deserves a warning.
EXACT = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class Mapping:
    """A ReLU network mapped back from the convex model, and how far it is from it.

    Attributes
    ----------
    network : SparseReLUNetwork
        One hidden layer, output weights +-1, each neuron for one output; of the biases at the outputs none but an
        intercept.
    method : str
        ``exact`` (cone decomposition) or ``refit`` (gates := weights on the fixed support).
    error : float
        Worst |network - convex model| over the rows of the data and the outputs, in units of the outputs.
    relative_error : float
        `error` over the largest |convex model|; 0 where both are 0.
    loss : float
        The network's own mean loss on the data.
    unpaired : ndarray (u,) of int
        Gates whose cone holds no pair u - v = w (``exact`` only), one entry per output concerned; they enter as
        relu(X w) or -relu(-X w).
    """

    network: SparseReLUNetwork
    method: str
    error: float
    relative_error: float
    loss: float
    unpaired: Ints

    @property
    def n_unpaired(self) -> int:
        """Number of blocks (gate and output) without a pair."""
        return len(self.unpaired)

    @property
    def warning(self) -> str | None:
        """One sentence if an exact mapping is not exact (relative error above 1e-6), else None."""
        if self.method != "exact" or self.relative_error <= EXACT:
            return None
        cause = f"; gates without a pair: {self.n_unpaired}" if self.n_unpaired else ""
        return (
            f"the exact mapping is up to {self.error:.3g} from the convex model on the data, {self.relative_error:.1e} "
            f"of its largest value{cause}"
        )

    def __str__(self) -> str:
        unpaired = f", {self.n_unpaired} gates without a pair" if self.n_unpaired else ""
        return (
            f"{self.method} mapping: {self.network}; loss {self.loss:.4g}, at most {self.error:.3g} "
            f"from the convex model{unpaired}"
        )

    def __repr__(self) -> str:
        return f"<{self}>"


def map_back(
    rows: Floats,
    target: Any,
    weights: Floats,
    active: Bools,
    features: Bools,
    *,
    loss: Loss,
    exact: bool,
    bias: bool = False,
    generators: Floats | None = None,
) -> Mapping:
    """Map the blocks D_j X w_j to a network by the exact or the refit way and measure the difference.

    Parameters
    ----------
    rows : ndarray (n, D)
        The data; with `bias` the last column is the column of ones.
    target : array (n,) or (n, k)
        The target, as the loss takes it.
    weights : ndarray (m, D) or (m, D, k)
        w_j, or w_jc for output c, zero at features that are not owned.
    active : ndarray (n, m) of bool
        The masks.
    features : ndarray (m, D) of bool
        The features that each gate owns.
    loss : Loss
        The mean loss, of outputs (n,) or (n, k).
    exact : bool
        True for two neurons a block at most, the same function on the data, by
        :func:`convexnn.mapping.pairs.cone_pairs`; False for one neuron a block on the same support, by
        :func:`convexnn.mapping.refit.refit`.
    bias : bool, default False
        Whether the last column of `rows` stands for the hidden biases; the network then takes D - 1 features.
    generators : ndarray (m, D), optional
        The gates, for exact blocks whose shortest pair is out of reach or inaccurate, and to tell a network that has
        been found with its gates: where each is its neuron's weights, to the last bit, nothing is refitted.

    Returns
    -------
    Mapping
    """
    blocks = _Blocks.of(weights)
    if exact:
        hidden, heads, unpaired = _map_exact(rows, active, features, blocks, generators)
    else:
        fitted = _map_refit(rows, target, active, blocks, loss, generators)
        hidden, heads, unpaired = *fitted, np.zeros(0, dtype=np.int64)
    network, model = network_of(hidden, heads, bias), gated_output(rows, weights, active)
    output = network.predict(rows[:, :-1] if bias else rows).reshape(model.shape)
    return _mapping(network, "exact" if exact else "refit", model, output, loss.value(output, target), unpaired)


def map_parts(
    rows: Floats, target: Any, parts: tuple[Floats, Floats], active: Bools, *, loss: Loss, bias: bool = False
) -> Mapping:
    """Map the blocks D_j X (u_j - v_j) of a cone program: u_j are neurons with head +1, v_j neurons with head -1.

    Parameters: data `rows` (n, D), target as the loss takes it, parts (u, v) in their cones, each (m, D) or (m, D, k),
    masks `active` (n, m); `bias` as in :func:`map_back`. The error tells how well the cones hold.
    """
    plus, minus = (_Blocks.of(part) for part in parts)
    hidden = np.concatenate([plus.weights, minus.weights])
    heads = np.concatenate([plus.heads(), -minus.heads()], axis=-1)
    network, model = network_of(hidden, heads, bias), gated_output(rows, parts[0] - parts[1], active)
    output = network.predict(rows[:, :-1] if bias else rows).reshape(model.shape)
    return _mapping(network, "exact", model, output, loss.value(output, target), np.zeros(0, dtype=np.int64))


def network_of(hidden: Floats, heads: Floats, bias: bool = False) -> SparseReLUNetwork:
    """Return the network x -> heads relu(hidden x), without the neurons that are zero for every x.

    Parameters
    ----------
    hidden : ndarray (p, D)
        Hidden weights; with `bias` the last column holds the hidden biases.
    heads : ndarray (k, p) or (p,)
        Output weights.
    bias : bool, default False
        Whether the last column of `hidden` is the biases; the network then takes D - 1 features.
    """
    inner, offsets = (hidden[:, :-1], hidden[:, -1]) if bias else (hidden, np.zeros(len(hidden)))
    outer = np.atleast_2d(heads)
    live = (inner.any(axis=1) | (offsets > 0.0)) & outer.any(axis=0)
    if not live.any():
        return SparseReLUNetwork([(np.zeros((len(outer), inner.shape[1])), None)])
    return SparseReLUNetwork([(inner[live], offsets[live]), (outer[:, live], None)])


def gated_output(rows: Floats, weights: Floats, active: Bools) -> Floats:
    """Return the convex model sum_j D_j X w_j, (n,) for weights (m, D), (n, k) for weights (m, D, k)."""
    if weights.ndim == 2:
        output = np.zeros(len(rows))
        for tile in gate_tiles(len(rows), len(weights)):
            output += ((rows @ weights[tile].T) * active[:, tile]).sum(axis=1)
        return output
    return np.stack([gated_output(rows, weights[:, :, c], active) for c in range(weights.shape[2])], axis=1)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The blocks that are not zero, one per gate and output: weights (b, D), gates (b,), outputs (b,)."""

    weights: Floats
    gates: Ints
    outputs: Ints
    shape: tuple[int, ...]

    @classmethod
    def of(cls, weights: Floats) -> _Blocks:
        """Take weights (m, D) or (m, D, k) apart."""
        cube = weights[:, :, None] if weights.ndim == 2 else weights
        gates, outputs = np.nonzero(cube.any(axis=1))
        return cls(cube[gates, :, outputs], gates, outputs, weights.shape[2:])

    def heads(self) -> Floats:
        """Return output weights 1 of one neuron per block, (b,) for a scalar output, else (k, b)."""
        if not self.shape:
            return np.ones(len(self.gates))
        heads = np.zeros((*self.shape, len(self.gates)))
        heads[self.outputs, np.arange(len(self.gates))] = 1.0
        return heads


def _map_exact(
    rows: Floats, active: Bools, features: Bools, blocks: _Blocks, generators: Floats | None
) -> tuple[Floats, Floats, Ints]:
    """Return hidden weights (2b, D), heads, and the gates without a pair; one of a pair may be zero."""
    own = features[blocks.gates], None if generators is None else generators[blocks.gates]
    pairs = cone_pairs(rows, active[:, blocks.gates], blocks.weights, *own)
    plus, minus, lost = pairs.plus, pairs.minus, np.flatnonzero(~pairs.paired)
    nearer = better_signs(rows, active[:, blocks.gates[lost]], blocks.weights[lost])
    plus[lost] = np.where(nearer[:, None] > 0.0, blocks.weights[lost], 0.0)
    minus[lost] = np.where(nearer[:, None] < 0.0, -blocks.weights[lost], 0.0)
    heads = blocks.heads()
    return np.concatenate([plus, minus]), np.concatenate([heads, -heads], axis=-1), blocks.gates[lost]


def _map_refit(
    rows: Floats, target: Any, active: Bools, blocks: _Blocks, loss: Loss, generators: Floats | None
) -> tuple[Floats, Floats]:
    """Return hidden weights (b, D) on the support of the blocks, refitted, and their heads."""
    signs = better_signs(rows, active[:, blocks.gates], blocks.weights)
    heads, hidden = blocks.heads() * signs, signs[:, None] * blocks.weights
    if generators is not None and np.array_equal(generators[blocks.gates], hidden):
        return hidden, heads
    return refit(rows, target, hidden, heads, loss), heads


def _mapping(
    network: SparseReLUNetwork, method: str, model: Floats, output: Floats, loss: float, unpaired: Ints
) -> Mapping:
    """Return the account of a network whose outputs, beside those of the convex model, are given."""
    error, peak = float(np.abs(output - model).max()), float(np.abs(model).max())
    relative = error / peak if peak > 0.0 else (np.inf if error > 0.0 else 0.0)
    return Mapping(network, method, error, relative, loss, unpaired)
