"""Recovery with unknown gates: exactness on planted networks, limits, interruptions and bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convexnn as cx
import convexnn.recovery.candidates.rounds as rounds_module
from convexnn.checks import Floats
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.ranks import Ranks
from convexnn.recovery.layer.significance import drop_dust, drop_insignificant, is_noise
from convexnn.recovery.recover_weights import root_mean_squares
from convexnn.recovery.restarts import stage_sizes
from convexnn.solvers.common.deadline import Deadline
from tests.helpers.recovery_problems import layer, planted, small_problem


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("signed", [False, True])
def test_planted_networks_are_recovered_exactly(seed: int, signed: bool, device: str) -> None:
    X, y, weights, signs = planted(seed, signed=signed)
    found = cx.recover(X, y, budget=10, width=4, seed=seed, device=device)
    assert found.status is cx.Status.EXACT
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
from collections.abc import Callable
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
    assert stage_sizes(len(X), 10) == [2000, 9000]
    found = cx.recover(X, y, budget=10, width=4)
    assert found.objective <= 1e-20 * np.mean(y**2)


def test_insignificant_weights_go_and_significant_ones_stay() -> None:
    X, y, _, _ = planted(5, n=2000)
    noisy = y + 0.05 * y.std() * np.random.default_rng(1).standard_normal(len(y))
    every = cx.recover(X, noisy, budget=20, width=4, n_restarts=1, patience=10)
    kept = cx.recover(X, noisy, budget=20, width=4, n_restarts=1, patience=10, significant=True)
    assert 15 < every.nnz <= 20
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


@pytest.mark.parametrize("questions", [0, 1, 4, 9, 16, 24, 25, 26, 40])
def test_wherever_a_limit_cuts_a_run_there_is_a_network(questions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds run at up to four times the budget: what is cut short above it is brought down to it."""
    X, y, _, _ = planted(3, n=600, d=40, m=6, s=40)
    asked = iter(range(10_000))
    monkeypatch.setattr(Deadline, "is_over", lambda _: next(asked) >= questions)
    found = cx.recover(X, y, 40, 6)
    assert found.status is cx.Status.TIME_LIMIT
    assert 1 <= found.nnz <= 40
    assert found.objective < 0.9 * found.program.zero_loss


def test_without_time_a_sample_of_the_rows_is_brought_to_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows take a second where there are many; the network beats none on all of them nevertheless."""
    X, y, _, _ = planted(3, n=9000, d=40, m=6, s=40)
    scaled = list[int]()

    def noted(columns: Floats, ranks: Ranks) -> Floats:
        scaled.append(len(columns))
        return root_mean_squares(columns, ranks)

    monkeypatch.setattr("convexnn.recovery.recover_weights.root_mean_squares", noted)
    found = cx.recover(X, y, 40, 6, time_limit=0.0)
    assert scaled == [stage_sizes(9000, 40)[0]] * 2
    assert found.program.X.shape == X.shape
    assert found.objective < 0.9 * found.program.zero_loss


def test_without_time_there_is_no_last_fit_of_many_rows_and_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _, _ = planted(3, n=300, d=40, m=6, s=40)
    fits = list[int]()

    def noted(problem: Problem, hidden: HiddenLayer, **options: Any) -> tuple[HiddenLayer, float]:
        fits.append(len(problem.rows))
        return hidden, 1.0

    monkeypatch.setattr("convexnn.recovery.recover_weights.polish", noted)
    cx.recover(X, y, 40, 6, time_limit=0.0)
    monkeypatch.setattr("convexnn.recovery.recover_weights.LATE_WORK", 100)
    assert cx.recover(X, y, 40, 6, time_limit=0.0).nnz
    assert fits == [300]


@pytest.mark.parametrize(("late_work", "steps"), [(10**9, [1, 1]), (100, [])])
def test_after_an_interruption_the_last_fits_take_a_step_or_none(
    late_work: int, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, _, _ = planted(3, n=20_100, d=20, m=4, s=12)
    taken = list[int]()

    def noted(problem: Any, hidden: HiddenLayer, rounds: int, stop: Callable[[], bool]) -> tuple[HiddenLayer, float]:
        taken.append(1 if stop() else rounds)
        return hidden, 1.0

    def interrupted(progress: cx.RecoveryProgress) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convexnn.recovery.recover_weights.polish", noted)
    monkeypatch.setattr("convexnn.recovery.recover_weights.LATE_WORK", late_work)
    found = cx.recover(X, y, 12, 4, callback=interrupted)
    assert found.status is cx.Status.INTERRUPTED
    assert found.nnz
    assert taken == steps


def test_a_sample_of_constant_targets_stands_for_nothing() -> None:
    X = np.random.default_rng(0).standard_normal((30_000, 3))
    y = np.zeros(30_000)
    y[7] = 1.0
    assert cx.recover(X, y, 3, 2, time_limit=0.0).status is cx.Status.TIME_LIMIT


def test_a_limit_has_the_time_in_it_that_the_answer_is_put_together_in(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _, _ = planted(0)
    made = list[float | None]()
    monkeypatch.setattr("convexnn.recovery.recover.ENDING", 0.1 / X.size)

    def noted(limit: float | None, began: float) -> Deadline:
        made.append(limit)
        return Deadline(0.0, began)

    monkeypatch.setattr("convexnn.recovery.recover.Deadline", noted)
    for limit in (0.0, 0.4, None):
        cx.recover(X, y, 10, 4, time_limit=limit)
    assert made == [0.0, pytest.approx(0.3), None]


@pytest.mark.parametrize("rounds", [1, 3, 8])
def test_an_interruption_of_the_first_candidate_returns_what_there_is(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, _, _ = planted(3, n=600, d=40, m=6, s=40)
    state, taken = rounds_module._round_state, iter(range(10_000))

    def interrupted(*arguments: Any) -> Any:
        if next(taken) == rounds:
            raise KeyboardInterrupt
        return state(*arguments)

    monkeypatch.setattr(rounds_module, "_round_state", interrupted)
    found = cx.recover(X, y, 40, 6)
    assert found.status is cx.Status.INTERRUPTED
    assert 1 <= found.nnz <= 40
    assert found.objective < 0.9 * found.program.zero_loss


def test_an_interruption_of_the_last_fit_returns_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _, _ = planted(0)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convexnn.recovery.recover_weights.drop_dust", interrupted)
    found = cx.recover(X, y, 10, 4)
    assert found.status is cx.Status.INTERRUPTED
    assert found.objective <= 1e-18 * found.program.zero_loss


@pytest.mark.parametrize("seed", range(4))
def test_an_exact_network_has_the_weights_that_it_needs_alone(seed: int) -> None:
    X, y, _, _ = planted(seed)
    found = cx.recover(X, y, budget=20, width=4, seed=seed)
    assert found.status is cx.Status.EXACT
    assert found.nnz == 10


def test_dust_goes_and_needed_weights_stay() -> None:
    """Also where one neuron is there twice, or a weight is as small as dust but needed."""
    problem = small_problem()
    hidden = layer(problem, 1)
    hidden.weights[0, torch.nonzero(hidden.weights[0])[0]] = 1e-7
    target = torch.relu(problem.linear(hidden.weights)) @ hidden.signs
    met = Problem(problem.rows, target / target.square().mean().sqrt())
    needed = hidden.weights / target.square().mean().sqrt()
    dusty = torch.where(needed == 0.0, 1e-17, needed)
    twice = torch.cat([0.25 * dusty, 0.75 * dusty])
    signs, gates = hidden.signs.repeat(2), hidden.gates.repeat(2, 1)
    for weights in (dusty, twice):
        count = len(weights) // len(dusty)
        found = drop_dust(met, HiddenLayer(weights, signs[: 5 * count], gates[: 5 * count]), 1e-20, lambda: False)
        assert found.nnz == int(torch.count_nonzero(needed))
        assert met.loss(found.weights, found.signs) <= 1e-20


def test_what_is_left_is_noise_only_where_no_gate_finds_anything_in_it() -> None:
    clean = small_problem()
    rng = np.random.default_rng(0)
    hidden, gates = layer(clean, 1), torch.as_tensor(rng.standard_normal((200, 12)))
    output = clean.target - clean.residual(hidden.weights, hidden.signs)
    noise = torch.as_tensor(rng.standard_normal(len(output)))
    missing = torch.relu(clean.rows[:, 0] - clean.rows[:, 1])
    assert is_noise(Problem(clean.rows, output + noise), hidden, gates)
    assert not is_noise(Problem(clean.rows, output + noise + missing), hidden, gates)
    assert not is_noise(Problem(clean.rows[:20], (output + noise)[:20]), hidden, gates)


def test_a_search_at_the_noise_ends_with_its_start() -> None:
    X, y, _, _ = planted(0)
    y = y + 0.01 * y.std() * np.random.default_rng(9).standard_normal(len(y))
    restarts = list[int]()
    found = cx.recover(X, y, 10, 4, significant=True, callback=lambda state: restarts.append(state.restart))
    assert found.status is cx.Status.CONVERGED
    assert found.nnz == 10
    assert set(restarts) == {0}
    assert len(restarts) < 40
