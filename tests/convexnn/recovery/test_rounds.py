"""From one layer to a better one: merging, fits on a support, Gauss-Newton steps, and rounds of thresholding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convexnn.recovery.candidates.proposals import Proposals
from convexnn.recovery.candidates.rounds import Schedule, _Course, threshold_rounds
from convexnn.recovery.layer.hidden_layer import HiddenLayer, merge_parallel
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import TILE_ROWS, Evaluation, Problem, normal_equations
from convexnn.recovery.layer.support_steps import UnitColumns, conjugate_steps, damped_step
from tests.helpers.recovery_problems import layer, planted, small_problem


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_merging_parallel_neurons_keeps_the_function(seed: int) -> None:
    problem, rng = small_problem(), np.random.default_rng(seed)
    hidden = layer(problem, seed, blocks=3)
    lengths = torch.as_tensor(rng.choice([0.5, 1.0, 2.0], 3))[:, None]
    twins = HiddenLayer(hidden.weights * lengths, torch.as_tensor(rng.choice([-1.0, 1.0], 3)), hidden.gates)
    both = hidden.concatenate(twins)
    merged = merge_parallel(both)
    assert int(merged.live.sum()) <= 3
    torch.testing.assert_close(
        problem.residual(merged.weights, merged.signs), problem.residual(both.weights, both.signs)
    )


def unit(values: torch.Tensor) -> UnitColumns:
    """Return columns (s, n) of unit length whose linear parts count."""
    return UnitColumns(values, values[:, :0], values.T[:, :0])


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
        assert (
            least - 1e-9 <= float((residual - fit(unit(columns), residual) @ columns).square().sum()) <= before + 1e-12
        )
    torch.testing.assert_close(damped_step(unit(columns), residual, 0.0), best, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(conjugate_steps(unit(columns), residual, 12), best, atol=1e-6, rtol=1e-6)


def test_conjugate_steps_end_where_squares_underflow() -> None:
    """Those of the slope do before those of the change, where many columns agree."""
    columns = torch.full((500, 4), 0.5, dtype=torch.float32)
    residual = torch.full((4,), 5e-24, dtype=torch.float32)
    assert conjugate_steps(unit(columns), residual, 5).isfinite().all()


def test_equal_columns_share_their_weight() -> None:
    column = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    step = damped_step(unit(column.repeat(2, 1)), torch.tensor([0.6, 0.8], dtype=torch.float64), 0.0)
    torch.testing.assert_close(step, torch.full((2,), 0.5, dtype=torch.float64), atol=1e-6, rtol=0.0)


def test_normal_equations_do_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = small_problem()
    hidden = layer(problem, 3)
    support = torch.nonzero(hidden.weights, as_tuple=True)
    active = problem.linear(hidden.weights) > 0.0
    residual = problem.residual(hidden.weights, hidden.signs)
    assert len(residual) < TILE_ROWS
    whole = normal_equations(problem, active, hidden.signs, support, residual)
    monkeypatch.setattr("convexnn.recovery.layer.problem.TILE_ROWS", 37)
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


def test_a_polish_that_cannot_come_below_its_goal_ends_after_some_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, asked = small_problem(), list[int]()
    hidden, equations = layer(problem, 0), Evaluation.equations

    def noted(now: Evaluation, support: Any) -> Any:
        asked.append(1)
        return equations(now, support)

    monkeypatch.setattr(Evaluation, "equations", noted)
    whole, loss = polish(problem, hidden)
    full = len(asked)
    for goal, most in ((1e-30, 4), (2.0 * loss, full)):
        asked.clear()
        found, ended = polish(problem, hidden, goal=goal)
        assert len(asked) <= most < full + 1
        assert loss <= ended
        assert torch.equal(found.weights, whole.weights) == (most == full)
    assert full > 4


def test_a_polish_out_of_time_takes_one_step() -> None:
    problem = small_problem()
    hidden = layer(problem, 0)
    one, _ = polish(problem, hidden, rounds=1)
    stopped, _ = polish(problem, hidden, stop=lambda: True)
    assert torch.equal(one.weights, stopped.weights)


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


def test_rounds_of_no_blocks_find_nothing() -> None:
    """A part of a network may be left with none."""
    problem = small_problem()
    start = layer(problem, 0, blocks=0)
    schedule = Schedule(3, 2.0, partial(damped_step, damping=1e-2), False)
    after, loss = threshold_rounds(problem, start, 10, schedule, lambda count, _: start.gates, lambda: False)
    assert after.nnz == 0
    assert loss == pytest.approx(1.0)


def test_columns_that_are_not_there_are_never_selected() -> None:
    problem, rng = small_problem(), np.random.default_rng(0)
    rows = problem.rows.clone()
    rows[:, 2:] = 0.0
    narrow = Problem(rows, problem.target)
    propose = partial(Proposals(problem, rng).mixed, ("dense",))
    start = HiddenLayer.empty(narrow, propose(3, narrow.target), torch.ones(3, dtype=torch.float64))
    schedule = Schedule(4, 2.0, partial(damped_step, damping=1e-2), False)
    after, _ = threshold_rounds(narrow, start, 10, schedule, propose, lambda: False)
    assert 0 < after.nnz <= 6
    assert not after.weights[:, 2:].any()


def test_rounds_end_with_an_exact_layer() -> None:
    problem, start = small_problem(), planted_layer(10)
    fits, fit = counted()
    propose = partial(Proposals(problem, np.random.default_rng(0)).mixed, ("dense",))
    schedule = Schedule(40, 2.0, fit, False)
    after, loss = threshold_rounds(problem, start, 10, schedule, propose, lambda: False)
    assert loss < 1e-25
    assert after.nnz == 10
    assert not fits


def test_rounds_bring_a_layer_that_is_exact_above_the_budget_down_to_it_at_once() -> None:
    problem, start = small_problem(), planted_layer(10)
    spare = torch.nonzero(start.weights == 0.0)[:5]
    more = start.weights.clone()
    more[spare[:, 0], spare[:, 1]] = 1e-13
    fits, fit = counted()
    propose = partial(Proposals(problem, np.random.default_rng(0)).mixed, ("dense",))
    schedule = Schedule(40, 4.0, fit, False)
    start = HiddenLayer(more, start.signs, start.gates)
    after, loss = threshold_rounds(problem, start, 10, schedule, propose, lambda: False)
    assert loss < 1e-25
    assert after.nnz == 10
    assert len(fits) == 1


def test_a_fall_that_was_in_vain_is_tried_again_with_half_the_weights_too_many() -> None:
    course = _Course(planted_layer(10), planted_layer(10))
    tried = [excess for excess in (20, 15, 11, 10, 6, 5, 1) if course.falls(excess)]
    assert tried == [20, 10, 5, 1]


def counted() -> tuple[list[int], Callable[[UnitColumns, torch.Tensor], torch.Tensor]]:
    """Return a fit, and the numbers of weights that it was asked for."""
    sizes = list[int]()

    def fit(columns: UnitColumns, residual: torch.Tensor) -> torch.Tensor:
        sizes.append(len(columns.values))
        return damped_step(columns, residual, 1e-2)

    return sizes, fit


def planted_layer(s: int) -> HiddenLayer:
    """Return the network behind the target of `small_problem`."""
    _, y, weights, signs = planted(0, s=s)
    live = weights.any(axis=1)
    rows = torch.as_tensor(weights[live] / np.sqrt(np.mean(y**2)))
    return HiddenLayer(rows, torch.as_tensor(signs[live]), rows)


def test_rounds_that_diverge_end_with_the_better_start() -> None:
    problem = small_problem().to(torch.float32)
    propose = partial(Proposals(problem, np.random.default_rng(0)).mixed, ("dense",))
    schedule = Schedule(60, 1.0, lambda columns, residual: 1e6 * columns.correlate(residual), False)
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


@pytest.mark.parametrize(("over", "most"), [(False, 12), (True, 4)])
def test_a_polish_whose_time_is_over_tries_three_steps(over: bool, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, tried, before = small_problem(), list[int](), Problem.evaluate
    hidden, size = layer(problem, 0), len(problem.target)

    def evaluated(*given: Any) -> Evaluation:
        tried.append(1)
        # Each step is worse than the one before.
        return replace(before(*given), residual=torch.full((size,), float(len(tried)), dtype=torch.float64))

    monkeypatch.setattr(Problem, "evaluate", evaluated)
    found, loss = polish(problem, hidden, stop=lambda: over)
    assert (len(tried), loss) == (most, 1.0)
    assert torch.equal(found.weights, hidden.weights)


def test_products_leave_out_inputs_that_no_weight_reads() -> None:
    rng = np.random.default_rng(0)
    rows, weights = torch.as_tensor(rng.standard_normal((30, 300))), torch.zeros((4, 300), dtype=torch.float64)
    for read in (0, 3, 40, 300):
        weights[:, :read] = torch.as_tensor(rng.standard_normal((4, read)))
        found = Problem(rows, rows[:, 0]).linear(weights)
        torch.testing.assert_close(found, rows @ weights.T, rtol=1e-12, atol=1e-12)
