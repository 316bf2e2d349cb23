"""Planted networks: data of which the sparse network that made them is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np

from convexnn.checks import Floats, as_count, as_known, as_nonnegative
from convexnn.network import SparseReLUNetwork


@dataclass(frozen=True, eq=False, repr=False)
class Planted:
    """Gaussian rows and what a planted network makes of them.

    Attributes
    ----------
    X : ndarray (n, d)
        Entries N(0, 1).
    y : ndarray (n,) or (n, k)
        The outputs, with noise if there is any.
    network : SparseReLUNetwork
        The planted network, with all of its neurons.
    clean : ndarray (n,) or (n, k)
        The outputs without noise.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.datasets import planted
    >>> data = planted(5, 20, n=200, d=10, noise=0.1, seed=0)
    >>> bool(np.allclose(data.network.predict(data.X), data.clean)), bool(np.std(data.y - data.clean) > 0.0)
    (True, True)
    """

    X: Floats
    y: Floats
    network: SparseReLUNetwork
    clean: Floats

    def __repr__(self) -> str:
        return f"<{len(self.X)} rows of a planted {self.network}>"


def planted(
    m: int,
    s: int,
    *,
    n: int = 5000,
    d: int = 100,
    outputs: int = 1,
    depth: int = 1,
    signs: str = "positive",
    noise: float = 0.0,
    seed: int = 0,
) -> Planted:
    """Return Gaussian rows and the outputs of a random sparse network.

    Parameters
    ----------
    m : int
        Neurons of each hidden layer.
    s : int
        Weights N(0, 1) at random places, the same number in each layer that is drawn (rounded down, and no more than a
        layer holds). With one output the last layer is fixed and not counted.
    n, d : int, default 5000 and 100
        Rows and features.
    outputs : int, default 1
        Number of outputs k.
    depth : int, default 1
        Number of hidden layers.
    signs : {"positive", "random"}
        With one output: output weights all +1, as in the paper, or random signs.
    noise : float, default 0
        Standard deviation of Gaussian noise on y, as a share of that of each output.
    seed : int, default 0
        Every draw follows from it. A network that is zero on all rows is drawn anew.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or range; the message names it.

    Notes
    -----
    The generator of "A Recovery Guarantee for Sparse Neural Networks" (arXiv 2509.20323), which has n = 50,000.

    Examples
    --------
    >>> from convexnn.datasets import planted
    >>> data = planted(5, 20, n=200, d=10, seed=0)
    >>> data.X.shape, data.network.n_inputs, bool((data.y == data.clean).all())
    ((200, 10), 10, True)
    """
    sizes = (as_count(d, "d"), *[as_count(m, "m")] * as_count(depth, "depth"), as_count(outputs, "outputs"))
    as_known(signs, "signs", ("positive", "random"))
    if outputs > 1 and signs != "positive":
        raise ValueError(f"signs is {signs!r} with {outputs} outputs; expected one output with it")
    drawn = sizes if outputs > 1 else sizes[:-1]
    share = as_count(s, "s") // (len(drawn) - 1)
    if share < 1:
        raise ValueError(f"s is {s}; expected at least {len(drawn) - 1}, a weight for each layer")
    rows, deviation = as_count(n, "n"), as_nonnegative(noise, "noise")
    for attempt in count():
        rng = np.random.default_rng([as_count(seed, "seed", at_least=0), m, s, depth, attempt])
        layers = [_layer(*shape, share, rng) for shape in pairwise(drawn)]
        # Rows are dear: of 1,000 neurons in two layers and few weights thousands of draws have no way through.
        if not _connected(layers):
            continue
        if outputs == 1:
            layers.append(rng.choice([-1.0, 1.0], (1, m)) if signs == "random" else np.ones((1, m)))
        network = SparseReLUNetwork([(layer, None) for layer in layers])
        X = rng.standard_normal((rows, d))
        clean = network.predict(X)
        if clean.any():
            break
    y = clean + deviation * clean.std(axis=0) * rng.standard_normal(clean.shape) if deviation else clean
    return Planted(X, y, network, clean)


def _connected(layers: Sequence[Floats]) -> bool:
    """Return whether a way of weights (out, in) leads from an input to an output."""
    reached = np.ones(layers[0].shape[1])
    for layer in layers:
        reached = (np.abs(layer) @ reached > 0.0).astype(np.float64)
    return bool(reached.any())


def _layer(inputs: int, outputs: int, size: int, rng: np.random.Generator) -> Floats:
    """Return weights (out, in), so many of them not zero."""
    weights = np.zeros(inputs * outputs)
    weights[rng.choice(weights.size, min(weights.size, size), replace=False)] = 1.0
    matrix: Floats = (weights * rng.standard_normal(weights.size)).reshape(inputs, outputs).T
    return matrix
