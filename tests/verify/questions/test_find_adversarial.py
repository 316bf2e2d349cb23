"""Verdicts: right against enumeration, and unknown wherever something does not add up."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from tests.helpers import zoo
from verify import Proof, Verdict
from verify.backends import engine_chain
from verify.backends import registry as backends
from verify.backends.registry import BACKENDS
from verify.bounds.margins import class_at, margins_of
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.points.ascent import ascend, densify_layers, values_and_slopes

SHAPES = [(2, 1), (2, 4, 1), (3, 5, 3), (2, 3, 3, 2), (3, 4, 1)]


def truth(network: cx.SparseReLUNetwork, region: verify.Box, label: int) -> float:
    """Return the largest margin over a region by enumeration of all activation patterns."""
    rows = margins_of(network, label).rows.toarray()
    return max(zoo.enumerated_maximum(network, region.lower, region.upper, row) for row in rows)


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(8))
def test_no_verdict_is_wrong_on_enumerated_networks(shape: tuple[int, ...], seed: int, backend: str) -> None:
    rng = np.random.default_rng(seed)
    network = zoo.network(shape, seed=seed, density=rng.choice([0.5, 1.0]), bias=bool(seed % 2))
    for radius in (0.05, 0.4):
        region = verify.LinfBall(rng.standard_normal(shape[0]), radius)
        answer = verify.find_adversarial(network, region, backend=backend, seed=seed)
        if answer.label is None:
            assert answer.status is Verdict.UNKNOWN
            continue
        best = truth(network, region, answer.label)
        expected = Verdict.COUNTEREXAMPLE if best > 1e-4 else Verdict.ROBUST
        if abs(best) > 1e-4:
            assert answer.status is expected, str(answer)
        assert answer.value <= best + 1e-6
        assert answer.bound >= best - 1e-6
        if answer.witness is not None:
            assert region.contains(answer.witness)
            assert class_at(network, answer.witness) != answer.label


@pytest.fixture
def no_ascent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every witness to the MILP."""
    import verify.questions.inquiry

    def nothing(network: Any, region: verify.Box, objective: Any, rng: Any, **options: Any) -> tuple[Any, float]:
        return region.center, float(values_and_slopes(densify_layers(network), region.center[None], objective)[0][0])

    monkeypatch.setattr(verify.questions.inquiry, "ascend", nothing)


@pytest.mark.usefixtures("no_ascent")
@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("seed", range(6))
def test_the_milp_finds_witnesses_without_gradient_ascent(seed: int, backend: str) -> None:
    network = zoo.network((3, 5, 3), seed=seed)
    region = verify.LinfBall(np.random.default_rng(seed).standard_normal(3), 0.8)
    answer = verify.find_adversarial(network, region, backend=backend)
    assert answer.label is not None
    assert (answer.status is Verdict.COUNTEREXAMPLE) == (truth(network, region, answer.label) > 0)
    if answer.status is Verdict.COUNTEREXAMPLE:
        assert f"Found by {backend}" in answer.reason
        assert answer.backend == backend


def steep(bias: float = 0.0, slope: float = 1.0) -> cx.SparseReLUNetwork:
    """Return f(x) = slope * (relu(x) - relu(-x)) + bias = slope * x + bias, which interval bounds see exactly."""
    return cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[slope, -slope]], [bias])])


def bent(bias: float) -> cx.SparseReLUNetwork:
    """Return f(x) = relu(x) + relu(-x) + bias = |x| + bias: intervals overestimate -f, a MILP does not."""
    return cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], [bias])])


class TestTies:
    def test_an_output_of_zero_is_no_class(self) -> None:
        answer = verify.find_adversarial(steep(), verify.LinfBall([0.0], 0.1))
        assert answer.status is Verdict.UNKNOWN
        assert answer.label is None
        assert "tie" in answer.reason

    def test_equal_logits_are_not_adversarial(self) -> None:
        network = cx.SparseReLUNetwork([([[1.0], [1.0]], None)])
        answer = verify.find_adversarial(network, verify.Box([-1.0], [1.0]), 0)
        assert answer.status is not Verdict.COUNTEREXAMPLE
        assert answer.status is not Verdict.MISCLASSIFIED

    def test_reaching_zero_is_not_adversarial(self) -> None:
        # -f reaches 0 at x = -1 and is never above: no strict witness, and no proof below tolerance either.
        answer = verify.find_adversarial(steep(bias=1.0), verify.Box([-1.0], [1.0]), 1)
        assert answer.status is not Verdict.COUNTEREXAMPLE


class TestVerdicts:
    def test_misclassified_is_no_attack(self) -> None:
        answer = verify.find_adversarial(steep(), verify.LinfBall([1.0], 5.0), -1)
        assert answer.status is Verdict.MISCLASSIFIED
        assert answer.witness is None
        assert answer.value == 1.0

    def test_intervals_prove_what_they_can(self) -> None:
        answer = verify.find_adversarial(steep(), verify.LinfBall([1.0], 0.5))
        assert (answer.status, answer.proof, answer.backend) == (Verdict.ROBUST, Proof.INTERVAL, None)
        assert answer.bound == pytest.approx(-0.5)

    @pytest.mark.parametrize("backend", zoo.ENGINES)
    def test_a_milp_proves_what_intervals_cannot(self, backend: str) -> None:
        # |x| - |x| / 2 + 0.25 > 0 everywhere, but not for intervals.
        network = cx.SparseReLUNetwork([([[1.0], [-1.0], [0.5], [-0.5]], None), ([[1.0, 1.0, -1.0, -1.0]], [0.25])])
        answer = verify.find_adversarial(network, verify.Box([-1.0], [1.0]), backend=backend)
        assert (answer.status, answer.proof, answer.backend) == (Verdict.ROBUST, Proof.SOLVER, backend)
        # A proof needs no more than a bound below zero.
        assert -0.25 - 1e-6 <= answer.bound < 0.0

    @pytest.mark.parametrize("backend", zoo.ENGINES)
    def test_each_target_is_held_against_its_own_margin(self, backend: str) -> None:
        # Both targets need a MILP; the harder one's bound lies below the margin that the easier one reaches.
        hidden = [[1.0], [-1.0], [0.5], [-0.5]]
        rows = [[0.0] * 4, [-1.0, -1.0, 1.0, 1.0], [-1.0, -1.0, 1.0, 1.0]]
        network = cx.SparseReLUNetwork([(hidden, None), (rows, [0.0, -0.25, -0.4])])
        answer = verify.find_adversarial(network, verify.Box([-1.0], [1.0]), backend=backend)
        assert (answer.status, answer.proof) == (Verdict.ROBUST, Proof.SOLVER), str(answer)
        assert -0.25 - 1e-6 <= answer.bound < 0.0

    def test_a_network_without_hidden_layer(self) -> None:
        network = cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], None)])
        assert verify.find_adversarial(network, verify.LinfBall([1.0, 0.0], 0.4)).status is Verdict.ROBUST
        found = verify.find_adversarial(network, verify.LinfBall([1.0, 0.0], 0.6))
        assert found.status is Verdict.COUNTEREXAMPLE

    def test_a_dead_layer_and_an_empty_network(self) -> None:
        dead = cx.SparseReLUNetwork([([[1.0]], [-9.0]), ([[1.0]], [0.5])])
        assert verify.find_adversarial(dead, verify.LinfBall([0.0], 1.0)).status is Verdict.ROBUST
        empty = cx.SparseReLUNetwork([(np.zeros((1, 3)), [1.0])])
        assert verify.find_adversarial(empty, verify.LinfBall([0.0] * 3, 1.0)).status is Verdict.ROBUST

    def test_radius_zero_is_the_center(self) -> None:
        network = zoo.network((3, 6, 4), seed=3)
        for x in np.random.default_rng(0).standard_normal((10, 3)):
            assert verify.find_adversarial(network, verify.LinfBall(x, 0.0)).status is Verdict.ROBUST

    def test_the_same_seed_gives_the_same_answer(self) -> None:
        network, region = zoo.network((3, 6, 4), seed=3), verify.LinfBall([0.1, 0.2, 0.3], 3.0)
        first, again = (verify.find_adversarial(network, region, seed=4) for _ in range(2))
        assert first.status is again.status is Verdict.COUNTEREXAMPLE
        assert first.witness is not None
        assert again.witness is not None
        assert np.array_equal(first.witness, again.witness)

    def test_no_time_decides_only_what_needs_none(self) -> None:
        undecided = verify.find_adversarial(hard(), HARD_REGION, time_limit=0.0)
        assert undecided.status is Verdict.UNKNOWN
        assert "time limit" in undecided.reason
        assert undecided.backend is None
        assert verify.find_adversarial(steep(), verify.LinfBall([1.0], 0.5), time_limit=0).status is Verdict.ROBUST

    def test_it_reads_well(self) -> None:
        answer = verify.find_adversarial(steep(), verify.LinfBall([1.0], 0.5))
        assert str(answer).startswith("ROBUST: No input of the region is misclassified; this is proven.\n")
        assert "interval bounds: margin at most -0.5" in str(answer.trace[0])
        assert all(verdict.value.endswith(".") for verdict in Verdict)


def hard() -> cx.SparseReLUNetwork:
    """Return a network that needs its MILP over HARD_REGION: robust, and intervals cannot tell."""
    return cx.SparseReLUNetwork([([[1.0], [-1.0], [0.5], [-0.5]], None), ([[1.0, 1.0, -1.0, -1.0]], [0.25])])


HARD_REGION = verify.Box([-1.0], [1.0])


@dataclass(frozen=True)
class Liar:
    """An engine that says what the test wants."""

    outcome: Callable[[Any], EngineResult]
    name: str = "liar"

    def maximise(self, milp: Any, request: Any) -> EngineResult:
        return self.outcome(milp)

    run = maximise


@pytest.mark.usefixtures("no_splitting")
class TestEnginesThatAreWrong:
    """A verdict never rests on an engine's word that contradicts the network."""

    def ask(self, monkeypatch: pytest.MonkeyPatch, outcome: Callable[[Any], EngineResult]) -> verify.Answer:
        monkeypatch.setattr(backends, "candidates", lambda name: [Liar(outcome)])
        monkeypatch.setattr(engine_chain, "self_test", lambda name: None)
        return verify.find_adversarial(hard(), HARD_REGION)

    @pytest.mark.parametrize(
        ("ending", "bound", "words"),
        [
            (EngineStatus.INFEASIBLE, -np.inf, "calls a model infeasible"),
            (EngineStatus.INFEASIBLE, np.inf, "calls a model infeasible"),
            (EngineStatus.FAILED, -5.0, "the engine failed"),
            (EngineStatus.OPTIMAL, -5.0, "is below a margin"),
            (EngineStatus.OPTIMAL, np.inf, "gave no bound"),
            (EngineStatus.OPTIMAL, np.nan, "gave no bound"),
            (EngineStatus.OPTIMAL, 0.0, "within the tolerance"),
            (EngineStatus.OPTIMAL, -1e-8, "within the tolerance"),
            (EngineStatus.LIMIT, 0.5, "time limit was reached with the margin at most 0.5"),
        ],
    )
    def test_nothing_is_proven(
        self, ending: EngineStatus, bound: float, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = self.ask(monkeypatch, lambda milp: EngineResult(ending, None, bound, "as told", 1e-6))
        assert answer.status is Verdict.UNKNOWN
        assert answer.proof is None
        assert words in answer.reason

    def test_a_witness_that_is_none_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The engine claims the margin 3 at x = 1; the network says -0.75 there.
        answer = self.ask(
            monkeypatch, lambda milp: EngineResult(EngineStatus.OPTIMAL, np.ones(len(milp.cost)), 3.0, "as told", 1e-6)
        )
        assert answer.status is Verdict.UNKNOWN
        assert answer.witness is None
        assert answer.value < 0

    def test_a_witness_outside_the_region_is_brought_inside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = self.ask(
            monkeypatch,
            lambda milp: EngineResult(EngineStatus.LIMIT, np.full(len(milp.cost), 99.0), 3.0, "as told", 1e-6),
        )
        assert answer.status is Verdict.UNKNOWN
        assert answer.value < 0

    def test_a_bound_without_an_allowance_proves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = self.ask(monkeypatch, lambda milp: EngineResult(EngineStatus.OPTIMAL, None, -0.1, "as told"))
        assert answer.status is Verdict.UNKNOWN

    def test_a_limit_with_a_bound_below_zero_is_a_proof(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = self.ask(monkeypatch, lambda milp: EngineResult(EngineStatus.LIMIT, None, -0.1, "as told", 1e-6))
        assert (answer.status, answer.proof) == (Verdict.ROBUST, Proof.SOLVER)

    def test_an_engine_that_fails_its_self_test_is_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def lie(milp: Any) -> EngineResult:
            asked.append(milp)
            return EngineResult(EngineStatus.OPTIMAL, np.zeros(len(milp.cost)), -1.0, "as told", 1e-6)

        monkeypatch.setitem(BACKENDS, "liar", Liar(lie))
        monkeypatch.setattr(backends, "candidates", lambda name: [Liar(lie)])
        engine_chain.self_test.cache_clear()
        answer = verify.find_adversarial(hard(), HARD_REGION)
        engine_chain.self_test.cache_clear()
        assert answer.status is Verdict.UNKNOWN
        assert "liar failed its self-test: a model with optimum -9 got 0 with bound -1" in answer.reason
        assert len(asked) == 1

    def test_auto_passes_over_an_engine_that_fails_its_self_test(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_chain, "self_test", lambda name: None if name == "scipy" else "it was wrong")
        answer = verify.find_adversarial(hard(), HARD_REGION)
        assert (answer.status, answer.backend) == (Verdict.ROBUST, "scipy")

    def test_the_leak_of_a_loose_big_m_is_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # With M = 1e9 a binary of 1e-9 is integral to the engine and frees a neuron: it reports a margin that the
        # network does not have. The verdict must come from the network.
        import verify.questions.engines

        def loose(network: Any, region: Any, row: Any, layers: Any) -> verify.Encoding:
            wide = [verify.Interval(np.full_like(b.lower, -1e9), np.full_like(b.upper, 1e9)) for b in layers]
            return verify.encode(network, region, row, tuple(wide))

        monkeypatch.setattr(verify.questions.engines, "encode", loose)
        answer = verify.find_adversarial(bent(0.25), HARD_REGION)
        assert answer.status in (Verdict.ROBUST, Verdict.UNKNOWN)
        assert answer.witness is None


def test_weights_beyond_the_range_of_bounds_are_unknown() -> None:
    network = cx.SparseReLUNetwork([([[1e200], [-1e200]], None), ([[1e200, -1e200]], [1.0])])
    answer = verify.find_adversarial(network, verify.LinfBall([0.0], 1.0), 1)
    assert answer.status is Verdict.UNKNOWN
    assert answer.reason


class TestScales:
    """Engines have absolute tolerances; networks and regions have any scale. Each of these was ROBUST once."""

    @pytest.fixture(params=zoo.ENGINES)
    def backend(self, request: pytest.FixtureRequest, no_ascent: None) -> str:
        return str(request.param)

    def assert_never_robust(self, network: cx.SparseReLUNetwork, region: verify.Box, backend: str) -> None:
        answer = verify.find_adversarial(network, region, 1, backend=backend)
        assert answer.status in (Verdict.COUNTEREXAMPLE, Verdict.MISCLASSIFIED, Verdict.UNKNOWN), str(answer)

    def test_inputs_of_very_different_widths(self, backend: str) -> None:
        W = [
            [-2.4734e-05, -1.3308e05, -3.3382e-02, 1.4424e-04],
            [-2.0931e-05, -2.6063e04, 3.4789e-02, 6.0853e-04],
            [-1.5131e-05, 3.1548e04, -2.5123e-02, -3.9397e-04],
        ]
        network = cx.SparseReLUNetwork([(W, [-0.4727, -0.1368, -0.3022]), ([[-0.314, 1.203, -0.9437]], [0.34])])
        region = verify.Box([-28269, -3.8811e-6, -6.1816, -318.69], [32801, 3.654e-6, 4.8571, 1267.3])
        assert network.predict([[-28269, 3.654e-6, -6.1816, -318.69]])[0] < 0
        self.assert_never_robust(network, region, backend)

    @pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-8, 1e-12, 1e5])
    def test_tiny_and_huge_weights(self, size: float, backend: str) -> None:
        hidden = (size * np.ones((1, 12)), [-size * 11.5])
        network = cx.SparseReLUNetwork([hidden, ([[-4.0 / size]], [1.0])])
        assert network.predict(np.ones((1, 12)))[0] == pytest.approx(-1.0, abs=1e-3)
        self.assert_never_robust(network, verify.Box(np.zeros(12), np.ones(12)), backend)

    @pytest.mark.parametrize("radius", [1e-3, 1e-5, 1e-7])
    def test_tiny_balls(self, radius: float, backend: str) -> None:
        rng = np.random.default_rng(0)
        center, weight = rng.uniform(0.2, 0.8, 12), rng.choice([-1.0, 1.0], 12)
        hidden = (weight[None], [-(weight @ center) - 11.5 * radius])
        network = cx.SparseReLUNetwork([hidden, ([[-4.0 / radius]], [1.0])])
        assert network.predict((center + 0.999 * radius * weight)[None])[0] < 0
        self.assert_never_robust(network, verify.LinfBall(center, radius), backend)

    def test_cancellation_of_huge_terms(self, backend: str) -> None:
        network = cx.SparseReLUNetwork([(-np.array([[2.0**54, 1, 1, -(2.0**54), -1]]), None)])
        self.assert_never_robust(network, verify.Box(np.ones(5), np.ones(5)), backend)

    def test_a_model_whose_center_highs_took_for_the_optimum(self, backend: str) -> None:
        hidden = [[0.0, 0.0031], [-2.6e-7, 0.0], [-1.11, 0.0]]
        network = cx.SparseReLUNetwork([(hidden, None), ([[-0.9, 0.0, 0.0]], [0.0002])])
        milp = verify.encode(network, verify.Box([-0.79, -0.13], [0.77, 0.22])).milp
        outcome = BACKENDS[backend].maximise(milp, 5.0)
        assert outcome.bound == pytest.approx(2e-4, rel=1e-6)

    def test_products_of_weights_that_underflow(self, backend: str) -> None:
        deep = [(np.full((1, 30), 1e-100), [40.0]), ([[1e-230]], [-60e-230]), ([[1e230]], [-1.0])]
        assert cx.SparseReLUNetwork(deep).predict(np.full((1, 30), 1e100))[0] > 0
        region = verify.Box([-1e100] * 30, [1e100] * 30)
        answer = verify.find_adversarial(cx.SparseReLUNetwork(deep), region, -1, backend=backend)
        assert answer.status is not Verdict.ROBUST

    @pytest.mark.parametrize("scale", [1e4, 1e6])
    @pytest.mark.parametrize("seed", range(20))
    def test_ties_within_the_rounding_of_huge_weights(self, seed: int, scale: float, backend: str) -> None:
        rng = np.random.default_rng(seed)
        point = np.clip(rng.standard_normal(4), -1, 1)
        deep = zoo.network((4, 6, 6, 1), seed=seed)
        layers = [(weight * scale, bias * scale) for weight, bias in deep.layers]
        value = cx.SparseReLUNetwork(layers).predict(point[None])[0]
        layers[-1] = (layers[-1][0], layers[-1][1] - value + rng.uniform(-1, 1) * 1e-16 * abs(value))
        network = cx.SparseReLUNetwork(layers)
        exact = zoo.exact_outputs(network, point)[-1][0]
        answer = verify.find_adversarial(network, verify.Box(point, point), 1, backend=backend)
        assert answer.status is not Verdict.ROBUST or exact >= 0
        assert answer.status not in (Verdict.COUNTEREXAMPLE, Verdict.MISCLASSIFIED) or exact < 0

    @pytest.mark.parametrize("size", [1e-9, 1e-3, 1e3, 1e9])
    def test_a_robust_network_stays_robust_at_any_scale_of_its_output(self, size: float, backend: str) -> None:
        scaled = [(weight, bias) for weight, bias in hard().layers]
        scaled[-1] = (scaled[-1][0] * size, scaled[-1][1] * size)
        answer = verify.find_adversarial(cx.SparseReLUNetwork(scaled), HARD_REGION, backend=backend)
        assert answer.status is Verdict.ROBUST, str(answer)
        assert -0.25 * size * (1 + 1e-4) <= answer.bound < 0.0


@pytest.mark.usefixtures("no_splitting")
class TestInterruption:
    def test_ctrl_c_is_heard_while_an_engine_works(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def slow(milp: Any, request: Any) -> EngineResult:
            _thread.interrupt_main()
            time.sleep(1.0)
            return EngineResult(EngineStatus.LIMIT, None, np.inf, "as told")

        monkeypatch.setattr("verify.backends.scipy_milp.maximise", slow)
        monkeypatch.setattr(engine_chain, "self_test", lambda name: None)
        # A shell that runs the tests in the background has them ignore the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            answer = verify.find_adversarial(hard(), HARD_REGION, backend="scipy")
        finally:
            signal.signal(signal.SIGINT, before)
        assert answer.status is Verdict.INTERRUPTED

    def test_an_engine_that_does_not_stop_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        release = threading.Event()

        def endless(milp: Any, request: Any) -> EngineResult:
            release.wait(30.0)
            return EngineResult(EngineStatus.OPTIMAL, None, -1.0, "as told", 0.0)

        monkeypatch.setattr("verify.backends.scipy_milp.maximise", endless)
        monkeypatch.setattr(engine_chain, "self_test", lambda name: None)
        monkeypatch.setattr(backends, "GRACE", 0.2)
        answer = verify.find_adversarial(hard(), HARD_REGION, backend="scipy", time_limit=1.0)
        release.set()
        assert answer.status is Verdict.UNKNOWN
        assert "time limit" in answer.reason
        assert "did not stop at its time limit" in answer.trace[-1].finding

    @pytest.mark.parametrize("backend", zoo.ENGINES)
    def test_a_limit_of_any_size_is_taken(self, backend: str) -> None:
        assert verify.find_adversarial(hard(), HARD_REGION, backend=backend, time_limit=1e15).status is Verdict.ROBUST

    def test_gradient_ascent_keeps_the_time_limit(self) -> None:
        network, region, answers = zoo.network((3, 5, 2)), verify.Box([-1.0] * 3, [1.0] * 3), iter([False, False, True])
        ascend(network, region, np.ones(2), np.random.default_rng(0), stop=lambda: next(answers))
        assert next(answers, None) is None


class TestExactTies:
    @pytest.mark.parametrize(
        "layers",
        [
            [([[1.0], [1.0]], None)],
            [(np.zeros((2, 1)), [0.5, 0.5])],
            [([[1.0], [-1.0]], None), ([[2.0, 1.0], [2.0, 1.0]], [0.25, 0.25])],
        ],
    )
    def test_outputs_that_are_equal_everywhere_are_robust(self, layers: Any) -> None:
        answer = verify.find_adversarial(cx.SparseReLUNetwork(layers), verify.Box([-1.0], [1.0]), 0)
        assert (answer.status, answer.proof, answer.bound) == (Verdict.ROBUST, Proof.INTERVAL, 0.0)

    def test_an_output_that_is_never_negative_is_robust(self) -> None:
        network = cx.SparseReLUNetwork([([[1.0]], None), ([[1.0]], None)])
        answer = verify.find_adversarial(network, verify.Box([-1.0], [1.0]), 1)
        assert (answer.status, answer.proof) == (Verdict.ROBUST, Proof.INTERVAL)


class TestAscent:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_slopes_are_those_of_the_network(self, shape: tuple[int, ...]) -> None:
        network, rng = zoo.network(shape, seed=2), np.random.default_rng(0)
        points, objective = rng.standard_normal((6, shape[0])), rng.standard_normal(shape[-1])
        values, slopes = values_and_slopes(densify_layers(network), points, objective)
        assert np.allclose(values, network.predict(points).reshape(6, -1) @ objective)
        for axis in range(shape[0]):
            step = 1e-6 * np.eye(shape[0])[axis]
            ahead = values_and_slopes(densify_layers(network), points + step, objective)[0]
            behind = values_and_slopes(densify_layers(network), points - step, objective)[0]
            assert np.allclose(slopes[:, axis], (ahead - behind) / 2e-6, atol=1e-5)

    def test_a_linear_function_is_maximised_exactly(self) -> None:
        network, region = cx.SparseReLUNetwork([([[1.0, -2.0, 0.5]], None)]), verify.Box([-1.0] * 3, [2.0] * 3)
        point, value = ascend(network, region, np.ones(1), np.random.default_rng(0))
        assert point.tolist() == [2.0, -1.0, 2.0]
        assert value == 5.0

    def test_inputs_that_the_network_does_not_read_stay_as_they_are(self) -> None:
        network, region = cx.SparseReLUNetwork([([[1.0, 0.0, -1.0]], None)]), verify.LinfBall([0.1, 0.2, 0.3], 0.5)
        point, _ = ascend(network, region, np.ones(1), np.random.default_rng(0))
        assert point.tolist() == pytest.approx([0.6, 0.2, -0.2])

    def test_the_point_stays_in_the_region(self) -> None:
        network, region = zoo.network((4, 8, 2)), verify.LinfBall([0.3] * 4, 0.1, clip=(0, 0.35))
        point, value = ascend(network, region, np.array([1.0, -1.0]), np.random.default_rng(0))
        assert region.contains(point)
        assert value >= float(network.predict(region.center[None])[0] @ [1.0, -1.0])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"label": 2}, ValueError, "label is 2; expected -1 or 1 for a network with 1 outputs"),
        ({"label": "1"}, ValueError, "label is '1'"),
        ({"label": 0}, ValueError, "label is 0"),
        ({"network": zoo.network((1, 3)), "label": 3}, ValueError, "label is 3; expected 0 to 2"),
        ({"network": zoo.network((1, 3)), "label": -1}, ValueError, "label is -1; expected 0 to 2"),
        ({"network": zoo.network((2, 3))}, ValueError, "region has 1 inputs; expected 2"),
        ({"region": [0.0, 1.0]}, TypeError, "region is a list; expected a Box, LinfBall, L1Ball or L2Ball"),
        ({"time_limit": -1}, ValueError, "time_limit is -1; expected a finite number of at least 0"),
        (
            {"backend": "cplex"},
            ValueError,
            "backend 'cplex' is unknown; expected one of: auto, branching, gurobi, highspy, highs",
        ),
        ({"network": 3}, TypeError, "network is a int"),
        ({"seed": "a"}, TypeError, "seed is 'a'; expected a whole number of at least 0"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    good: dict[str, Any] = {"network": steep(), "region": verify.LinfBall([1.0], 0.5)}
    with pytest.raises(error) as caught:
        verify.find_adversarial(**good | arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
