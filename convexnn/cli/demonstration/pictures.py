"""Pictures of weights and images, as PNG bytes; no global state of matplotlib is touched."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

from convexnn.checks import Floats, require
from convexnn.network import SparseReLUNetwork


def weight_images(network: SparseReLUNetwork, shape: tuple[int, int], columns: int = 9) -> bytes:
    """Draw the input weights of every hidden neuron of a one-hidden-layer network as an image, longest first."""
    hidden, signs = network.layers[0][0].toarray(), network.layers[-1][0].toarray()[0]
    lengths = np.linalg.norm(hidden, axis=1)
    order = np.argsort(-lengths)
    height = -(-len(order) // columns)
    figure, axes = _grid(height, min(columns, len(order)), (1.05, 1.2))
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, neuron in zip(axes.flat, order, strict=False):
        _show(axis, hidden[neuron].reshape(shape), "RdBu_r", np.abs(hidden[neuron]).max())
        sign = "+" if signs[neuron] > 0 else "\N{MINUS SIGN}"
        axis.set_title(f"{sign} {lengths[neuron]:.2g}", fontsize=8, pad=3)
    return _png(figure)


def triple(image: Floats, witness: Floats, shape: tuple[int, int], titles: tuple[str, str, str]) -> bytes:
    """Draw an image, its adversarial neighbour and their difference side by side."""
    from verify.plots import attack

    figure, axes = _grid(1, 3, (2.2, 2.5))
    attack(image, witness, shape, axes[0], titles)
    return _png(figure)


def _grid(rows: int, columns: int, cell: tuple[float, float]) -> tuple[Any, Any]:
    figure = require("matplotlib.figure", "matplotlib", "drawing the report").Figure(
        figsize=(cell[0] * columns, cell[1] * rows), dpi=130, layout="constrained"
    )
    return figure, figure.subplots(rows, columns, squeeze=False)


def _show(axis: Any, values: Floats, colours: str, limit: float) -> None:
    axis.imshow(values, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
