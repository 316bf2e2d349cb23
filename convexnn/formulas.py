"""Formulas: affine layers and their units in words, a line a neuron, on arrays alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Bools, Floats

# Lines, and terms of a line, up to which a network is read faster as formulas than as sizes.
MOST_LINES, MOST_TERMS = 12, 8


def affine_words(weight: sp.csr_matrix, bias: Floats, row: int, names: Sequence[str], digits: int = 3) -> str:
    """Return a row of W h + b in words, such as ``1.5 x0 - x2 + 0.25``; ``0`` where nothing is left."""
    span = slice(weight.indptr[row], weight.indptr[row + 1])
    order = np.argsort(weight.indices[span], kind="stable")
    terms: list[tuple[float, str | None]] = [
        (weight.data[span][at], names[weight.indices[span][at]]) for at in order.tolist()
    ]
    if bias[row] or not terms:
        terms.append((bias[row], None))
    words = "".join(_term(float(factor), name, digits) for factor, name in terms)
    return words.removeprefix(" + ").replace(" - ", "-", 1) if words.startswith(" - ") else words.removeprefix(" + ")


def _term(factor: float, name: str | None, digits: int) -> str:
    """Return a term behind its sign; a constant has no name."""
    sign, size = " - " if factor < 0.0 else " + ", f"{abs(factor):.{digits}g}"
    if name is None:
        return sign + size
    return sign + (name if size == "1" else f"{size} {name}")


def unit_names(sizes: Sequence[int], inputs: Sequence[str] | None = None) -> list[list[str]]:
    """Return names for the values of each layer: x0, x1, ... or those given, then h0, h1, ... and y0, ...

    A single output is y; with several hidden layers a neuron is named by its layer too, h1_0. Inputs may be named by
    numbers, as frames without names have them; an empty name is shown as ''.
    """
    deep = len(sizes) > 3
    hidden = [
        [f"h{layer + 1}_{unit}" if deep else f"h{unit}" for unit in range(size)]
        for layer, size in enumerate(sizes[1:-1])
    ]
    outputs = ["y"] if sizes[-1] == 1 else [f"y{unit}" for unit in range(sizes[-1])]
    names = [f"x{unit}" for unit in range(sizes[0])] if inputs is None else [str(name) or "''" for name in inputs]
    return [names, *hidden, outputs]


def formula_lines(
    layers: Sequence[tuple[sp.csr_matrix, Floats]],
    linear: Sequence[Bools | None],
    inputs: Sequence[str] | None = None,
    digits: int = 3,
) -> list[str]:
    """Return a line for every unit of a network, ``h0 = relu(x0 - x1)``, from the first layer to the outputs.

    `linear` says for each hidden layer which units pass their value on as it is; None where all are ReLUs.
    """
    sizes = [layers[0][0].shape[1], *(len(bias) for _, bias in layers)]
    names = unit_names(sizes, inputs)
    lines = []
    for index, (weight, bias) in enumerate(layers):
        own = linear[index] if index < len(linear) else np.ones(len(bias), dtype=bool)
        for unit, name in enumerate(names[index + 1]):
            words = affine_words(weight, bias, unit, names[index], digits)
            lines.append(f"{name} = {words}" if own is not None and own[unit] else f"{name} = relu({words})")
    return lines


def folded_lines(
    layers: Sequence[tuple[sp.csr_matrix, Floats]], always: Bools, inputs: Sequence[str] | None = None, digits: int = 3
) -> list[str]:
    """Return a line for every output of a network of one hidden layer, with the neurons that are `always` active in it.

    On rows where these are active the outputs are what the lines say; the large biases that keep them so cancel.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse as sp
    >>> from convexnn.formulas import folded_lines
    >>> first = sp.csr_matrix([[2.0], [1.0]]), np.array([500.0, 0.0])
    >>> last = sp.csr_matrix([[3.0, 1.0]]), np.array([-1499.0])
    >>> folded_lines([first, last], np.array([True, False]), ["age"])
    ['y = 6 age + h1 + 1']
    """
    (weight, bias), (heads, shift) = layers
    names = unit_names([weight.shape[1], len(bias), len(shift)], inputs)
    linear = heads[:, always]
    joined = sp.csr_matrix(sp.hstack([linear @ weight[always], heads[:, ~always]], format="csr"))
    joined.eliminate_zeros()
    left = [*names[0], *(name for name, kept in zip(names[1], ~always, strict=True) if kept)]
    total = shift + linear @ bias[always]
    return [f"{name} = {affine_words(joined, total, unit, left, digits)}" for unit, name in enumerate(names[2])]


def is_short(layers: Sequence[tuple[sp.csr_matrix, Floats]]) -> bool:
    """Whether formulas are short enough to be read at a glance."""
    lines = sum(len(bias) for _, bias in layers)
    return lines <= MOST_LINES and all(int(np.diff(weight.indptr).max(initial=0)) <= MOST_TERMS for weight, _ in layers)
