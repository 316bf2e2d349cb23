"""The search: starts, moves, the bandit, proposals, stages, and candidates that are not finite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn.recovery import restarts
from convexnn.recovery.candidates.bandit import Bandit
from convexnn.recovery.candidates.moves import drop_random_neurons, drop_random_weights, drop_weak_neurons
from convexnn.recovery.candidates.proposals import KINDS, Proposals
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.options import RecoveryOptions
from convexnn.recovery.restarts import StartSearch, stage_sizes
from convexnn.recovery.search import EXACT, Candidate, CandidatePlan, Search
from convexnn.solvers.common.deadline import Deadline
from tests.helpers.recovery_problems import layer, planted, small_problem


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
    kept = drop_random_weights(hidden, np.random.default_rng(1)).weights
    assert 0 < torch.count_nonzero(kept) < hidden.nnz
    assert set(kept[kept != 0.0].tolist()) <= set(hidden.weights.flatten().tolist())
    assert kept.any(dim=1).all()


def test_of_many_neurons_no_more_are_dropped_than_of_thirty() -> None:
    weights, rng = torch.ones(1000, 3).double() * torch.arange(1.0, 1001.0).double()[:, None], np.random.default_rng(0)
    hidden = HiddenLayer(weights, torch.ones(1000).double(), weights)
    few = hidden.select(torch.arange(20))
    assert len(drop_weak_neurons(hidden, rng).signs) == 991
    assert len(drop_weak_neurons(few, rng).signs) == 14
    for many, expected in ((hidden, 9.0), (few, 6.0)):
        gone = [len(many.signs) - len(drop_random_neurons(many, rng, 0.7).signs) for _ in range(300)]
        assert np.mean(gone) == pytest.approx(expected, rel=0.15)


def test_neurons_are_not_turned_round_where_that_takes_signs_that_are_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden = layer(small_problem(), 0)
    plain = HiddenLayer(hidden.weights, torch.ones_like(hidden.signs), hidden.gates)
    mixed = HiddenLayer(hidden.weights, torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0]).double(), hidden.gates)
    monkeypatch.setattr("convexnn.recovery.search.reverse_neurons", lambda layer, rng: mixed)
    for signs, expected in (("positive", {"plain"}), ("both", {"plain", "mixed"})):
        search = replace(searching(100, 10, 5), signs=signs)
        found = [search._reversed(plain) for _ in range(30)]
        assert {"mixed" if turned is mixed else "plain" for turned in found} == expected


def test_candidates_that_are_not_finite_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _, _ = planted(0)
    original, calls = Search.run, list[int]()

    def run(self: Search, plan: CandidatePlan, best: float) -> Candidate:
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


def test_the_bandit_prefers_what_pays_and_forgets_no_rule() -> None:
    bandit = Bandit()
    for _ in range(100):
        bandit.rules.credit(1, 5.0, 1.0)
        bandit.rules.credit(0, 0.0, 1.0)
    rng = np.random.default_rng(0)
    drawn = np.bincount([bandit.draw_rule(rng, [1.0, 1.0, 1.0]) for _ in range(2000)], minlength=3)
    assert drawn[1] > drawn[0] > 0
    assert drawn[2] > 0
    dear = np.bincount([bandit.draw_rule(rng, [1.0, 100.0, 1.0]) for _ in range(2000)], minlength=3)
    assert dear[1] < drawn[1]
    for _ in range(100):
        bandit.moves.credit(2, 5.0, 1.0)
    moved = np.bincount([bandit.draw_move(rng, 5) for _ in range(2000)], minlength=6)
    assert moved[2] == moved.max()
    assert moved[:5].min() > 0
    assert moved[5] == 0


def test_what_is_nearly_exact_is_fitted_in_float64_as_more_rows_come_and_no_more_come_where_it_is_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, y, weights, signs = planted(0)
    problem, rng = small_problem(), np.random.default_rng(1)
    near = weights * (1.0 + 1e-6 * rng.standard_normal(weights.shape)) / np.sqrt(np.mean(y**2))
    parts = (torch.as_tensor(array, dtype=torch.float32) for array in (near, signs, near))
    candidate = Candidate(HiddenLayer(*parts), 1e-12, "given")
    stage, sizes = StartSearch._stage, list[int]()

    def given(self: StartSearch, rows: Problem, current: Candidate | None, *others: Any) -> Any:
        sizes.append(len(rows.target))
        return iter([(candidate, candidate)]) if current is None else stage(self, rows, current, *others)

    monkeypatch.setattr(StartSearch, "_stage", given)
    monkeypatch.setattr(restarts, "stage_sizes", lambda n_rows, budget: [200, 300, n_rows])
    options = RecoveryOptions(10, 4, "both", 1, 5, False, Deadline(None), "cpu", None)
    start = StartSearch(problem, options, rng)
    assert list(start.candidates()) == [candidate]
    assert start.best.loss <= EXACT
    assert start.best.hidden.weights.dtype == torch.float64
    assert sizes == [200, 300]


def test_stages_grow_and_end_at_the_rows_there_are() -> None:
    assert stage_sizes(300, 10) == [300]
    assert stage_sizes(3999, 10) == [3999]
    assert stage_sizes(50_000, 10) == [2000, 8000, 20_000]
    assert stage_sizes(50_000, 1000) == [6000, 20_000]
    assert stage_sizes(50_000, 2000) == [20_000]
