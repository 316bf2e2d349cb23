"""The encoding and the engines: the MILP is the network, and every engine says so."""

from __future__ import annotations

import numpy as np
import pytest

import convexnn as cx
import verify
from tests.helpers import zoo
from verify.backends import engine_chain
from verify.backends import registry as backends
from verify.backends.registry import BACKENDS
from verify.milp.engine_result import EngineStatus
from verify.milp.model import Milp

SHAPES = [(3, 1), (3, 4, 1), (3, 4, 2), (3, 3, 3, 2)]


def satisfied(milp: Milp, values: np.ndarray, slack: float = 1e-9) -> bool:
    rows = milp.rows @ values
    inside = (values >= milp.lower - slack).all() and (values <= milp.upper + slack).all()
    return bool(inside and (rows >= milp.row_lower - slack).all() and (rows <= milp.row_upper + slack).all())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_every_input_completes_to_a_feasible_point_with_the_networks_output(shape: tuple[int, ...], seed: int) -> None:
    network = zoo.network(shape, seed=seed, density=0.7)
    region = verify.Box([-1.0] * 3, [1.5] * 3)
    objective = np.random.default_rng(seed).standard_normal(shape[-1])
    encoding = verify.encode(network, region, objective)
    for x in np.random.default_rng(seed).uniform(-1, 1.5, (50, 3)):
        values = encoding.complete(x)
        assert satisfied(encoding.milp, values)
        found = encoding.milp.cost @ values + encoding.milp.constant
        assert found == pytest.approx(objective @ network.predict(x[None]).reshape(-1), abs=1e-9)
        used = np.zeros(3, dtype=bool)
        used[encoding.inputs.used] = True
        assert np.array_equal(encoding.point(values)[used], x[used])


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fixed_input_gives_the_networks_output(shape: tuple[int, ...], backend: str) -> None:
    network = zoo.network(shape, seed=5)
    objective = np.arange(1.0, shape[-1] + 1)
    for x in np.random.default_rng(0).standard_normal((5, 3)):
        milp = verify.encode(network, verify.Box(x, x), objective).milp
        outcome = BACKENDS[backend].maximise(milp, 10.0)
        expected = objective @ network.predict(x[None]).reshape(-1)
        assert outcome.status is EngineStatus.OPTIMAL
        assert outcome.bound == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("shape", [(3, 1), (3, 4, 1), (2, 3, 2, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_that_of_all_activation_patterns(shape: tuple[int, ...], seed: int, backend: str) -> None:
    network = zoo.network(shape, seed=seed, density=0.8)
    lower, upper = np.full(shape[0], -1.0), np.full(shape[0], 1.0)
    objective = np.random.default_rng(seed).standard_normal(shape[-1])
    encoding = verify.encode(network, verify.Box(lower, upper), objective)
    outcome = BACKENDS[backend].maximise(encoding.milp, 20.0)
    best = zoo.enumerated_maximum(network, lower, upper, objective)
    assert outcome.bound == pytest.approx(best, abs=1e-6)
    assert outcome.values is not None
    reached = objective @ network.predict(encoding.point(outcome.values)[None]).reshape(-1)
    assert reached == pytest.approx(best, abs=1e-5)


def test_it_is_compact() -> None:
    # Neuron 0 is dead over the box, 1 always active, 2 unstable and the only one to leave a trace; input 2 is unused.
    network = cx.SparseReLUNetwork(
        [([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0]], [-9.0, 9.0, 0.0]), ([[1.0, 1.0, 1.0]], [0.5])]
    )
    encoding = verify.encode(network, verify.Box([-1.0] * 3, [1.0] * 3))
    assert encoding.inputs.used.tolist() == [0, 1]
    assert [layer.tolist() for layer in encoding.unstable] == [[2]]
    assert str(encoding.milp) == "MILP: 4 variables (1 binary), 3 rows, 9 nonzeros"
    assert encoding.point(np.array([1.0, -1.0, 0.0, 0.0])).tolist() == [1.0, -1.0, 0.0]


def test_an_input_of_dead_neurons_alone_is_left_out() -> None:
    network = cx.SparseReLUNetwork([([[0.0, 1.0], [1.0, 0.0]], [-5.0, 0.0]), ([[1.0, 1.0]], None)])
    encoding = verify.encode(network, verify.Box([-1.0, -1.0], [1.0, 1.0]))
    assert encoding.inputs.used.tolist() == [0]


def test_each_neuron_has_its_own_big_m() -> None:
    network = cx.SparseReLUNetwork([([[1.0], [100.0]], [0.5, 0.0]), ([[1.0, 1.0]], None)])
    milp = verify.encode(network, verify.Box([-1.0], [1.0])).milp
    assert milp.upper[1:3] == pytest.approx([1.5, 100.0])


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="objective is None for 2 outputs"):
        verify.encode(zoo.network((3, 2)), verify.Box([0.0] * 3, [1.0] * 3))
    with pytest.raises(ValueError, match=r"objective has shape \(3,\); expected a vector of shape \(2,\)"):
        verify.encode(zoo.network((3, 2)), verify.Box([0.0] * 3, [1.0] * 3), [1, 2, 3])
    network = cx.SparseReLUNetwork([([[1e305]], None), ([[1.0]], None)])
    with pytest.raises(ValueError, match="a pre-activation bound is infinite"):
        verify.encode(network, verify.Box([-1e99], [1e99]))


class TestBackends:
    @pytest.mark.parametrize("name", zoo.ENGINES)
    def test_each_passes_its_self_test(self, name: str) -> None:
        assert engine_chain.self_test(name) is None

    def test_cp_sat_is_not_among_them(self) -> None:
        with pytest.raises(
            ValueError, match="backend 'cp_sat' is unknown; expected one of: auto, branching, gurobi, highspy"
        ):
            backends.candidates("cp_sat")

    def test_a_missing_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backends, "find_spec", lambda name: None)
        with pytest.raises(
            ImportError, match="backend 'highs' needs the package ortools; install it with: pip install"
        ):
            backends.candidates("highs")
        assert backends.candidates("auto") == []

    @pytest.mark.parametrize("name", zoo.ENGINES)
    def test_an_infeasible_model_is_called_so(self, name: str) -> None:
        milp = verify.encode(zoo.network((2, 3, 1)), verify.Box([-1.0] * 2, [1.0] * 2)).milp
        impossible = Milp(**vars(milp) | {"row_lower": milp.row_lower + 1e3, "row_upper": milp.row_upper - 1e3})
        outcome = BACKENDS[name].maximise(impossible, 5.0)
        assert outcome.status is EngineStatus.INFEASIBLE
        assert outcome.values is None

    @pytest.mark.parametrize("name", zoo.ENGINES)
    def test_without_time_nothing_is_claimed(self, name: str) -> None:
        milp = verify.encode(zoo.network((10, 60, 60, 1)), verify.Box([-1.0] * 10, [1.0] * 10)).milp
        outcome = BACKENDS[name].maximise(milp, 1e-9)
        assert outcome.status in (EngineStatus.LIMIT, EngineStatus.FAILED)
        assert outcome.values is None or satisfied(milp, outcome.values, 1e-6)

    @pytest.mark.parametrize("name", zoo.ENGINES)
    def test_what_an_engine_raises_is_a_failure_never_an_answer(self, name: str) -> None:
        milp = verify.encode(zoo.network((2, 3, 1)), verify.Box([-1.0] * 2, [1.0] * 2)).milp
        outcome = BACKENDS[name].maximise(Milp(**vars(milp) | {"cost": np.full_like(milp.cost, np.nan)}), 5.0)
        assert outcome.status is EngineStatus.FAILED
        assert outcome.values is None
        assert outcome.bound == np.inf
        assert outcome.detail.startswith("ValueError: ")

    def test_an_error_that_ortools_hides_keeps_its_text(self) -> None:
        milp = verify.encode(zoo.network((2, 3, 1)), verify.Box([-1.0] * 2, [1.0] * 2)).milp
        outcome = BACKENDS["highs"].maximise(Milp(**vars(milp) | {"upper": milp.lower - 1.0}), 5.0)
        assert outcome.status is EngineStatus.FAILED
        assert "have lower_bound > upper_bound" in outcome.detail
