"""Hard thresholding to HT-stable points, and budgets with a ridge, against enumeration and the theory's own checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn import theory
from convexnn.solvers.common.descent import Progress
from convexnn.solvers.common.unsuited import UnsuitedError
from tests.helpers import zoo

X, Y = zoo.data(40, 4)
LOSS_OUTPUTS = [("squared", 1), ("squared", 2), ("logistic", 1), ("softmax", 3)]
RIDGE: dict[str, Any] = {"penalty": "ridge", "strength": 0.05}


def program(loss: str = "squared", outputs: int = 1, budget: int = 3, gates: int = 3, **asked: Any) -> cx.ConvexProgram:
    patterns = cx.sample_patterns(X, gates, seed=1)
    return cx.ConvexProgram(X, zoo.target(loss, outputs, X, Y), patterns, loss=loss, budget=budget, **asked)


@pytest.mark.parametrize(("loss", "outputs"), LOSS_OUTPUTS)
@pytest.mark.parametrize("budget", [1, 3])
@pytest.mark.parametrize("cap", [None, 1])
class TestRidge:
    def test_it_ends_stable_at_the_optimum(self, loss: str, outputs: int, budget: int, cap: int | None) -> None:
        asked = program(loss, outputs, budget, 2 if outputs > 1 else 3, budget_per_neuron=cap, **RIDGE)
        solution, best = cx.solve(asked), theory.enumerated_optimum(asked)
        assert (solution.solver, solution.status) == ("stable_iht", cx.Status.CONVERGED)
        assert theory.ht_stability(asked, solution, tolerance=1e-8).stable
        assert solution.objective == pytest.approx(best.objective, rel=1e-9)
        assert np.array_equal(solution.support, best.support)
        assert np.allclose(solution.weights, best.weights, atol=1e-6)
        assert solution.gap is None

    def test_the_objective_has_the_ridge(self, loss: str, outputs: int, budget: int, cap: int | None) -> None:
        asked = program(loss, outputs, budget, budget_per_neuron=cap, **RIDGE)
        solution = cx.solve(asked)
        bare = asked.loss.value(solution.predict(X).reshape(asked.targets.shape), asked.targets)
        assert solution.objective == pytest.approx(bare + 0.025 * np.square(solution.values).sum(), rel=1e-12)

    def test_plain_steps_descend_to_a_stable_point(self, loss: str, outputs: int, budget: int, cap: int | None) -> None:
        asked = program(loss, outputs, budget, budget_per_neuron=cap, **RIDGE)
        options: dict[str, Any] = {"polish": False, "swaps": False, "n_starts": 1, "seed": 3}
        solution = cx.solve(asked, **options)
        assert solution.status is cx.Status.CONVERGED
        assert (np.diff(solution.history) <= 1e-12 * solution.history[0]).all()
        assert theory.ht_stability(asked, solution, tolerance=1e-8).stable


@pytest.mark.parametrize(("loss", "outputs"), [("squared", 1), ("squared", 2)])
def test_without_a_ridge_it_finds_the_best_subset(loss: str, outputs: int) -> None:
    asked = program(loss, outputs)
    solution = cx.solve(asked, "stable_iht")
    assert solution.objective == pytest.approx(theory.enumerated_optimum(asked).objective, rel=1e-9)
    assert theory.ht_stability(asked, solution).stable


def test_labels_that_separate_end_within_the_tolerance() -> None:
    asked = cx.ConvexProgram(X, X[:, 0] > 0.1, theory.linear_patterns(X), loss="logistic", budget=2)
    solution = cx.solve(asked, "stable_iht", tolerance=1e-3)
    found = theory.ht_stability(asked, solution, tolerance=1e-3)
    assert solution.status is cx.Status.CONVERGED
    assert found.stable
    assert found.slope_on <= 1e-3
    assert not found.slope_on <= 1e-6


def test_a_budget_of_all_weights_is_the_dense_fit() -> None:
    dense = cx.solve(cx.ConvexProgram(X, Y, cx.sample_patterns(X, 3, seed=1), **RIDGE), tolerance=1e-10)
    assert cx.solve(program(budget=12, **RIDGE)).objective == pytest.approx(dense.objective, rel=1e-9)


def test_a_start_is_where_it_begins() -> None:
    asked = program(**RIDGE)
    best = cx.solve(asked)
    again = cx.solve(asked, start=best, n_starts=1, swaps=False)
    assert again.iterations == 1
    assert np.array_equal(again.values, best.values)
    more = cx.solve(asked, start=np.ones(asked.weights_shape), n_starts=1)
    assert more.nnz == 3


def test_the_seed_decides_and_restarts_help() -> None:
    asked = program(budget=5, gates=8, **RIDGE)
    options: dict[str, Any] = {"swaps": False, "step": 1e-3}
    one, two = (cx.solve(asked, n_starts=1, seed=seed, **options).objective for seed in (0, 0))
    assert one == two
    ends = [cx.solve(asked, n_starts=1, seed=seed, **options).objective for seed in range(8)]
    assert max(ends) > min(ends) * 1.0001
    many = cx.solve(asked, n_starts=20, **options).objective
    assert many <= ends[0]
    assert cx.solve(asked, n_starts=1, step=1e-3).objective <= ends[0]


def test_limits_callback_and_interruption() -> None:
    asked, seen = program(**RIDGE), list[Progress]()
    short = cx.solve(asked, max_iterations=2, callback=seen.append)
    assert short.status is cx.Status.MAX_ITERATIONS
    assert (short.iterations, len(short.history), [now.iteration for now in seen]) == (2, 2, [1, 2])
    assert cx.solve(asked, time_limit=0.0).status is cx.Status.TIME_LIMIT

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    stopped = cx.solve(asked, callback=stop)
    assert stopped.status is cx.Status.INTERRUPTED
    assert stopped.nnz == 3


def test_iterations_count_on_after_a_swap() -> None:
    """Found in review: the callback began at 1 again after each swap."""
    asked, seen = program(budget=5, gates=8, **RIDGE), list[int]()
    solution = cx.solve(asked, n_starts=1, step=1e-3, callback=lambda now: seen.append(now.iteration))
    assert seen == list(range(1, solution.iterations + 1))
    assert solution.iterations > cx.solve(asked, n_starts=1, step=1e-3, swaps=False).iterations


@pytest.mark.parametrize(("loss", "outputs"), LOSS_OUTPUTS)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("step", ["safe", 1e6])
def test_any_scale_and_any_step_end_in_order(loss: str, outputs: int, scale: float, step: float | str) -> None:
    """Found in review: a step that is too long, and labels that are separated, warned of overflows."""
    rows = scale * X
    for ridge in ({}, RIDGE):
        for polish in (False, True):
            gates, target = cx.sample_patterns(rows, 3, seed=1), zoo.target(loss, outputs, X, Y)
            asked = cx.ConvexProgram(rows, target, gates, loss=loss, budget=3, **ridge)
            solution = cx.solve(asked, "stable_iht", step=step, polish=polish, max_iterations=100)
            assert np.isfinite(solution.objective)
            assert solution.objective <= asked.zero_loss * (1.0 + 1e-9)
            assert solution.nnz <= 3
            if solution.status is cx.Status.CONVERGED and step == "safe":
                assert theory.ht_stability(asked, solution).stable


def test_what_is_too_large_is_not_for_it() -> None:
    with pytest.raises(UnsuitedError, match="memory_limit is 100, and the columns have 480 entries"):
        cx.solve(program(), "stable_iht", memory_limit=100)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"step": 0}, ValueError, "step is 0; expected a number above 0"),
        ({"step": "long"}, ValueError, "step is 'long'; expected 'safe', 'monte_carlo' or a number above 0"),
        ({"n_starts": 0}, ValueError, "n_starts is 0"),
        ({"polish": 1}, TypeError, "polish is 1; expected True or False"),
        ({"swaps": "no"}, TypeError, "swaps is 'no'"),
        ({"tolerance": -1.0}, ValueError, "tolerance is -1.0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"max_iterations": 0}, ValueError, "max_iterations is 0"),
        ({"start": np.ones(3)}, ValueError, "start has shape (3,); expected (3, 4)"),
        ({"whiten": True}, TypeError, "has no option 'whiten'"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        cx.solve(program(), "stable_iht", **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


class TestBudgetsWithARidge:
    def test_the_program_says_so(self) -> None:
        asked = program(**RIDGE)
        assert asked.question == "squared loss + 0.05 * ridge, at most 3 of 12 weights"
        assert asked.with_strength(0.5).strength == 0.5
        assert cx.solve(asked.with_strength(0.5)).objective > cx.solve(asked).objective

    def test_other_solvers_of_budgets_refuse_it(self) -> None:
        with pytest.raises(ValueError, match="solver 'niht' needs a budget; this program can be solved by: stable_iht"):
            cx.solve(program(**RIDGE), "niht")
        with pytest.raises(ValueError, match="'fista' needs a penalty without cone; this program can be solved by"):
            cx.solve(program(**RIDGE), "fista")

    def test_other_penalties_do_not_go_with_a_budget(self) -> None:
        for penalty in ("l1", "group_l1"):
            with pytest.raises(ValueError, match="both of budget and penalty given"):
                program(penalty=penalty, strength=0.1)
        with pytest.raises(ValueError, match="both of budget and penalty given"):
            program(penalty="none")
        with pytest.raises(ValueError, match="cone is True with a budget"):
            program(cone=True, **RIDGE)
        with pytest.raises(ValueError, match="penalty is 'ridge' without strength"):
            program(penalty="ridge")

    def test_it_maps_crosschecks_and_has_no_path(self) -> None:
        asked = program(**RIDGE)
        solution = cx.solve(asked)
        assert "refit mapping" in str(solution)
        assert solution.to_network().nnz <= 6
        found = cx.crosscheck(asked)
        assert [row.solver for row in found.rows] == ["stable_iht"]
        assert found.agree()
        with pytest.raises(ValueError, match="program has a budget; a path needs a penalty"):
            cx.regularization_path(asked)
