"""Hard thresholding and its parts: identities, dense matrices and brute force; what bad input does."""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn import tiles
from convexnn.checks import Floats
from convexnn.linear.operator import PatternOperator
from convexnn.solvers.common.descent import Progress
from convexnn.solvers.registry import SOLVERS as REGISTRY
from convexnn.solvers.thresholding.dictionary import Dictionary, open_dictionary
from convexnn.solvers.thresholding.options import Options
from convexnn.solvers.thresholding.reweighting import Reweighting
from convexnn.solvers.thresholding.swaps import SwapSearch, swap_gains
from convexnn.solvers.thresholding.whitening import affordable_rows, ridge_for, whitened
from tests.helpers import zoo

SOLVERS = ["hard_thresholding", "htp", "cosamp", "niht", "iht"]

X, Y = zoo.data(40, 5)
GATES = zoo.patterns(X, count=12)
PROGRAM = cx.ConvexProgram(X, Y, GATES, budget=6)


def dictionary(program: cx.ConvexProgram) -> Dictionary:
    return open_dictionary(program, device="cpu", dtype="float64", memory_limit=1 << 30)


def unit_matrix(program: cx.ConvexProgram) -> Floats:
    A = zoo.dense_matrix(program.rows, program.patterns)
    norms = np.linalg.norm(A, axis=0)
    return A / np.where(norms > 0.0, norms, 1.0)


def scaled_matrix(program: cx.ConvexProgram) -> Floats:
    """Return A over features of root mean square 1: what is whitened."""
    scale = np.sqrt((program.rows**2).mean(axis=0))
    return zoo.dense_matrix(program.rows, program.patterns) / np.tile(scale, len(program.patterns))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("solver", ["htp", "cosamp", "niht"])
@pytest.mark.parametrize("whiten", [False, True])
def test_products_without_columns_lead_to_the_same_support(
    solver: str, outputs: int, whiten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = zoo.target("squared", outputs, X, Y)
    program = cx.ConvexProgram(X, target, GATES, budget=6)
    found = list[cx.Solution]()
    for cheap in (0, 10**6):
        monkeypatch.setattr(tiles, "CHEAP", cheap)
        found.append(cx.solve(program, solver, dtype="float64", max_iterations=30, whiten=whiten))
    assert np.array_equal(found[0].support, found[1].support)
    assert np.allclose(found[0].history, found[1].history)


def test_columns_are_held_where_they_are_less_work_than_whole_gates() -> None:
    few = dictionary(cx.ConvexProgram(X, Y, GATES, budget=1))
    many = dictionary(cx.ConvexProgram(X, Y, GATES, budget=40))
    assert few.holds(np.array([3, 9]))
    assert not many.holds(np.arange(40))


class TestWhitening:
    @pytest.mark.parametrize("kind", zoo.KINDS)
    @pytest.mark.parametrize("ridge", [1e-2, 1.0])
    def test_norms_and_correlations_are_those_of_dense_matrices(self, kind: str, ridge: float) -> None:
        program = cx.ConvexProgram(X, Y, zoo.patterns(X, kind), budget=6)
        A = scaled_matrix(program)
        K = A @ A.T
        inverse = np.linalg.inv(K + ridge * np.trace(K) / len(K) * np.eye(len(K)))
        norms = np.sqrt(np.einsum("na,nm,ma->a", A, inverse, A))
        found = dictionary(program).whitened(ridge)
        assert np.allclose(found.norms.numpy(), norms, atol=1e-12)
        assert norms.max() < 1.0
        residual = np.random.default_rng(0).standard_normal((len(X), 1))
        expected = A.T @ inverse @ residual[:, 0] / np.where(norms > 0.0, norms, 1.0)
        assert np.allclose(found.correlations(torch.as_tensor(residual)).numpy(), expected, atol=1e-10)
        expected = residual.T @ inverse @ residual
        assert found.squared_length(torch.as_tensor(residual)) == pytest.approx(expected.item())

    def test_the_squared_norm_is_an_upper_bound_close_to_the_norm(self) -> None:
        for used in (dictionary(PROGRAM), dictionary(PROGRAM).whitened(0.1)):
            eigenvalues = np.linalg.eigvals(_metric_gram(used))
            assert 1.0 <= used.squared_operator_norm / eigenvalues.real.max() < 1.06

    def test_the_rows_that_limits_leave(self) -> None:
        assert affordable_rows(300, 1000, 1 << 30) == 300
        assert affordable_rows(300, 1000, 16 * 100**2) == 100
        assert affordable_rows(10**4, 1000, 1 << 40) == 2000
        assert affordable_rows(10**4, 10**6, 1 << 40) ** 2 * 10**6 < 1e11
        assert affordable_rows(300, 1000, 0) == 0

    def test_a_ridge_grows_with_the_noise_within_its_limits(self) -> None:
        assert [ridge_for(noise) for noise in (0.0, 1e-3, 1e-2, 1e-1, 1.0)] == [1e-2, 1e-2, 1e-1, 1.0, 1.0]

    def test_duplicated_rows_and_columns_can_be_whitened(self) -> None:
        twice = np.concatenate([X, X])
        operator = PatternOperator(np.column_stack([twice, twice]), cx.sample_patterns(np.tile(twice, 2), 8))
        assert whitened(operator, 1e-2).norms.isfinite().all()


def _metric_gram(used: Dictionary) -> Floats:
    """Return the matrix whose largest eigenvalue is ||A||^2 in the metric of the correlations, over unit columns."""
    flat = used.columns(torch.arange(used.operator.size))
    gram = torch.stack([used.correlations(column[:, None]) for column in flat.T], dim=1)
    return gram.numpy()


class TestSwaps:
    @pytest.mark.parametrize("seed", range(5))
    def test_gains_are_those_of_refitting(self, seed: int) -> None:
        A = unit_matrix(PROGRAM)
        own = np.sort(np.random.default_rng(seed).choice(A.shape[1], 5, replace=False))
        gains = swap_gains(*map(torch.as_tensor, (A[:, own].T @ A, own, A.T @ Y))).numpy()
        before = _loss(A[:, own])
        for i in range(5):
            for j in range(A.shape[1]):
                if np.isfinite(gains[i, j]):
                    exchanged = [*np.delete(own, i), j]
                    assert gains[i, j] == pytest.approx(before - _loss(A[:, exchanged]), abs=1e-8)

    @pytest.mark.parametrize("per_neuron", [None, 2])
    @pytest.mark.parametrize("outputs", [1, 2])
    def test_it_ends_where_no_swap_is_better(self, outputs: int, per_neuron: int | None) -> None:
        target = zoo.target("squared", outputs, X, Y)
        program = cx.ConvexProgram(X, target, GATES, budget=5, budget_per_neuron=per_neuron)
        best = cx.solve(program)
        A = zoo.dense_matrix(X, GATES)
        for leaves in range(best.nnz):
            kept, output = np.delete(best.support, leaves), best.support[leaves] % outputs
            counts = np.bincount(kept // outputs // 5 * outputs + kept % outputs, minlength=len(GATES) * outputs)
            for j in range(A.shape[1]):
                if per_neuron is None or counts[j // 5 * outputs + output] < per_neuron:
                    assert _objective(A, program, [*kept, j * outputs + output]) >= best.objective - 1e-9

    def test_the_objective_falls_with_every_swap(self) -> None:
        problem = SwapSearch(dictionary(PROGRAM))
        now = problem.begin(torch.arange(6))
        values = [now.objective]
        while not now.final:
            now = problem.step(now)
            values.append(now.objective)
        assert len(values) > 3
        assert (np.diff(values[:-1]) < 0.0).all()


def _loss(columns: Floats) -> float:
    residual = Y - columns @ np.linalg.lstsq(columns, Y, rcond=None)[0]
    return float(residual @ residual)


def _objective(A: Floats, program: cx.ConvexProgram, support: list[int]) -> float:
    """Return the objective of the best fit on flat indices."""
    k, total = program.n_outputs, 0.0
    for output in range(k):
        columns = A[:, [index // k for index in support if index % k == output]]
        residual = program.targets[:, output] - columns @ np.linalg.lstsq(columns, program.targets[:, output])[0]
        total += float(residual @ residual)
    return total / (2 * len(A))


class TestReweighting:
    def test_an_iteration_is_that_of_dense_matrices(self) -> None:
        A, target = unit_matrix(PROGRAM), Y / np.linalg.norm(Y)
        problem = Reweighting(dictionary(PROGRAM), 1 << 30)
        first = problem.begin()
        K = A @ A.T
        inverse = np.linalg.inv(K + first.noise * np.trace(K) / len(K) * np.eye(len(K)))
        live = problem.live.numpy()
        slope, length = (A.T @ inverse @ target)[live], np.einsum("na,nm,ma->a", A, inverse, A)[live]
        after = problem.step(first)
        expected = slope**2 / length
        assert np.allclose(after.variances[:, 0].numpy(), np.maximum(expected, 1e-6 * expected.max()), rtol=1e-6)
        assert np.array_equal(after.support, live[np.sort(np.argsort(-np.abs(slope))[:6])])

    def test_columns_that_are_not_held_change_nothing(self) -> None:
        held, gathered = (Reweighting(dictionary(PROGRAM), limit) for limit in (1 << 30, 0))
        one, other = (problem.step(problem.step(problem.begin())) for problem in (held, gathered))
        assert np.allclose(one.variances, other.variances)

    @pytest.mark.parametrize("seed", range(3))
    def test_it_finds_more_weights_than_pursuit(self, seed: int) -> None:
        program, truth = zoo.planted(n=100, d=10, gates=20, weights=25, seed=seed)
        problem = Reweighting(dictionary(program), 1 << 30)
        now = problem.begin()
        while not now.final:
            now = problem.step(now)
        assert np.array_equal(now.support, truth)


class TestEquivariance:
    """What must not change the answer, or change it alike; float64, so that rounding cannot decide a tie."""

    def solved(self, solver: str, rows: Floats, target: Floats, generators: Floats, **options: Any) -> cx.Solution:
        gates = cx.sample_patterns(rows, generators=generators)
        return cx.solve(cx.ConvexProgram(rows, target, gates, budget=6), solver, dtype="float64", **options)

    @pytest.mark.parametrize("whiten", [False, True])
    @pytest.mark.parametrize("solver", SOLVERS)
    def test_rows_features_neurons_signs_and_units(self, solver: str, whiten: bool) -> None:
        H, rng = GATES.generators, np.random.default_rng(0)
        plain = self.solved(solver, X, Y, H, whiten=whiten)
        rows, features, neurons = (rng.permutation(size) for size in (len(X), X.shape[1], len(H)))
        scale = np.array([1.0, 1e3, 1e-3, 7.0, 0.3])
        changed = {
            "rows": (self.solved(solver, X[rows], Y[rows], H, whiten=whiten), plain.weights),
            "features": (
                self.solved(solver, X[:, features], Y, H[:, features], whiten=whiten),
                plain.weights[:, features],
            ),
            "neurons": (self.solved(solver, X, Y, H[neurons], whiten=whiten), plain.weights[neurons]),
            "sign": (self.solved(solver, X, -Y, H, whiten=whiten), -plain.weights),
            "units of y": (self.solved(solver, X, 1e6 * Y, H, whiten=whiten), 1e6 * plain.weights),
            "units of X": (self.solved(solver, X * scale, Y, H / scale, whiten=whiten), plain.weights / scale),
        }  # fmt: skip
        for name, (solution, expected) in changed.items():
            assert np.allclose(solution.weights, expected, rtol=1e-6, atol=0.0), name


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(5))
def test_whitened_and_plain_end_at_the_same_point_on_a_well_posed_case(seed: int, solver: str) -> None:
    program, truth = zoo.planted(n=500, d=5, gates=3, weights=2, seed=seed)
    one, other = (cx.solve(program, solver, whiten=whiten) for whiten in (True, False))
    assert np.array_equal(one.support, truth)
    assert np.array_equal(other.support, truth)
    assert np.allclose(one.values, other.values, rtol=1e-9)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_best_so_far_never_rises_and_is_returned(solver: str, whiten: bool) -> None:
    seen: list[Progress] = []
    solution = cx.solve(PROGRAM, solver, whiten=whiten, dtype="float64", callback=seen.append)
    assert [progress.iteration for progress in seen] == list(range(1, len(seen) + 1))
    assert (np.diff([progress.seconds for progress in seen]) >= 0.0).all()
    assert solution.iterations == len(solution.history) == len(seen)
    assert solution.objective <= min(progress.best for progress in seen) + 1e-12
    assert np.allclose([progress.objective for progress in seen], solution.history)


@pytest.mark.parametrize("seed", range(10))
def test_the_default_is_never_worse_than_plain_niht(seed: int) -> None:
    rows, target = zoo.data(60, 6, seed)
    program = cx.ConvexProgram(rows, target, cx.sample_patterns(rows, 20, seed=seed), budget=10)
    assert cx.solve(program).objective <= cx.solve(program, "niht", whiten=False).objective + 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_the_default_finds_a_weight_for_every_three_rows(seed: int) -> None:
    program, truth = zoo.planted(n=100, d=10, gates=20, weights=32, seed=seed)
    solution = cx.solve(program)
    assert np.array_equal(solution.support, truth)
    assert solution.objective < 1e-20 * program.zero_loss


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_that_are_too_many_to_whiten_are_sampled(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, truth = zoo.planted(n=400, d=10, gates=20, weights=12, seed=0)
    monkeypatch.setattr("convexnn.solvers.thresholding.whitening.DENSE_ROWS", 120)
    solution = cx.solve(program, solver)
    assert np.array_equal(solution.support, truth)
    assert solution.objective < 1e-20 * program.zero_loss
    assert np.array_equal(cx.solve(program, solver, seed=1).support, truth)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_start_at_the_truth_stays_there(solver: str) -> None:
    program, truth = zoo.planted(n=60, d=5, gates=30, weights=20, seed=0)
    weights = np.zeros(program.weights_shape)
    weights.flat[truth] = np.random.default_rng(0).choice([-1.0, 1.0], 20)
    for start in (weights, cx.solve(program, start=weights)):
        solution = cx.solve(program, solver, start=start, max_iterations=300)
        assert np.array_equal(solution.support, truth)


def test_a_start_with_more_weights_than_the_budget_gives_its_largest_contributions() -> None:
    program, truth = zoo.planted(n=60, d=5, gates=30, weights=20, seed=0)
    weights = np.full(program.weights_shape, 1e-6)
    weights.flat[truth] = 1.0
    assert np.array_equal(cx.solve(program, "htp", start=weights, whiten=False).support, truth)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"whiten": "yes"}, ValueError, "whiten is 'yes'; expected 'auto', True or False"),
            ({"whiten": 1}, ValueError, "whiten is 1; expected 'auto', True or False"),
            ({"ridge": 0.0}, ValueError, "ridge is 0; expected a number above 0"),
            ({"ridge": -1.0}, ValueError, "ridge is -1.0; expected a finite number of at least 0"),
            ({"ridge": "big"}, TypeError, "ridge is 'big'; expected a number"),
            ({"seed": -1}, ValueError, "seed is -1"),
            ({"start": X}, ValueError, "start has shape (40, 5)"),
            ({"dtype": "float16"}, ValueError, "dtype 'float16' is unknown"),
            ({"max_iterations": 0}, ValueError, "max_iterations is 0"),
            ({"time_limit": -1.0}, ValueError, "time_limit is -1"),
        ],
    )
    @pytest.mark.parametrize("solver", SOLVERS)
    def test_options(self, solver: str, options: dict[str, Any], error: type[Exception], words: str) -> None:
        with pytest.raises(error) as caught:
            cx.solve(PROGRAM, solver, **options)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_budget_that_cannot_be_met_and_a_target_of_zeros_are_refused(self) -> None:
        with pytest.raises(ValueError, match="budget is 61; expected at most 60, the weights of the program"):
            cx.ConvexProgram(X, Y, GATES, budget=61)
        with pytest.raises(ValueError, match="y is constant"):
            cx.ConvexProgram(X, np.zeros(len(X)), GATES, budget=6)

    @pytest.mark.parametrize("solver", SOLVERS)
    def test_a_cap_that_leaves_less_than_the_budget_is_met(self, solver: str) -> None:
        program = cx.ConvexProgram(X, Y, GATES, budget=40, budget_per_neuron=1)
        solution = cx.solve(program, solver)
        assert solution.nnz <= len(GATES)
        assert np.bincount(solution.support // 5).max() == 1

    @pytest.mark.parametrize("solver", SOLVERS)
    def test_duplicated_and_collinear_columns(self, solver: str) -> None:
        rows = np.column_stack([X, X[:, :2], X[:, 0] + X[:, 1]])
        program = cx.ConvexProgram(rows, Y, cx.sample_patterns(rows, 8), budget=30)
        solution = cx.solve(program, solver)
        assert np.isfinite(solution.values).all()
        assert np.abs(solution.values).max() < 1e3
        assert solution.objective < program.zero_loss

    @pytest.mark.parametrize("solver", SOLVERS)
    @pytest.mark.parametrize("kind", [np.float16, np.int64])
    def test_other_numbers_are_read_as_they_are(self, kind: type, solver: str) -> None:
        rows, target = np.round(8.0 * X), np.round(64.0 * Y)
        one, other = (
            cx.solve(cx.ConvexProgram(rows.astype(k), target.astype(k), cx.sample_patterns(rows, 8), budget=6), solver)
            for k in (kind, np.float64)
        )
        assert np.array_equal(one.weights, other.weights)

    @pytest.mark.parametrize("solver", SOLVERS)
    def test_a_constant_feature_and_one_of_huge_scale_are_columns_like_others(self, solver: str) -> None:
        rows = np.column_stack([X, np.full(len(X), 3.0), 1e12 * X[::-1, 0]])
        generators = np.random.default_rng(0).standard_normal((10, 7)) / [1, 1, 1, 1, 1, 1, 1e12]
        gates = cx.sample_patterns(rows, generators=generators)
        truth = np.zeros(gates.generators.shape)
        truth[3, 5], truth[4, 6] = 2.0, 1e-12
        target = zoo.dense_matrix(rows, gates) @ truth.ravel()
        solution = cx.solve(cx.ConvexProgram(rows, target, gates, budget=2), solver)
        assert np.array_equal(solution.support, np.flatnonzero(truth))
        assert np.allclose(solution.values, truth[truth != 0.0], rtol=1e-9)

    @pytest.mark.parametrize("whiten", [False, True])
    @pytest.mark.parametrize("solver", SOLVERS)
    def test_nan_met_during_the_run_is_named_with_its_iteration(
        self, solver: str, whiten: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adjoint, calls = PatternOperator.adjoint_per_output, [0]

        def failing(self: PatternOperator, residual: torch.Tensor) -> torch.Tensor:
            calls[0] += 1
            return adjoint(self, residual) * (float("nan") if calls[0] == 3 + 50 * (solver == "iht") else 1.0)

        monkeypatch.setattr(PatternOperator, "adjoint_per_output", failing)
        rng = np.random.default_rng(0)
        program = cx.ConvexProgram(X, rng.standard_normal(len(X)), cx.sample_patterns(X, 30), budget=12)
        seen: list[Progress] = []
        solution = cx.solve(program, solver, whiten=whiten, callback=seen.append)
        assert solution.status is cx.Status.NOT_FINITE
        assert solution.iterations == len(seen) >= 1
        named = f"In iteration {len(seen) + 1} a value was not finite; the best iterate before it is returned."
        assert named in str(solution)
        assert np.isfinite(solution.objective)
        assert solution.objective <= (1.0 + 1e-6) * solution.history.min()
        assert solution.nnz == 12


@pytest.mark.parametrize("solver", SOLVERS)
def test_limits_hold_over_all_phases(solver: str) -> None:
    rng = np.random.default_rng(0)
    program = cx.ConvexProgram(X, rng.standard_normal(len(X)), cx.sample_patterns(X, 30), budget=12)
    whole = cx.solve(program, solver)
    for most in (1, 2, whole.iterations - 1):
        cut = cx.solve(program, solver, max_iterations=most)
        assert cut.iterations == most
        assert cut.status is cx.Status.MAX_ITERATIONS
        assert np.array_equal(cut.history, whole.history[:most])
    none = cx.solve(program, solver, time_limit=0.0)
    assert none.status is cx.Status.TIME_LIMIT
    assert none.nnz == 12


@pytest.mark.parametrize("stage", ["dictionary.whitened", "reweighting.Reweighting.begin", "swaps.SwapSearch.begin"])
def test_an_interruption_between_iterations_returns_the_best(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"convexnn.solvers.thresholding.{stage}", stop)
    solution = cx.solve(PROGRAM)
    assert solution.status is cx.Status.INTERRUPTED
    assert solution.nnz == (0 if stage == "dictionary.whitened" else 6)


def test_whitening_that_memory_forbids_is_refused() -> None:
    words = (
        "whiten is True, and memory_limit and a few seconds of work allow 0 rows; expected at least 7, or whiten=False"
    )
    with pytest.raises(ValueError, match=words):
        cx.solve(PROGRAM, "htp", whiten=True, memory_limit=zoo.least_limit(PROGRAM))
    assert cx.solve(PROGRAM, "htp", memory_limit=zoo.least_limit(PROGRAM)).nnz == 6


def test_the_default_takes_any_loss_and_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for loss, outputs in (("squared", 2), ("logistic", 1), ("softmax", 3)):
            target = zoo.target(loss, outputs, X, Y)
            program = cx.ConvexProgram(X, target, GATES, loss=loss, budget=6)
            solution = cx.solve(program, whiten=True)
            assert solution.status is cx.Status.SEARCH_ENDED
            assert solution.objective <= cx.solve(program, "niht", whiten=False).objective + 1e-12
            assert replace(solution, solver="x").nnz <= 6


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_options_are_stated_once_and_seen_one_by_one(solver: str) -> None:
    found = signature(REGISTRY[solver].load()).parameters
    assert REGISTRY[solver].options == tuple(item.name for item in fields(Options))
    own = {"htp": 100, "cosamp": 100, "hard_thresholding": 3000}
    for item in fields(Options):
        expected = own.get(solver, 1000) if item.name == "max_iterations" else item.default
        assert found[item.name].default == expected
    with pytest.raises(
        TypeError, match=f"solver '{solver}' has no option 'step'; it has: max_iterations, time_limit, "
    ):
        cx.solve(PROGRAM, solver, step=1.0)
