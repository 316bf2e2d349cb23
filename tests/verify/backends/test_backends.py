"""What engines can do beside solving: end early, tell of better points, fail in words and hand on to the next."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from tests.helpers import zoo
from verify import Verdict
from verify.answers.checked_result import CheckedResult, rejection_of
from verify.backends import engine_chain
from verify.backends import registry as backends
from verify.backends.engine_chain import EngineChain, self_test, sound_chain
from verify.backends.registry import BACKENDS
from verify.encoding.encode import Encoding
from verify.milp.early_stop import scaled_with_early_stop, with_early_stop
from verify.milp.engine_result import EngineResult, EngineStatus
from verify.milp.request import Request
from verify.milp.scaling import scale

HEARING = [case for case in zoo.ENGINES if case.values[0] not in ("highs", "scipy")]
BOX = ([-1.0] * 3, [1.0] * 3)


def asked(seed: int, shape: tuple[int, ...] = (3, 5, 4, 1)) -> tuple[Encoding, float]:
    """Return a small model and its optimum by enumeration of all activation patterns."""
    network, region = zoo.network(shape, seed=seed), verify.Box(*BOX)
    best = zoo.enumerated_maximum(network, region.lower, region.upper, np.ones(1))
    return verify.encode(network, region, bounds=verify.bound(network, region, "interval")), best


class TestEnough:
    """A bound has no need to be lower than what suffices."""

    @pytest.mark.parametrize("backend", zoo.ENGINES)
    @pytest.mark.parametrize("seed", range(4))
    def test_a_level_above_the_optimum_is_proven(self, seed: int, backend: str) -> None:
        encoding, best = asked(seed)
        outcome = BACKENDS[backend].maximise(encoding.milp, Request(20.0, enough=best + 0.5))
        assert outcome.status is EngineStatus.STOPPED
        assert best - 1e-6 <= outcome.bound < best + 0.5 - outcome.allowance

    @pytest.mark.parametrize("backend", zoo.ENGINES)
    @pytest.mark.parametrize("seed", range(4))
    def test_a_level_below_the_optimum_leaves_the_optimum(self, seed: int, backend: str) -> None:
        encoding, best = asked(seed)
        outcome = BACKENDS[backend].maximise(encoding.milp, Request(20.0, enough=best - 0.5, top=best + 1.0))
        assert outcome.values is not None
        assert len(outcome.values) == len(encoding.milp.cost)
        scaled = scaled_with_early_stop(encoding.milp, best - 0.5, best + 1.0)
        assert scaled is not None
        assert best - 1e-6 <= outcome.bound <= best + scaled.allowance + scaled.error
        assert scaled.allowance + scaled.error < 1e-3
        reached = encoding.network.predict(encoding.point(outcome.values)[None])[0]
        assert reached == pytest.approx(best, abs=1e-4)

    @pytest.mark.parametrize("seed", range(6))
    def test_the_early_stop_keeps_every_point_above_its_level(self, seed: int) -> None:
        encoding, best = asked(seed)
        level = best - 1.0
        milp = with_early_stop(encoding.milp, level, best + 0.1)
        for x in np.random.default_rng(seed).uniform(-1.0, 1.0, (100, 3)):
            values, reached = encoding.complete(x), float(encoding.network.predict(x[None])[0])
            choices = [np.append(values, [level, 1.0])]
            if reached >= level:
                choices.append(np.append(values, [reached, 0.0]))
            for point in choices:
                rows = milp.rows @ point
                assert (rows >= milp.row_lower - 1e-9).all()
                assert (rows <= milp.row_upper + 1e-9).all()
                assert (point >= milp.lower - 1e-9).all()
                assert (point <= milp.upper + 1e-9).all()

    def test_a_bound_at_the_early_stop_is_a_proof(self) -> None:
        # The level of the stop, with all that is added on the way back, clears what suffices and its tolerance.
        for seed in range(6):
            encoding, best = asked(seed)
            scaled = scaled_with_early_stop(encoding.milp, best - 0.5, np.inf)
            assert scaled is not None
            # Scaled, every variable begins at 0.
            bound = scaled.restore(EngineResult(EngineStatus.OPTIMAL, None, 1e-6, "as told")).bound
            assert best - 0.6 < bound < best - 0.5 - scaled.allowance

    def test_there_is_none_above_what_is_known(self) -> None:
        encoding, best = asked(0)
        assert scaled_with_early_stop(encoding.milp, best + 1.0, best + 0.5) is None
        assert scaled_with_early_stop(encoding.milp, 1e9, np.inf) is None

    def test_the_scale_of_the_objective_is_that_of_what_is_open(self) -> None:
        encoding, best = asked(1)
        open_part = scaled_with_early_stop(encoding.milp, best + 0.01, best + 0.02)
        assert open_part is not None
        assert open_part.factor < scale(encoding.milp).factor


class TestIncumbents:
    @pytest.mark.parametrize("backend", HEARING)
    def test_points_are_those_of_the_network(self, backend: str) -> None:
        encoding, best = asked(2)
        heard: list[np.ndarray] = []

        def keep(values: np.ndarray) -> bool:
            heard.append(values.copy())
            return False

        outcome = BACKENDS[backend].maximise(encoding.milp, Request(20.0, on_incumbent=keep))
        assert outcome.status is EngineStatus.OPTIMAL
        assert heard
        for values in heard:
            objective = float(encoding.milp.cost @ values) + encoding.milp.constant
            assert encoding.network.predict(encoding.point(values)[None])[0] == pytest.approx(objective, abs=1e-4)
            assert objective <= best + 1e-5

    @pytest.mark.parametrize("backend", HEARING)
    def test_the_run_ends_at_a_point_that_is_good_enough(self, backend: str) -> None:
        network = zoo.network((8, 20, 20, 1), seed=0)
        encoding = verify.encode(network, verify.Box([-0.5] * 8, [0.5] * 8))
        outcome = BACKENDS[backend].maximise(encoding.milp, Request(60.0, on_incumbent=lambda values: True))
        # An engine that has its optimum at the same time may say so.
        assert outcome.status in (EngineStatus.STOPPED, EngineStatus.OPTIMAL)
        assert outcome.values is not None

    @pytest.mark.parametrize("backend", HEARING)
    def test_with_an_early_stop_they_have_no_more_variables(self, backend: str) -> None:
        encoding, best = asked(3)
        sizes: set[int] = set()

        def keep(values: np.ndarray) -> bool:
            sizes.add(len(values))
            return False

        BACKENDS[backend].maximise(encoding.milp, Request(20.0, enough=best - 0.5, on_incumbent=keep))
        assert sizes == {len(encoding.milp.cost)}

    @pytest.mark.parametrize("backend", [case for case in HEARING if case.values[0] != "highspy"])
    def test_a_start_is_no_worse_than_none(self, backend: str) -> None:
        encoding, best = asked(4)
        start = encoding.complete(np.zeros(3))
        outcome = BACKENDS[backend].maximise(encoding.milp, Request(20.0, start=start))
        assert outcome.status is EngineStatus.OPTIMAL
        assert outcome.bound == pytest.approx(best, abs=1e-5)


class TestHalting:
    @pytest.mark.parametrize("backend", [case for case in zoo.ENGINES if case.values[0] in ("gurobi", "highspy")])
    def test_an_engine_that_nobody_waits_for_ends(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        network = zoo.network((30, 60, 60, 1), seed=0)
        milp = verify.encode(network, verify.Box([-1.0] * 30, [1.0] * 30)).milp
        before = set(threading.enumerate())
        # The clock is past the grace at once: the engine is left alone while it has an hour.
        monkeypatch.setattr(backends, "GRACE", -7200.0)
        monkeypatch.setattr(backends, "GRACE_SHARE", -2.0)
        outcome = BACKENDS[backend].maximise(milp, Request(3600.0))
        assert outcome.status is EngineStatus.LIMIT
        (work,) = set(threading.enumerate()) - before
        work.join(60.0)
        assert not work.is_alive()

    @pytest.mark.parametrize("backend", zoo.ENGINES)
    def test_a_request_can_be_made_again(self, backend: str) -> None:
        encoding, best = asked(0)
        request = Request(20.0, on_incumbent=lambda values: False)
        for _ in range(2):
            outcome = BACKENDS[backend].maximise(encoding.milp, request)
            assert outcome.status is EngineStatus.OPTIMAL
            assert outcome.bound == pytest.approx(best, abs=1e-5)


class ScriptedEngine:
    """An engine that says what the test wants."""

    def __init__(self, name: str, outcome: EngineResult) -> None:
        self.name, self.outcome, self.requests = name, outcome, list[Any]()

    def maximise(self, milp: Any, request: Any) -> EngineResult:
        self.requests.append(request)
        return self.outcome


class TestEngineChain:
    """Where an engine fails on a model, the next one gets it."""

    @pytest.fixture(autouse=True)
    def sound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_chain, "self_test", lambda name: "it was wrong" if name == "wrong" else None)

    def test_the_next_one_answers_with_a_note(self) -> None:
        failing = ScriptedEngine("small", EngineResult(EngineStatus.FAILED, None, np.inf, "the model is too large"))
        able = ScriptedEngine("able", EngineResult(EngineStatus.OPTIMAL, None, 1.0, "as told"))
        chain = EngineChain([failing, able])  # type: ignore[list-item]
        assert chain.maximise(None, Request(5.0)).bound == 1.0  # type: ignore[arg-type]
        assert (chain.name, chain.notes) == ("able", ["small failed: the model is too large"])
        assert able.requests[0].time_limit <= 5.0

    def test_each_model_begins_with_the_first(self) -> None:
        first = ScriptedEngine("first", EngineResult(EngineStatus.FAILED, None, np.inf, "no"))
        second = ScriptedEngine("second", EngineResult(EngineStatus.OPTIMAL, None, 1.0, "as told"))
        chain = EngineChain([first, second])  # type: ignore[list-item]
        chain.maximise(None, 5.0)  # type: ignore[arg-type]
        first.outcome = EngineResult(EngineStatus.OPTIMAL, None, 2.0, "as told")
        assert chain.maximise(None, 5.0).bound == 2.0  # type: ignore[arg-type]
        assert (chain.name, chain.notes) == ("first", [])

    def test_all_failing_is_a_failure(self) -> None:
        failing = ScriptedEngine("only", EngineResult(EngineStatus.FAILED, None, np.inf, "no"))
        assert EngineChain([failing]).maximise(None, 5.0).status is EngineStatus.FAILED  # type: ignore[list-item, arg-type]

    def test_one_that_is_wrong_is_passed_over(self) -> None:
        able = ScriptedEngine("able", EngineResult(EngineStatus.OPTIMAL, None, 1.0, "as told"))
        chain, trouble = sound_chain([ScriptedEngine("wrong", able.outcome), able])  # type: ignore[list-item]
        assert chain is not None
        assert chain.name == "able"
        assert trouble == "The backend wrong failed its self-test: it was wrong."

    @pytest.mark.usefixtures("no_splitting")
    def test_the_trace_of_an_answer_has_the_note(self, monkeypatch: pytest.MonkeyPatch) -> None:
        failing = ScriptedEngine("small", EngineResult(EngineStatus.FAILED, None, np.inf, "the model is too large"))
        monkeypatch.setattr(backends, "candidates", lambda name: [failing, BACKENDS["scipy"]])
        hidden = [[1.0], [-1.0], [0.5], [-0.5]]
        network = cx.SparseReLUNetwork([(hidden, None), ([[1.0, 1.0, -1.0, -1.0]], [0.25])])
        answer = verify.find_adversarial(network, verify.Box([-1.0], [1.0]))
        assert (answer.status, answer.backend) == (Verdict.ROBUST, "scipy")
        assert any("small failed: the model is too large" in event.finding for event in answer.trace)


class FakeGurobi:
    """gurobipy with a licence that is not there, not valid any more, or too small."""

    class GurobiError(Exception):
        def __init__(self, errno: int, message: str) -> None:
            super().__init__(message)
            self.errno = errno

    def __init__(self, errno: int, message: str) -> None:
        self.errno, self.message = errno, message

    def Env(self, **options: Any) -> Any:
        raise self.GurobiError(self.errno, self.message)


class TestGurobi:
    def failing(self, monkeypatch: pytest.MonkeyPatch, errno: int, message: str) -> str:
        monkeypatch.setitem(sys.modules, "gurobipy", FakeGurobi(errno, message))
        outcome = BACKENDS["gurobi"].maximise(asked(0)[0].milp, 5.0)
        assert outcome.status is EngineStatus.FAILED
        assert outcome.bound == np.inf
        return outcome.detail

    def test_a_licence_that_is_missing_or_expired_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        detail = self.failing(monkeypatch, 10009, "License expired\nmore lines")
        assert detail == "Gurobi has no valid licence: License expired"

    def test_a_model_too_large_for_its_licence_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        detail = self.failing(monkeypatch, 10010, "Model too large for size-limited license")
        assert detail.endswith("rows is too large for Gurobi's size-limited licence")

    def test_another_error_keeps_its_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.failing(monkeypatch, 10001, "Out of memory") == "Gurobi error 10001: Out of memory"

    def test_a_missing_licence_fails_the_self_test_and_auto_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gurobipy", FakeGurobi(10009, "No license found"))
        self_test.cache_clear()
        chain, trouble = sound_chain([BACKENDS["gurobi"], BACKENDS["scipy"]])
        self_test.cache_clear()
        assert chain is not None
        assert chain.name == "scipy"
        assert "Gurobi has no valid licence: No license found" in trouble

    def test_auto_takes_the_next_engine_for_a_model_that_is_too_large(self) -> None:
        pytest.importorskip("gurobipy", reason="gurobipy is not installed")
        if self_test("gurobi") is not None:
            pytest.skip(f"gurobi does not work here: {self_test('gurobi')}")
        chain, _ = sound_chain([BACKENDS["gurobi"], BACKENDS["scipy"]])
        network = zoo.network((2, 700, 1), seed=0)
        assert chain is not None
        milp = verify.encode(network, verify.Box([-5.0] * 2, [5.0] * 2)).milp
        assert milp.rows.shape[0] > 2000 or len(milp.cost) > 2000
        outcome = chain.maximise(milp, Request(0.5))
        if not chain.notes:
            pytest.skip("this licence of Gurobi has no limit of size")
        assert "too large for Gurobi's size-limited licence" in chain.notes[0]
        assert chain.name == "scipy"
        assert outcome.status is not EngineStatus.FAILED


def test_the_model_for_mathopt_is_the_one_given() -> None:
    from verify.backends.mathopt import proto

    milp = verify.encode(zoo.network((150, 40, 30, 1), seed=0), verify.Box([-1.0] * 150, [1.0] * 150)).milp
    sent = proto(milp)
    matrix = sent.linear_constraint_matrix
    assert len(milp.cost) > 128
    back = sp.csr_matrix((matrix.coefficients, (matrix.row_ids, matrix.column_ids)), shape=milp.rows.shape)
    assert (back != milp.rows).nnz == 0
    assert list(sent.variables.upper_bounds) == milp.upper.tolist()
    assert list(sent.linear_constraints.lower_bounds) == milp.row_lower.tolist()


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    for name, package in {"gurobi": "gurobipy", "scip": "pyscipopt", "highspy": "highspy", "gscip": "ortools"}.items():
        with pytest.raises(ImportError, match=f"backend '{name}' needs the package {package}; install it with: pip"):
            backends.candidates(name)


def test_mathopt_does_not_offer_cp_sat_or_unknown_engines() -> None:
    names = {name for name in BACKENDS if "sat" in name}
    assert not names
    assert {engine.module.rsplit(".", 1)[1] for engine in BACKENDS.values()}.isdisjoint({"cp_sat", "cpsat"})


# What is called where the module behind MathOpt is there, is missing, or wants other arguments.
CORE, MODEL = "solve_by_core", "solve_by_model"
WAYS = {"there": [CORE], "missing": [MODEL], "other arguments": [CORE, MODEL]}


class TestWaysToCallMathOpt:
    """The proto itself where the module behind MathOpt takes it, its public model else: the same answers."""

    @pytest.fixture(params=list(WAYS))
    def way(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        from verify.backends import mathopt_calls

        # The package itself needs the module that is taken away: it must be there first.
        importlib.import_module("ortools.math_opt.python.mathopt")
        taken: list[str] = []
        for name in (CORE, MODEL):
            right = getattr(mathopt_calls, name)
            monkeypatch.setattr(mathopt_calls, name, noting(taken, name, right))
        if request.param == "missing":
            monkeypatch.setitem(sys.modules, "ortools.math_opt.core.python.solver", None)
        elif request.param == "other arguments":
            monkeypatch.setattr(mathopt_calls, "_core_solve", lambda: core_with_other_arguments())
        yield taken
        assert taken == WAYS[request.param]

    @pytest.mark.parametrize("backend", ["highs", "gscip"])
    def test_all_have_the_same_optimum(self, backend: str, way: list[str]) -> None:
        encoding, best = asked(1)
        outcome = BACKENDS[backend].maximise(encoding.milp, 20.0)
        assert outcome.status is EngineStatus.OPTIMAL
        assert outcome.bound == pytest.approx(best, abs=1e-6)
        assert outcome.values is not None
        assert float(encoding.milp.cost @ outcome.values) + encoding.milp.constant == pytest.approx(best, abs=1e-6)
        assert way in WAYS.values()

    def test_all_hear_of_points_and_take_a_start(self, way: list[str]) -> None:
        encoding, best = asked(2)
        heard: list[np.ndarray] = []

        def keep(values: np.ndarray) -> bool:
            heard.append(values.copy())
            return False

        start = encoding.complete(np.zeros(3))
        outcome = BACKENDS["gscip"].maximise(encoding.milp, Request(20.0, start=start, on_incumbent=keep))
        assert outcome.bound == pytest.approx(best, abs=1e-5)
        assert heard
        for values in heard:
            objective = float(encoding.milp.cost @ values) + encoding.milp.constant
            assert encoding.network.predict(encoding.point(values)[None])[0] == pytest.approx(objective, abs=1e-4)

    def test_all_take_conditions(self, way: list[str]) -> None:
        encoding, best = asked(3)
        milp = verify.encode(encoding.network, encoding.region, formulation="indicator").milp
        assert BACKENDS["gscip"].maximise(milp, 20.0).bound == pytest.approx(best, abs=1e-6)

    @pytest.mark.parametrize("backend", ["highs", "gscip"])
    def test_all_keep_the_words_of_an_error(self, backend: str, way: list[str]) -> None:
        milp = asked(0)[0].milp
        outcome = BACKENDS[backend].run(replace(milp, upper=milp.lower - 1.0), Request(5.0))
        assert outcome.status is EngineStatus.FAILED
        assert "have lower_bound > upper_bound" in outcome.detail

    def test_a_bound_that_is_not_told_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A field of a proto that is not there reads as 0.
        from ortools.math_opt import result_pb2

        from verify.backends import mathopt

        silent = result_pb2.SolveResultProto()
        silent.termination.reason = result_pb2.TERMINATION_REASON_OPTIMAL
        monkeypatch.setattr(mathopt, "solve_proto", lambda asked: silent)
        outcome = BACKENDS["gscip"].run(asked(0)[0].milp, Request(5.0))
        assert (outcome.bound, outcome.values) == (np.inf, None)


def noting(taken: list[str], name: str, right: Any) -> Any:
    def called(*arguments: Any) -> Any:
        taken.append(name)
        return right(*arguments)

    return called


def core_with_other_arguments() -> Any:
    def solve(model: Any, engine: Any, *more: Any) -> Any:
        raise TypeError("solve(): incompatible function arguments. The following argument types are supported: ...")

    return solve


@pytest.mark.skipif(not BACKENDS["highspy"].installed, reason="highspy is not installed")
def test_a_process_ends_cleanly_after_an_interruption() -> None:
    # Python ended below the engine's own threads, and the process aborted. A shell has its background jobs ignore
    # SIGINT, and so have they their children.
    program = """
import _thread, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np, verify
from tests.helpers import zoo
from verify.backends.registry import BACKENDS
network = zoo.network((40, 60, 60, 1), seed=0)
milp = verify.encode(network, verify.Box([-1.0] * 40, [1.0] * 40)).milp
threading.Timer(1.5, _thread.interrupt_main).start()
try:
    BACKENDS["highspy"].maximise(milp, 60.0)
except KeyboardInterrupt:
    print("interrupted")
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout.strip()) == (0, "interrupted"), found.stderr


@pytest.mark.parametrize("reached", [-np.inf, 0.0])
@pytest.mark.parametrize("bound", [-np.inf, np.nan])
def test_a_limit_without_a_bound_proves_nothing(bound: float, reached: float) -> None:
    # Where no input of the region is known, a bound of minus infinity was below nothing that is reached.
    outcome = EngineResult(EngineStatus.LIMIT, None, bound, "as told", 0.0)
    checked = CheckedResult(None, bound, 0.0, True, rejection_of(outcome, reached))
    assert checked.rejection is not None
    assert checked.why_unproven() is not None
    assert rejection_of(replace(outcome, bound=np.inf), reached) is None
    early = replace(checked, bound=np.inf, rejection=None)
    assert early.why_unproven() == "the time limit was reached before there was a bound."
