"""What a solution says of itself: how its run ended, and how well it fits."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.checks import Floats
from convexnn.program.accuracy import Accuracy
from convexnn.program.convex_program import ConvexProgram
from convexnn.solvers.common import certificate
from convexnn.solvers.convex import cone_projection, cvxpy_reference, fista, interior_point
from convexnn.solvers.convex.interior_steps import InteriorPoint
from tests.helpers.recovery_problems import planted


def budgeted(noise: float = 0.0) -> ConvexProgram:
    """Return the cardinality program of a planted network over its own gates and others."""
    X, y, weights, _ = planted(0)
    rng = np.random.default_rng(1)
    gates = np.concatenate([weights, rng.standard_normal((4, X.shape[1]))])
    y = y + noise * y.std() * rng.standard_normal(len(y))
    return ConvexProgram(X, y, cx.sample_patterns(X, generators=gates), budget=10)


def test_runs_that_nothing_cut_short_are_complete() -> None:
    complete = {status for status in cx.Status if status.complete}
    assert complete == {cx.Status.EXACT, cx.Status.CONVERGED, cx.Status.SEARCH_ENDED}


@pytest.mark.parametrize("solver", ["hard_thresholding", "htp", "niht", "cosamp", "stable_iht"])
def test_a_budget_is_exact_only_where_the_data_are_met(solver: str) -> None:
    found, noisy = cx.solve(budgeted(), solver), cx.solve(budgeted(0.1), solver)
    ordinary = cx.Status.SEARCH_ENDED if solver == "hard_thresholding" else cx.Status.CONVERGED
    met = found.objective <= 1e-20 * found.program.zero_loss
    assert (found.status is cx.Status.EXACT) == met
    assert met or solver != "hard_thresholding"
    assert noisy.status is ordinary


def test_a_search_says_whether_it_is_exact_or_used_up() -> None:
    X, y, _, _ = planted(0)
    noisy = y + 0.1 * np.random.default_rng(1).standard_normal(len(y))
    assert cx.recover(X, y, 10, 4).status is cx.Status.EXACT
    assert cx.recover(X, noisy, 10, 4, n_restarts=1, patience=2).status is cx.Status.SEARCH_ENDED


def test_a_fit_says_whether_it_is_exact_or_used_up() -> None:
    X, y, _, _ = planted(0)
    assert cx.fit_network(X, y, 14, 4, epochs=2).status is cx.Status.EXACT
    assert cx.fit_network(X, y, 3, 2, epochs=2, patience=1).status is cx.Status.SEARCH_ENDED


def test_a_search_that_ended_is_an_answer_like_any_other_of_a_crosscheck() -> None:
    found = cx.crosscheck(budgeted(0.1), ("hard_thresholding", "niht"))
    assert found["hard_thresholding"].status is cx.Status.SEARCH_ENDED
    assert found["hard_thresholding"].reason is None
    assert found.reference == "hard_thresholding"
    assert "search ended" in str(found)


def missed(y: Floats, prediction: Floats) -> tuple[float, float]:
    """Return the shares of the target's mean square and of its variance that a prediction misses."""
    squares = ((y - prediction) ** 2).sum()
    return squares / (y**2).sum(), squares / ((y - y.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("penalty", [None, "group_l1"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_solution_says_how_well_it_fits(penalty: str | None, outputs: int) -> None:
    X, y, _, _ = planted(0)
    target = y + 3.0 if outputs == 1 else np.column_stack([y + 3.0, X[:, 0] * y])
    asked: Any = {"budget": 10} if penalty is None else {"penalty": penalty, "strength": 0.05}
    found = cx.solve(ConvexProgram(X, target, cx.sample_patterns(X, 10), **asked))
    share, of_variance = missed(target, found.predict(X))
    assert found.relative_error == pytest.approx(share)
    r2 = 1.0 - of_variance
    assert found.r2 == pytest.approx(r2)
    assert found.decibels == pytest.approx(-10.0 * np.log10(share))
    assert f", {-10.0 * np.log10(share):.1f} dB, R2 {np.floor(1e5 * r2) / 1e5:.5f}" in str(found)


def test_recovery_and_fits_say_how_well_the_network_itself_fits() -> None:
    X, y, _, _ = planted(0)
    y = y + 0.1 * np.random.default_rng(1).standard_normal(len(y))
    for found in (cx.recover(X, y, 10, 4, n_restarts=1, patience=2), cx.fit_network(X, y, 14, 4, epochs=2, patience=2)):
        share, of_variance = missed(y, found.to_network().predict(X))
        assert found.relative_error == pytest.approx(share)
        assert found.r2 == pytest.approx(1.0 - of_variance)
        assert f"{found.decibels:.1f} dB, R2 0." in str(found)


def test_labels_have_no_relative_error() -> None:
    X, y, _, _ = planted(0)
    program = ConvexProgram(X, y > 0.0, cx.sample_patterns(X, 10), loss="logistic", budget=10)
    for found in (cx.solve(program), cx.fit_network(X, y > 0.0, 14, 4, loss="logistic", epochs=2)):
        assert (found.relative_error, found.r2, found.decibels) == (None, None, None)
        assert " dB" not in str(found)


def test_accuracy_is_never_rounded_up() -> None:
    target = np.array([1.0, -1.0, 1.0, -1.0])
    assert str(Accuracy.of_loss(0.0, target)) == "inf dB, R2 1.00000"
    assert str(Accuracy.of_loss(0.5e-6, target)) == "60.0 dB, R2 0.99999"
    assert str(Accuracy.of_loss(1.0, np.ones(4))) == "R2 -inf"
    assert Accuracy.of_loss(0.0, np.zeros(4)) == Accuracy(0.0, 1.0)


@pytest.mark.parametrize("solver", ["hard_thresholding", "htp"])
def test_an_exact_budget_has_no_dust(solver: str) -> None:
    asked = budgeted()
    found = cx.solve(ConvexProgram(asked.X, asked.y, asked.patterns, budget=20), solver)
    assert found.status is cx.Status.EXACT
    assert found.nnz == 10


def stop_at(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Interrupt a run where it calls a function."""

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)


@pytest.mark.parametrize(
    ("solver", "place"),
    [
        ("hard_thresholding", "convexnn.solvers.thresholding.dictionary.Dictionary.whitened"),
        ("htp", "convexnn.solvers.thresholding.phases.make_dictionary"),
        ("stable_iht", "convexnn.solvers.thresholding.stable_iht.step_size"),
    ],
)
def test_an_interruption_before_there_is_a_support_returns_the_start_or_nothing(
    solver: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = budgeted(0.1)
    good = cx.solve(program, solver)
    stop_at(monkeypatch, place)
    found, warm = cx.solve(program, solver), cx.solve(program, solver, start=good)
    assert found.status is warm.status is cx.Status.INTERRUPTED
    assert (found.nnz, found.objective) == (0, program.zero_loss)
    np.testing.assert_array_equal(warm.weights, good.weights)
    bad, wide = -good.weights, np.ones(program.weights_shape)
    assert cx.solve(program, solver, start=bad).nnz == cx.solve(program, solver, start=wide).nnz == 0


@pytest.mark.parametrize("place", ["InteriorPoint.begin", "InteriorPoint"])
def test_an_interruption_of_the_search_for_centres_returns_zero_weights(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, _, _ = planted(0)
    gates = cx.sample_patterns(X, 5)
    program = ConvexProgram(X, np.column_stack([y, X[:, 0]]), gates, penalty="group_l1", strength=0.05, cone=True)
    stop_at(monkeypatch, f"convexnn.solvers.convex.interior_point.{place}")
    found = cx.solve(program, "interior_point")
    assert found.status is cx.Status.INTERRUPTED
    assert (found.nnz, found.objective) == (0, program.zero_loss)


def test_an_interruption_at_a_later_output_keeps_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _, _ = planted(0)
    gates = cx.sample_patterns(X, 5)
    program = ConvexProgram(X, np.column_stack([y, X[:, 0]]), gates, penalty="group_l1", strength=0.05, cone=True)
    original, calls = InteriorPoint.begin, iter(range(2))

    def interrupted(method: InteriorPoint) -> Any:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return original(method)

    monkeypatch.setattr(InteriorPoint, "begin", interrupted)
    found = cx.solve(program, "interior_point")
    assert found.status is cx.Status.INTERRUPTED
    assert found.weights[..., 0].any()
    assert not found.weights[..., 1].any()


@pytest.mark.parametrize(
    ("solver", "place"),
    [
        ("admm", "convexnn.solvers.convex.admm.NeuronOperator"),
        ("admm", "convexnn.solvers.convex.admm.Splitting.begin"),
        ("fista", "convexnn.solvers.convex.fista.prepare"),
        ("fista", "convexnn.solvers.convex.fista.begin"),
    ],
)
def test_an_interruption_of_the_preparation_returns_the_start_or_zero_weights(
    solver: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = penalised()
    good = cx.solve(program, solver)
    stop_at(monkeypatch, place)
    found, warm = cx.solve(program, solver), cx.solve(program, solver, start=good)
    assert found.status is warm.status is cx.Status.INTERRUPTED
    assert (found.nnz, found.objective) == (0, program.zero_loss)
    np.testing.assert_array_equal(warm.weights, good.weights)
    assert warm.objective == pytest.approx(good.objective, rel=1e-12)


def penalised() -> ConvexProgram:
    """Return the gated program of a planted network over other gates."""
    X, y, _, _ = planted(0)
    return ConvexProgram(X, y, cx.sample_patterns(X, 5), penalty="group_l1", strength=0.05)


def test_an_interruption_between_precisions_keeps_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    program, whole, calls = penalised(), fista.prepare, iter(range(2))

    def second(*given: Any) -> Any:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(fista, "prepare", second)
    # What float32 reaches is not enough for it.
    found = cx.solve(program, "fista", tolerance=1e-10)
    assert found.status is cx.Status.INTERRUPTED
    assert found.gap is not None
    assert found.gap < 1e-3 * program.zero_loss


@pytest.mark.parametrize("solver", ["admm", "exact", "interior_point"])
def test_an_interruption_of_the_certificate_is_one_of_the_run(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _, _ = planted(0)
    cone = ConvexProgram(X, y, cx.sample_patterns(X, 5), penalty="group_l1", strength=0.05, cone=True)
    program = {"admm": penalised(), "exact": budgeted(), "interior_point": cone}[solver]
    good, whole, calls = cx.solve(program, solver), certificate._solution, iter(range(9))

    def first(*given: Any) -> Any:
        # The heuristic of `exact` has a certificate of its own.
        if next(calls) == (solver == "exact"):
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(certificate, "_solution", first)
    found = cx.solve(program, solver)
    np.testing.assert_array_equal(found.weights, good.weights)
    assert found.status is (cx.Status.CONVERGED if solver == "exact" else cx.Status.INTERRUPTED)


@pytest.mark.parametrize("engine", ["CLARABEL", "SCS"])
def test_an_interruption_of_a_reference_does_not_wait_for_it(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cvxpy")
    ended, before = threading.Event(), signal.signal(signal.SIGINT, signal.default_int_handler)

    def endless(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        ended.wait(30.0)

    monkeypatch.setattr("cvxpy.reductions.solvers.solving_chain.SolvingChain.solve_via_data", endless)
    monkeypatch.setattr(cvxpy_reference, "_by_clarabel", endless)
    try:
        found = cx.solve(penalised(), "cvxpy", engine=engine)
    finally:
        signal.signal(signal.SIGINT, before)
        ended.set()
    assert found.status is cx.Status.INTERRUPTED
    assert found.nnz == 0


def test_clarabel_ends_once_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clarabel, ended = pytest.importorskip("clarabel"), threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    class Endless:
        """An engine that iterates until it is told to end."""

        def __init__(self, *_: Any) -> None:
            self.over: Callable[[Any], bool] = lambda info: False

        def set_termination_callback(self, over: Callable[[Any], bool]) -> None:
            self.over = over

        def solve(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            while not self.over(None):
                time.sleep(0.01)
            ended.set()

    monkeypatch.setattr(clarabel, "DefaultSolver", Endless)
    try:
        found = cx.solve(penalised(), "cvxpy")
    finally:
        signal.signal(signal.SIGINT, before)
    assert found.status is cx.Status.INTERRUPTED
    assert ended.wait(30.0)


def test_a_reference_that_hears_of_it_itself_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cvxpy")
    raw = {"info": {"status": "interrupted"}}
    monkeypatch.setattr("cvxpy.reductions.solvers.solving_chain.SolvingChain.solve_via_data", lambda *_, **__: raw)
    assert cx.solve(penalised(), "cvxpy", engine="SCS").status is cx.Status.INTERRUPTED


def test_a_reference_that_there_is_no_time_to_hand_over_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).standard_normal((60, 4))
    program = cx.ConvexProgram(X, X[:, 0], cx.sample_patterns(X, 10, seed=0), penalty="group_l1", strength=0.01)
    monkeypatch.setattr(cvxpy_reference, "_solved", lambda *given: pytest.fail("it is handed over"))
    for limit, entries in ((0.0, None), (3.0, 10_000_000)):
        if entries is not None:
            monkeypatch.setattr(cvxpy_reference, "_entries", lambda program, count=entries: count + 1)
            monkeypatch.setattr(cvxpy_reference, "_fits", lambda program, limit: None)
        solution = cx.solve(program, "cvxpy", time_limit=limit)
        assert solution.status is cx.Status.TIME_LIMIT
        assert solution.nnz == 0


@pytest.mark.parametrize("solver", ["auto", "admm", "interior_point", "cvxpy"])
def test_cones_that_there_is_no_time_for_are_not_projected_onto(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).standard_normal((60, 4))
    patterns = cx.sample_patterns(X, 10, seed=0)
    program = cx.ConvexProgram(X, X[:, 0], patterns, penalty="group_l1", strength=0.01, cone=True)
    whole = cx.solve(program, "interior_point")
    monkeypatch.setattr(certificate, "MOST_LATE", 0)
    monkeypatch.setattr(cone_projection, "SECONDS_AN_ENTRY", 1e9)
    monkeypatch.setattr(interior_point, "SECONDS_A_CONE", 1e9)
    monkeypatch.setattr(cvxpy_reference, "SECONDS_AN_ENTRY", (1e9, 1e9))
    monkeypatch.setattr(certificate, "project", lambda *given: pytest.fail("it projects"))
    solution = cx.solve(program, solver, time_limit=1.0)
    assert solution.status is cx.Status.TIME_LIMIT
    # The certificate is coarse, and true.
    assert solution.gap is not None
    assert whole.gap is not None
    assert solution.objective - solution.gap <= whole.objective
    assert solution.violation == 0.0
