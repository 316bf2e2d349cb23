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


def test_a_path_is_drawn_gate_by_gate(program: cx.ConvexProgram, axes: Any) -> None:
    path = cx.regularization_path(program, [0.1, 0.01, 0.001])
    assert plots.regularization_path(path, axes) is axes
    lines = axes.get_lines()
    assert len(lines) == len({gate for solution in path for gate in solution.live.tolist()})
    for index, solution in enumerate(path):
        heights = sum(float(line.get_ydata()[index]) for line in lines)
        assert heights == pytest.approx(sum(np.linalg.norm(block) for block in solution.blocks))


def test_a_path_without_strengths_is_refused() -> None:
    with pytest.raises(ValueError, match="path has no strengths: it was interrupted"):
        plots.regularization_path(cx.RegularizationPath(np.empty(0), (), "admm", False))


def test_bound_and_objective_meet_at_the_end(program: cx.ConvexProgram, axes: Any) -> None:
    best = cx.global_optimum(program.X[:, :2], program.y, strength=0.05)
    assert plots.bound_progress(best, axes) is axes
    objective, bound = (line.get_ydata() for line in axes.get_lines())
    assert bound[-1] <= objective[-1] <= bound[-1] + 1e-4 * best.program.zero_loss


def test_a_map_has_its_values_and_no_words_where_nothing_was_run(axes: Any) -> None:
    assert plots.recovery_map([[1.0, 0.5], [np.nan, 0.0]], [2, 5], [10, 20], axes, "solved") is axes
    assert [text.get_text() for text in axes.texts] == ["1", "0.5", "0"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10", "20"]
    assert axes.images[0].colorbar.ax.get_ylabel() == "solved"


def test_a_map_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"values has shape \(1, 2\); expected \(2, 1\), widths by budgets"):
        plots.recovery_map([[1.0, 0.5]], [2, 5], [10])
