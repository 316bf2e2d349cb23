"""Pictures of results: functions that take matplotlib axes, draw, and return them."""

from __future__ import annotations

from typing import Any

import numpy as np

from convexnn.checks import require
from convexnn.estimators.budget_path import BudgetPath
from convexnn.solution import Solution

__all__ = ["budget_curve", "convergence"]


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


def _axes(ax: Any, caller: str) -> Any:
    if ax is not None:
        return ax
    return require("matplotlib.pyplot", "matplotlib", caller).subplots(layout="constrained")[1]
