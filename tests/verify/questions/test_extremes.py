"""Maxima, minima and ranges: right against enumeration, and unknown wherever something does not add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify import Proof, Status
from verify.backends import engine_chain
from verify.backends import registry as backends
from verify.bounds.functions import Functions
from verify.milp.engine_result import EngineResult, EngineStatus

SHAPES = [(2, 1), (2, 4, 1), (3, 5, 3), (2, 3, 3, 2)]


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_extremes_are_those_of_enumeration(shape: tuple[int, ...], seed: int, backend: str) -> None:
    rng = np.random.default_rng(seed)
    network = zoo.network(shape, seed=seed, density=rng.choice([0.5, 1.0]), bias=bool(seed % 2))
    region = verify.LinfBall(rng.standard_normal(shape[0]), 0.7)
    weights = rng.standard_normal(shape[-1])
    for solve, sign in ((verify.maximize, 1.0), (verify.minimize, -1.0)):
        found = solve(network, region, weights, backend=backend, seed=seed)
        truth = sign * zoo.enumerated_maximum(network, region.lower, region.upper, sign * weights)
        assert found.status is Status.OPTIMAL, str(found)
        assert found.value == pytest.approx(truth, abs=1e-6)
        assert found.bound == pytest.approx(truth, abs=1e-5)
        assert sign * (found.bound - truth) >= -1e-6
        assert region.contains(found.witness)
        outputs = network.predict(found.witness[None]).reshape(1, -1)
        assert float((outputs @ weights)[0]) == pytest.approx(found.value, abs=1e-12)
        assert abs(found.leak) <= 1e-5


def test_a_range_holds_every_output() -> None:
    network, region = zoo.network((3, 6, 3), seed=1), verify.LinfBall([0.1, 0.2, -0.3], 0.8)
    found = verify.output_range(network, region)
    points = np.random.default_rng(0).uniform(region.lower, region.upper, (2000, 3))
    corners = np.array(list(product(*zip(region.lower, region.upper, strict=True))))
    values = network.predict(np.concatenate([points, corners]))
    assert (values >= found.lower).all()
    assert (values <= found.upper).all()
    for index, row in enumerate(np.eye(3)):
        assert found.upper[index] == pytest.approx(zoo.enumerated_maximum(network, region.lower, region.upper, row))
        assert found.lower[index] == pytest.approx(-zoo.enumerated_maximum(network, region.lower, region.upper, -row))
    assert np.allclose(found.reached_lower, found.lower, atol=1e-6)
    assert np.allclose(found.reached_upper, found.upper, atol=1e-6)
    assert "output 2: found " in str(found)


def bent() -> cx.SparseReLUNetwork:
    """Return f(x) = |x| - |x / 2|, whose maximum over [-1, 1] no bound but a MILP's meets."""
    return cx.SparseReLUNetwork([([[1.0], [-1.0], [0.5], [-0.5]], None), ([[1.0, 1.0, -1.0, -1.0]], None)])


REGION = verify.Box([-1.0], [1.0])


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize(("kind", "truth"), [(verify.L1Ball, 0.5), (verify.L2Ball, 0.5)])
def test_extremes_over_other_balls(kind: type[verify.L1Ball] | type[verify.L2Ball], truth: float, backend: str) -> None:
    # f(x) = |x_0| - |x_0 / 2| + 0 x_1: largest at the end of the ball along x_0.
    layers = [(np.column_stack([[1.0, -1.0, 0.5, -0.5], np.zeros(4)]), None), ([[1.0, 1.0, -1.0, -1.0]], None)]
    found = verify.maximize(cx.SparseReLUNetwork(layers), kind([0.0, 0.0], 1.0), backend=backend)
    assert found.status is Status.OPTIMAL, str(found)
    assert found.value == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("sense", ["maximum", "minimum"])
def test_an_extreme_over_an_l2_ball_is_not_left_early(sense: str) -> None:
    # All values are far below 0: a bound below 0 says nothing about the extreme.
    network = cx.SparseReLUNetwork([([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]], None), ([[-1.0, -1.0, -1.0]], [-5.0])])
    region = verify.L2Ball([0.2, 0.1], 1.0)
    found = (verify.maximize if sense == "maximum" else verify.minimize)(network, region)
    rim = 2.0 * np.pi * np.arange(4000) / 4000
    points = np.stack([np.cos(rim), np.sin(rim)], axis=1)[:, None] * np.linspace(0, 1, 50)[:, None]
    values = network.predict(points.reshape(-1, 2) + region.center)
    truth = values.max() if sense == "maximum" else values.min()
    assert found.status is Status.OPTIMAL, str(found)
    assert found.value == pytest.approx(truth, abs=1e-3)


class TestProofs:
    def test_bounds_alone_prove_a_linear_function(self) -> None:
        network = cx.SparseReLUNetwork([([[1.0, -2.0]], [0.5])])
        found = verify.maximize(network, verify.Box([-1.0, -1.0], [1.0, 1.0]))
        assert (found.status, found.value, found.backend) == (Status.OPTIMAL, 3.5, None)
        assert found.proof is not Proof.SOLVER
        assert found.allowance == 0.0

    def test_constants_and_points_need_no_engine(self) -> None:
        constant = cx.SparseReLUNetwork([(np.zeros((1, 3)), [1.0])])
        assert verify.maximize(constant, verify.LinfBall([0.0] * 3, 1.0)).backend is None
        for x in np.random.default_rng(0).standard_normal((5, 3)):
            found = verify.maximize(zoo.network((3, 6, 1), seed=3), verify.LinfBall(x, 0.0))
            assert (found.status, found.backend) == (Status.OPTIMAL, None), str(found)

    @pytest.mark.usefixtures("no_splitting")
    def test_a_milp_proves_what_bounds_cannot(self) -> None:
        found = verify.maximize(bent(), REGION)
        assert (found.status, found.proof) == (Status.OPTIMAL, Proof.SOLVER)
        assert found.value == pytest.approx(0.5)
        assert found.gap == pytest.approx(0.0, abs=1e-6)

    @pytest.mark.parametrize("kind", [verify.LinfBall, verify.L1Ball, verify.L2Ball])
    def test_an_output_that_is_zero_all_over_the_ball(self, kind: Any) -> None:
        weights = ([[2.0]], [[1.0], [-0.5]], [[1.0, -1.0]])
        dead = cx.SparseReLUNetwork([(np.array(weight), None) for weight in weights])
        found = verify.maximize(dead, kind([-0.5], 0.3, clip=(-0.5, 0.0)), [2.5])
        assert (found.status, found.value, found.backend) == (Status.OPTIMAL, 0.0, None)

    def test_no_time_leaves_value_and_bound(self) -> None:
        found = verify.maximize(bent(), REGION, time_limit=0)
        assert found.status is Status.LIMIT
        assert found.value == 0.0
        assert 0.5 <= found.bound < np.inf

    def test_it_reads_well(self) -> None:
        lines = str(verify.minimize(bent(), REGION)).splitlines()
        assert lines[0] == "OPTIMAL: The value found is the optimum, within the tolerance."
        assert lines[2].startswith("  minimum found 0, proven bound ")

    @pytest.mark.parametrize("size", [1e-9, 1e9])
    def test_outputs_of_any_scale(self, size: float) -> None:
        layers = [(weight, bias) for weight, bias in bent().layers]
        layers[-1] = (layers[-1][0] * size, layers[-1][1] * size)
        found = verify.maximize(cx.SparseReLUNetwork(layers), REGION)
        assert found.status is Status.OPTIMAL
        assert found.value == pytest.approx(0.5 * size)


@dataclass(frozen=True)
class Liar:
    """An engine that says what the test wants."""

    outcome: Callable[[Any], EngineResult]
    name: str = "liar"

    def maximise(self, milp: Any, time_limit: float) -> EngineResult:
        return self.outcome(milp)

    run = maximise


@pytest.mark.usefixtures("no_splitting")
class TestEnginesThatAreWrong:
    def ask(self, monkeypatch: pytest.MonkeyPatch, outcome: Callable[[Any], EngineResult]) -> verify.Optimum:
        monkeypatch.setattr(backends, "candidates", lambda name: [Liar(outcome)])
        monkeypatch.setattr(engine_chain, "self_test", lambda name: None)
        return verify.maximize(bent(), REGION)

    @pytest.mark.parametrize(
        ("ending", "bound", "words"),
        [
            (EngineStatus.INFEASIBLE, -np.inf, "calls a model infeasible"),
            (EngineStatus.FAILED, 0.5, "The engine failed"),
            (EngineStatus.OPTIMAL, np.nan, "gave no bound"),
            (EngineStatus.OPTIMAL, -5.0, "is below a margin"),
            (EngineStatus.OPTIMAL, 0.6, "calls its point optimal, but"),
        ],
    )
    def test_nothing_is_optimal(
        self, ending: EngineStatus, bound: float, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = self.ask(monkeypatch, lambda milp: EngineResult(ending, None, bound, "as told", 1e-6))
        assert found.status is Status.UNKNOWN
        assert words in found.reason
        assert found.bound >= 0.5

    def test_a_leak_is_told_and_doubted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # At x = 0 the engine claims all values at their upper ends: an objective of 1 - 0.5 + ... that nothing reaches.
        def outcome(milp: Any) -> EngineResult:
            values = np.where(milp.cost > 0, milp.upper, milp.lower)
            values[0] = 0.0
            return EngineResult(
                EngineStatus.OPTIMAL, values, float(milp.cost @ values) + milp.constant, "as told", 1e-6
            )

        found = self.ask(monkeypatch, outcome)
        assert found.status is Status.UNKNOWN
        assert found.leak == pytest.approx(2.0)
        assert "off by 2" in found.reason

    def test_a_limit_keeps_its_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.ask(monkeypatch, lambda milp: EngineResult(EngineStatus.LIMIT, None, 0.6, "as told", 1e-6))
        assert (found.status, found.bound, found.allowance) == (Status.LIMIT, 0.6, 1e-6)


class TestFunctions:
    """Linear functions whose sums cancel: bounds must hold in rational arithmetic."""

    def exact(self, network: cx.SparseReLUNetwork, x: Floats, row: Floats, offset: float) -> Any:
        from fractions import Fraction

        outputs = zoo.exact_outputs(network, x)[-1]
        return sum((Fraction(c) * y for c, y in zip(row, outputs, strict=True)), Fraction(offset))

    @pytest.mark.parametrize("seed", range(20))
    def test_bounds_hold_where_rows_and_offsets_cancel(self, seed: int) -> None:
        import scipy.sparse as sp

        rng = np.random.default_rng(seed)
        network, x = zoo.network((3, 5, 4), seed=seed), rng.standard_normal(3)
        row = rng.standard_normal(4) * 10.0 ** rng.uniform(-8, 8, 4)
        offset = -float(network.predict(x[None])[0] @ row)
        functions = Functions(sp.csr_matrix(row[None]), np.array([offset]), network)
        exact = self.exact(network, x, row, offset)
        box = verify.Box(x, x)
        layers = verify.bound(network, box)
        for known in (functions.proven_at(x), functions.crown(box, layers)):
            assert known.lower[0] <= exact <= known.upper[0]

    def test_weights_that_cancel_exactly_in_floats(self) -> None:
        import scipy.sparse as sp

        # rows @ weight rounds 1e16 + 1 - 1e16 to 0 or 2; the truth is 1.
        network = cx.SparseReLUNetwork([([[1e16], [1.0], [-1e16]], None)])
        functions = Functions(sp.csr_matrix([[1.0, 1.0, 1.0]]), np.zeros(1), network)
        known = functions.proven_at(np.ones(1))
        assert known.lower[0] <= 1.0 <= known.upper[0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"objective": None}, ValueError, "objective is None for 3 outputs; expected an output's index or 3 weights"),
        ({"objective": 3}, ValueError, "objective is 3; expected the index of an output, 0 to 2"),
        ({"objective": -1}, ValueError, "objective is -1"),
        ({"objective": [1.0]}, ValueError, "objective has shape (1,); expected a vector of shape (3,)"),
        ({"objective": [1.0, np.nan, 0.0]}, ValueError, "objective holds nan"),
        ({"region": verify.Box([0.0], [1.0])}, ValueError, "region has 1 inputs; expected 2"),
        ({"time_limit": -1}, ValueError, "time_limit is -1"),
        ({"backend": "cplex"}, ValueError, "backend 'cplex' is unknown"),
        ({"network": 3}, TypeError, "network is a int"),
        ({"model": 3}, TypeError, "model is a int; expected a torch module, an ONNX model, a network, or a callable"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    good: dict[str, Any] = {"network": zoo.network((2, 4, 3)), "region": verify.LinfBall([0.0, 0.0], 1.0)}
    with pytest.raises(error) as caught:
        verify.maximize(**{**good, "objective": 0, **arguments})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
