"""Regularization paths: the largest strength, warm starts, identities with single solves, interruption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import lasso_path

import convexnn as cx
from convexnn.program.penalties import PENALTIES
from tests.helpers import zoo

X, Y = zoo.data(40, 5)

SPARSE = ("group_l1", "feature_l1", "l1")

CASES = [
    zoo.Case("squared", 1, "group_l1", "gaussian", False, False),
    zoo.Case("squared", 2, "feature_l1", "gaussian", True, False),
    zoo.Case("logistic", 1, "l1", "gaussian", True, False),
    zoo.Case("softmax", 3, "group_l1", "gaussian", False, False),
    zoo.Case("squared", 1, "group_l1", "gaussian", False, True),
    zoo.Case("logistic", 1, "l1", "gaussian", True, True),
]

WARM = [(case, "fista") for case in CASES if not case.cone]
WARM += [(case, "admm") for case in CASES if case.loss == "squared" or (not case.cone and case.loss == "logistic")]


def convex(penalty: str, cone: bool = False) -> cx.ConvexProgram:
    return cx.ConvexProgram(X, Y, zoo.patterns(X), penalty=penalty, strength=1.0, cone=cone)


class TestStrengthMax:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_zero_weights_are_optimal_there(self, case: zoo.Case) -> None:
        program = case.program()
        solution = cx.solve(program.with_strength(1.001 * cx.strength_max(program)), "admm")
        assert solution.objective == pytest.approx(program.zero_loss, rel=1e-9)
        assert solution.gap is not None
        assert solution.gap <= 1e-9 * program.zero_loss

    @pytest.mark.parametrize("case", [case for case in CASES if case.penalty == "group_l1" or not case.cone], ids=str)
    def test_below_it_some_weight_pays(self, case: zoo.Case) -> None:
        program = case.program()
        solution = cx.solve(program.with_strength(0.9 * cx.strength_max(program)), "cvxpy")
        assert solution.objective < program.zero_loss * (1 - 1e-6)

    @pytest.mark.parametrize("penalty", SPARSE)
    def test_it_is_the_dual_norm_of_the_slope_at_zero(self, penalty: str) -> None:
        A = zoo.dense_matrix(X, zoo.patterns(X))
        slope = (A.T @ Y / len(Y)).reshape(-1, X.shape[1])
        expected = {
            "group_l1": np.linalg.norm(slope, axis=1).max(),
            "feature_l1": np.linalg.norm(slope, axis=0).max(),
            "l1": np.abs(slope).max(),
        }
        assert cx.strength_max(convex(penalty)) == pytest.approx(expected[penalty], rel=1e-12)

    def test_with_cones_it_is_no_larger(self) -> None:
        for penalty in SPARSE:
            assert cx.strength_max(convex(penalty, cone=True)) <= cx.strength_max(convex(penalty)) * (1 + 1e-9)

    def test_there_is_none_without_a_penalty_that_selects(self) -> None:
        budget = cx.ConvexProgram(X, Y, zoo.patterns(X), budget=3)
        free = cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="none")
        for program, words in ((budget, "a budget"), (convex("ridge"), "penalty 'ridge'"), (free, "penalty 'none'")):
            with pytest.raises(ValueError, match=f"program has {words}, for which there is no largest strength"):
                cx.strength_max(program)


class TestWithStrength:
    def test_it_is_the_program_made_anew(self) -> None:
        changed = convex("l1").with_strength(0.02)
        made = cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="l1", strength=0.02)
        assert str(changed) == str(made)
        assert cx.solve(changed, "fista").objective == cx.solve(made, "fista").objective

    def test_the_arrays_are_shared_and_the_first_stays(self) -> None:
        first = convex("l1")
        changed = first.with_strength(0.02)
        assert changed.X is first.X
        assert changed.y is first.y
        assert (first.strength, changed.strength) == (1.0, 0.02)

    @pytest.mark.parametrize(("strength", "error"), [(0.0, ValueError), (-1.0, ValueError), ("1", TypeError)])
    def test_bad_strengths_are_refused(self, strength: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match="strength is"):
            convex("l1").with_strength(strength)

    def test_a_program_without_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match="for a program with a budget; expected a program with a strength"):
            cx.ConvexProgram(X, Y, zoo.patterns(X), budget=3).with_strength(1.0)
        with pytest.raises(ValueError, match="for a program with penalty 'none'"):
            cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="none").with_strength(1.0)


class TestPath:
    @pytest.mark.parametrize(("case", "solver"), WARM, ids=str)
    def test_warm_starts_take_fewer_iterations(self, case: zoo.Case, solver: str) -> None:
        program = case.program()
        warm, cold = (
            cx.regularization_path(program, solver=solver, n_strengths=5, ratio=0.1, warm=carried)
            for carried in (True, False)
        )
        assert warm.iterations < cold.iterations
        for one, other in zip(warm, cold, strict=True):
            assert one.status is cx.Status.CONVERGED
            assert one.objective == pytest.approx(other.objective, abs=2e-6 * program.zero_loss)

    @pytest.mark.parametrize("case", [case for case in CASES if not (case.cone and case.penalty == "l1")], ids=str)
    def test_splitting_stays_at_an_optimum(self, case: zoo.Case) -> None:
        # The first look at the gap is after 5 iterations. Cones with l1 are left out: there the split of the duals
        # between penalty and cone is found again.
        program = case.program()
        found = cx.solve(program, "cvxpy")
        again = cx.solve(program, "admm", start=found)
        assert again.status is cx.Status.CONVERGED
        assert again.iterations <= 20

    def test_the_lasso_path_is_scikit_learns(self) -> None:
        path = cx.regularization_path(convex("l1"), n_strengths=10, ratio=0.01, tolerance=1e-9)
        A = zoo.dense_matrix(X, zoo.patterns(X))
        alphas, weights, _ = lasso_path(A, Y, alphas=path.strengths, tol=1e-12, max_iter=100_000)
        assert np.array_equal(alphas, path.strengths)
        for solution, expected in zip(path, weights.T, strict=True):
            value = solution.program.objective(A @ expected, expected)
            assert solution.objective == pytest.approx(value, rel=1e-6)

    def test_the_default_strengths_fall_from_the_largest(self) -> None:
        path = cx.regularization_path(convex("group_l1"), n_strengths=5, ratio=0.01)
        assert path.strengths[0] == pytest.approx(cx.strength_max(convex("group_l1")))
        assert path.strengths[-1] == pytest.approx(0.01 * path.strengths[0])
        assert np.allclose(np.diff(np.log(path.strengths)), np.log(0.01) / 4)
        assert [solution.program.strength for solution in path] == path.strengths.tolist()
        assert path[0].nnz == 0
        assert (np.diff([solution.objective for solution in path]) <= 1e-6).all()

    def test_given_strengths_are_solved_from_the_largest(self) -> None:
        path = cx.regularization_path(convex("ridge"), [0.01, 1.0, 0.1])
        assert path.strengths.tolist() == [1.0, 0.1, 0.01]
        assert path.complete
        assert len(path) == 3

    @pytest.mark.parametrize(("cone", "solver"), [(False, "admm"), (True, "interior_point")])
    def test_auto_is_the_first_choice_of_solve(self, cone: bool, solver: str) -> None:
        assert cx.regularization_path(convex("group_l1", cone), n_strengths=2, ratio=0.5).solver == solver

    def test_a_solver_that_is_too_large_makes_way(self) -> None:
        path = cx.regularization_path(convex("group_l1"), n_strengths=2, ratio=0.5, memory_limit=1000)
        assert path.solver == "fista"

    def test_solvers_without_a_warm_start_run_from_scratch(self) -> None:
        path = cx.regularization_path(convex("group_l1"), n_strengths=3, ratio=0.1, solver="cvxpy")
        alone = cx.solve(path[-1].program, "cvxpy")
        assert path[-1].objective == alone.objective
        assert path.solver == "cvxpy"

    def test_an_interruption_leaves_what_is_solved(self) -> None:
        seen: list[cx.Solution] = []

        def stop(solution: cx.Solution) -> None:
            seen.append(solution)
            if len(seen) == 2:
                raise KeyboardInterrupt

        path = cx.regularization_path(convex("l1"), n_strengths=5, callback=stop)
        assert len(path) == len(path.strengths) == 2
        assert not path.complete
        assert str(path).endswith("; interrupted")

    def test_a_solution_that_was_cut_short_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import convexnn.comparison.regularization_path

        calls: list[cx.Solution] = []

        def cut(program: cx.ConvexProgram, solver: str, **options: Any) -> cx.Solution:
            from dataclasses import replace

            solution = cx.solve(program, solver, **options)
            calls.append(solution)
            return replace(solution, status=cx.Status.INTERRUPTED) if len(calls) == 3 else solution

        monkeypatch.setattr(convexnn.comparison.regularization_path, "solve", cut)
        path = cx.regularization_path(convex("l1"), n_strengths=5)
        assert len(path) == 2
        assert not path.complete

    def test_an_interruption_before_the_first_reads_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import convexnn.comparison.regularization_path

        def stop(*arguments: Any, **options: Any) -> cx.Solution:
            raise KeyboardInterrupt

        monkeypatch.setattr(convexnn.comparison.regularization_path, "solve", stop)
        path = cx.regularization_path(convex("l1"), n_strengths=5)
        assert len(path) == 0
        assert str(path) == "admm: interrupted before the first strength was solved"

    @pytest.mark.parametrize("strengths", [None, [1.0, 0.1]])
    def test_a_program_without_a_strength_has_no_path(self, strengths: list[float] | None) -> None:
        budget = cx.ConvexProgram(X, Y, zoo.patterns(X), budget=3)
        free = cx.ConvexProgram(X, Y, zoo.patterns(X), penalty="none")
        for program, words in ((budget, "a budget"), (free, "penalty 'none'")):
            with pytest.raises(ValueError, match=f"program has {words}; a path needs a penalty with a strength"):
                cx.regularization_path(program, strengths)

    def test_one_is_singular(self) -> None:
        path = cx.regularization_path(convex("l1"), [10.0], max_iterations=1)
        assert repr(path).startswith("<admm: 1 strength, 1 iteration, ")

    def test_it_reads_well(self) -> None:
        lines = str(cx.regularization_path(convex("group_l1"), n_strengths=3, ratio=0.1)).splitlines()
        assert lines[0] == "admm: squared loss + strength * group_l1, 40 weights"
        assert lines[1].split() == [
            "strength",
            "objective",
            "loss",
            "gap",
            "nonzeros",
            "gates",
            "iterations",
            "seconds",
            "status",
        ]
        assert len(lines) == 6
        assert lines[-1].startswith("3 strengths, ")

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"strengths": []}, ValueError, "strengths is empty; expected a vector of numbers above 0"),
            ({"strengths": [1.0, 0.0]}, ValueError, "strengths holds 0; expected a vector of numbers above 0"),
            ({"strengths": [[1.0]]}, ValueError, "strengths has shape (1, 1)"),
            ({"strengths": ["a"]}, TypeError, "strengths cannot be read as real numbers"),
            ({"n_strengths": 1}, ValueError, "n_strengths is 1; expected a whole number of at least 2"),
            ({"ratio": 1.0}, ValueError, "ratio is 1.0; expected a number above 0 and below 1"),
            ({"ratio": 0.0}, ValueError, "ratio is 0.0"),
            ({"warm": "yes"}, TypeError, "warm is 'yes'; expected True or False"),
            ({"solver": "magic"}, ValueError, "solver 'magic' is unknown"),
            ({"solver": "niht"}, ValueError, "solver 'niht' needs a budget"),
            ({"gamma": 1}, TypeError, "solver 'admm' has no option 'gamma'"),
        ],
    )
    def test_bad_input_is_one_clear_line(self, arguments: dict[str, Any], error: type[Exception], words: str) -> None:
        with pytest.raises(error) as caught:
            cx.regularization_path(convex("l1"), **arguments)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_rows_are_no_program(self) -> None:
        rows: Any = np.eye(3)
        calls: list[Any] = [cx.regularization_path, cx.strength_max, cx.memory_estimate]
        for call in calls:
            with pytest.raises(TypeError, match="program is a ndarray; expected a ConvexProgram"):
                call(rows)


@pytest.mark.parametrize("penalty", SPARSE)
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_solution_without_weights_maps_to_the_zero_network(penalty: str, outputs: int) -> None:
    target = zoo.target("squared", outputs, X, Y)
    program = cx.ConvexProgram(X, target, zoo.patterns(X), penalty=penalty, strength=1.0)
    solution = cx.solve(program.with_strength(2 * cx.strength_max(program)), "fista")
    assert solution.nnz == 0
    assert solution.map().network.nnz == 0
    assert solution.map().error == 0.0
    assert not solution.predict(X).any()
    assert PENALTIES[penalty].value(solution.weights) == 0.0
