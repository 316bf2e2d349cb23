"""OPTIMAL is said only where bound and value meet: in deep networks, at any scale, whatever an engine allows itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify import Proof, Status
from verify.backends import engine_chain
from verify.backends import registry as backends
from verify.bounds.functions import Functions
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.questions.extremes import Maximization, functions_of
from verify.questions.inquiry import Inquiry
from verify.questions.resources import resources_of


def he_network(sizes: list[int], seed: int, scale: float = 1.0) -> cx.SparseReLUNetwork:
    """Return a network whose values keep their size from layer to layer, while intervals explode."""
    rng = np.random.default_rng(seed)
    layers = [(rng.standard_normal((b, a)) * np.sqrt(2.0 / a), np.zeros(b)) for a, b in pairwise(sizes)]
    return cx.SparseReLUNetwork([*layers[:-1], (layers[-1][0] * scale, layers[-1][1])])


def error_at(network: cx.SparseReLUNetwork, x: Floats) -> float:
    """Return the error of evaluating the output at `x`, as bounds of a region that is one point have it."""
    known = Functions(sp.csr_matrix(np.eye(1)), np.zeros(1), network).sharply_at(x)
    return float(known.upper[0] - known.lower[0])


def assert_meets(found: verify.Optimum, network: cx.SparseReLUNetwork) -> None:
    size = max(abs(found.value), abs(found.bound))
    assert abs(found.gap) <= found.tolerance
    assert found.tolerance <= 2e-6 * size + 20.0 * error_at(network, found.witness) + 1e-12 * size


@pytest.mark.parametrize(("depth", "width"), [(20, 50), (20, 100)])
def test_a_deep_network_without_time_is_not_called_optimal(depth: int, width: int) -> None:
    network = he_network([10] + [width] * depth + [1], seed=0)
    found = verify.maximize(network, verify.LinfBall(np.full(10, 0.5), 1e-2), time_limit=0)
    assert found.gap > 1e-3
    assert found.status is Status.LIMIT


def test_an_error_that_the_limit_has_cut_short_closes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network, region = he_network([10] + [50] * 20 + [1], seed=0), verify.LinfBall(np.full(10, 0.5), 1e-2)
    inquiry = Inquiry(functions_of(network, np.eye(1)), region, resources_of(60.0, "auto", 0))
    asked = Maximization(inquiry, 0, 1.0)
    plain = Functions.proven_at

    def stopped(functions: Functions, x: Floats, stop: Any) -> Any:
        inquiry.clock.limit = 0.0
        return plain(functions, x)

    whole = asked._evaluation_error()
    assert 0.0 < whole < 1e-6
    asked = Maximization(inquiry, 0, 1.0)
    monkeypatch.setattr(Functions, "sharply_at", stopped)
    assert asked._evaluation_error() == 0.0


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
@pytest.mark.parametrize("depth", [1, 3, 8, 20])
@pytest.mark.parametrize("seed", range(2))
def test_optimal_means_that_value_and_bound_meet(depth: int, scale: float, seed: int) -> None:
    network = he_network([3] + [6] * depth + [1], seed, scale)
    region = verify.LinfBall(np.random.default_rng(seed).standard_normal(3), 0.05)
    for solve in (verify.maximize, verify.minimize):
        found = solve(network, region, time_limit=0.5, seed=seed)
        assert found.gap >= -1e-9 * abs(found.value)
        if found.status is Status.OPTIMAL:
            assert_meets(found, network)


@pytest.mark.parametrize("scale", [1e-8, 1e6])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_small_questions_end_optimal_at_any_scale(scale: float, seed: int) -> None:
    network = he_network([2, 5, 1], seed, scale)
    region = verify.LinfBall(np.random.default_rng(seed).standard_normal(2), 0.7)
    for solve, sign in ((verify.maximize, 1.0), (verify.minimize, -1.0)):
        found = solve(network, region)
        # The linear programs of the enumeration have absolute tolerances: they are asked at size 1.
        plain = he_network([2, 5, 1], seed)
        truth = scale * sign * zoo.enumerated_maximum(plain, region.lower, region.upper, np.array([sign]))
        assert found.status is Status.OPTIMAL, str(found)
        assert found.value == pytest.approx(truth, rel=2e-6, abs=1e-12 * scale)
        assert abs(found.gap) <= found.tolerance


@pytest.mark.parametrize("seed", [8, 9])
def test_inputs_of_unlike_units(seed: int) -> None:
    # One input in +-1e6 beside 0 to 0.001: an engine's tolerances amount to more than the optimum.
    rng = np.random.default_rng(seed)
    first, bias, last = rng.standard_normal((6, 3)), rng.standard_normal(6), rng.standard_normal((1, 6))
    network = cx.SparseReLUNetwork([(first, bias), (last, [0.0])])
    found = verify.maximize(network, verify.Box([-1e6, 0.0, 0.0], [1e6, 1e-3, 1.0]))
    assert found.tolerance <= 1e-5 * abs(found.value)
    assert abs(found.gap) <= found.tolerance or found.status is not Status.OPTIMAL


def test_a_value_of_zero_whose_terms_are_not() -> None:
    # min |x| - |x / 2| is 0 at 0, where no term is left; bounds carry the rounding of terms elsewhere.
    network = cx.SparseReLUNetwork([([[1.0], [-1.0], [0.5], [-0.5]], None), ([[1.0, 1.0, -1.0, -1.0]], None)])
    found = verify.minimize(network, verify.Box([-1.0], [1.0]))
    assert (found.status, found.value) == (Status.OPTIMAL, 0.0)
    assert 0.0 <= found.gap <= found.tolerance <= 1e-12


class TestEnginesThatAllowThemselvesMuch:
    """An engine whose bound is as told, and whose tolerances amount to more than the value."""

    network = cx.SparseReLUNetwork([([[1.0], [-1.0], [0.5], [-0.5]], None), ([[1.0, 1.0, -1.0, -1.0]], None)])

    def ask(self, monkeypatch: pytest.MonkeyPatch, bound: float) -> verify.Optimum:
        class Coarse:
            name = "coarse"

            def maximise(self, milp: Any, request: Any) -> EngineResult:
                return EngineResult(EngineStatus.OPTIMAL, None, bound, "as told", 49.0)

        monkeypatch.setattr(backends, "candidates", lambda name: [Coarse()])
        monkeypatch.setattr(engine_chain, "self_test", lambda name: None)
        monkeypatch.setattr("verify.questions.resources.BRANCHING_SHARES", {})
        return verify.maximize(self.network, verify.Box([-1.0], [1.0]))

    @pytest.mark.parametrize("bound", [0.5, 0.6])
    def test_nothing_rests_on_its_tolerances(self, bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("verify.questions.extremes.AFTER_ENGINES", 0.0)
        found = self.ask(monkeypatch, bound)
        assert found.status is Status.UNKNOWN
        assert "its tolerances can amount to 49: too coarse for a proof" in found.reason
        # The bound that is proven outright is better than one that may be off by 49.
        assert found.proof is not Proof.SOLVER
        assert found.allowance == 0.0

    def test_branch_and_bound_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.ask(monkeypatch, 0.6)
        assert (found.status, found.proof) == (Status.OPTIMAL, Proof.BRANCHED)
        assert found.allowance == 0.0


def test_an_optimum_of_zero_is_held_against_the_value_at_the_center() -> None:
    # relu(x) - relu(x - 1) is 0 up to x = 0 and 0.5 at the center; its smallest value has no size of its own.
    network = cx.SparseReLUNetwork([([[1.0], [1.0]], [0.0, -1.0]), ([[1.0, -1.0]], None)])
    region = verify.Box([-1.0], [2.0])
    found = verify.minimize(network, region)
    assert (found.status, found.value) == (Status.OPTIMAL, 0.0)
    assert -1e-9 * 0.5 <= found.bound <= 0.0
    # A value that is small beside the center's, and not 0 within 1e-9 of it, has to meet its bound all the same.
    shifted = cx.SparseReLUNetwork([network.layers[0], (network.layers[1][0], [1e-6])])
    near = verify.minimize(shifted, region)
    assert near.status is not Status.OPTIMAL or near.gap <= 2e-6 * near.value + 1e-15
