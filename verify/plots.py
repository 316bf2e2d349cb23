"""Pictures of answers: functions that take matplotlib axes, draw, and return them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convexnn.checks import require
from verify.answers.evaluation import Evaluation

__all__ = ["robustness"]


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
