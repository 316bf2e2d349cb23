"""Working sets and Newton steps on the neurons that live: the same optima as without them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.solvers.convex import fista
from convexnn.solvers.registry import able_solvers
from tests.helpers import zoo

X, Y = zoo.data(60, 4)


def program(loss: str = "squared", outputs: int = 1, m: int = 40, **options: Any) -> cx.ConvexProgram:
    y = zoo.target(loss, outputs, X, Y)
    options = {"penalty": "group_l1", "strength": 0.02, "loss": loss, **options}
    return cx.ConvexProgram(X, y, cx.sample_patterns(X, m, seed=1), **options)


@pytest.mark.parametrize(("loss", "outputs"), [("squared", 1), ("squared", 2), ("logistic", 1), ("softmax", 3)])
def test_working_sets_agree_with_the_whole_program(loss: str, outputs: int) -> None:
    asked = program(loss, outputs)
    solution, whole = cx.solve(asked, "working_set"), cx.solve(asked, "fista")
    assert solution.status is cx.Status.CONVERGED
    assert solution.gap is not None
    assert solution.gap <= 1e-6 * asked.zero_loss
    assert solution.objective == pytest.approx(whole.objective, abs=2e-6 * asked.zero_loss)


def test_working_sets_agree_with_cvxpy_with_an_intercept_and_features_of_their_own() -> None:
    patterns = cx.sample_patterns(X, 30, kind="sparse", order=2, seed=0)
    asked = cx.ConvexProgram(X, Y + 5.0, patterns, penalty="group_l1", strength=0.02, intercept=True)
    solution, reference = cx.solve(asked, "working_set"), cx.solve(asked, "cvxpy")
    assert solution.status is cx.Status.CONVERGED
    assert solution.objective == pytest.approx(reference.objective, abs=2e-6 * asked.zero_loss)


def test_a_start_at_the_optimum_is_kept_and_limits_are_heard() -> None:
    asked = program()
    first = cx.solve(asked, "working_set", tolerance=1e-8)
    again = cx.solve(asked, "working_set", start=first, tolerance=1e-6)
    assert again.iterations <= 1
    np.testing.assert_allclose(again.objective, first.objective, atol=1e-6 * asked.zero_loss)
    assert cx.solve(asked, "working_set", max_iterations=1).status is cx.Status.MAX_ITERATIONS
    assert cx.solve(asked, "working_set", time_limit=0.0).status is cx.Status.TIME_LIMIT


def test_an_interruption_returns_the_best_so_far() -> None:
    def stop(state: Any) -> None:
        if state.iteration == 2:
            raise KeyboardInterrupt

    solution = cx.solve(program(), "working_set", callback=stop, tolerance=1e-12)
    assert solution.status is cx.Status.INTERRUPTED
    assert solution.objective < solution.program.zero_loss


def test_nothing_lives_above_the_largest_strength() -> None:
    asked = program()
    solution = cx.solve(asked.with_strength(1.01 * cx.strength_max(asked)), "working_set")
    assert solution.nnz == 0
    assert solution.status is cx.Status.CONVERGED


def test_auto_asks_working_sets_first_where_weights_are_many_for_the_rows() -> None:
    assert able_solvers(program(m=400))[0] == "working_set"
    assert able_solvers(program(m=20))[0] == "admm"


@pytest.mark.parametrize("penalty", ["group_l1", "ridge", "none"])
@pytest.mark.parametrize(("loss", "outputs"), [("squared", 1), ("squared", 2), ("logistic", 1)])
def test_newton_steps_change_no_optimum(monkeypatch: pytest.MonkeyPatch, loss: str, outputs: int, penalty: str) -> None:
    asked = program(loss, outputs, m=6, penalty=penalty, strength=None if penalty == "none" else 0.02)
    with_steps = cx.solve(asked, "fista", tolerance=1e-8)
    monkeypatch.setattr(fista, "SELDOM", 10**9)
    without = cx.solve(asked, "fista", tolerance=1e-8, max_iterations=3_000)
    assert with_steps.status is cx.Status.CONVERGED
    if penalty != "none":
        assert with_steps.objective == pytest.approx(without.objective, abs=2e-8 * asked.zero_loss)
    assert with_steps.objective <= without.objective + 2e-8 * asked.zero_loss


def test_newton_steps_end_a_fit_without_a_penalty() -> None:
    asked = program(m=6, penalty="none", strength=None)
    solution = cx.solve(asked, "fista")
    A = zoo.dense_matrix(X, asked.patterns)
    best = A @ np.linalg.lstsq(A, asked.y, rcond=None)[0]
    assert solution.status is cx.Status.CONVERGED
    assert solution.objective == pytest.approx(float(np.square(best - asked.y).sum()) / (2 * len(best)), rel=1e-9)
