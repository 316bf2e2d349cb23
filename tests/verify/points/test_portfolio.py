"""The portfolio: points inside, never worse, and no surrogate's word taken for a proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify import Status, Verdict
from verify.backends.engine_chain import EngineChain
from verify.backends.registry import BACKENDS
from verify.bounds.crown import crown_peaks
from verify.bounds.margins import class_at
from verify.milp.engine_result import EngineStatus
from verify.milp.model import Milp
from verify.milp.request import Request
from verify.points.ascent import ascend
from verify.points.polishing import polish, restrict
from verify.points.population import Population
from verify.points.surrogates import Surrogate, encode_surrogate, read_surrogates, stream_incumbents

REGIONS: dict[str, Callable[[Floats], verify.Box]] = {
    "box": lambda x: verify.Box(x - 0.7, x + 0.7),
    "linf": lambda x: verify.LinfBall(x, 0.7, clip=(-1.0, 1.0)),
    "l1": lambda x: verify.L1Ball(x, 0.8, clip=(-1.0, 1.0)),
    "l2": lambda x: verify.L2Ball(x, 0.8, clip=(-1.0, 1.0)),
    "cut": lambda x: verify.Box(x - 0.7, x + 0.7).where(np.ones((1, len(x))), [x.sum() + 0.3]),
}


def region_of(kind: str, size: int, seed: int = 0) -> verify.Box:
    return REGIONS[kind](np.random.default_rng(seed).uniform(-0.5, 0.5, size))


def value(network: cx.SparseReLUNetwork, x: Any, row: Any) -> float:
    return float(network.activations(np.asarray(x)[None])[-1][0] @ row)


def never() -> bool:
    return False


# Peaks of CROWN bounds


@pytest.mark.parametrize("kind", REGIONS)
def test_peaks_lie_in_the_region(kind: str) -> None:
    network, region = zoo.network((4, 6, 5, 3), seed=1), region_of(kind, 4)
    peaks = crown_peaks(np.eye(3), network.layers, verify.bound(network, region), region)
    assert peaks.shape == (3, 4)
    assert all(region.contains(peak) for peak in peaks)


@pytest.mark.parametrize("kind", ["box", "l1", "l2"])
def test_where_no_neuron_switches_the_peak_is_the_maximum(kind: str) -> None:
    network = cx.SparseReLUNetwork([(np.eye(3), [9.0, 9.0, -9.0]), (np.array([[1.0, -2.0, 3.0]]), None)])
    region = region_of(kind, 3)
    known = verify.bound(network, region)
    peak = crown_peaks(np.ones((1, 1)), network.layers, known, region)[0]
    assert value(network, peak, np.ones(1)) == pytest.approx(known[-1].upper[0], abs=1e-9)


def test_an_ascent_from_the_peak_leaves_a_plateau() -> None:
    # relu(x_1 + ... + x_40 - 39.5) is 0, and flat, in nearly all of the box, and 1/2 in one corner.
    network = cx.SparseReLUNetwork([(np.ones((1, 40)), [-39.5]), (np.ones((1, 1)), None)])
    region = verify.Box(np.zeros(40), np.ones(40))
    assert ascend(network, region, np.ones(1), np.random.default_rng(0))[1] == 0.0
    found = verify.maximize(network, region)
    assert found.status is Status.OPTIMAL
    assert found.value == pytest.approx(0.5)
    answer = verify.find_adversarial(
        cx.SparseReLUNetwork([*network.layers[:1], (np.array([[-1.0]]), [0.25])]), region, backend="scipy"
    )
    assert answer.status is Verdict.COUNTEREXAMPLE
    assert answer.reason.startswith("Found by CROWN peaks")


# Populations


@pytest.mark.parametrize("kind", REGIONS)
def test_a_population_stays_inside_and_tells_its_value(kind: str) -> None:
    network, region, row = zoo.network((5, 8, 6, 2), seed=3), region_of(kind, 5), np.array([1.0, -0.5])
    population = Population(network, region, row, np.random.default_rng(0))
    for _ in range(4):
        population.grow(never)
    best = population.settle(never)
    assert region.contains(best)
    assert population.value == pytest.approx(value(network, best, row), rel=1e-5, abs=1e-5)
    assert population.value >= ascend(network, region, row, np.random.default_rng(0))[1] - 1e-3


def test_a_population_is_the_same_for_a_seed() -> None:
    network, region = zoo.network((5, 8, 1), seed=3), region_of("box", 5)
    points = []
    for _ in range(2):
        population = Population(network, region, np.ones(1), np.random.default_rng(7))
        for _ in range(3):
            population.grow(never)
        points.append(population.point)
    assert (points[0] == points[1]).all()


def test_values_beyond_float32_bring_no_warning() -> None:
    network = cx.SparseReLUNetwork([([[1e200, -1e200]], None), ([[1e200]], None)])
    population = Population(network, verify.Box([-1.0, -1.0], [1.0, 1.0]), np.ones(1), np.random.default_rng(0))
    for _ in range(2):
        population.grow(lambda: False)
    assert population.value == np.finfo(np.float32).max


def test_a_population_that_stagnates_begins_anew_and_keeps_its_best() -> None:
    network, region = zoo.network((2, 3, 1), seed=0), region_of("box", 2)
    population, best = Population(network, region, np.ones(1), np.random.default_rng(0)), -np.inf
    for _ in range(60):
        population.grow(never)
        assert population.value >= best
        best = population.value
    assert population.runs >= 1
    assert best == pytest.approx(zoo.enumerated_maximum(network, region.lower, region.upper, np.ones(1)), abs=1e-4)


def test_points_from_elsewhere_join() -> None:
    network = cx.SparseReLUNetwork([(np.ones((1, 40)), [-39.5]), (np.ones((1, 1)), None)])
    population = Population(network, verify.Box(np.zeros(40), np.ones(40)), np.ones(1), np.random.default_rng(0))
    population.grow(never)
    assert population.value == 0.0
    population.add(np.full((1, 40), 0.999))
    assert population.value == pytest.approx(0.5)


@pytest.mark.parametrize("weight", [0.0, 1e30, 1e300])
def test_a_population_of_a_flat_or_overflowing_network_is_harmless(weight: float) -> None:
    network = cx.SparseReLUNetwork([(np.full((2, 3), weight), None), (np.full((1, 2), weight), None)])
    region = region_of("box", 3)
    population = Population(network, region, np.ones(1), np.random.default_rng(0))
    population.grow(never)
    assert region.contains(population.settle(never))


@pytest.mark.parametrize("kind", [verify.LinfBall, verify.L1Ball, verify.L2Ball])
def test_a_population_of_a_region_beyond_float32_is_harmless(kind: Any) -> None:
    network, region = zoo.network((3, 4, 1), seed=0), kind(np.zeros(3), 1e99)
    for asked in (region, region.where([[1.0, 1.0, 0.0], [-1.0, -1.0, 0.0]], [0.0, 0.0])):
        population = Population(network, asked, np.ones(1), np.random.default_rng(0))
        population.grow(never)
        assert asked.contains(population.settle(never))


# Polishing


@pytest.mark.parametrize("kind", ["box", "l1"])
def test_polishing_of_an_overflowing_network_is_harmless(kind: str) -> None:
    network = cx.SparseReLUNetwork([(np.full((2, 3), 1e200), None), (np.full((1, 2), 1e200), None)])
    region = region_of(kind, 3)
    assert region.contains(polish(network, region, np.ones(1), region.center, EngineChain([BACKENDS["scipy"]]), 5.0))


@pytest.mark.parametrize("kind", ["box", "linf", "l1"])
@pytest.mark.parametrize("seed", range(4))
def test_polishing_reaches_the_best_point_of_its_pattern(kind: str, seed: int) -> None:
    network, region, row = zoo.network((3, 5, 4, 2), seed=seed), region_of(kind, 3, seed), np.array([1.0, -1.0])
    start = region.project(np.random.default_rng(seed).uniform(-1.0, 1.0, 3))
    best = polish(network, region, row, start, EngineChain([BACKENDS["scipy"]]), 10.0)
    assert region.contains(best)
    assert value(network, best, row) >= value(network, start, row)
    # No point around the vertex with its pattern is better.
    patterns = [layer[0] > 1e-9 for layer in network.activations(start[None])[:-1]]
    points = region.project(start + 0.05 * np.random.default_rng(1).standard_normal((500, 3)))
    same = np.all(
        [((layer > 1e-9) == p).all(axis=1) for layer, p in zip(network.activations(points), patterns, strict=False)],
        axis=0,
    )
    assert (network.activations(points)[-1][same] @ row <= value(network, best, row) + 1e-7).all()


@pytest.mark.parametrize("kind", ["l2", "cut"])
def test_other_regions_are_left_as_they_are(kind: str) -> None:
    network, region = zoo.network((3, 5, 1), seed=0), region_of(kind, 3)
    assert (
        polish(network, region, np.ones(1), region.center, EngineChain([BACKENDS["scipy"]]), 5.0) == region.center
    ).all()


@pytest.mark.parametrize("kind", ["box", "l1"])
def test_a_restricted_network_is_the_network_with_inputs_fixed(kind: str) -> None:
    rng = np.random.default_rng(0)
    network, region = zoo.network((5, 6, 2), seed=2), region_of(kind, 5)
    x, free = region.project(rng.uniform(-1.0, 1.0, 5)), np.array([1, 4])
    part = restrict(network, region, x, free)
    assert part is not None
    for _ in range(50):
        inner = part.region.project(rng.uniform(-1.5, 1.5, 2))
        whole = part.point(x, inner)
        assert np.allclose(part.network.predict(inner[None]), network.predict(whole[None]))
        assert region.contains(region.project(whole))
        assert np.allclose(region.project(whole), whole, atol=1e-12)


def test_a_binary_that_is_fixed_keeps_its_value() -> None:
    # max a over a = relu(x), x in [-1, 2]: 2 where the binary is 1, 0 where it is 0.
    rows = sp.csr_matrix([[-1.0, 1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, -2.0]])
    for state, best in ((1.0, 2.0), (0.0, 0.0)):
        milp = Milp(
            cost=np.array([0.0, 1.0, 0.0]),
            constant=0.0,
            error=0.0,
            rows=rows,
            row_lower=np.array([0.0, -np.inf, -np.inf]),
            row_upper=np.array([np.inf, 1.0, 0.0]),
            lower=np.array([-1.0, 0.0, state]),
            upper=np.array([2.0, 2.0, state]),
            integer=np.array([False, False, True]),
        )
        outcome = BACKENDS["scipy"].maximise(milp, Request(10.0))
        assert outcome.status is EngineStatus.OPTIMAL
        assert outcome.values is not None
        assert outcome.values[1] == pytest.approx(best)
        assert outcome.values[2] == state
        assert outcome.bound == pytest.approx(best, abs=1e-4)


# Surrogates


@pytest.mark.parametrize("kind", ["box", "l1", "l2", "cut"])
def test_points_of_a_surrogate_lie_in_the_region_and_apart(kind: str) -> None:
    network, region = zoo.network((3, 8, 2), seed=4), region_of(kind, 3)
    copy = Surrogate("copy", verify.prune(network, 0.4))
    points: list[Any] = []

    def found(point: Any) -> bool:
        points.append(point)
        return False

    model = encode_surrogate(copy, region, np.array([1.0, -1.0]))
    assert model is not None
    asked = stream_incumbents(model, EngineChain([BACKENDS["scipy"]]), lambda: 20.0, found, rounds=3)
    assert 1 <= asked <= 3
    assert len(points) == asked
    assert all(region.contains(point) for point in points)
    best = zoo.enumerated_maximum(copy.network, region.lower, region.upper, np.array([1.0, -1.0]))
    values = [value(copy.network, point, np.array([1.0, -1.0])) for point in points]
    assert max(values) <= best + 1e-6
    if kind == "box":
        assert values[0] == pytest.approx(best, abs=1e-5)


def test_surrogates_end_where_a_point_is_taken() -> None:
    network, region = zoo.network((3, 8, 1), seed=4), region_of("box", 3)
    copy = Surrogate("copy", verify.prune(network, 0.5))
    model = encode_surrogate(copy, region, np.ones(1))
    assert model is not None
    asked = stream_incumbents(model, EngineChain([BACKENDS["scipy"]]), lambda: 20.0, lambda point: True)
    assert asked == 1


@pytest.mark.parametrize(
    ("surrogates", "message"),
    [
        (0.9, "surrogates is 0.9; expected a sequence of sparsities or networks"),
        ("0.9", "surrogates is '0.9'; expected a sequence"),
        ((0.5, 1.0), r"surrogates\[1\] is 1; expected a sparsity in \[0, 1\) or a network"),
        ((-0.1,), r"surrogates\[0\] is -0.1; expected a sparsity"),
        ((float("nan"),), r"surrogates\[0\] is nan; expected a sparsity"),
        ((zoo.network((4, 3, 1)),), r"surrogates\[0\] has 4 inputs; expected 3, as the network has"),
        ((zoo.network((3, 3, 2)),), r"surrogates\[0\] has 2 outputs; expected 1, as the network has"),
    ],
)
def test_wrong_surrogates_are_refused(surrogates: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        verify.find_adversarial(zoo.network((3, 5, 1)), region_of("box", 3), surrogates=surrogates)
    with pytest.raises((TypeError, ValueError), match=message):
        verify.maximize(zoo.network((3, 5, 1)), region_of("box", 3), surrogates=surrogates)


def test_a_surrogate_is_pruned_or_given() -> None:
    network = zoo.network((3, 5, 1))
    pruned, given = read_surrogates(network, (0.5, verify.prune(network, 0.2)))
    assert pruned.name == "surrogate 0.5"
    assert pruned.network.nnz == verify.prune(network, 0.5).nnz
    assert given.name == "surrogate 1"


# Questions


@pytest.mark.parametrize("kind", ["box", "linf"])
@pytest.mark.parametrize("backend", ["auto", "branching", "scipy"])
@pytest.mark.parametrize("seed", range(4))
def test_verdicts_with_surrogates_are_right(seed: int, backend: str, kind: str) -> None:
    network, region = zoo.network((3, 5, 3), seed=seed), region_of(kind, 3, seed)
    # A surrogate that is constant, one that knows another class at the center, and pruned ones.
    flat = cx.SparseReLUNetwork([(0.0 * weight, bias) for weight, bias in network.layers])
    other = cx.SparseReLUNetwork([*network.layers[:-1], (-network.layers[-1][0], None)])
    answer = verify.find_adversarial(
        network, region, backend=backend, surrogates=(0.5, flat, other), seed=seed, time_limit=60.0
    )
    assert answer.label is not None
    rows = np.delete(np.eye(3), answer.label, axis=0) - np.eye(3)[answer.label]
    best = max(zoo.enumerated_maximum(network, region.lower, region.upper, row) for row in rows)
    assert (answer.status is Verdict.COUNTEREXAMPLE) == (best > 0.0), str(answer)
    assert answer.status in (Verdict.COUNTEREXAMPLE, Verdict.ROBUST)
    assert answer.bound >= best - 1e-6 or answer.status is Verdict.COUNTEREXAMPLE


@pytest.mark.parametrize("seed", range(3))
def test_extremes_with_surrogates_are_right(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import verify.questions.extremes

    # Branch and bound would decide it before the portfolio has a turn.
    monkeypatch.setattr(verify.questions.extremes, "FIRST_SHARE", 0.0)
    monkeypatch.setattr(verify.questions.extremes, "SURROGATES_SHARE", 0.03)
    # What it does not decide soon after is left to the engines.
    monkeypatch.setattr("verify.questions.resources.BRANCHING_SHARES", {"auto": 0.02})
    network, region, row = zoo.network((3, 6, 4, 2), seed=seed), region_of("box", 3, seed), np.array([1.0, -0.3])
    found = verify.maximize(network, region, row, surrogates=(0.5,), time_limit=60.0)
    best = zoo.enumerated_maximum(network, region.lower, region.upper, row)
    assert found.status is Status.OPTIMAL
    assert found.value == pytest.approx(best, abs=1e-5)
    sources = [event.source for event in found.trace]
    assert "portfolio" in sources
    assert "surrogate 0.5" in sources


def test_a_surrogate_never_answers_robust(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: a copy that cannot be attacked says nothing about the network."""
    import verify.backends.registry

    network, region = zoo.network((3, 5, 3), seed=1), region_of("box", 3, 1)
    flat = cx.SparseReLUNetwork([(0.0 * weight, None) for weight, _ in network.layers])
    # Nothing but the surrogate is left to decide: no ascent, no bounds that suffice, no engine for the network.
    monkeypatch.setattr("verify.questions.inquiry.ascend", lambda net, part, *rest, **more: (part.center, -np.inf))
    monkeypatch.setattr("verify.questions.portfolio.Population.grow", lambda self, stop: False)
    answer = verify.find_adversarial(network, region, surrogates=(flat,), backend="branching", time_limit=0.0)
    assert answer.status is Verdict.UNKNOWN


def test_copies_of_another_class_are_noted() -> None:
    network = cx.SparseReLUNetwork([(np.eye(2), None), (np.array([[1.0, -1.0], [-1.0, 1.0]]), None)])
    other = cx.SparseReLUNetwork([(np.eye(2), None), (np.array([[-1.0, 1.0], [1.0, -1.0]]), None)])
    region = verify.Box([0.0, 0.0], [1.0, 0.6]).where([[-1.0, 1.0]], [-0.01])
    assert class_at(network, region.center) == 0
    answer = verify.find_adversarial(network, region, surrogates=(other,), backend="scipy")
    assert answer.status is Verdict.ROBUST
