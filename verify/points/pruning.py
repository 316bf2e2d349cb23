"""Pruning: a network with fewer weights, none of the others changed, as a surrogate that is easier to ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats, as_count, as_flag, as_generator, as_known
from convexnn.network import SparseReLUNetwork
from verify.bounds.layer_bounds import check_sizes, interval_bounds
from verify.points.finetuning import Finetune, as_finetune, finetuned
from verify.reading.read_network import read_network
from verify.regions.box import Box
from verify.relu_graph import carried_units

METHODS = ("magnitude", "random", "importance")
SCOPES = ("layer", "global")

Mask = NDArray[np.bool_]
# What is ranked of one layer, weights or neurons: scores, and the sizes that decide between equal ones.
Scores = tuple[Floats, Floats]


def prune(
    network: Any,
    sparsity: float | None = None,
    *,
    kept: int | None = None,
    method: str = "magnitude",
    scope: str = "layer",
    structured: bool = False,
    region: Box | None = None,
    outputs: bool = False,
    seed: int | np.random.Generator = 0,
    finetune: Finetune | tuple[Any, Any] | None = None,
) -> SparseReLUNetwork:
    """Return a network of the same shape with the least important weights, or whole hidden neurons, removed.

    Parameters
    ----------
    network : SparseReLUNetwork, torch module, scikit-learn MLP, or path
        Anything that :func:`verify.read_network` takes.
    sparsity : float, optional
        The share of the nonzero weights (with `structured` of the hidden neurons) that goes, in [0, 1).
    kept : int, optional
        How many stay instead, at least 1: of each layer, or of all together with ``scope="global"``; all of a layer
        that has fewer.
    method : {"magnitude", "importance", "random"}, default "magnitude"
        What stays: the largest sizes |w|; the largest |w| times the width of the value that w reads, by interval bounds
        over `region`; or any, by `seed`.
    scope : {"layer", "global"}, default "layer"
        Whether every layer loses the same share, or all layers are ranked together.
    structured : bool, default False
        Remove hidden neurons, with the weights into them and out of them. Magnitude is then the norm of the weights
        into a neuron times that of those out of it; importance the width of its value times the norm out of it.
    region : Box, LinfBall, L1Ball or L2Ball, optional
        The inputs that matter; needed for importance, read by it alone.
    outputs : bool, default False
        Whether weights of the last layer may go too.
    seed : int or numpy.random.Generator, default 0
        Of random choices and of `finetune`.
    finetune : Finetune or (X, y), optional
        Train what is left on some rows. Default: no weight that stays changes.

    Returns
    -------
    SparseReLUNetwork
        Of as many neurons in every layer; what has lost all its weights out is dropped by :func:`verify.simplify`.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or range, both or none of `sparsity` and `kept` are given, `region` is missing
        or of another size; the message names it.

    Notes
    -----
    Of n weights (of the layer, or of all layers pruned) exactly round((1 - sparsity) n) stay. Biases all stay; the last
    layer stays whole but for ``outputs=True`` and the columns of neurons removed. Equal scores are decided by the size
    |w|, then by position (layer, row, column), so that a higher sparsity keeps a part of what a lower one keeps, also
    with the same `seed` of random choices. The copy is another network: what is proven about it says nothing about the
    first one, but by :func:`verify.certify_through`. Pruned copies as surrogates, which training again does not repay
    in the time it takes: Pham, Ren, Tahir, Tong and Serra, "Optimization over Trained (and Sparse) Neural Networks: A
    Surrogate within a Surrogate" (arXiv 2505.01985).

    In a :class:`verify.ReLUGraph` the rows of linear units that carry a value on (one weight of 1, no bias) are no
    weights: they do not count and all stay, also in finetuning. Neurons are its ReLUs; linear units all stay.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[3.0, 0.1], [-0.2, 2.0]], [0.0, 1.0]), ([[1.0, 0.5]], None)])
    >>> print(verify.prune(network, 0.5).formula())
    h0 = relu(3 x0)
    h1 = relu(2 x1 + 1)
    y = h0 + 0.5 h1
    """
    share, count = _as_amount(sparsity, kept)
    as_known(method, "method", METHODS)
    as_known(scope, "scope", SCOPES)
    if all([as_flag(structured, "structured"), as_flag(outputs, "outputs")]):
        raise ValueError("outputs is True with structured=True; expected False: neurons of the output layer all stay")
    net, rng = read_network(network), as_generator(seed)
    training = None if finetune is None else as_finetune(finetune, net)
    widths = _widths(net, region) if method == "importance" else None
    ranked = _score_neurons(net, widths) if structured else _score_weights(net, widths, outputs)
    if method == "random":
        ranked = _shuffled(ranked, rng)
    masks = _kept_masks(ranked, share, count, together=scope == "global")
    pruned = _without_neurons(net, masks) if structured else _without_weights(net, masks)
    return pruned if training is None else finetuned(pruned, training, rng)


def _as_amount(sparsity: Any, kept: Any) -> tuple[float, int | None]:
    if (sparsity is None) == (kept is None):
        given = "both given" if kept is not None else "both None"
        raise ValueError(f"sparsity and kept are {given}; expected exactly one of them")
    if kept is not None:
        return 0.0, as_count(kept, "kept")
    if isinstance(sparsity, bool) or not isinstance(sparsity, int | float | np.integer | np.floating):
        raise TypeError(f"sparsity is {sparsity!r}; expected a number in [0, 1)")
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity is {sparsity}; expected a number in [0, 1)")
    return float(sparsity), None


def _widths(net: SparseReLUNetwork, region: Box | None) -> list[Floats]:
    """Return the widths of the inputs and of the values of every hidden layer over a region."""
    if region is None:
        raise ValueError('region is None with method="importance"; expected the region whose inputs matter')
    check_sizes(net, region)
    hidden = [layer.activated() for layer in interval_bounds(net, region)[:-1]]
    return [region.upper - region.lower, *(layer.upper - layer.lower for layer in hidden)]


def _score_weights(net: SparseReLUNetwork, widths: Sequence[Floats] | None, outputs: bool) -> list[Scores]:
    """Return scores of the stored weights of every layer that may lose some."""
    result = []
    for index, (weight, _) in enumerate(net.layers if outputs else net.layers[:-1]):
        own = _own_weights(net, index)
        sizes = np.abs(weight.data[own])
        result.append((sizes if widths is None else _product(sizes, widths[index][weight.indices[own]]), sizes))
    return result


def _own_weights(net: SparseReLUNetwork, index: int) -> Mask | slice:
    """Return which stored weights of a layer are weights: not those of units that carry a value on."""
    carried, weight = carried_units(net, index), net.layers[index][0]
    return slice(None) if carried is None else np.repeat(~carried, np.diff(weight.indptr))


def _neurons(net: SparseReLUNetwork, index: int) -> Mask | slice:
    """Return which units of a hidden layer are neurons: its ReLUs."""
    linear = net.linear_units(index)
    return slice(None) if linear is None else ~linear


def _score_neurons(net: SparseReLUNetwork, widths: Sequence[Floats] | None) -> list[Scores]:
    """Return scores of the neurons of every hidden layer."""
    result = []
    for index, ((into, _), (out, _)) in enumerate(zip(net.layers, net.layers[1:], strict=False)):
        own = _neurons(net, index)
        arriving, leaving = sp.linalg.norm(into, axis=1)[own], sp.linalg.norm(out, axis=0)[own]
        sizes = _product(arriving, leaving)
        result.append((sizes if widths is None else _product(widths[index + 1][own], leaving), sizes))
    return result


def _product(left: Floats, right: Floats) -> Floats:
    """Return the product, 0 where a factor is 0: the other may be infinite, as bounds can be."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where((left == 0.0) | (right == 0.0), 0.0, left * right)


def _shuffled(ranked: Sequence[Scores], rng: np.random.Generator) -> list[Scores]:
    """Return random scores, all different, as many as there are."""
    ends = np.cumsum([len(scores) for scores, _ in ranked])
    ranks = rng.permutation(int(ends[-1]) if len(ends) else 0).astype(np.float64)
    return [(part, part) for part in np.split(ranks, ends[:-1])] if len(ends) else []


def _kept_masks(ranked: Sequence[Scores], share: float, count: int | None, together: bool) -> list[Mask]:
    """Return for each layer which entries stay."""
    ends = np.cumsum([len(scores) for scores, _ in ranked])
    if not together or not len(ends):
        return [_mask_of_largest(scores, sizes, share, count) for scores, sizes in ranked]
    scores, sizes = (np.concatenate(field) for field in zip(*ranked, strict=True))
    return np.split(_mask_of_largest(scores, sizes, share, count), ends[:-1])


def _mask_of_largest(scores: Floats, sizes: Floats, share: float, count: int | None) -> Mask:
    number = round((1.0 - share) * len(scores)) if count is None else min(count, len(scores))
    mask = np.zeros(len(scores), dtype=bool)
    # lexsort is stable: equal entries stay in the order of their positions.
    mask[np.lexsort((-sizes, -scores))[:number]] = True
    return mask


def _without_weights(net: SparseReLUNetwork, masks: Sequence[Mask]) -> SparseReLUNetwork:
    layers = list(net.layers)
    for index, mask in enumerate(masks):
        weight, bias = layers[index]
        kept = _spread(mask, _own_weights(net, index), weight.nnz)
        layers[index] = _with_entries(weight, np.where(kept, weight.data, 0.0)), bias
    return net.with_layers(layers)


def _without_neurons(net: SparseReLUNetwork, masks: Sequence[Mask]) -> SparseReLUNetwork:
    hidden = [_spread(mask, _neurons(net, index), net.sizes[index + 1]) for index, mask in enumerate(masks)]
    sides = [np.ones(net.n_inputs, dtype=bool), *hidden, np.ones(net.n_outputs, dtype=bool)]
    layers = []
    for (weight, bias), before, after in zip(net.layers, sides, sides[1:], strict=False):
        rows = np.repeat(after, np.diff(weight.indptr))
        layers.append((_with_entries(weight, np.where(rows & before[weight.indices], weight.data, 0.0)), bias))
    return net.with_layers(layers)


def _spread(mask: Mask, own: Mask | slice, count: int) -> Mask:
    """Return the mask (count,) that is `mask` at its `own` entries and True elsewhere."""
    result = np.ones(count, dtype=bool)
    result[own] = mask
    return result


def _with_entries(weight: sp.csr_matrix, entries: Floats) -> sp.csr_matrix:
    return sp.csr_matrix((entries, weight.indices, weight.indptr), shape=weight.shape, copy=True)
