"""Parts of a network searched anew: which neurons they are, what they are to solve, and what comes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from convexnn.recovery import search as search_module
from convexnn.recovery.candidates import parts as parts_module
from convexnn.recovery.candidates.bandit import Bandit, Kind
from convexnn.recovery.candidates.parts import EXTRA, MOST_NEURONS, Part, choose_part, kink_shares, renew_parts
from convexnn.recovery.candidates.rounds import InterruptedRoundsError
from convexnn.recovery.layer.hidden_layer import HiddenLayer
from convexnn.recovery.layer.polish import polish
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.search import EXACT, Candidate, CandidatePlan, Search

INPUTS = 20


def three_and_two() -> tuple[Problem, HiddenLayer, HiddenLayer]:
    """Return a problem, its planted network, and one with two neurons in the place of three of nearly one direction."""
    rng = np.random.default_rng(0)
    rest = np.zeros((14, INPUTS))
    for row in rest:
        row[rng.choice(INPUTS, 2, replace=False)] = rng.standard_normal(2)
    three, two = np.zeros((3, INPUTS)), np.zeros((2, INPUTS))
    three[:, [3, 7]] = [[-0.341, -0.041], [-0.498, -0.166], [-0.701, 0.0]]
    two[:, [3, 7]] = [[-0.576, -0.184], [-0.964, -0.023]]
    X = rng.standard_normal((2000, INPUTS))
    planted = torch.as_tensor(np.concatenate([three, rest]))
    target = torch.relu(torch.as_tensor(X) @ planted.T).sum(1)
    unit = target.square().mean().sqrt()
    problem, wrong = Problem(torch.as_tensor(X), target / unit), torch.as_tensor(np.concatenate([two, rest]))
    layers = [HiddenLayer(part / unit, torch.ones(len(part)).double(), part / unit) for part in (planted, wrong)]
    return problem, layers[0], layers[1]


def searching(problem: Problem, planted: HiddenLayer, seed: int = 0) -> Search:
    width = len(planted.signs) + 2
    return Search(problem, planted.nnz, width, "both", np.random.default_rng(seed), lambda: False)


def plan_of(search: Search, hidden: HiddenLayer) -> CandidatePlan:
    return CandidatePlan(hidden, search._schedule(0, 1, 1.0, True), ("dense",), 0, "parts", True, Kind.PARTS)


def test_the_residual_lies_at_the_kinks_of_neurons_whose_directions_are_off() -> None:
    problem, _, wrong = three_and_two()
    wrong, _ = polish(problem, wrong)
    residual = problem.residual(wrong.weights, wrong.signs)
    assert int(kink_shares(problem.linear(wrong.weights), residual).argmax()) in {0, 1}
    assert kink_shares(problem.linear(wrong.weights), torch.zeros_like(residual)).tolist() == [1.0] * 16


def test_a_part_is_to_solve_what_the_others_leave_and_is_put_back_in_its_place() -> None:
    problem, _, wrong = three_and_two()
    output = problem.target - problem.residual(wrong.weights, wrong.signs)
    for seed in range(20):
        part = choose_part(problem, wrong, np.random.default_rng(seed))
        assert 1 <= len(part.hidden.signs) <= min(MOST_NEURONS, 6)
        assert 0 <= part.extra <= EXTRA
        assert len(part.hidden.signs) + len(part.rest.signs) == len(wrong.signs)
        loss = part.problem.loss(part.hidden.weights, part.hidden.signs)
        assert loss == pytest.approx(problem.loss(wrong.weights, wrong.signs), rel=1e-9)
        again = part.joined(part.hidden)
        assert torch.allclose(problem.target - problem.residual(again.weights, again.signs), output, atol=1e-12)
        # Its neurons read their own inputs, and no more than two that they lack.
        own = int((part.hidden.weights != 0.0).any(0).sum())
        assert own <= len(part.inputs) <= own + 2


def test_beside_a_linear_function_a_part_keeps_all_inputs() -> None:
    problem, _, wrong = three_and_two()
    beside = problem.without_linear()
    part = choose_part(beside, wrong, np.random.default_rng(0))
    assert part.inputs.tolist() == list(range(INPUTS))
    assert torch.equal(part.problem.basis, beside.basis)
    loss = part.problem.loss(part.hidden.weights, part.hidden.signs)
    assert loss == pytest.approx(beside.loss(wrong.weights, wrong.signs), rel=1e-9)


def test_weights_too_many_after_a_better_part_are_those_that_it_made_needless() -> None:
    problem, planted, wrong = three_and_two()
    spare = torch.zeros(1, INPUTS).double()
    spare[0, 11] = 1e-4
    crutch = wrong.concatenate(HiddenLayer(spare, torch.ones(1).double(), spare))
    told = planted.weights[:3]

    def renew(part: Part, loss: float) -> tuple[HiddenLayer, float]:
        both = set(part.inputs.tolist()) >= {3, 7} and len(part.rest.signs) <= len(crutch.signs) - 2
        if not both:
            return part.hidden, loss
        near = part.hidden.weights[:, part.inputs == 3].abs().sum(1) > 0.0
        found = HiddenLayer(told[:, part.inputs], torch.ones(3).double(), told[:, part.inputs])
        return found.concatenate(part.hidden.select(~near)), 0.0

    budget, rng = planted.nnz, np.random.default_rng(0)
    found, loss = renew_parts(problem, crutch, budget, rng, renew, lambda: False)
    assert loss < EXACT
    assert found.nnz == budget


@pytest.mark.parametrize("seed", range(3))
def test_two_neurons_in_the_place_of_three_become_three(seed: int) -> None:
    problem, planted, wrong = three_and_two()
    search, loss = searching(problem, planted, seed), problem.loss(wrong.weights, wrong.signs)
    best = Candidate(wrong, loss, "given")
    for _ in range(10):
        candidate = search.run(plan_of(search, best.hidden), best.loss)
        assert candidate.hidden.nnz <= planted.nnz
        best = candidate if candidate.loss < best.loss else best
        if best.loss <= EXACT:
            break
    assert best.loss <= EXACT
    assert best.source == "parts"


def test_parts_are_searched_where_most_of_many_neurons_is_right() -> None:
    problem, planted, few = three_and_two()
    search, many = searching(problem, planted), few.concatenate(few)
    assert Kind.PARTS in search._kinds(Candidate(many, 1e-4, ""))
    assert Kind.PARTS not in search._kinds(Candidate(many, 1e-2, ""))
    assert Kind.PARTS not in search._kinds(Candidate(few, 1e-4, ""))
    assert Kind.PARTS not in replace(search, is_part=True)._kinds(Candidate(many, 1e-4, ""))


def test_an_interruption_in_a_part_leaves_the_whole_network(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, planted, wrong = three_and_two()

    def interrupted(problem: Problem, hidden: HiddenLayer, *others: object) -> None:
        raise InterruptedRoundsError(hidden)

    monkeypatch.setattr(search_module, "threshold_rounds", interrupted)
    search = searching(problem, planted)
    with pytest.raises(InterruptedRoundsError) as told:
        search.run(plan_of(search, wrong), 1.0)
    assert told.value.hidden is wrong


@pytest.mark.parametrize("place", ["choose_part", "drop_to"])
def test_an_interruption_after_some_parts_leaves_what_they_have_gained(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, _, wrong = three_and_two()
    half = HiddenLayer(0.5 * wrong.weights, wrong.signs, wrong.gates)
    asked, original = list[int](), getattr(parts_module, place)

    def interrupted(*args: Any) -> Any:
        if len(asked) > 1:
            raise KeyboardInterrupt
        return original(*args)

    def renew(part: Part, loss: float) -> tuple[HiddenLayer, float]:
        asked.append(1)
        spare = part.hidden.weights.flip(1) if len(asked) > 1 else part.hidden.weights
        found = HiddenLayer(2.0 * part.hidden.weights, part.hidden.signs, part.hidden.gates)
        return found.concatenate(HiddenLayer(spare, part.hidden.signs, spare)), 0.0

    monkeypatch.setattr(parts_module, place, interrupted)
    with pytest.raises(InterruptedRoundsError) as told:
        renew_parts(problem, half, half.nnz, np.random.default_rng(0), renew, lambda: False)
    assert told.value.hidden.nnz <= half.nnz
    found = told.value.hidden
    assert problem.loss(found.weights, found.signs) < problem.loss(half.weights, half.signs)


def test_once_time_is_up_a_part_has_no_more_candidates_and_weights_too_many_are_not_dropped() -> None:
    problem, planted, wrong = three_and_two()
    search = replace(searching(problem, planted), stop=lambda: True)
    part = choose_part(problem, wrong, search.rng)
    assert search._renew(Candidate(part.hidden, 0.1, ""), part) == (part.hidden, 0.1)
    asked = list[int]()

    def renew(part: Part, loss: float) -> tuple[HiddenLayer, float]:
        asked.append(1)
        crowded = HiddenLayer(1e-3 * torch.ones_like(part.hidden.weights), part.hidden.signs, part.hidden.gates)
        return part.hidden.concatenate(crowded), 0.0

    found, _ = renew_parts(problem, wrong, wrong.nnz, search.rng, renew, lambda: bool(asked))
    assert asked == [1]
    assert found is wrong


def test_no_part_is_searched_where_time_is_up() -> None:
    problem, _, wrong = three_and_two()

    def renew(part: Part, loss: float) -> tuple[HiddenLayer, float]:
        raise AssertionError

    hidden, loss = renew_parts(problem, wrong, wrong.nnz, np.random.default_rng(0), renew, lambda: True)
    assert hidden is wrong
    assert loss == problem.loss(wrong.weights, wrong.signs)


def test_kinds_of_candidates_are_drawn_by_what_they_gain_at_their_cost() -> None:
    bandit, rng = Bandit(), np.random.default_rng(0)
    for _ in range(100):
        bandit.kinds.credit(Kind.PARTS, 8.0, 1.0)
        bandit.kinds.credit(Kind.ROUNDS, 0.1, 1.0)
    drawn = [bandit.draw_kind(rng, [Kind.ROUNDS, Kind.PARTS]) for _ in range(1000)]
    assert 700 < drawn.count(Kind.PARTS) < 1000
    assert {bandit.draw_kind(rng, [Kind.ROUNDS]) for _ in range(10)} == {Kind.ROUNDS}
