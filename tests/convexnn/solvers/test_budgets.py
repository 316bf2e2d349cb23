"""Solvers of budgets against brute force and identities; limits and bad input of all solvers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.solvers.common.descent import Limits, Progress, descend
from convexnn.solvers.registry import SOLVERS
from tests.helpers import zoo

X, Y = zoo.data(40, 5)

# The solvers that threshold; all but the last two fit their weights on every support.
THRESHOLDING = ["hard_thresholding", "htp", "cosamp", "niht", "iht"]


def cardinality(kind: str = "gaussian", budget: int = 6) -> cx.ConvexProgram:
    return cx.ConvexProgram(X, Y, zoo.patterns(X, kind), budget=budget)


def own_end(solver: str) -> cx.Status:
    """Return what a solver says that ended by itself: the phases of a search, or a fixed point."""
    return cx.Status.SEARCH_ENDED if solver == "hard_thresholding" else cx.Status.CONVERGED


def convex(penalty: str, kind: str = "gaussian", strength: float = 0.02) -> cx.ConvexProgram:
    return cx.ConvexProgram(X, Y, zoo.patterns(X, kind), penalty=penalty, strength=strength)


@pytest.mark.parametrize("solver", THRESHOLDING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", zoo.KINDS)
class TestBudgets:
    def test_the_solution_is_what_it_says(self, kind: str, dtype: str, solver: str, device: str) -> None:
        program = cardinality(kind)
        solution = cx.solve(program, solver, dtype=dtype, device=device)
        A = zoo.dense_matrix(X, program.patterns)
        residual = A @ solution.weights.ravel() - Y
        assert solution.solver == solver
        assert solution.nnz <= 6
        assert not solution.weights[~program.patterns.features].any()
        assert solution.objective == pytest.approx(residual @ residual / (2 * len(Y)), rel=1e-12)
        assert np.allclose(solution.predict(X), A @ solution.weights.ravel())
        assert np.allclose(A[:, solution.support].T @ residual, 0.0, atol=1e-9)
        assert solution.gap is None
        assert solution.status is own_end(solver)

    def test_it_is_never_below_the_proven_optimum(self, kind: str, dtype: str, solver: str) -> None:
        few = zoo.patterns(X[:12], kind, count=3)
        program = cx.ConvexProgram(X[:12], Y[:12], few, budget=2)
        best = zoo.best_subset(zoo.dense_matrix(X[:12], few), Y[:12], 2)
        assert cx.solve(program, solver, dtype=dtype).objective >= best - 1e-12

    def test_lack_of_memory_changes_nothing(self, kind: str, dtype: str, solver: str) -> None:
        """Nothing of a method on plain rows; the default goes without the phases that do not fit."""
        limits = 1 << 30, zoo.least_limit(cardinality(kind), dtype=dtype)
        options = {"dtype": dtype, "whiten": False}
        ample, scarce = (cx.solve(cardinality(kind), solver, memory_limit=m, **options) for m in limits)
        if solver == "hard_thresholding":
            assert scarce.objective >= ample.objective * (1.0 - 1e-9)
        else:
            assert np.array_equal(ample.support, scarce.support)


@pytest.mark.parametrize("solver", ["niht", "iht"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", zoo.KINDS)
def test_the_objective_never_rises(kind: str, dtype: str, solver: str) -> None:
    history = cx.solve(cardinality(kind), solver, dtype=dtype, whiten=False).history
    assert (np.diff(history) <= 1e-6 * history[0]).all()


@pytest.mark.parametrize("kind", ["sparse", "single"])
def test_a_budget_of_all_weights_stays_on_owned_columns_that_are_not_zero(kind: str) -> None:
    rows = np.column_stack([X, np.zeros(len(X))])
    drawn = zoo.patterns(rows, kind, count=20)
    program = cx.ConvexProgram(rows, Y, drawn, budget=int(drawn.features.sum()))
    solution = cx.solve(program)
    assert drawn.features.flat[solution.support].all()
    assert not solution.weights[:, -1].any()
    assert solution.map("exact").error < 1e-8


@pytest.mark.parametrize("seed", range(10))
def test_both_precisions_end_on_the_same_support(seed: int) -> None:
    rows, target = zoo.data(200, 8, seed)
    program = cx.ConvexProgram(rows, target, cx.sample_patterns(rows, 60, seed=seed), budget=20)
    single, double = (cx.solve(program, dtype=dtype) for dtype in ("float32", "float64"))
    assert np.array_equal(single.support, double.support)


def test_columns_far_below_an_outlier_can_be_chosen() -> None:
    rows = np.random.default_rng(0).standard_normal((200, 3))
    rows[0, 0] = 1e9
    target = 2 * np.minimum(rows[:, 1], 0.0)
    solution = cx.solve(cx.ConvexProgram(rows, target, cx.sample_patterns(rows, kind="single"), budget=1))
    assert solution.objective < 1e-20


@pytest.mark.parametrize("seed", range(5))
def test_niht_recovers_a_few_planted_weights(seed: int) -> None:
    program, truth = zoo.planted(n=200, d=5, gates=10, weights=2, seed=seed)
    solution = cx.solve(program)
    assert np.array_equal(solution.support, truth)
    assert solution.objective < 1e-20


def budgets() -> list[Any]:
    """Return programs of every loss and number of outputs, with and without a cap on the neurons, and a bias."""
    outputs = [("squared", 1), ("squared", 2), ("logistic", 1), ("softmax", 3)]
    return [
        pytest.param(*output, per_neuron, bias, id=f"{output[0]}-{output[1]}-{per_neuron}-{bias}")
        for output in outputs
        for per_neuron in (None, 2)
        for bias in (False, True)
    ]


@pytest.mark.parametrize("solver", THRESHOLDING)
@pytest.mark.parametrize(("loss", "outputs", "per_neuron", "bias"), budgets())
def test_budgets_of_any_loss_and_output(
    loss: str, outputs: int, per_neuron: int | None, bias: bool, solver: str
) -> None:
    target = zoo.target(loss, outputs, X, Y)
    gates = cx.sample_patterns(X, 6, bias=bias)
    asked = cx.ConvexProgram(X, target, gates, loss=loss, budget=7, budget_per_neuron=per_neuron)
    solution = cx.solve(asked, solver, dtype="float64")
    assert solution.status is own_end(solver)
    assert 1 <= solution.nnz <= 7
    blocks = np.count_nonzero(solution.weights.reshape(*gates.generators.shape, -1), axis=1)
    assert blocks.max() <= (per_neuron or 7)
    assert solution.objective < asked.zero_loss
    assert solution.objective == pytest.approx(
        asked.loss.value(solution.predict(X).reshape(asked.targets.shape), asked.targets), rel=1e-9
    )
    # No weight on the support can be moved to lower the loss.
    rows, slope = gates.rows(X), asked.loss.gradient(solution.predict(X).reshape(asked.targets.shape), asked.targets)
    gradient = np.einsum("nj,nc,nd->jdc", gates.masks(X), slope, rows).reshape(asked.weights_shape)
    assert np.abs(gradient.flat[solution.support]).max() < 1e-5
    network = solution.to_network()
    assert network.predict(X).shape == asked.y.shape


@pytest.mark.parametrize("seed", range(10))
def test_a_cap_on_the_neurons_is_never_better_than_the_best_capped_subset(seed: int) -> None:
    rows, values = zoo.data(12, 3, seed)
    gates = cx.sample_patterns(rows, 3, seed=seed)
    asked = cx.ConvexProgram(rows, values, gates, budget=3, budget_per_neuron=1)
    solution, proven = cx.solve(asked), cx.solve(asked, "exact")
    assert len(np.unique(solution.support // 3)) == solution.nnz
    assert proven.status is cx.Status.CONVERGED
    assert solution.objective >= proven.objective - 1e-12


def test_a_full_budget_is_least_squares() -> None:
    drawn = zoo.patterns(X, count=3)
    A = zoo.dense_matrix(X, drawn)
    residual = A @ np.linalg.lstsq(A, Y, rcond=None)[0] - Y
    solution = cx.solve(cx.ConvexProgram(X, Y, drawn, budget=A.shape[1]))
    assert solution.objective == pytest.approx(residual @ residual / (2 * len(Y)), rel=1e-9)


class TestInvariance:
    """What must not change the answer; float64, so that rounding cannot decide a tie of the selection."""

    @property
    def reference(self) -> cx.Solution:
        return cx.solve(cardinality(), dtype="float64")

    def solved(self, rows: Any = slice(None), scale: Any = 1.0, sign: float = 1.0) -> cx.Solution:
        drawn = cx.sample_patterns(X * scale, generators=zoo.patterns(X).generators / scale)
        program = cx.ConvexProgram((X * scale)[rows], sign * Y[rows], drawn, budget=6)
        return cx.solve(program, dtype="float64")

    def test_the_order_of_rows(self) -> None:
        order = np.random.default_rng(0).permutation(len(X))
        assert np.allclose(self.solved(rows=order).weights, self.reference.weights)

    def test_the_sign_of_the_target(self) -> None:
        assert np.allclose(self.solved(sign=-1.0).weights, -self.reference.weights)

    def test_the_units_of_a_feature(self) -> None:
        scale = np.array([1.0, 1e3, 1e-3, 8.0, 1.0])
        assert np.allclose(self.solved(scale=scale).weights * scale, self.reference.weights)

    def test_a_constant_zero_column_is_never_chosen(self) -> None:
        wide = np.column_stack([X, np.zeros(len(X))])
        drawn = cx.sample_patterns(wide, 8)
        solution = cx.solve(cx.ConvexProgram(wide, Y, drawn, budget=6), dtype="float64")
        assert not solution.weights[:, -1].any()
        assert np.isfinite(solution.values).all()

    def test_duplicated_columns_give_moderate_weights(self) -> None:
        twice = np.column_stack([X, X])
        drawn = cx.sample_patterns(twice, 8)
        solution = cx.solve(cx.ConvexProgram(twice, Y, drawn, budget=40))
        assert np.abs(solution.values).max() < 100.0


class TestLimits:
    def test_one_iteration(self) -> None:
        solution = cx.solve(cardinality(), max_iterations=1)
        assert solution.status is cx.Status.MAX_ITERATIONS
        assert solution.iterations == len(solution.history) == 1

    def test_no_time_returns_the_start(self) -> None:
        solution = cx.solve(cardinality(), time_limit=0.0)
        assert solution.status is cx.Status.TIME_LIMIT
        assert solution.nnz == 6

    def test_an_interruption_returns_the_best_so_far(self) -> None:
        seen: list[Progress] = []

        def interrupt(progress: Progress) -> None:
            seen.append(progress)
            if progress.iteration == 3:
                raise KeyboardInterrupt

        solution = cx.solve(cardinality(), callback=interrupt)
        assert solution.status is cx.Status.INTERRUPTED
        assert [progress.iteration for progress in seen] == [1, 2, 3]
        assert solution.objective <= seen[-1].best + 1e-9

    def test_a_value_that_is_not_finite_ends_the_run_with_the_best_before_it(self) -> None:
        class Point:
            final = False

            def __init__(self, objective: float) -> None:
                self.objective = objective

        values = iter([2.0, 1.0, float("nan"), 0.0])
        run = descend(Point(3.0), lambda now: Point(next(values)), Limits(10))
        assert run.status is cx.Status.NOT_FINITE
        assert run.best.objective == 1.0
        assert run.history == [2.0, 1.0]

    @pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
    def test_any_units_fit_into_float32(self, scale: float) -> None:
        drawn = cx.sample_patterns(X * scale, generators=zoo.patterns(X).generators)
        far = cx.solve(cx.ConvexProgram(X * scale, Y / scale, drawn, budget=6))
        near = cx.solve(cardinality())
        assert far.status is cx.Status.SEARCH_ENDED
        assert np.array_equal(far.support, near.support)
        assert far.objective * scale**2 == pytest.approx(near.objective, rel=1e-9)

    def test_a_status_is_a_sentence(self) -> None:
        for status in cx.Status:
            assert status.value.endswith(".")


def test_auto_takes_the_solver_that_can() -> None:
    assert cx.solve(cardinality()).solver == "hard_thresholding"
    assert cx.solve(convex("l1")).solver == "admm"
    assert cx.solve(convex("l1"), memory_limit=100).solver == "fista"
    with pytest.raises(TypeError, match="memory_limit is '1GB'; expected a whole number of at least 0"):
        cx.solve(convex("l1"), "admm", memory_limit="1GB")
    assert cx.solve(zoo.Case("logistic", 1, "l1", "gaussian", False, False).program()).solver == "fista"
    assert cx.solve(zoo.Case("squared", 1, "l1", "gaussian", False, True).program()).solver == "interior_point"
    assert cx.solve(zoo.Case("squared", 1, "feature_l1", "gaussian", False, True).program()).solver == "admm"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: cx.solve(cardinality(), "gurobi"),
            ValueError,
            "solver 'gurobi' is unknown; expected one of: auto, hard_thresholding, htp",
        ),
        (
            lambda: cx.solve(cardinality(), "cvxpy"),
            ValueError,
            "can be solved by: hard_thresholding, htp, cosamp, niht, iht",
        ),
        (
            lambda: cx.solve(convex("l1"), "niht"),
            ValueError,
            "solver 'niht' needs a budget; this program can be solved by: admm, fista, cvxpy",
        ),
        (
            lambda: cx.solve(convex("l1"), "interior_point"),
            ValueError,
            "'interior_point' needs a cone, penalty group_l1, l1, ridge, none; this program can be solved by: admm, f",
        ),
        (
            lambda: cx.solve(convex("l1"), "admm", memory_limit=99),
            ValueError,
            "admm expects at least 16 min(n, w)^2 = ",
        ),
        (lambda: cx.solve(convex("l1"), "fista", start=X), ValueError, "start has shape (40, 5); expected (8, 5)"),
        (lambda: cx.solve(convex("l1"), "fista", tolerance=-1), ValueError, "tolerance is -1"),
        (
            lambda: cx.solve(cardinality(), tol=1.0),
            TypeError,
            "solver 'hard_thresholding' has no option 'tol'; it has: max_iterations",
        ),
        (lambda: cx.solve(X), TypeError, "program is a ndarray; expected a ConvexProgram"),  # type: ignore[arg-type]
        (lambda: cx.solve(cardinality(), max_iterations=0), ValueError, "max_iterations is 0"),
        (lambda: cx.solve(cardinality(), time_limit=-1), ValueError, "time_limit is -1"),
        (lambda: cx.solve(cardinality(), dtype="float16"), ValueError, "dtype 'float16' is unknown"),
        (lambda: cx.solve(convex("l1"), "cvxpy", round_below=float("nan")), ValueError, "round_below is nan"),
        (
            lambda: cx.solve(convex("l1"), "cvxpy", engine="ECOS"),
            ValueError,
            "engine 'ECOS' is unknown; expected one of: CLARABEL",
        ),
    ],
)
def test_bad_input_is_one_clear_line(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_solver_says_what_it_needs() -> None:
    for solver in SOLVERS.values():
        assert ("a budget" in solver.needs) == solver.budget
        assert callable(solver.load())
