"""Traps that verifiers fell into: networks built to be robust or to be attacked, and proofs that are attacked again."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify import Status, Verdict
from verify.points.population import Population

BACKENDS = ["auto", "branching", *zoo.ENGINES]


def twins(seed: int, margin: float) -> cx.SparseReLUNetwork:
    """Return y_0 = g + margin, y_1 = g, where g comes twice, its neurons in another order and at another scale."""
    rng = np.random.default_rng(seed)
    weight, bias, heads = rng.standard_normal((3, 2)), rng.standard_normal(3), rng.standard_normal(3)
    order = rng.permutation(3)
    first = np.vstack([weight, 2.0 * weight[order]]), np.concatenate([bias, 2.0 * bias[order]])
    none = np.zeros(3)
    last = np.array([[*heads, *none], [*none, *0.5 * heads[order]]]), np.array([margin, 0.0])
    return cx.SparseReLUNetwork([first, last])


def spike(place: Floats, width: float) -> cx.SparseReLUNetwork:
    """Return y_0 = 0 and y_1 = relu(width - sum |x - place|) - width / 2: positive in a small diamond alone."""
    size = len(place)
    sides = np.vstack([np.eye(size), -np.eye(size)])
    first = sides, -sides @ place
    second = -np.ones((1, 2 * size)), np.array([width])
    return cx.SparseReLUNetwork([first, second, (np.array([[0.0], [1.0]]), np.array([0.0, -width / 2.0]))])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(3))
def test_twins_with_a_margin_are_never_attacked(seed: int, backend: str) -> None:
    answer = verify.find_adversarial(twins(seed, 0.1), verify.Box([-1.0, -1.0], [1.0, 1.0]), backend=backend)
    assert answer.status is Verdict.ROBUST
    assert answer.bound == pytest.approx(-0.1, abs=0.1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(3))
def test_twins_that_tie_everywhere_are_no_witness(seed: int, backend: str) -> None:
    answer = verify.find_adversarial(
        twins(seed, 0.0), verify.Box([-1.0, -1.0], [1.0, 1.0]), label=0, backend=backend, time_limit=5.0
    )
    assert answer.status is not Verdict.COUNTEREXAMPLE


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("width", [0.1, 1e-2])
def test_a_planted_counterexample_is_never_proven_away(width: float, backend: str) -> None:
    place = np.array([0.613, -0.287])
    network, region = spike(place, width), verify.Box([-1.0, -1.0], [1.0, 1.0])
    answer = verify.find_adversarial(network, region, label=0, backend=backend, time_limit=20.0)
    assert answer.status is not Verdict.ROBUST
    assert answer.bound >= width / 2.0 - 1e-9
    if answer.status is Verdict.COUNTEREXAMPLE:
        assert answer.witness is not None
        assert np.abs(answer.witness - place).sum() < width / 2.0
    else:
        assert width < 0.1  # the wide one is found by all


@pytest.mark.parametrize("seed", range(20))
def test_what_is_proven_is_attacked_again_in_vain(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = zoo.network((4, 6, 5, 3), seed=seed)
    region = verify.LinfBall(rng.standard_normal(4), 0.15)
    answer = verify.find_adversarial(network, region, seed=seed)
    if answer.status is not Verdict.ROBUST:
        return
    corners = np.array(list(product(*zip(region.lower, region.upper, strict=True))))
    points = np.concatenate([corners, rng.uniform(region.lower, region.upper, (2000, 4))])
    for target in set(range(3)) - {answer.label}:
        row = np.eye(3)[target] - np.eye(3)[answer.label]
        population = Population(network, region, row, rng)
        for _ in range(5):
            population.grow(lambda: False)
        margins = network.predict(np.vstack([points, population.point[None]])) @ row
        assert margins.max() <= 0.0
        assert margins.max() <= answer.bound + 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_box_of_width_zero_is_the_network_at_a_point(backend: str) -> None:
    network, x = zoo.network((3, 6, 4, 2), seed=2), np.array([0.3, -0.8, 1.1])
    found = verify.maximize(network, verify.Box(x, x), [1.0, -2.0], backend=backend)
    assert found.status is Status.OPTIMAL
    assert found.value == pytest.approx(network.predict(x[None])[0] @ [1.0, -2.0], abs=1e-12)
    assert found.bound == pytest.approx(found.value, abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_widths_of_zero_among_others(backend: str) -> None:
    network, x = zoo.network((3, 6, 2), seed=2), np.array([0.3, -0.8, 1.1])
    region = verify.Box(x - np.array([0.5, 0.0, 0.0]), x + np.array([0.5, 0.0, 0.4]))
    found = verify.maximize(network, region, [1.0, -2.0], backend=backend)
    truth = zoo.enumerated_maximum(network, region.lower, region.upper, np.array([1.0, -2.0]))
    assert found.status is Status.OPTIMAL
    assert found.value == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("ball", [verify.L1Ball, verify.L2Ball])
def test_a_huge_ball_is_its_clip_box(ball: type[verify.Box]) -> None:
    network, x = zoo.network((3, 6, 2), seed=4), np.zeros(3)
    found = verify.maximize(network, ball(x, 1e6, clip=(-1.0, 1.0)), [1.0, -2.0])  # type: ignore[call-arg]
    truth = zoo.enumerated_maximum(network, -np.ones(3), np.ones(3), np.array([1.0, -2.0]))
    assert found.value == pytest.approx(truth, abs=1e-5)
    assert found.bound >= truth - 1e-9
