"""The ReLU graph: a network whose hidden layers hold ReLUs and units that pass their value on as it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Bools, Floats
from convexnn.network import Layer, SparseReLUNetwork
from convexnn.network_files import (
    GRAPH_FORMAT,
    read_arrays,
    stored,
    stored_arrays,
    stored_layers,
    stored_words,
    write_arrays,
)


class ReLUGraph(SparseReLUNetwork):
    """A network h_0 = x, p_l = W_l h_{l-1} + b_l, h_l = p_l at linear units and relu(p_l) at the others.

    Any directed graph of affine maps and piecewise linear units is of this form, exactly: a value that is needed some
    layers later (a residual, a part of a concatenation) is carried there by linear units, and so is the linear part of
    a leaky ReLU, alpha x + (1 - alpha) relu(x), of |x| = 2 relu(x) - x and of max(x, y) = y + relu(x - y). Linear units
    need no binary variable and are never split.

    Parameters
    ----------
    layers : iterable of (weight, bias)
        As of a :class:`convexnn.SparseReLUNetwork`.
    linear : sequence of array_like (out,) of bool
        One mask a hidden layer: True where a unit passes its value on as it is, False where it is a ReLU.
    final : {"softmax", "log_softmax", "sigmoid", "tanh"}, optional
        A function of the outputs that the network was read with, and that :meth:`predict` leaves out.
    notes : sequence of str, optional
        How the network was read.

    Raises
    ------
    TypeError, ValueError
        As of a network without linear units, or a mask that does not fit its layer; the message names it.

    Examples
    --------
    x + relu(-x), the largest of x and 0, whose second unit carries x:

    >>> graph = ReLUGraph([([[-1.0], [1.0]], None), ([[1.0, 1.0]], None)], [[False, True]])
    >>> graph.predict([[-2.0], [3.0]])
    array([0., 3.])
    >>> print(graph)
    ReLU graph 1-[1+1]-1: 4 nonzeros, 1 ReLU and 1 linear units
      h0 = relu(-x0)
      h1 = x0
      y = h0 + h1
    """

    def __init__(
        self,
        layers: Iterable[tuple[Any, ArrayLike | None]],
        linear: Sequence[ArrayLike],
        *,
        final: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(layers, final=final, notes=notes)
        self._linear = _as_masks(linear, self.sizes[1:-1])
        self._floors = tuple(np.where(mask, -np.inf, 0.0) if mask.any() else 0.0 for mask in self._linear)

    @property
    def linear(self) -> tuple[Bools, ...]:
        """For each hidden layer which units (out,) are linear; not to be written to."""
        return self._linear

    @property
    def n_neurons(self) -> int:
        """Number of ReLUs, all layers; linear units are none."""
        return sum(int(np.count_nonzero(~mask)) for mask in self._linear)

    def linear_units(self, index: int) -> Bools | None:
        """Return which units (out,) of hidden layer `index` pass their value on as it is; None where all are ReLUs."""
        hidden = index < len(self._linear) and bool(self._linear[index].any())
        return self._linear[index] if hidden else None

    def floor(self, index: int) -> Floats | float:
        """Return what hidden layer `index` lifts values p to, max(p, floor): 0, or (out,) with -inf where linear."""
        return self._floors[index] if index < len(self._floors) else 0.0

    def with_layers(self, layers: Iterable[Layer], kept: Sequence[NDArray[Any]] | None = None) -> ReLUGraph:
        """Return a graph of other layers, its hidden units of the same kinds: of each layer all, or those `kept`."""
        masks = self._linear if kept is None else [mask[own] for mask, own in zip(self._linear, kept, strict=True)]
        return ReLUGraph(layers, masks, final=self.final, notes=self.notes)

    def upto(self, index: int) -> ReLUGraph:
        """Return the graph whose outputs are the pre-activations of layer `index`."""
        return ReLUGraph(self.layers[: index + 1], self._linear[:index])

    def without_final(self) -> ReLUGraph:
        """Return the graph whose outputs are those of `predict`, whatever followed them."""
        return self if self.final is None else ReLUGraph(self.layers, self._linear, notes=self.notes)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the graph to an ``.npz`` file without pickle, exact to the last bit; return its path."""
        masks = {f"linear{index}": mask for index, mask in enumerate(self._linear)}
        return write_arrays(path, stored(self) | masks | {"format": np.array(GRAPH_FORMAT)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ReLUGraph:
        """Read a graph that :meth:`save` wrote; no code of the file is ever run. Errors as of a network without."""
        return read_arrays(path, GRAPH_FORMAT, _from_arrays)

    @property
    def _kind(self) -> str:
        hidden = [f"[{len(mask) - int(mask.sum())}+{int(mask.sum())}]" for mask in self._linear]
        return "ReLU graph " + "-".join([str(self.n_inputs), *hidden, str(self.n_outputs)])

    @property
    def _units(self) -> str:
        return f"{self.n_neurons} ReLU and {sum(int(mask.sum()) for mask in self._linear)} linear units"


def carried_units(network: SparseReLUNetwork, index: int) -> Bools | None:
    """Return which units (out,) of a hidden layer carry a value on: linear, one weight of 1 and no bias; None if none.

    Such a row says how the network is built: it is no weight that was trained.
    """
    linear = network.linear_units(index)
    if linear is None:
        return None
    weight, bias = network.layers[index]
    carried = linear & (np.diff(weight.indptr) == 1) & (bias == 0.0)
    rows = np.flatnonzero(carried)
    carried[rows] = weight.data[weight.indptr[rows]] == 1.0
    return carried if carried.any() else None


def load_network(path: str | os.PathLike[str]) -> SparseReLUNetwork:
    """Return the network of a file that `save` wrote, with linear units or without; errors as of both."""
    try:
        with stored_arrays(path) as arrays:
            graph = str(arrays["format"]) == GRAPH_FORMAT
    except Exception:
        graph = False  # what is wrong with the file is said below
    return ReLUGraph.load(path) if graph else SparseReLUNetwork.load(path)


def _from_arrays(arrays: Any) -> ReLUGraph:
    layers = stored_layers(arrays)
    return ReLUGraph(layers, [arrays[f"linear{index}"] for index in range(len(layers) - 1)], **stored_words(arrays))


def _as_masks(linear: Any, sizes: Sequence[int]) -> tuple[Bools, ...]:
    if isinstance(linear, str) or not isinstance(linear, Sequence):
        raise TypeError(f"linear is a {type(linear).__name__}; expected a sequence of masks, one a hidden layer")
    if len(linear) != len(sizes):
        raise ValueError(f"linear has {len(linear)} masks; expected {len(sizes)}, one a hidden layer")
    return tuple(_as_mask(index, mask, size) for index, (mask, size) in enumerate(zip(linear, sizes, strict=True)))


def _as_mask(index: int, mask: Any, size: int) -> Bools:
    values = np.asarray(mask)
    if values.dtype != np.bool_:
        raise TypeError(f"linear[{index}] has dtype {values.dtype}; expected booleans, True where a unit is linear")
    if values.shape != (size,):
        raise ValueError(f"linear[{index}] has shape {values.shape}; expected ({size},), one a unit of layers[{index}]")
    return values.copy()
