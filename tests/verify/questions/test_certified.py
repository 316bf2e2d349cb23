"""Proofs by linear relaxations: no solver tolerance in them, and no word of an engine."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
import verify.bounds.functions
from convexnn.checks import Floats
from tests.helpers import zoo
from verify import Holding, Proof, Verdict
from verify.backends import engine_chain
from verify.backends import registry as backends
from verify.bounds.margins import margins_of
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.model import Milp

WITH_DUALS = [name for name in ("gurobi", "highspy", "highs", "scipy") if backends.BACKENDS[name].installed]
X = np.array([0.1, 0.2, -0.3, 0.2])


@cache
def largest_margin(seed: int, radius: float) -> float:
    """Return the largest margin over an L-inf ball, by enumeration."""
    network, region = shallow(seed), verify.LinfBall(X, radius)
    rows = margins_of(network, int(network.predict(X[None])[0].argmax())).rows.toarray()
    return max(zoo.enumerated_maximum(network, region.lower, region.upper, row) for row in rows)


# Seeds of networks and radii of balls that CROWN leaves open, and the relaxation proves to be robust.
PROVEN: dict[type[verify.Box], tuple[tuple[int, float], ...]] = {
    verify.LinfBall: ((11, 0.35), (13, 0.05), (25, 0.6), (29, 0.6), (37, 0.5), (47, 0.3), (49, 0.45), (57, 0.35)),
    verify.L1Ball: ((7, 0.3), (13, 0.1), (25, 1.1), (29, 1.2), (37, 1.2), (49, 0.8)),
    verify.L2Ball: ((7, 0.2), (13, 0.1), (25, 1.0), (29, 1.1), (37, 0.8), (57, 0.7)),
}


def shallow(seed: int) -> cx.SparseReLUNetwork:
    return zoo.network((4, 6, 3), seed=seed)


class TestVerdicts:
    @pytest.mark.parametrize("backend", WITH_DUALS)
    @pytest.mark.parametrize("kind", PROVEN)
    def test_what_the_relaxation_decides_is_certified(self, kind: Any, backend: str) -> None:
        for seed, radius in PROVEN[kind]:
            network, region = shallow(seed), kind(X, radius)
            answer = verify.find_adversarial(network, region, backend=backend)
            assert (answer.status, answer.proof, answer.backend) == (Verdict.ROBUST, Proof.LP, backend)
            assert answer.bound <= 0.0
            assert "dual bounds of linear relaxations" in answer.reason
            assert "by its multipliers" in str(answer.trace[-1])
            points = region.project(np.random.default_rng(0).uniform(region.lower, region.upper, (2000, 4)))
            assert margins_of(network, answer.label or 0).at(points).max() <= answer.bound + 1e-12
            if kind is verify.LinfBall:
                assert largest_margin(seed, radius) <= answer.bound + 1e-9

    def test_an_engine_without_multipliers_proves_it_up_to_its_tolerances(self) -> None:
        pytest.importorskip("ortools")
        seed, radius = PROVEN[verify.LinfBall][0]
        answer = verify.find_adversarial(shallow(seed), verify.LinfBall(X, radius), backend="gscip")
        assert (answer.status, answer.proof) == (Verdict.ROBUST, Proof.SOLVER)

    @pytest.mark.parametrize("backend", WITH_DUALS)
    def test_a_condition_of_several_constraints_is_certified(self, backend: str) -> None:
        # Both hold apart, never together; no neuron can switch, so the relaxation is all there is.
        text = "\n".join(
            [
                "(declare-const X_0 Real)\n(declare-const X_1 Real)",
                "(declare-const Y_0 Real)\n(declare-const Y_1 Real)",
                "(assert (>= X_0 0))\n(assert (<= X_0 1))\n(assert (>= X_1 0))\n(assert (<= X_1 1))",
                "(assert (and (>= (+ Y_0 Y_1) 1.5) (<= Y_0 0.25)))",
            ]
        )
        network = cx.SparseReLUNetwork([(np.eye(2), None)])
        check = verify.check_vnnlib(network, verify.parse_property(text), backend=backend)
        assert (check.status, check.proof, check.backend) == (Holding.HOLDS, Proof.LP, backend)
        assert -0.125 <= check.bound < 0.0


class Liar:
    """An engine that makes up its multipliers, and claims a bound."""

    name = "liar"

    def __init__(self, claim: float, seed: int) -> None:
        self.claim, self.rng = claim, np.random.default_rng(seed)

    def maximise(self, milp: Milp, request: Any) -> EngineResult:
        duals = self.made_up(len(milp.row_lower))
        return EngineResult(EngineStatus.OPTIMAL, None, self.claim, "as told", np.inf, duals)

    def made_up(self, count: int) -> Floats:
        size = self.rng.choice([0.0, 1e-3, 1.0, 1e6, 1e300, np.nan, np.inf], count)
        with np.errstate(invalid="ignore"):
            return size * self.rng.choice([-1.0, 1.0], count)


@pytest.fixture
def no_ascent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every question open that bounds do not decide."""
    monkeypatch.setattr(
        "verify.questions.inquiry.ascend", lambda network, region, *rest, **more: (region.center, -np.inf)
    )


@pytest.mark.usefixtures("no_splitting", "no_ascent")
class TestMultipliersThatAreWrong:
    @pytest.mark.parametrize("claim", [-5.0, 0.0, 1e9, np.inf, np.nan])
    @pytest.mark.parametrize("kind", [verify.LinfBall, verify.L1Ball, verify.L2Ball])
    def test_no_verdict_is_wrong(self, claim: float, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_chain, "self_test", lambda name: None)
        robust = 0
        for seed in range(12):
            monkeypatch.setattr(backends, "candidates", lambda name, seed=seed: [Liar(claim, seed)])
            network, region = zoo.network((4, 5, 4, 3), seed=seed), kind(X, 1.0)
            answer = verify.find_adversarial(network, region)
            points = region.project(np.random.default_rng(0).uniform(region.lower, region.upper, (2000, 4)))
            truth = float(margins_of(network, answer.label or 0).at(points).max())
            assert answer.proof is not Proof.SOLVER
            assert answer.bound >= truth - 1e-9
            if truth > 0.0:
                assert answer.status is not Verdict.ROBUST
            robust += answer.status is Verdict.ROBUST
        assert robust < 12

    def test_a_claim_alone_proves_no_condition(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_chain, "self_test", lambda name: None)
        monkeypatch.setattr(backends, "candidates", lambda name: [Liar(-5.0, 0)])
        names = "\n".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
        box = "\n".join(f"(assert (>= X_{i} 0))\n(assert (<= X_{i} 1))" for i in range(2))
        text = f"{names}\n{box}\n(assert (and (>= (+ Y_0 Y_1) 1.5) (>= Y_0 0.7)))"
        check = verify.check_vnnlib(cx.SparseReLUNetwork([(np.eye(2), None)]), verify.parse_property(text))
        assert check.status is Holding.UNKNOWN
        assert check.proof is None


@pytest.mark.usefixtures("no_splitting", "no_ascent")
@pytest.mark.parametrize("backend", WITH_DUALS)
def test_an_extreme_of_a_linear_program_needs_no_tolerance(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # No neuron can switch: CROWN is exact, so it is made to be off, and the model is a linear program over the ball.
    network = cx.SparseReLUNetwork([(np.eye(2), [5.0, 5.0]), ([[1.0, -2.0]], [0.5])])
    loosen = verify.bounds.functions.Functions.crown
    monkeypatch.setattr("verify.bounds.functions.Functions.crown", lambda *given: loose(loosen(*given)))
    found = verify.maximize(network, verify.L1Ball([0.0, 0.0], 1.0), backend=backend)
    assert (found.status, found.proof, found.backend) == (verify.Status.OPTIMAL, Proof.LP, backend)
    assert (found.value, found.bound) == pytest.approx((-2.5, -2.5), abs=1e-9)
    assert found.allowance == 0.0
    assert found.bound >= -2.5


def loose(known: verify.Interval) -> verify.Interval:
    return verify.Interval(known.lower - 1.0, known.upper + 1.0)
