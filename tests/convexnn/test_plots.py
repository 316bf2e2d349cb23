"""Pictures of results: what is drawn are the numbers, on the axes that were given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

import convexnn as cx
from convexnn import plots


@pytest.fixture
def axes() -> Any:
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture(scope="module")
def program() -> cx.ConvexProgram:
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = np.maximum(X[:, 0], 0) + X[:, 1]
    return cx.ConvexProgram(X, y, cx.sample_patterns(X, 8, seed=0), penalty="group_l1", strength=0.01)


def test_convergence_is_drawn_above_the_proven_bound(program: cx.ConvexProgram, axes: Any) -> None:
    solution = cx.solve(program, "fista")
    assert plots.convergence(solution, axes, "mine") is axes
    assert solution.gap is not None
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), solution.history - (solution.objective - solution.gap))
    assert line.get_label() == "mine"


def test_without_a_bound_it_is_drawn_above_the_lowest(program: cx.ConvexProgram, axes: Any) -> None:
    budgeted = cx.ConvexProgram(program.X, program.y, program.patterns, budget=4)
    solution = cx.solve(budgeted, "niht")
    plots.convergence(solution, axes)
    assert np.nanmin(axes.get_lines()[0].get_ydata()) > 0
    assert axes.get_ylabel().endswith("the lowest one")


def test_a_solution_without_a_history_is_refused(program: cx.ConvexProgram) -> None:
    with pytest.raises(ValueError, match=r"solution of cvxpy \(CLARABEL\) has no history; expected one of a solver"):
        plots.convergence(cx.solve(program, "cvxpy"))
