"""Explanations: what the neurons of a network read, how often they are active, and what they carry of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_rows
from convexnn.formulas import affine_words, unit_names
from convexnn.frames import is_frame
from convexnn.network import SparseReLUNetwork
from convexnn.records import Record, RowsRecord, html_box, html_text
from convexnn.tables import Table, counting


@dataclass(frozen=True)
class Neuron(Record):
    """A hidden unit of a network.

    Attributes
    ----------
    name : str
        As in the network's formula: h0, or h1_0 with several hidden layers.
    layer : int
        From 1.
    linear : bool
        Whether it passes its value on as it is; else it is a ReLU.
    formula : str
        What it reads.
    n_inputs : int
        Nonzero weights of what it reads.
    heads : tuple of float
        Its weights in the next layer, those that are not zero.
    active_share : float or None
        Share of the rows on which its value is above 0; None without rows.
    variance_share : float or None
        Of the last hidden layer: cov(its part of the outputs, the outputs) over their variance, summed over outputs;
        the shares of all neurons sum to 1. None without rows, elsewhere, and where the outputs are constant.
    """

    name: str
    layer: int
    linear: bool
    formula: str
    n_inputs: int
    heads: tuple[float, ...]
    active_share: float | None = None
    variance_share: float | None = None


@dataclass(frozen=True, repr=False)
class Explanation(RowsRecord):
    """The hidden neurons of a network in a table, and the outputs as formulas.

    Attributes
    ----------
    neurons : tuple of Neuron
        Layer by layer; of the last hidden layer those with the largest share of the variance first.
    outputs : tuple of str
        A formula each.

    Examples
    --------
    >>> import convexnn as cx
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0], [0.0, 2.0]], None), ([[1.0, -3.0]], None)])
    >>> explained = cx.explain(network, ["debt", "age"])
    >>> [neuron.formula for neuron in explained.neurons], explained.outputs
    (['debt - age', '2 age'], ('y = h0 - 3 h1',))
    """

    neurons: tuple[Neuron, ...]
    outputs: tuple[str, ...]

    @property
    def table(self) -> Table:
        """The neurons as a :class:`convexnn.tables.Table`, which writes Markdown and LaTeX too."""
        header = ("neuron", "active on", "of the variance", "inputs", "next layer", "reads")
        return Table.of(header, [_cells(neuron) for neuron in self.neurons])

    def _rows(self) -> list[dict[str, Any]]:
        return [vars(neuron) for neuron in self.neurons]

    def _repr_html_(self) -> str:
        table = self.table.to_html() if self.neurons else ""
        return html_box(repr(self)[1:-1], table + html_text("\n".join(self.outputs)))

    def __str__(self) -> str:
        return "\n".join([*([str(self.table)] if self.neurons else []), *self.outputs])

    def __repr__(self) -> str:
        return f"<{counting(len(self.neurons), 'neuron')} explained>"


def explain(network: Any, feature_names: Sequence[str] | None = None, X: ArrayLike | None = None) -> Explanation:
    """Explain a network neuron by neuron.

    Parameters
    ----------
    network : SparseReLUNetwork, Solution, NetworkFit, SparseReLURegressor or SparseReLUClassifier
        With d inputs. Of an estimator that is fitted: its ``network_``; of a solution: ``to_network()``.
    feature_names : sequence of str (d,), optional
        Names of the inputs; default those of the columns that the estimator was fitted to, else x0, x1, ...
    X : array_like (n, d), optional
        Rows on which neurons are counted as active and their shares of the outputs' variance are measured.

    Raises
    ------
    ValueError, TypeError
        A network or a fitted estimator is expected, as many names as inputs, and rows of as many numbers; a frame of
        the features has them in their order.

    Examples
    --------
    >>> import convexnn as cx
    >>> network = cx.SparseReLUNetwork([([[1.0, -1.0], [0.0, 2.0]], [0.0, 0.5]), ([[1.0, -3.0]], [0.25])])
    >>> print(cx.explain(network, ["debt", "age"], [[1.0, 0.0], [3.0, 1.0], [0.0, 2.0]]))
    neuron  active on  of the variance  inputs  next layer  reads
    h1          100 %           90.7 %       1          -3  2 age + 0.5
    h0           67 %            9.3 %       2           1  debt - age
    y = h0 - 3 h1 + 0.25
    """
    if hasattr(network, "network_"):
        feature_names = getattr(network, "feature_names_in_", None) if feature_names is None else feature_names
        network = network.network_
    elif hasattr(network, "to_network"):
        network = network.to_network()
    if is_frame(X):
        _refuse_order(X, feature_names)
    if not isinstance(network, SparseReLUNetwork):
        raise TypeError(
            f"network is a {type(network).__name__}; expected a SparseReLUNetwork, a Solution or NetworkFit, or a "
            "fitted estimator"
        )
    names = unit_names(network.sizes, _names(feature_names, network.n_inputs))
    active, shares = _measured(network, X)
    neurons = []
    for index, (weight, bias) in enumerate(network.layers[:-1]):
        after, linear = network.layers[index + 1][0].tocsc(), network.linear_units(index)
        found = [
            Neuron(
                name=names[index + 1][unit],
                layer=index + 1,
                linear=linear is not None and bool(linear[unit]),
                formula=affine_words(weight, bias, unit, names[index]),
                n_inputs=int(weight.indptr[unit + 1] - weight.indptr[unit]),
                heads=tuple(after.data[after.indptr[unit] : after.indptr[unit + 1]].tolist()),
                active_share=None if active is None else float(active[index][unit]),
                variance_share=None if shares is None or index < len(network.layers) - 2 else float(shares[unit]),
            )
            for unit in range(len(bias))
        ]
        neurons += sorted(found, key=lambda neuron: -abs(neuron.variance_share or 0.0))
    weight, bias = network.layers[-1]
    outputs = [f"{name} = {affine_words(weight, bias, unit, names[-2])}" for unit, name in enumerate(names[-1])]
    return Explanation(tuple(neurons), tuple(outputs))


def _names(given: Sequence[str] | None, count: int) -> list[str] | None:
    if given is None:
        return None
    names = [str(name) for name in given]
    if len(names) != count:
        raise ValueError(f"feature_names has {len(names)} names; expected {count}, one an input")
    return names


def _refuse_order(X: Any, feature_names: Sequence[str] | None) -> None:
    """Refuse a frame whose columns are the features in another order: each would be taken for another."""
    columns, names = list(map(str, X.columns)), [] if feature_names is None else list(map(str, feature_names))
    if columns != names and sorted(columns) == sorted(names):
        place = next(i for i, (column, name) in enumerate(zip(columns, names, strict=True)) if column != name)
        raise ValueError(
            f"X has column {columns[place]!r} in place {place}; expected {names[place]!r}: the features in their order"
        )


def _measured(network: SparseReLUNetwork, X: ArrayLike | None) -> tuple[list[Floats] | None, Floats | None]:
    """Return the shares of active rows of each hidden layer, and the last one's shares of the outputs' variance."""
    if X is None or len(network.layers) == 1:
        return None, None
    values = network.activations(as_rows(X, "X", network.n_inputs, "network has inputs"))
    active = [(layer > 0.0).mean(axis=0) for layer in values[:-1]]
    hidden = network.activate(len(values) - 2, values[-2])
    hidden, outputs = hidden - hidden.mean(axis=0), values[-1] - values[-1].mean(axis=0)
    total = float(np.square(outputs).sum())
    if total == 0.0:
        return active, None
    together = network.layers[-1][0].multiply(outputs.T @ hidden).sum(axis=0)
    return active, np.asarray(together).ravel() / total


def _cells(neuron: Neuron) -> tuple[str, ...]:
    shares = [
        "" if share is None else f"{100.0 * share:.{digits}f} %"
        for share, digits in ((neuron.active_share, 0), (neuron.variance_share, 1))
    ]
    heads = ", ".join(f"{head:.3g}" for head in neuron.heads[:3]) + (", ..." if len(neuron.heads) > 3 else "")
    kind = " (linear)" if neuron.linear else ""
    return (neuron.name + kind, *shares, str(neuron.n_inputs), heads, neuron.formula)
