"""Branch and bound: bounds of subproblems hold in exact arithmetic, the tree agrees with enumerated patterns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify.bounds.margins import margins_of
from verify.branching import leaves, tree
from verify.branching.projected_adam import ProjectedAdam
from verify.branching.relaxation import Relaxation, can_branch
from verify.branching.sharpening import sharpen
from verify.branching.subproblems import Subproblems
from verify.branching.torch_modes import TorchModes
from verify.branching.tree import branch
from verify.questions.inquiry import Inquiry
from verify.questions.resources import resources_of
from verify.splitting.turns import split

SHAPES = [(3, 4, 1), (3, 3, 3, 1), (2, 2, 2, 2, 1)]
REGIONS: dict[str, Callable[[Floats], verify.Box]] = {
    "box": lambda x: verify.Box(x - 0.8, x + 0.8),
    "L-inf": lambda x: verify.LinfBall(x, 0.7, clip=(-1, 1)),
    "L1": lambda x: verify.L1Ball(x, 0.9, clip=(-1, 1)),
    "L2": lambda x: verify.L2Ball(x, 0.8, clip=(-1, 1)),
}


def region_of(kind: str, size: int, seed: int) -> verify.Box:
    return REGIONS[kind](np.random.default_rng(seed).uniform(-0.6, 0.6, size))


def relaxed(network: cx.SparseReLUNetwork, region: verify.Box, offset: float = 0.0) -> Relaxation:
    count = network.n_outputs
    return Relaxation(network, region, np.eye(count), np.full(count, offset), verify.bound(network, region))


def truth(network: cx.SparseReLUNetwork, region: verify.Box) -> float:
    """Return the largest output over a box or an L1 ball."""
    cuts = None
    if isinstance(region, verify.L1Ball):
        signs = np.array(list(product([-1.0, 1.0], repeat=region.size)))
        cuts = signs, signs @ region.center + region.radius
    return zoo.enumerated_maximum(network, region.lower, region.upper, np.ones(1), cuts)


def never() -> bool:
    return False


def nowhere(_: Floats) -> bool:
    return False


@settings(max_examples=60)
@given(st.data())
def test_bounds_of_parts_hold_in_exact_arithmetic(data: Any) -> None:
    seed = data.draw(st.integers(0, 10**6))
    shape = data.draw(st.sampled_from(SHAPES))
    network = zoo.network(shape, seed=seed, density=data.draw(st.sampled_from([0.5, 1.0])))
    region = region_of(data.draw(st.sampled_from(list(REGIONS))), shape[0], seed)
    known = verify.bound(network, region)
    if not can_branch(network, known):
        return
    relaxation = relaxed(network, region)
    batch = relaxation.roots()
    size = batch.phase.shape[1]
    side = data.draw(npst.arrays(np.float32, (1, size), elements=st.sampled_from([-1.0, 0.0, 1.0])))
    low = data.draw(npst.arrays(np.float32, (1, size), elements=st.floats(0, 1, width=32)))
    push = data.draw(npst.arrays(np.float32, (1, size), elements=st.sampled_from([0.0, 0.1, 1.7, 1e9])))
    fields = {name: torch.as_tensor(array) for name, array in (("phase", side), ("alpha", low), ("beta", push))}
    upper = float(relaxation.proven(replace(batch, **fields))[0])
    for x in region.project(np.random.default_rng(seed).uniform(-1.5, 1.5, (40, shape[0]))):
        layers = zoo.exact_outputs(network, x)
        before = [layers[i][np.flatnonzero(hidden.live)[j]] for i, hidden in enumerate(relaxation.hidden)
                  for j in relaxation.unstable[i]]  # fmt: skip
        if region.contains(x) and all(value * int(sign) >= 0 for value, sign in zip(before, side[0], strict=True)):
            assert layers[-1][0] <= Fraction(upper)


def together(network: cx.SparseReLUNetwork, region: verify.Box, offsets: list[float]) -> Relaxation:
    """Return the relaxation of all outputs together."""
    count = network.n_outputs
    known, members = verify.bound(network, region), np.ones((1, count), dtype=bool)
    return Relaxation(network, region, np.eye(count), np.array(offsets), known, members)


@settings(max_examples=40)
@given(st.data())
def test_means_bound_the_least_function_in_exact_arithmetic(data: Any) -> None:
    seed = data.draw(st.integers(0, 10**6))
    network = zoo.network((3, 4, 3), seed=seed)
    region = region_of(data.draw(st.sampled_from(list(REGIONS))), 3, seed)
    if not can_branch(network, verify.bound(network, region)):
        return
    offsets = [data.draw(st.sampled_from([0.0, 0.1, -1e6])) for _ in range(3)]
    relaxation = together(network, region, offsets)
    drawn = st.sampled_from([0.0, 1e-30, 0.1, 0.7, 1.0])
    weights = data.draw(npst.arrays(np.float32, (1, 3), elements=drawn))
    upper = float(relaxation.proven(replace(relaxation.roots(), weights=torch.as_tensor(weights)))[0])
    assert np.isfinite(upper) == weights.any()
    for x in region.project(np.random.default_rng(seed).uniform(-1.5, 1.5, (40, 3))):
        if region.contains(x) and weights.any():
            outputs = zoo.exact_outputs(network, x)[-1]
            assert min(y + Fraction(offset) for y, offset in zip(outputs, offsets, strict=True)) <= Fraction(upper)


@pytest.mark.parametrize("weights", [[1e308, 1e308], [-1.0, 0.5], [1e-320, 1e-320], [np.inf, 1.0], [np.nan, 1.0]])
def test_weights_that_are_none_prove_nothing_wrong(weights: list[float]) -> None:
    """A sum of such weights overflows, or is not of means; they may be what a solver returns."""
    network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0], [0.0, 0.0]], None)])
    relaxation = together(network, verify.Box([-1.0], [1.0]), [1.0, 3.0])
    given = replace(relaxation.roots(), weights=torch.tensor([weights], dtype=torch.float64))
    assert float(relaxation.proven(given)[0]) >= 2.0


def test_the_weights_of_a_mean_that_is_never_above_0_are_found() -> None:
    network = zoo.network((3, 4, 1), seed=1)
    weight, _ = network.layers[-1]
    both = cx.SparseReLUNetwork([network.layers[0], (np.vstack([weight.toarray(), -3.0 * weight.toarray()]), None)])
    region = region_of("box", 3, 1)
    found = branch(together(both, region, [-0.1, -0.1]), nowhere, never)
    assert found.reason == "every subproblem is proven"
    assert -0.1 <= found.upper[0] <= 0.0


@pytest.mark.parametrize("kind", ["box", "L-inf", "L1"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_the_tree_agrees_with_enumeration(kind: str, shape: tuple[int, ...], seed: int) -> None:
    network = zoo.network(shape, seed=seed, density=0.8)
    region = region_of(kind, shape[0], seed)
    if not can_branch(network, verify.bound(network, region)):
        pytest.skip("no neuron can switch")
    largest = truth(network, region)
    for gap in (-0.05, -1e-3, 1e-3, 0.05):
        offset = gap - largest  # the largest value of the function is `gap`
        found = branch(relaxed(network, region, offset), lambda x: bool(network.predict(x[None])[0] > -offset), never)  # noqa: B023
        assert found.upper[0] >= gap - 1e-9 * (1.0 + abs(largest))
        if gap < 0.0:
            assert found.point is None
            assert found.upper[0] <= 0.0 or found.reason == "subproblems without a free neuron are left"
        elif found.point is not None:
            assert region.contains(found.point)


def test_most_small_questions_are_decided() -> None:
    decided = total = 0
    for seed in range(12):
        network = zoo.network((3, 4, 4, 1), seed=seed)
        region = region_of("box", 3, seed)
        if can_branch(network, verify.bound(network, region)):
            offset = -0.05 - truth(network, region)
            total += 1
            decided += bool(branch(relaxed(network, region, offset), nowhere, never).upper[0] <= 0.0)
    assert decided >= 0.75 * total


@pytest.mark.parametrize("kind", list(REGIONS))
@pytest.mark.parametrize("seed", range(5))
def test_a_search_that_is_stopped_or_refused_all_points_has_bounds_that_hold(kind: str, seed: int) -> None:
    network = zoo.network((3, 6, 6, 2), seed=seed)
    region = region_of(kind, 3, seed)
    relaxation = relaxed(network, region, 0.3)
    values = network.predict(region.project(np.random.default_rng(seed).uniform(-2, 2, (2000, 3)))) + 0.3
    for calls in (0, 2):
        asked = iter(range(100))
        found = branch(relaxation, nowhere, lambda: next(asked) >= calls)  # noqa: B023
        assert (found.upper >= values.max(axis=0)).all()
        assert found.point is None


def test_a_search_ends_where_parts_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "LARGEST", 3)
    network = zoo.network((3, 6, 6, 1), seed=0)
    found = branch(relaxed(network, region_of("box", 3, 0), 50.0), nowhere, never)
    assert found.reason == "there were too many subproblems"


def test_no_neuron_is_split_twice_where_values_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    base = zoo.network((3, 5, 5, 1), seed=48)
    weight, bias = base.layers[-1]
    network = cx.SparseReLUNetwork([*base.layers[:-1], (1e7 * weight, 1e7 * bias)])
    region = verify.Box([-0.6] * 3, [0.6] * 3)
    chosen = []

    def noted(relaxation: Relaxation, batch: Subproblems, gaps: torch.Tensor) -> torch.Tensor:
        chosen.append(batch.phase.gather(1, tree_split(relaxation, batch, gaps)[:, None]))
        return tree_split(relaxation, batch, gaps)

    tree_split = tree._best_split
    monkeypatch.setattr(tree, "_best_split", noted)
    branch(relaxed(network, region, 1e5 - truth(network, region)), nowhere, lambda: len(chosen) >= 50)
    assert chosen
    assert not torch.cat(chosen).any()


def test_the_time_left_is_asked_for_before_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    network, region = zoo.network((3, 6, 6, 600), seed=0), region_of("box", 3, 0)
    steps: list[int] = []
    linear_bounds = Relaxation.linear_bounds

    def counted(relaxation: Relaxation, batch: Subproblems) -> Any:
        steps.append(len(batch))
        return linear_bounds(relaxation, batch)

    monkeypatch.setattr(Relaxation, "linear_bounds", counted)
    found = branch(relaxed(network, region), nowhere, lambda: len(steps) >= 5)
    assert found.reason == "it was stopped"
    assert len(steps) == 5
    assert max(steps) <= tree.BATCH
    steps.clear()
    sharpen(network, region, verify.bound(network, region), lambda: len(steps) >= 3)
    assert len(steps) == 3


def test_bounds_that_overflow_are_no_proof() -> None:
    network = cx.SparseReLUNetwork([(1e200 * np.ones((2, 2)), None), (np.array([[1e200, -1e200]]), None)])
    region = verify.Box([-1.0, -1.0], [1.0, 1.0])
    found = branch(relaxed(network, region), nowhere, never)
    assert found.reason == "a bound is not finite"
    assert found.upper[0] > 0.0


@pytest.mark.parametrize("kind", list(REGIONS))
@pytest.mark.parametrize("rounds", [0, 5])
@pytest.mark.parametrize("seed", range(4))
def test_sharper_bounds_hold_and_are_no_looser(kind: str, seed: int, rounds: int) -> None:
    network = zoo.network((3, 6, 6, 6, 2), seed=seed)
    region = region_of(kind, 3, seed)
    known = verify.bound(network, region)
    sharper = sharpen(network, region, known, never, rounds)
    points = [x for x in region.project(np.random.default_rng(seed).uniform(-2, 2, (300, 3))) if region.contains(x)]
    exact = [zoo.exact_outputs(network, x) for x in points[:50]]
    for index, (old, new) in enumerate(zip(known, sharper, strict=True)):
        assert (new.lower >= old.lower).all()
        assert (new.upper <= old.upper).all()
        for values in exact:
            assert all(
                Fraction(low) <= value <= Fraction(high)
                for low, value, high in zip(new.lower, values[index], new.upper, strict=True)
            )
    assert any((new.upper < old.upper - 1e-6).any() for old, new in zip(known, sharper, strict=True))


def test_rounds_of_splits_sharpen_what_slopes_alone_do_not() -> None:
    network, region = zoo.network((3, 6, 6, 6, 2), seed=2), region_of("box", 3, 2)
    known = verify.bound(network, region)
    plain, split = (sharpen(network, region, known, never, rounds) for rounds in (0, 12))
    widths = [sum(float((layer.upper - layer.lower).sum()) for layer in layers[:-1]) for layers in (plain, split)]
    assert widths[1] < 0.95 * widths[0]
    stopped = sharpen(network, region, known, lambda: True, 12)
    assert all(new is old for new, old in zip(stopped, known, strict=True))


def test_descent_reaches_the_least_point_between_its_bounds() -> None:
    field, goal = torch.zeros(3), torch.tensor([0.3, -1.0, 2.0])
    descent = ProjectedAdam(0.25, 1.0, 60)
    for step in range(60):
        field = descent.moved(field, 2.0 * (field - goal), step)
    torch.testing.assert_close(field, torch.tensor([0.3, 0.0, 1.0]), atol=0.05, rtol=0.0)


@pytest.mark.parametrize(
    "modes",
    [
        TorchModes(grad=False),
        TorchModes(inference=True, grad=False),
        TorchModes(autocast=True),
        TorchModes(device=torch.device("meta")),
    ],
)
def test_the_callers_modes_of_torch_matter_to_the_callers_code_alone(modes: TorchModes) -> None:
    network, region = zoo.network((3, 8, 8, 2), seed=4), verify.Box([-0.4] * 3, [0.4] * 3)
    with modes.applied():
        assert verify.find_adversarial(network, region, backend="branching").proof is verify.Proof.BRANCHED
        inquiry = Inquiry(margins_of(network, 0), region, resources_of(60.0, "branching", 0))
        inquiry.tighten()
        seen = []
        inquiry.upper += 50.0
        inquiry.functions.offsets[:] = 50.0
        split(inquiry, [0], lambda _: bool(seen.append(TorchModes.now()) or True))  # type: ignore[func-returns-value]
        assert (seen[0].inference, seen[0].grad, seen[0].autocast) == (modes.inference, modes.grad, modes.autocast)
        assert seen[0].device == modes.device == TorchModes.now().device
    assert (TorchModes.now().grad, TorchModes.now().inference, TorchModes.now().autocast) == (True, False, False)


def test_what_does_not_suit() -> None:
    region = verify.Box([0.0], [1.0])
    for network in (zoo.network((1, 1), seed=0), cx.SparseReLUNetwork([([[1.0]], [1.0]), ([[1.0]], None)])):
        assert not can_branch(network, verify.bound(network, region))


def test_no_time_is_no_splitting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verify.branching.sharpening.sharpen", None)
    answer = verify.find_adversarial(zoo.network((4, 6, 6, 3), seed=1), verify.LinfBall(np.zeros(4), 1.0), time_limit=0)
    assert answer.status is verify.Verdict.UNKNOWN


def leaves_of(relaxation: Relaxation) -> Subproblems:
    """Return the whole region split at every neuron."""
    batch = relaxation.roots()
    for neuron in range(batch.phase.shape[1]):
        batch = batch.halved(torch.full((len(batch),), neuron))
    return batch


@pytest.mark.parametrize("seconds", [1.0, 0.0])
@pytest.mark.parametrize("kind", ["box", "L1", "L2"])
@pytest.mark.parametrize("cut", [False, True])
def test_no_leaf_is_bounded_below_its_points(
    seconds: float, kind: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where a solver has no time, its multipliers are poor and prove little.
    monkeypatch.setattr(leaves, "SECONDS", seconds)
    network, region = zoo.network((3, 4, 1), seed=1), region_of(kind, 3, 1)
    if cut:
        region = region.where([[1.0, -1.0, 0.5]], region.center @ [[1.0], [-1.0], [0.5]] + 0.1)
    relaxation = relaxed(network, region, 10.0)
    batch = relaxation.improved(leaves_of(relaxation), 0, 1.0, never)
    batch = leaves.solve_leaves(relaxation, batch, never)[0]
    points = region.project(np.random.default_rng(0).uniform(-1.5, 1.5, (400, 3)))
    before = network.activations(points)[0][:, relaxation.hidden[0].live][:, relaxation.unstable[0]]
    sides = np.where(before >= 0.0, 1.0, -1.0)
    values = network.predict(points) + 10.0
    for side, value in zip(sides, values, strict=True):
        own = (batch.phase.numpy() == side).all(axis=1)
        assert own.sum() == 1
        assert value <= float(batch.upper[torch.as_tensor(own)][0]) + 1e-12
    if seconds:
        assert float(batch.upper.max()) <= values.max() + 0.5


@pytest.mark.parametrize("kind", ["box", "L1", "L2"])
@pytest.mark.parametrize("gap", [-1e-3, 1e-3])
def test_leaves_of_several_functions_are_solved_for_their_weights(kind: str, gap: float) -> None:
    network, region = zoo.network((3, 4, 2), seed=3), region_of(kind, 3, 3)
    points = region.project(np.random.default_rng(0).uniform(-1.5, 1.5, (20000, 3)))
    largest = float(network.predict(points).min(axis=1).max())
    relaxation = together(network, region, [gap - largest] * 2)
    batch = relaxation.improved(leaves_of(relaxation), 0, 1.0, never)
    # Without steps all weights are the same.
    before = float(batch.upper.max())
    batch, found = leaves.solve_leaves(relaxation, batch, never)
    after = float(batch.upper.max())
    assert gap <= after <= min(before, gap + 0.05)
    if gap > 0.0:
        assert max(network.predict(x[None]).min() for x in found) >= largest - 1e-6


def test_leaves_that_overflow_are_harmless() -> None:
    rng = np.random.default_rng(0)
    network = cx.SparseReLUNetwork([(1e150 * rng.standard_normal((3, 3)), None), (1e200 * np.ones((1, 3)), None)])
    relaxation = relaxed(network, verify.Box([-1, -1, -1], [1, 1, 1]))
    batch = leaves.solve_leaves(relaxation, leaves_of(relaxation), never)[0]
    assert (batch.upper >= 0.0).all()
