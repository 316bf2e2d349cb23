"""What is no callback is refused before a run, in one line, by everything that takes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.solvers.registry import SOLVERS
from convexnn.solvers.subset.best_subset import best_subset
from convexnn.studies.harness.reproduce import reproduce

X = np.random.default_rng(0).standard_normal((30, 3))
Y = np.maximum(X[:, 0], 0.0)
PATTERNS = cx.sample_patterns(X, 5, seed=0)
# The function that each program is for: gated, with cones, with a budget.
PROGRAMS = {
    "gated": cx.ConvexProgram(X, Y, PATTERNS, penalty="group_l1", strength=0.01),
    "cone": cx.ConvexProgram(X, Y, PATTERNS, penalty="group_l1", strength=0.01, cone=True),
    "budget": cx.ConvexProgram(X, Y, PATTERNS, budget=3),
}
TELLING = [name for name, solver in SOLVERS.items() if "callback" in solver.options]


@pytest.mark.parametrize("name", ["auto", *TELLING])
def test_a_solver_refuses_what_is_no_callback(name: str) -> None:
    program = next(program for program in PROGRAMS.values() if name == "auto" or SOLVERS[name].can(program))
    with pytest.raises(
        TypeError, match=r"^callback is 3; expected a function that is called as the run goes, or None$"
    ):
        cx.solve(program, name, callback=3)


@pytest.mark.parametrize(
    "asked",
    [
        lambda bad: best_subset(X, Y, 2, callback=bad),
        lambda bad: cx.global_optimum(X, Y, strength=0.1, callback=bad),
        lambda bad: cx.recover(X, Y, budget=3, callback=bad),
        lambda bad: cx.fit_network(X, Y, budget=3, callback=bad),
        lambda bad: cx.regularization_path(PROGRAMS["gated"], callback=bad),
        lambda bad: cx.crosscheck(PROGRAMS["gated"], callback=bad),
        lambda bad: cx.budget_path(cx.SparseReLURegressor(), X, Y, [3], callback=bad),
    ],
)
def test_a_function_refuses_what_is_no_callback(asked: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"^callback is 'x'; expected a function"):
        asked("x")


def test_a_study_refuses_it_before_it_writes(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="callback is 3; expected a function"):
        reproduce("planted", output=tmp_path / "results", callback=3)  # type: ignore[arg-type]
    assert not (tmp_path / "results").exists()


def test_verify_names_its_own_argument() -> None:
    network = cx.solve(PROGRAMS["gated"], "fista").to_network()
    with pytest.raises(TypeError, match="on_answer is 3; expected a function"):
        verify.evaluate(network, X[:2], [0, 0], lambda x: verify.LinfBall(x, 0.1), on_answer=3)  # type: ignore[arg-type]
