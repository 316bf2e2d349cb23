"""Splitting against enumeration: alternatives of several constraints over every region, by boxes, neurons, and all."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.answers.witness import all_hold
from verify.bounds.functions import Functions
from verify.questions.inquiry import Inquiry
from verify.questions.resources import resources_of
from verify.splitting import neuron_splitting
from verify.splitting.goals import Goal
from verify.splitting.neuron_splitting import NeuronSplitting
from verify.splitting.turns import Splitting

KINDS = ("box", "linf", "l1", "cut box", "cut l1", "l2")

# What splits, beside all together.
ALONE = ("boxes", "neurons")


def network(rng: np.random.Generator) -> cx.SparseReLUNetwork:
    """Return a random network with at most 5 hidden neurons."""
    hidden = [[3], [2, 2], [1, 2, 1]][int(rng.integers(3))]
    sizes = [int(rng.integers(1, 5)), *hidden, 2]
    layers = [(rng.standard_normal((o, i)), rng.standard_normal(o)) for i, o in pairwise(sizes)]
    return cx.SparseReLUNetwork(layers)


def region(kind: str, size: int, rng: np.random.Generator) -> Any:
    """Return a region around a random center."""
    center, radius = rng.uniform(-1.0, 1.0, size), float(rng.choice([0.3, 1.0]))
    if kind.startswith("cut "):
        whole = region(kind.removeprefix("cut "), size, rng)
        rows = rng.standard_normal((2, size))
        return whole.where(rows, rows @ whole.center + 0.1)
    if kind == "box":
        widths = rng.uniform(0.0, radius, size) * (rng.random(size) < 0.8)
        return verify.Box(center - widths, center + widths)
    ball = {"linf": verify.LinfBall, "l1": verify.L1Ball, "l2": verify.L2Ball}[kind]
    return ball(center, radius, clip=(center - 0.5, center + 1.0))


def largest_least(functions: Functions, chosen: list[int], within: Any, kind: str) -> float:
    """Return the maximum over a region without curves of the least function, by a program for every pattern."""
    net, best, size = functions.network, -np.inf, within.size
    rows = functions.rows[chosen].toarray()
    for pattern in product(*(product((0.0, 1.0), repeat=weight.shape[0]) for weight, _ in net.layers[:-1])):
        slope, offset = np.eye(size), np.zeros(size)
        held, levels = [within.constraints.rows.toarray()], [within.constraints.upper]
        if kind.endswith("l1"):
            signs = np.array(list(product([-1.0, 1.0], repeat=size)))
            held.append(signs)
            levels.append(signs @ within.center + within.base.radius)
        for (weight, bias), active in zip(net.layers[:-1], map(np.array, pattern), strict=True):
            slope, offset = weight @ slope, weight @ offset + bias
            held.append((1.0 - 2.0 * active)[:, None] * slope)
            levels.append((2.0 * active - 1.0) * offset)
            slope, offset = slope * active[:, None], offset * active
        weight, bias = net.layers[-1]
        gains, constants = rows @ (weight @ slope), rows @ (weight @ offset + bias) + functions.offsets[chosen]
        # The last variable is the least of the functions.
        A = np.vstack(
            [np.pad(np.vstack(held), ((0, 0), (0, 1))), np.pad(-gains, ((0, 0), (0, 1)), constant_values=1.0)]
        )
        bounds = [*zip(within.lower, within.upper, strict=True), (None, None)]
        found = linprog(
            np.eye(size + 1)[-1] * -1.0, A_ub=A, b_ub=np.append(np.concatenate(levels), constants), bounds=bounds
        )
        best = max(best, -float(found.fun) if found.status == 0 else -np.inf)
    return best


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("means", [*ALONE, "all"])
def test_proofs_and_witnesses_are_those_of_enumeration(kind: str, means: str) -> None:
    decided = 0
    for seed in range(5):
        rng = np.random.default_rng([seed, KINDS.index(kind), int(means != "boxes")])
        net = network(rng)
        within = region(kind, net.n_inputs, rng)
        functions = Functions(sp.csr_matrix(rng.standard_normal((3, 2))), rng.standard_normal(3), net)
        ways = [[0, 1], [2]] if seed % 2 else [[0, 1, 2]]
        # Over the smaller ball of another norm the truth is known too: what is met there, is met.
        truths = np.array([largest_least(functions, way, _inner(within), kind) for way in ways])
        gap = float(rng.choice([0.1, 1e-3]) * (1.0 if kind == "l2" else rng.choice([-1.0, 1.0])))
        functions = replace(functions, offsets=functions.offsets - truths.max() + gap)
        truths += gap - truths.max()
        inquiry = Inquiry(functions, within, resources_of(5.0, "branching", 0))
        inquiry.tighten()
        goals = [Goal(way, rng.random(len(way)) < 0.5) for way in ways]
        found: list[Floats] = []
        splitting = Splitting(inquiry, goals, _acceptor(inquiry, goals, found))
        splitting.begin()
        splitting.programs = None if means in ALONE else splitting.programs
        splitting.neurons.ended = means == "boxes"
        if means == "neurons" and splitting.neurons.able(goals):
            splitting.boxes = None
        if splitting.run():
            assert truths.max() > 0.0 or kind == "l2"
            decided += 1
            continue
        for goal, truth in zip(goals, truths.tolist(), strict=True):
            assert not (goal.ruled_out and truth > 1e-9)
            assert min([goal.ceiling, *inquiry.upper[goal.chosen]]) >= truth - 1e-9
        decided += all(goal.ruled_out or (inquiry.upper[goal.chosen] < 0.0).any() for goal in goals)
    assert decided >= 4


def _inner(within: Any) -> Any:
    """Return the box within an L2 ball, other regions as they are."""
    if not isinstance(within, verify.L2Ball):
        return within
    side = 0.999 * within.radius / np.sqrt(within.size)
    return verify.Box(np.maximum(within.lower, within.center - side), np.minimum(within.upper, within.center + side))


def _acceptor(inquiry: Inquiry, goals: list[Goal], found: list[Floats]) -> Any:
    tests = [all_hold(np.array(goal.chosen), goal.strict) for goal in goals]

    def accept(point: Floats) -> bool:
        found.extend(tried.point for test in tests if (tried := inquiry.try_witness(point, test)).holds)
        return bool(found)

    return accept


def identity(size: int) -> cx.SparseReLUNetwork:
    return cx.SparseReLUNetwork([(np.eye(size), np.ones(size)), (np.eye(size), -np.ones(size))])


def inquiry_of(net: cx.SparseReLUNetwork, within: verify.Box, rows: Any, offsets: Any) -> Inquiry:
    functions = Functions(sp.csr_matrix(np.array(rows, dtype=float)), np.array(offsets, dtype=float), net)
    return Inquiry(functions, within, resources_of(5.0, "branching", 0))


def test_a_layer_that_is_never_active_leaves_constants() -> None:
    net = cx.SparseReLUNetwork([([[1.0]], [-5.0]), ([[1.0], [2.0]], [1.0, -1.0]), ([[1.0, 1.0]], [-2.0])])
    inquiry = inquiry_of(net, verify.Box([-1.0], [1.0]), [[1.0]], [0.0])
    assert not Splitting(inquiry, [Goal([0], [True])], lambda point: False).run()
    assert inquiry.upper[0] == pytest.approx(-1.0)


def test_a_bound_that_is_reached_is_not_searched_further() -> None:
    # -|x0| - |x1| + 1e-14 is above 0 at the origin by less than rounding can tell.
    weight = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    net = cx.SparseReLUNetwork([(weight, None), (-np.ones((1, 4)), None)])
    inquiry = inquiry_of(net, verify.Box([-1.0] * 2, [1.0] * 2), [[1.0]], [1e-14])
    splitting = Splitting(inquiry, [Goal([0], [True])], lambda point: False)
    splitting.begin()
    splitting.neurons.ended, splitting.programs = True, None
    assert not splitting.run()
    assert splitting.boxes is not None
    assert splitting.boxes.over
    assert len(splitting.boxes.search.stuck)


def test_conditions_of_several_constraints_need_no_engine() -> None:
    inquiry = inquiry_of(identity(2), verify.Box([-1.0] * 2, [1.0] * 2), [[1.0, 1.0], [-1.0, 0.0]], [-1.5, 0.25])
    inquiry.tighten()
    [goal] = goals = [Goal([0, 1], [False, False])]
    assert not Splitting(inquiry, goals, lambda point: False).run()
    assert goal.ruled_out
    assert goal.ceiling >= -0.25 / 2 - 1e-9


@pytest.mark.parametrize("strict", [False, True])
def test_constraints_that_exclude_each_other_over_many_inputs_need_no_engine(strict: bool) -> None:
    """Each can be met, and no box of so many inputs is ever closed; a mean of them is below 0 everywhere."""
    rng = np.random.default_rng(0)
    net = cx.SparseReLUNetwork([(rng.standard_normal((9, 60)), None), (rng.standard_normal((2, 9)), None)])
    rows = np.array([[1.0, 1.0], [-3.0, -3.0]])
    inquiry = inquiry_of(net, verify.LinfBall(np.zeros(60), 1.0), rows, [-1.0, -1.0])
    inquiry.tighten()
    assert (inquiry.upper > 1.0).all()
    [goal] = goals = [Goal([0, 1], [strict, False])]
    assert not Splitting(inquiry, goals, lambda point: False).run()
    assert goal.ruled_out
    # The weights 3/4 and 1/4 leave -1 alone.
    assert goal.ceiling == pytest.approx(-1.0, abs=0.1)


def test_a_mean_of_0_rules_out_constraints_that_are_all_strict() -> None:
    for strict, proven in (([True, True], True), ([True, False], False)):
        goal = Goal([0, 1], strict)
        goal.take(0.0, 0.0)
        assert goal.ruled_out is proven


def test_goals_of_too_many_functions_are_no_arrays_beyond_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each subproblem has a weight for every function: ten thousand goals of three would take gigabytes."""
    rng = np.random.default_rng(0)
    net = cx.SparseReLUNetwork([(rng.standard_normal((4, 2)), None), (rng.standard_normal((3, 4)), None)])
    inquiry = inquiry_of(net, verify.LinfBall(np.zeros(2), 1.0), np.eye(3), [0.1, 0.2, 0.3])
    inquiry.tighten()
    several, single = Goal([0, 1], [False, False]), Goal([2], [True])
    neurons = NeuronSplitting(inquiry, lambda point: False, 0.0)
    assert neurons.able([several])
    monkeypatch.setattr(neuron_splitting, "LARGEST", 1)
    assert not neurons.able([several])
    assert neurons.able([several, single])
    neurons.run([several, single], 10.0)
    assert several.ceiling == np.inf
    assert single.ceiling < np.inf


def test_neurons_have_no_turn_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would begin with the import of torch, seconds after the limit."""
    rng = np.random.default_rng(0)
    net = cx.SparseReLUNetwork([(rng.standard_normal((o, i)), rng.standard_normal(o)) for i, o in pairwise((9, 40, 1))])
    functions = Functions(sp.csr_matrix(np.ones((1, 1))), np.zeros(1), net)
    inquiry = Inquiry(functions, verify.LinfBall(np.zeros(9), 1.0), resources_of(60.0, "branching", 0))
    inquiry.tighten()
    turns: list[str] = []

    def late(*given: Any) -> bool:
        turns.append("boxes")
        inquiry.clock.began -= 100.0
        return False

    def wrong(*given: Any) -> bool:
        turns.append("neurons")
        return False

    monkeypatch.setattr("verify.splitting.program_splitting.takes_programs", lambda inquiry: False)
    monkeypatch.setattr("verify.splitting.box_splitting.BoxSplitting.run", late)
    monkeypatch.setattr("verify.splitting.box_splitting.BoxSplitting.left", 1.0)
    monkeypatch.setattr("verify.splitting.neuron_splitting.NeuronSplitting.run", wrong)
    assert not Splitting(inquiry, [Goal([0], np.ones(1, dtype=bool))], lambda point: False).run()
    assert turns == ["boxes"]
