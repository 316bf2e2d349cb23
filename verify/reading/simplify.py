"""Simplifying: neurons that cannot matter leave a network, whose function in real arithmetic stays the same."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from convexnn.network import Layer, SparseReLUNetwork

# Which units of a layer stay, as an index.
Kept = NDArray[np.int64] | slice

# Sizes between which products and their errors neither overflow nor underflow.
LEAST, MOST = 1e-140, 1e140


def simplify(network: SparseReLUNetwork) -> SparseReLUNetwork:
    """Return a network of the same real-number function, without the hidden units that cannot matter.

    Parameters
    ----------
    network : SparseReLUNetwork
        Any number of layers.

    Returns
    -------
    SparseReLUNetwork
        With as many inputs, outputs and layers; each hidden layer keeps at least one unit. The network itself where
        nothing can leave.

    Notes
    -----
    A unit leaves if no weight goes out of it. A unit without incoming weights has the constant value c = max(bias, 0),
    or c = bias where it is linear: it leaves if c is 0, or if every sum bias_i + w_i c over its targets i is a float64
    number, so that the fold rounds nothing (told by error-free products and sums: Dekker, 1971; Knuth). Where a fold
    would round, the unit stays, which costs a proof nothing: it is stable over every region.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0], [2.0]], None), ([[1.0, 0.0]], None)])  # h1 is read by nobody
    >>> print(verify.simplify(network).formula())
    h0 = relu(x0)
    y = h0
    """
    small = _pass(network)
    while small is not network:
        # A fold or a neuron that left can make another fold exact; each pass but the last makes the network smaller.
        network, small = small, _pass(small)
    return small


def _pass(network: SparseReLUNetwork) -> SparseReLUNetwork:
    """Return the network after one pass of folds forwards and one of unused neurons backwards; itself if unchanged."""
    layers, units = list(network.layers), [np.arange(size) for size in network.sizes[1:-1]]
    for index in range(len(layers) - 1):
        values = network.activate(index, layers[index][1])
        layers[index], layers[index + 1], kept = _fold_constants(layers[index], layers[index + 1], values)
        units[index] = units[index][kept]
    for index in reversed(range(len(layers) - 1)):
        after = layers[index + 1][0]
        used = np.bincount(after.indices, minlength=after.shape[1]) > 0
        layers[index], layers[index + 1], kept = _keep(layers[index], layers[index + 1], used)
        units[index] = units[index][kept]
    changed = any(new is not old for (new, _), (old, _) in zip(layers, network.layers, strict=True))
    return network.with_layers(layers, units) if changed else network


def _fold_constants(layer: Layer, after: Layer, values: Floats) -> tuple[Layer, Layer, Kept]:
    """Return two layers in a row, the constant units between them folded where this is exact, and which stay.

    `values` (out,) are what the units pass on where their pre-activations are their biases.
    """
    (weight, _), (outgoing, shift) = layer, after
    constant = np.diff(weight.indptr) == 0
    kept, shift = ~(constant & (values == 0.0)), shift.copy()
    columns = sp.csc_matrix(outgoing) if (constant & kept).any() else None
    for neuron in np.flatnonzero(constant & kept):
        assert columns is not None
        span = slice(columns.indptr[neuron], columns.indptr[neuron + 1])
        total, exact = add_product(shift[columns.indices[span]], columns.data[span], values[neuron])
        if exact:
            shift[columns.indices[span]] = total
            kept[neuron] = False
    return _keep(layer, (outgoing, shift), kept)


def _keep(layer: Layer, after: Layer, kept: NDArray[np.bool_]) -> tuple[Layer, Layer, Kept]:
    """Return two layers in a row with only the units `kept` between them, at least one, and which these are."""
    empty = len(kept) == 1 and not (layer[0].nnz or layer[1].any() or after[0].nnz)
    if kept.all() or empty:
        return layer, after, slice(None)
    if not kept.any():
        # What the layer gave is in the biases; for its sake stays one unit, of either kind, that is 0.
        nothing = sp.csr_matrix((1, layer[0].shape[1])), np.zeros(1)
        return nothing, (sp.csr_matrix((after[0].shape[0], 1)), after[1]), slice(1)
    units = np.flatnonzero(kept)
    return (layer[0][units], layer[1][units]), (sp.csr_matrix(after[0][:, units]), after[1]), units


def add_product(total: Floats, factor: Floats, value: float) -> tuple[Floats, bool]:
    """Return total + factor * value, each (k,), and whether every entry is exact."""
    with np.errstate(all="ignore"):
        high = factor * value
        sizes = np.abs(np.concatenate([factor, high, np.atleast_1d(value)]))
        if not ((sizes >= LEAST) & (sizes <= MOST)).all() or (np.abs(total) > MOST).any():
            return total, False
        low = _product_error(factor, value, high)
        result = total + high
        part = result - total
        error = (total - (result - part)) + (high - part)
    return result, bool((low == 0.0).all() and (error == 0.0).all())


def _product_error(left: Floats, right: float, product: Floats) -> Floats:
    """Return left * right - product, exactly: each factor is split into halves of 26 bits."""
    left_high, left_low = _halves(left)
    right_high, right_low = _halves(np.float64(right))
    rest = ((left_high * right_high - product) + left_high * right_low) + left_low * right_high
    return np.asarray(rest + left_low * right_low)


def _halves(value: Floats | np.float64) -> tuple[Floats | np.float64, Floats | np.float64]:
    scaled = 134217729.0 * value  # 2^27 + 1
    high = scaled - (scaled - value)
    return high, value - high
