"""Pictures of results: functions that take matplotlib axes, draw, and return them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import require
from convexnn.comparison.regularization_path import RegularizationPath
from convexnn.estimators.budget_path import BudgetPath
from convexnn.optimum.result import GlobalOptimum
from convexnn.solution import Solution

__all__ = ["bound_progress", "budget_curve", "convergence", "recovery_map", "regularization_path"]


def convergence(solution: Solution, ax: Any = None, label: str | None = None) -> Any:
    """Draw how far each iterate of a solver was above the best value known, and return the axes.

    Parameters
    ----------
    solution : Solution
        With a `history`: objectives above its proven lower bound, where it has a gap, else above the lowest one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default new axes. Curves of several solutions may share them.
    label : str, optional
        In the legend; default the name of the solver.

    Raises
    ------
    ValueError
        The solver kept no history.

    Examples
    --------
    >>> import numpy as np, convexnn as cx
    >>> from convexnn import plots
    >>> X = np.random.default_rng(0).standard_normal((30, 3))
    >>> patterns = cx.sample_patterns(X, 5, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> plots.convergence(cx.solve(program, "fista")).get_yscale()
    'log'
    """
    if not len(solution.history):
        raise ValueError(f"solution of {solution.solver} has no history; expected one of a solver that iterates")
    ax = _axes(ax, "convergence")
    lowest = float(np.min(solution.history)) if solution.gap is None else solution.objective - solution.gap
    above = np.asarray(solution.history) - lowest
    known = "the lowest one" if solution.gap is None else "the proven lower bound"
    ax.plot(np.arange(1, len(above) + 1), np.where(above > 0.0, above, np.nan), label=label or solution.solver)
    ax.set_yscale("log")
    ax.set_xlabel("iteration")
    ax.set_ylabel(f"objective above {known}")
    ax.legend()
    return ax


def budget_curve(path: BudgetPath, ax: Any = None, points: float = 1.0) -> Any:
    """Draw scores against the number of weights, and return the axes: :meth:`convexnn.BudgetPath.plot`.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> from convexnn import plots
    >>> X = np.random.default_rng(0).standard_normal((80, 3))
    >>> model = cx.SparseReLURegressor(epochs=5, random_state=0)
    >>> path = cx.budget_path(model, X, np.maximum(X[:, 0], 0), budgets=[2, 6], cv=2)
    >>> plots.budget_curve(path).get_xscale()
    'log'
    """
    return path.plot(ax, points)


def regularization_path(path: RegularizationPath, ax: Any = None) -> Any:
    """Draw the norm of every gate's weights against the strength, and return the axes.

    Parameters
    ----------
    path : RegularizationPath
        At least one strength; gates that no strength keeps are left out.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default new axes.

    Raises
    ------
    ValueError
        The path was interrupted before the first strength was solved.

    Examples
    --------
    >>> import numpy as np, convexnn as cx
    >>> from convexnn import plots
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> patterns = cx.sample_patterns(X, 5, seed=0)
    >>> program = cx.ConvexProgram(X, np.maximum(X[:, 0], 0), patterns, penalty="group_l1", strength=0.01)
    >>> plots.regularization_path(cx.regularization_path(program, n_strengths=4)).get_xscale()
    'log'
    """
    if not len(path):
        raise ValueError("path has no strengths: it was interrupted before the first was solved")
    ax = _axes(ax, "regularization_path")
    gates = sorted({int(gate) for solution in path for gate in solution.live})
    norms = np.array([[_norms(solution).get(gate, 0.0) for gate in gates] for solution in path])
    ax.plot(path.strengths, norms, "-", linewidth=1.2)
    ax.set_xscale("log")
    ax.invert_xaxis()
    ax.set_xlabel("strength of the penalty, falling")
    ax.set_ylabel("norm of a gate's weights")
    words = f"{len(path[0].live)} to {len(path[-1].live)} of {len(path[0].program.patterns)} gates"
    ax.set_title(words, fontsize="medium")
    return ax


def bound_progress(optimum: GlobalOptimum, ax: Any = None) -> Any:
    """Draw objective and proven bound against seconds, and return the axes: :meth:`convexnn.GlobalOptimum.plot`.

    Parameters
    ----------
    optimum : GlobalOptimum
        Of :func:`convexnn.global_optimum`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default new axes.

    Examples
    --------
    >>> import numpy as np, convexnn as cx
    >>> from convexnn import plots
    >>> X = np.random.default_rng(0).standard_normal((40, 2))
    >>> plots.bound_progress(cx.global_optimum(X, np.maximum(X[:, 0], 0), strength=0.01)).get_xlabel()
    'seconds'
    """
    return optimum.plot(ax)


def recovery_map(
    values: ArrayLike, widths: Sequence[int], budgets: Sequence[int], ax: Any = None, label: str = "share recovered"
) -> Any:
    """Draw how well networks were recovered, over neurons and weights, and return the axes.

    Parameters
    ----------
    values : array_like (a, b)
        A value from 0 to 1 for each width and budget, such as the share of seeds with an exact recovery; not a number
        where nothing was run.
    widths, budgets : sequence of int (a,), (b,)
        Neurons (upwards) and weights (to the right) of the planted networks.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default new axes.
    label : str, default "share recovered"
        What the values are, beside the colours.

    Raises
    ------
    ValueError
        The shape of `values` is another.

    Examples
    --------
    >>> from convexnn import plots
    >>> plots.recovery_map([[1.0, 0.75], [1.0, 0.25]], [2, 5], [10, 20]).get_ylabel()
    'neurons'
    """
    shares = np.asarray(values, dtype=np.float64)
    if shares.shape != (len(widths), len(budgets)):
        expected = f"({len(widths)}, {len(budgets)}), widths by budgets"
        raise ValueError(f"values has shape {shares.shape}; expected {expected}")
    ax = _axes(ax, "recovery_map")
    shown = ax.imshow(shares, origin="lower", aspect="auto", vmin=0.0, vmax=1.0, cmap="viridis")
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            ax.text(column, row, f"{share:.2g}", ha="center", va="center", color="k" if share > 0.5 else "w")
    ax.set_xticks(range(len(budgets)), list(map(str, budgets)))
    ax.set_yticks(range(len(widths)), list(map(str, widths)))
    ax.set_xlabel("weights")
    ax.set_ylabel("neurons")
    ax.figure.colorbar(shown, ax=ax, label=label)
    return ax


def _norms(solution: Solution) -> dict[int, float]:
    """Return the norm of the weights of every live gate."""
    pairs = zip(solution.live, solution.blocks, strict=True)
    return {int(gate): float(np.linalg.norm(block)) for gate, block in pairs}


def _axes(ax: Any, caller: str) -> Any:
    if ax is not None:
        return ax
    return require("matplotlib.pyplot", "matplotlib", caller).subplots(layout="constrained")[1]
