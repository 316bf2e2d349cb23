"""Pictures of answers: functions that take matplotlib axes, draw, and return them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import require
from verify.answers.evaluation import Evaluation
from verify.answers.optimum import OutputRange

__all__ = ["attack", "ranges", "robustness"]


def robustness(evaluations: Mapping[float, Evaluation], ax: Any = None, label: str = "") -> Any:
    """Draw what share of the rows is proven robust, and not attacked, against the radius, and return the axes.

    Parameters
    ----------
    evaluations : mapping of float to Evaluation
        Radii, and what :func:`verify.evaluate` said of the same rows in balls of each.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default new axes. Curves of several networks may share them.
    label : str, optional
        The network's name, in the legend.

    Raises
    ------
    ValueError
        There are no radii.

    Examples
    --------
    >>> import convexnn as cx, verify
    >>> from verify import plots
    >>> network = cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[1.0, -1.0]], [0.0])])
    >>> rows, labels = [[1.0, 0.2], [0.1, 0.9]], [1, -1]
    >>> curves = {r: verify.evaluate(network, rows, labels, lambda row: verify.LinfBall(row, r)) for r in (0.1, 0.5)}
    >>> plots.robustness(curves).get_xlabel()
    'radius'
    """
    if not evaluations:
        raise ValueError("evaluations is empty; expected an Evaluation for each radius")
    if ax is None:
        ax = require("matplotlib.pyplot", "matplotlib", "robustness").subplots(layout="constrained")[1]
    radii = sorted(evaluations)
    proven = [100.0 * evaluations[radius].certified_accuracy for radius in radii]
    standing = [100.0 * evaluations[radius].attacked_accuracy for radius in radii]
    name = f"{label}: " if label else ""
    (line,) = ax.plot(radii, proven, "o-", label=f"{name}proven robust")
    ax.plot(radii, standing, "--", color=line.get_color(), label=f"{name}not attacked")
    ax.fill_between(radii, proven, standing, color=line.get_color(), alpha=0.15, linewidth=0)
    ax.set_xlabel("radius")
    ax.set_ylabel("% of the rows")
    ax.set_ylim(-2.0, 102.0)
    ax.legend()
    return ax


def attack(
    center: ArrayLike,
    witness: ArrayLike,
    image_shape: Sequence[int],
    axes: Sequence[Any] | None = None,
    titles: Sequence[str] = ("input", "witness", "difference"),
) -> Any:
    """Draw an input, the witness of an attack, and their difference as images side by side; return the three axes.

    Parameters
    ----------
    center, witness : array_like (d,)
        The input asked about, and the `witness` of an :class:`verify.Answer`. Grey levels have one scale in both.
    image_shape : (height, width) or (height, width, 3)
        The images that the inputs are; with colours the difference is the largest over them.
    axes : sequence of three matplotlib.axes.Axes, optional
        Where to draw; default new ones.
    titles : sequence of str, default ("input", "witness", "difference")
        Above the three.

    Raises
    ------
    ValueError
        The inputs are not of `image_shape`, or there are not three axes.

    Examples
    --------
    >>> import convexnn as cx, verify
    >>> from verify import plots
    >>> network = cx.SparseReLUNetwork([([[1.0, 0.0, 0.0, -1.0]], None), ([[1.0]], [-0.2])])
    >>> image = [0.6, 0.1, 0.9, 0.3]
    >>> answer = verify.find_adversarial(network, verify.LinfBall(image, 0.1, clip=(0, 1)))
    >>> [ax.get_title() for ax in plots.attack(image, answer.witness, (2, 2))]
    ['input', 'witness', 'difference']
    """
    shape = tuple(image_shape)
    images = [np.asarray(values, dtype=np.float64) for values in (center, witness)]
    if any(image.size != prod(shape) for image in images):
        sizes = " and ".join(f"{image.size}" for image in images)
        raise ValueError(f"center and witness have {sizes} entries; expected {prod(shape)}, those of image_shape")
    first, second = (image.reshape(shape) for image in images)
    if axes is None:
        pyplot = require("matplotlib.pyplot", "matplotlib", "attack")
        axes = pyplot.subplots(1, 3, layout="constrained", figsize=(6.6, 2.6))[1]
    assert axes is not None
    if len(axes) != 3:
        raise ValueError(f"axes has {len(axes)} members; expected 3, for the input, the witness and the difference")
    change = second - first
    if len(shape) == 3:
        change = np.take_along_axis(change, np.abs(change).argmax(axis=2)[..., None], axis=2)[..., 0]
    low, high = float(min(first.min(), second.min())), float(max(first.max(), second.max()))
    most = float(np.abs(change).max()) or 1.0
    scales = (("gray", low, high), ("gray", low, high), ("RdBu_r", -most, most))
    for ax, values, (colours, bottom, top), title in zip(axes, (first, second, change), scales, titles, strict=True):
        ax.imshow(values, cmap=colours, vmin=bottom, vmax=top, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_title(title, fontsize="medium")
    return axes


def ranges(found: OutputRange, ax: Any = None, names: Sequence[str] | None = None) -> Any:
    """Draw what every output reaches over a region, and what is proven to hold it, and return the axes.

    Parameters
    ----------
    found : OutputRange
        Of :func:`verify.output_range`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default new axes.
    names : sequence of str (k,), optional
        Of the outputs; default their numbers.

    Raises
    ------
    ValueError
        There are not as many names as outputs.

    Examples
    --------
    >>> import convexnn as cx, verify
    >>> from verify import plots
    >>> network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0], [1.0, 0.0]], None)])
    >>> plots.ranges(verify.output_range(network, verify.Box([-1.0], [2.0])), names=["|x|", "relu(x)"]).get_xlabel()
    'value of the output'
    """
    count = len(found.lower)
    labels = list(map(str, range(count))) if names is None else list(names)
    if len(labels) != count:
        raise ValueError(f"names has {len(labels)} members; expected {count}, one an output")
    if ax is None:
        ax = require("matplotlib.pyplot", "matplotlib", "ranges").subplots(layout="constrained")[1]
    places = np.arange(count)
    ax.barh(places, found.upper - found.lower, left=found.lower, height=0.5, color="0.8", label="proven to hold it")
    reached = found.reached_upper - found.reached_lower
    ax.barh(places, reached, left=found.reached_lower, height=0.25, color="C0", label="reached")
    ax.set_yticks(places, labels)
    ax.invert_yaxis()
    ax.use_sticky_edges = False
    ax.autoscale_view()
    ax.set_ylabel("output")
    ax.set_xlabel("value of the output")
    ax.legend()
    return ax
