"""Recovery with unknown gates: exactness on planted networks, identities of its parts, limits and bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convexnn as cx
from convexnn.checks import Floats
from convexnn.recovery.hidden_layer import Hidden, merge_parallel
from convexnn.recovery.polish import TILE_ROWS, normal_equations, polish
from convexnn.recovery.problem import Problem
from convexnn.recovery.proposals import KINDS, Proposals
from convexnn.recovery.restarts import stages
from convexnn.recovery.rounds import Schedule, threshold_rounds
from convexnn.recovery.search import Found, Plan, Scores, Search, thinned
from convexnn.recovery.significance import drop_insignificant
from convexnn.recovery.support_steps import conjugate_steps, damped_step


def planted(seed: int, n: int = 400, d: int = 12, m: int = 4, s: int = 10, signed: bool = True) -> tuple[Floats, ...]:
    """Return X, the noiseless target, the planted weights and signs."""
    rng = np.random.default_rng(seed)
    weights = np.zeros(m * d)
    weights[rng.choice(m * d, s, replace=False)] = rng.standard_normal(s)
    X, matrix = rng.standard_normal((n, d)), weights.reshape(m, d)
    signs = rng.choice([-1.0, 1.0], m) if signed else np.ones(m)
    return X, np.maximum(X @ matrix.T, 0.0) @ signs, matrix, signs


def small_problem(seed: int = 0) -> Problem:
    X, y, _, _ = planted(seed)
    return Problem(torch.as_tensor(X), torch.as_tensor(y / np.sqrt(np.mean(y**2))))


def layer(problem: Problem, seed: int, blocks: int = 5, share: float = 0.5) -> Hidden:
    """Return a random layer with some weights at zero."""
    rng = np.random.default_rng(seed)
    d = problem.rows.shape[1]
    weights = rng.standard_normal((blocks, d)) * (rng.random((blocks, d)) < share)
    signs = rng.choice([-1.0, 1.0], blocks)
    return Hidden(*(torch.as_tensor(array) for array in (weights, signs, rng.standard_normal((blocks, d)))))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("signed", [False, True])
def test_planted_networks_are_recovered_exactly(seed: int, signed: bool, device: str) -> None:
    X, y, weights, signs = planted(seed, signed=signed)
    found = cx.recover(X, y, budget=10, width=4, seed=seed, device=device)
    assert found.status is cx.Status.CONVERGED
    assert found.nnz <= 10
    fresh = np.random.default_rng(99).standard_normal((200, 12))
    truth = np.maximum(fresh @ weights.T, 0.0) @ signs
    np.testing.assert_allclose(found.to_network().predict(fresh), truth, atol=1e-9)
    assert found.mapping_error <= 1e-9


def test_units_of_features_and_target_change_nothing_but_units() -> None:
    X, y, weights, signs = planted(3)
    units = np.logspace(-6, 6, X.shape[1])
    found = cx.recover(X * units, 1e5 * y, budget=10, width=4)
    fresh = np.random.default_rng(99).standard_normal((200, 12))
    truth = 1e5 * np.maximum(fresh @ weights.T, 0.0) @ signs
    np.testing.assert_allclose(found.to_network().predict(fresh * units), truth, atol=1e-4)


def test_biases_are_recovered_and_counted() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 6)) + 2.0
    y = np.maximum(X[:, 0] - X[:, 1] - 0.5, 0.0) - np.maximum(X[:, 2] - 2.5, 0.0)
    found = cx.recover(X, y, budget=5, width=3, bias=True)
    assert found.nnz == 5
    fresh = rng.standard_normal((100, 6)) + 2.0
    truth = np.maximum(fresh[:, 0] - fresh[:, 1] - 0.5, 0.0) - np.maximum(fresh[:, 2] - 2.5, 0.0)
    np.testing.assert_allclose(found.to_network().predict(fresh), truth, atol=1e-9)


@pytest.mark.parametrize("signs", ["positive", "negative"])
def test_output_weights_keep_to_the_signs_asked_for(signs: str) -> None:
    X, y, _, _ = planted(0, signed=True)
    found = cx.recover(X, y, budget=10, width=4, signs=signs, patience=3, n_restarts=1)
    side = 1.0 if signs == "positive" else -1.0
    inner = (found.weights * found.program.patterns.generators).sum(axis=1)
    assert (side * inner > 0.0).all()


def test_a_seed_decides_the_run() -> None:
    X, y, _, _ = planted(1)
    y = y + 0.1 * np.random.default_rng(5).standard_normal(len(y))
    one, two, other = (cx.recover(X, y, 8, 4, seed=seed, n_restarts=1, patience=4) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.history, two.history)
    assert len(one.history) != len(other.history) or (one.history != other.history).any()


def test_the_best_never_gets_worse_and_is_what_is_returned() -> None:
    X, y, _, _ = planted(2)
    y = y + 0.1 * np.random.default_rng(5).standard_normal(len(y))
    found = cx.recover(X, y, 8, 4, n_restarts=2, patience=5)
    assert (np.diff(found.history) <= 0.0).all()
    assert found.objective <= found.history[-1] * (1.0 + 1e-9)
    assert found.nnz <= 8
    assert found.to_network().n_neurons <= 4


def test_a_callback_sees_each_candidate_and_an_interruption_keeps_the_best() -> None:
    X, y, _, _ = planted(2)
    y = y + 0.1 * np.random.default_rng(5).standard_normal(len(y))
    states: list[cx.RecoveryProgress] = []

    def callback(state: cx.RecoveryProgress) -> None:
        states.append(state)
        if state.iteration == 3:
            raise KeyboardInterrupt

    found = cx.recover(X, y, 8, 4, callback=callback)
    assert found.status is cx.Status.INTERRUPTED
    assert [state.iteration for state in states] == [1, 2, 3]
    assert found.objective <= states[-1].best * (1.0 + 1e-9)
    assert states[0].source == "start, full steps"
    assert states[0].restart == 0


def test_where_a_run_ends_does_not_change_its_course() -> None:
    X, y, _, _ = planted(2)
    y = y + 0.1 * np.random.default_rng(5).standard_normal(len(y))

    def at_most(count: int) -> Floats:
        def callback(state: cx.RecoveryProgress) -> None:
            if state.iteration == count:
                raise KeyboardInterrupt

        return cx.recover(X, y, 8, 4, callback=callback).history

    np.testing.assert_array_equal(at_most(4), at_most(9)[:4])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_a_run_holds_no_more_than_is_stated() -> None:
    """In a process of its own, whose peak is its own (a second or two)."""
    script = """
from pathlib import Path
import numpy as np
import convexnn as cx
def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))
rng = np.random.default_rng(0)
X = rng.standard_normal((8000, 60))
y = np.maximum(X[:, :20] @ rng.standard_normal(20), 0) - np.maximum(X[:, 20:] @ rng.standard_normal(40), 0)
cx.recover(X[:100], y[:100], 4, 2, n_restarts=1, patience=1)
before = peak()
found = cx.recover(X, y + rng.standard_normal(8000), 100, 20, n_restarts=1, patience=1)
print(1024 * (peak() - before), found.memory)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(cx.__file__).parent.parent)}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    measured, stated = map(int, ran.stdout.split())
    assert measured < stated < 10 * measured


def test_no_time_still_gives_a_solution() -> None:
    X, y, _, _ = planted(0)
    found = cx.recover(X, y, 8, 4, time_limit=0.0)
    assert found.status is cx.Status.TIME_LIMIT
    assert np.isfinite(found.objective)
    assert "recover" in str(found)


def test_more_rows_than_a_stage_sees_are_all_fitted() -> None:
    X, y, _, _ = planted(4, n=9000)
    assert stages(len(X), 10) == [2000, 9000]
    found = cx.recover(X, y, budget=10, width=4)
    assert found.objective <= 1e-20 * np.mean(y**2)


def test_insignificant_weights_go_and_significant_ones_stay() -> None:
    X, y, _, _ = planted(5, n=2000)
    noisy = y + 0.05 * y.std() * np.random.default_rng(1).standard_normal(len(y))
    every = cx.recover(X, noisy, budget=20, width=4, n_restarts=1, patience=10)
    kept = cx.recover(X, noisy, budget=20, width=4, n_restarts=1, patience=10, significant=True)
    assert every.nnz == 20
    assert 8 <= kept.nnz <= 12


def test_an_exact_network_has_nothing_insignificant() -> None:
    problem = small_problem()
    hidden = layer(problem, 1)
    exact = Problem(problem.rows, problem.target - problem.residual(hidden.weights, hidden.signs))
    assert torch.equal(drop_insignificant(exact, hidden, 1000).weights, hidden.weights)


@pytest.mark.parametrize("dead", ["constant", "zero", "duplicate"])
def test_features_of_no_use_do_no_harm(dead: str) -> None:
    X, y, _, _ = planted(6)
    extra = {"constant": np.full(len(X), 3.0), "zero": np.zeros(len(X)), "duplicate": X[:, 0]}[dead]
    found = cx.recover(np.column_stack([X, extra]), y, budget=10, width=4)
    assert found.objective <= 1e-18 * np.mean(y**2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_numbers_of_any_kind_are_taken(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(-5, 6, size=(300, 5)).astype(dtype)
    y = np.maximum(X[:, 0].astype(float) - X[:, 1].astype(float), 0.0).astype(dtype)
    found = cx.recover(X, y, budget=2, width=2)
    assert found.objective <= 1e-18


def test_integers_may_touch_gates() -> None:
    """Rows on the boundary of a gate: the mask counts them as active, the neuron is 0 there, and both agree."""
    rng = np.random.default_rng(1)
    X = rng.integers(-2, 3, size=(200, 4)).astype(float)
    y = np.maximum(X[:, 0] + X[:, 1], 0.0) - np.maximum(X[:, 2] - X[:, 3], 0.0)
    found = cx.recover(X, y, budget=4, width=2)
    assert found.objective <= 1e-20
    assert found.mapping_error <= 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 0}, "budget is 0; expected"),
        ({"budget": 49}, "budget is 49; expected at most 48, the inputs of 4 neurons"),
        ({"width": 0}, "width is 0; expected a whole number of at least 1"),
        ({"signs": "plus"}, "signs 'plus' is unknown; expected one of: both, positive, negative"),
        ({"patience": 0}, "patience is 0; expected"),
        ({"n_restarts": 0}, "n_restarts is 0; expected"),
        ({"time_limit": -1.0}, "time_limit is -1.0; expected a finite number of at least 0"),
        ({"device": "gpu"}, "device 'gpu' is unknown"),
        ({"y": np.zeros(400)}, "y is constant"),
        ({"y": np.ones((400, 2)) * np.arange(400)[:, None]}, "y has shape \\(400, 2\\); expected one output"),
        ({"y": np.ones(3)}, "y has shape \\(3,\\)"),
        ({"X": np.full((400, 12), np.nan)}, "X holds nan at index"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_input_is_one_clear_line(change: dict[str, object], message: str) -> None:
    X, y, _, _ = planted(0)
    arguments: dict[str, object] = {"X": X, "y": y, "budget": 10, "width": 4} | change
    with pytest.raises(ValueError, match=message) as caught:
        cx.recover(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# The parts.


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_merging_parallel_neurons_keeps_the_function(seed: int) -> None:
    problem, rng = small_problem(), np.random.default_rng(seed)
    hidden = layer(problem, seed, blocks=3)
    lengths = torch.as_tensor(rng.choice([0.5, 1.0, 2.0], 3))[:, None]
    twins = Hidden(hidden.weights * lengths, torch.as_tensor(rng.choice([-1.0, 1.0], 3)), hidden.gates)
    both = hidden.joined(twins)
    merged = merge_parallel(both)
    assert int(merged.live.sum()) <= 3
    torch.testing.assert_close(
        problem.residual(merged.weights, merged.signs), problem.residual(both.weights, both.signs)
    )


@given(seed=st.integers(0, 10_000), damping=st.sampled_from([1e-6, 1e-2, 1.0, 100.0]))
@settings(max_examples=30, deadline=None)
def test_fits_lower_the_residual_and_reach_least_squares(seed: int, damping: float) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((6, 50))
    columns = torch.as_tensor(raw / np.linalg.norm(raw, axis=1, keepdims=True))
    residual = torch.as_tensor(rng.standard_normal(50))
    best = torch.linalg.lstsq(columns.T, residual[:, None]).solution[:, 0]
    before, least = (float((residual - step @ columns).square().sum()) for step in (0.0 * best, best))
    for fit in (partial(damped_step, damping=damping), partial(conjugate_steps, count=2)):
        assert least - 1e-9 <= float((residual - fit(columns, residual) @ columns).square().sum()) <= before + 1e-12
    torch.testing.assert_close(damped_step(columns, residual, 0.0), best, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(conjugate_steps(columns, residual, 12), best, atol=1e-6, rtol=1e-6)


def test_conjugate_steps_end_where_squares_underflow() -> None:
    """Those of the slope do before those of the change, where many columns agree."""
    columns = torch.full((500, 4), 0.5, dtype=torch.float32)
    residual = torch.full((4,), 5e-24, dtype=torch.float32)
    assert conjugate_steps(columns, residual, 5).isfinite().all()


def test_equal_columns_share_their_weight() -> None:
    column = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    step = damped_step(column.repeat(2, 1), torch.tensor([0.6, 0.8], dtype=torch.float64), 0.0)
    torch.testing.assert_close(step, torch.full((2,), 0.5, dtype=torch.float64), atol=1e-6, rtol=0.0)


def test_normal_equations_do_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = small_problem()
    hidden = layer(problem, 3)
    support = torch.nonzero(hidden.weights, as_tuple=True)
    active = problem.linear(hidden.weights) > 0.0
    residual = problem.residual(hidden.weights, hidden.signs)
    assert len(residual) < TILE_ROWS
    whole = normal_equations(problem, active, hidden.signs, support, residual)
    monkeypatch.setattr("convexnn.recovery.polish.TILE_ROWS", 37)
    for one, other in zip(whole, normal_equations(problem, active, hidden.signs, support, residual), strict=True):
        torch.testing.assert_close(one, other)


def test_normal_equations_are_those_of_the_networks_derivative() -> None:
    problem = small_problem()
    hidden = layer(problem, 3)
    support = torch.nonzero(hidden.weights, as_tuple=True)
    values = hidden.weights[support].clone().requires_grad_()

    def output(entries: torch.Tensor) -> torch.Tensor:
        weights = torch.zeros_like(hidden.weights).index_put(support, entries)
        return torch.relu(problem.linear(weights)) @ hidden.signs

    jacobian = torch.autograd.functional.jacobian(output, values)
    residual = problem.residual(hidden.weights, hidden.signs)
    gram, slope = normal_equations(problem, problem.linear(hidden.weights) > 0.0, hidden.signs, support, residual)
    torch.testing.assert_close(gram, jacobian.T @ jacobian)
    torch.testing.assert_close(slope, jacobian.T @ residual)


@pytest.mark.parametrize("seed", range(5))
def test_polish_lowers_the_loss_on_the_same_support(seed: int) -> None:
    problem = small_problem()
    hidden = layer(problem, seed)
    after, loss = polish(problem, hidden)
    assert loss <= problem.loss(hidden.weights, hidden.signs)
    assert loss == pytest.approx(problem.loss(after.weights, after.signs))
    assert not after.weights[hidden.weights == 0.0].any()


def test_a_polish_out_of_time_takes_one_step() -> None:
    problem = small_problem()
    hidden = layer(problem, 0)
    one, _ = polish(problem, hidden, rounds=1)
    stopped, _ = polish(problem, hidden, stop=lambda: True)
    assert torch.equal(one.weights, stopped.weights)


def searching(n_rows: int, budget: int, width: int) -> Search:
    rng = np.random.default_rng(0)
    problem = Problem(torch.as_tensor(rng.standard_normal((n_rows, 30))), torch.as_tensor(rng.random(n_rows)))
    return Search(problem, budget, width, "positive", rng, lambda: False)


def test_starts_are_narrow_too_where_rows_are_scarce() -> None:
    assert {width for _, _, width in searching(200, 100, 50).starts} == {4, 8, 50}
    assert {width for _, _, width in searching(200, 150, 50).starts} == {5, 8, 50}
    assert {width for _, _, width in searching(200, 100, 1).starts} == {1}
    assert {width for _, _, width in searching(1000, 100, 50).starts} == {50}
    search = searching(200, 100, 50)
    assert [len(search.start(*start).hidden.signs) for start in search.starts] == [4, 4, 4, 8, 8, 8, 50, 50, 50]


def test_a_thinned_layer_keeps_some_of_the_weights_as_they_are() -> None:
    hidden = layer(small_problem(), 0)
    kept = thinned(hidden, np.random.default_rng(1)).weights
    assert 0 < torch.count_nonzero(kept) < hidden.nnz
    assert set(kept[kept != 0.0].tolist()) <= set(hidden.weights.flatten().tolist())
    assert kept.any(dim=1).all()


def test_candidates_that_are_not_finite_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _, _ = planted(0)
    original, calls = Search.run, list[int]()

    def run(self: Search, plan: Plan, best: float) -> Found:
        calls.append(1)
        found = original(self, plan, best)
        return replace(found, loss=float("nan")) if len(calls) % 2 else found

    monkeypatch.setattr(Search, "run", run)
    found = cx.recover(X, y, budget=10, width=4)
    assert found.objective <= 1e-20 * np.mean(y**2)
    monkeypatch.setattr(Search, "run", lambda self, plan, best: replace(original(self, plan, best), loss=float("nan")))
    nothing = cx.recover(X, y, budget=10, width=4)
    assert nothing.nnz == 0
    assert nothing.objective == pytest.approx(0.5 * np.mean(y**2))


@pytest.mark.parametrize("free_signs", [False, True])
def test_rounds_keep_to_the_budget_and_the_better_of_start_and_end(free_signs: bool) -> None:
    problem = small_problem()
    rng = np.random.default_rng(0)
    propose = partial(Proposals(problem, rng).mixed, ("dense", "sparse"))
    schedule = Schedule(12, 2.0, partial(damped_step, damping=1e-2), free_signs)
    start = layer(problem, 0, share=0.1)
    assert start.nnz <= 10
    after, loss = threshold_rounds(problem, start, 10, schedule, propose, lambda: False)
    assert after.nnz <= 10
    assert loss <= problem.loss(start.weights, start.signs)


def test_rounds_that_diverge_end_with_the_better_start() -> None:
    problem = small_problem().to(torch.float32)
    propose = partial(Proposals(problem, np.random.default_rng(0)).mixed, ("dense",))
    schedule = Schedule(60, 1.0, lambda columns, residual: 1e6 * (columns @ residual), False)
    start = layer(small_problem(), 0, share=0.1).to(torch.float32)
    after, loss = threshold_rounds(problem, start, 10, schedule, propose, lambda: False)
    assert after.weights.isfinite().all()
    assert loss <= problem.loss(start.weights, start.signs)


def test_rounds_end_where_nothing_is_live_and_products_overflow() -> None:
    problem = small_problem().to(torch.float32)
    start = layer(small_problem(), 0)
    start = replace(start, weights=0.0 * start.weights, gates=1e38 * start.gates).to(torch.float32)
    propose = partial(Proposals(problem, np.random.default_rng(0)).mixed, ("dense",))
    schedule = Schedule(5, 1.0, partial(damped_step, damping=1.0), False)
    _, loss = threshold_rounds(problem, start, 10, schedule, propose, lambda: False)
    assert loss <= problem.loss(torch.zeros_like(start.weights), start.signs)


@pytest.mark.parametrize("kind", KINDS)
def test_proposals_are_gates(kind: str) -> None:
    problem = small_problem()
    gates = KINDS[kind](Proposals(problem, np.random.default_rng(0)), 7, problem.target)
    assert gates.shape == (7, problem.rows.shape[1])
    assert (gates != 0.0).any(1).all()
    assert len(KINDS[kind](Proposals(problem, np.random.default_rng(0)), 0, problem.target)) == 0


@pytest.mark.parametrize("residual", [float("inf"), float("nan"), 1e30])
def test_moment_gates_survive_a_residual_that_ran_away(residual: float) -> None:
    problem = small_problem().to(torch.float32)
    gates = Proposals(problem, np.random.default_rng(0)).moment(3, torch.full_like(problem.target, residual))
    assert gates.shape == (3, problem.rows.shape[1])


def test_moment_gates_point_at_a_missing_neuron() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 10))
    direction = np.zeros(10)
    direction[[2, 5]] = 1.0, -2.0
    problem = Problem(torch.as_tensor(X), torch.as_tensor(np.maximum(X @ direction, 0.0)))
    gates = Proposals(problem, rng).moment(20, problem.target).numpy()
    cosines = np.abs(gates @ direction) / np.linalg.norm(gates, axis=1) / np.linalg.norm(direction)
    assert np.median(cosines) > 0.9


def test_scores_prefer_what_pays_and_forget_nobody() -> None:
    scores = Scores()
    for _ in range(100):
        scores.add(1, 5.0, 1.0)
        scores.add(0, 0.0, 1.0)
    rng = np.random.default_rng(0)
    drawn = np.bincount([scores.draw(rng, [1.0, 1.0, 1.0]) for _ in range(2000)], minlength=3)
    assert drawn[1] > drawn[0] > 0
    assert drawn[2] > 0
    dear = np.bincount([scores.draw(rng, [1.0, 100.0, 1.0]) for _ in range(2000)], minlength=3)
    assert dear[1] < drawn[1]


def test_stages_grow_and_end_at_the_rows_there_are() -> None:
    assert stages(300, 10) == [300]
    assert stages(3999, 10) == [3999]
    assert stages(50_000, 10) == [2000, 8000, 20_000]
    assert stages(50_000, 1000) == [6000, 20_000]
    assert stages(50_000, 2000) == [20_000]
