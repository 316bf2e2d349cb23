"""Formulations: binaries that switch their neurons by big-M rows or by conditions say the same; loose big-Ms leak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from tests.helpers import zoo
from tests.helpers.model_files import read_by_gurobi, read_by_scip
from verify.backends import highspy_direct
from verify.backends.engine_chain import EngineChain
from verify.backends.registry import BACKENDS
from verify.encoding.encode import Encoding
from verify.encoding.outer_approximation import maximise
from verify.milp.conjunction import least_of
from verify.milp.engine_result import EngineStatus
from verify.milp.model import Milp
from verify.milp.request import Request

ABLE = [case for case in zoo.ENGINES if BACKENDS[str(case.values[0])].conditional]
UNABLE = [case for case in zoo.ENGINES if not BACKENDS[str(case.values[0])].conditional]
SHAPES = [(2, 1), (2, 4, 1), (3, 4, 2), (2, 3, 3, 2), (3, 3, 2, 2, 1)]


def regions(size: int, rng: np.random.Generator) -> list[verify.Box]:
    center, radius = rng.uniform(0.0, 1.0, size), float(rng.uniform(0.1, 1.0))
    widths = rng.uniform(0.0, radius, size) * (rng.random(size) < 0.8)
    return [
        verify.Box(center - widths, center + widths),
        verify.LinfBall(center, radius, clip=(0, 1)),
        verify.L1Ball(center, radius, clip=(-0.2, 1.3)),
        verify.L2Ball(center, radius, clip=(0, 1)),
    ]


def drawn(seed: int) -> tuple[cx.SparseReLUNetwork, list[verify.Box], np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    network = zoo.network(shape, seed=seed, density=float(rng.choice([0.5, 1.0])), bias=bool(seed % 2))
    return network, regions(shape[0], rng), rng.standard_normal(shape[-1])


def holds(milp: Milp, values: np.ndarray) -> bool:
    held = milp.conditions
    if not len(held):
        return True
    switched = values[held.binaries] == held.at
    return bool((held.rows @ values <= held.upper)[switched].all())


@pytest.mark.parametrize("backend", ABLE)
@pytest.mark.parametrize("seed", range(60))
def test_they_agree_over_every_region(seed: int, backend: str) -> None:
    network, boxes, objective = drawn(seed)
    for region in boxes:
        both = [verify.encode(network, region, objective, formulation=kind) for kind in ("big-m", "indicator")]
        outcomes = [maximise(BACKENDS[backend], one, lambda: 30.0, lambda point: False, False) for one in both]
        assert [outcome.status for outcome in outcomes] == [EngineStatus.OPTIMAL] * 2
        scale = 1.0 + abs(outcomes[0].bound)
        assert outcomes[0].bound == pytest.approx(outcomes[1].bound, abs=1e-6 * scale)


@pytest.mark.parametrize("seed", range(20))
def test_every_input_completes_to_a_point_of_the_indicator_model(seed: int) -> None:
    network, boxes, objective = drawn(seed)
    for region in boxes[:3]:
        encoding = verify.encode(network, region, objective, formulation="indicator")
        milp = encoding.milp
        for x in region.project(np.random.default_rng(seed).uniform(-0.5, 1.5, (20, network.n_inputs))):
            values = encoding.complete(x)
            rows = milp.rows @ values
            assert (rows >= milp.row_lower - 1e-12).all()
            assert (rows <= milp.row_upper + 1e-12).all()
            # No slack at all: the rows are widened by all that rounding can do.
            assert holds(milp, values)
            reached = objective @ network.predict(x[None]).reshape(-1)
            assert milp.cost @ values + milp.constant == pytest.approx(reached, abs=1e-9)


@pytest.mark.parametrize("backend", ABLE)
@pytest.mark.parametrize("seed", range(4))
def test_with_an_early_stop_and_at_any_scale(seed: int, backend: str) -> None:
    network, region = zoo.network((3, 5, 4, 1), seed=seed), verify.Box([-1.0] * 3, [1.0] * 3)
    best = zoo.enumerated_maximum(network, region.lower, region.upper, np.ones(1))
    milp = verify.encode(network, region, formulation="indicator").milp
    proven = BACKENDS[backend].maximise(milp, Request(20.0, enough=best + 0.5))
    # Where the level is above all that the box allows, there is no early stop.
    assert proven.status in (EngineStatus.STOPPED, EngineStatus.OPTIMAL)
    assert best - 1e-6 <= proven.bound < best + 0.5 - proven.allowance
    for power in (1e-6, 1e4):
        layers = [(weight * power, bias) for weight, bias in network.layers[:1]] + list(network.layers[1:])
        moved = cx.SparseReLUNetwork(layers)
        box = verify.Box(region.lower / power, region.upper / power)
        outcome = BACKENDS[backend].maximise(verify.encode(moved, box, formulation="indicator").milp, 20.0)
        assert outcome.bound == pytest.approx(best, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("backend", ABLE)
def test_the_least_of_several_keeps_the_conditions(backend: str) -> None:
    network, region = zoo.network((2, 4, 3), seed=2), verify.Box([-1.0] * 2, [1.0] * 2)
    found = []
    for kind in ("big-m", "indicator"):
        milps = [verify.encode(network, region, row, formulation=kind).milp for row in np.eye(3)]
        found.append(BACKENDS[backend].maximise(least_of(milps, np.full(3, -50.0), np.full(3, 50.0)), 20.0).bound)
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def indicator(seed: int = 0) -> Encoding:
    region = verify.Box([-1.0] * 3, [1.0, 0.5, 1.5])
    return verify.encode(zoo.network((3, 5, 4, 1), seed=seed), region, formulation="indicator")


@pytest.mark.parametrize("backend", UNABLE)
def test_an_engine_without_conditions_says_so_in_one_line(backend: str) -> None:
    outcome = BACKENDS[backend].maximise(indicator().milp, 5.0)
    assert (outcome.status, outcome.values, outcome.bound) == (EngineStatus.FAILED, None, np.inf)
    count = len(indicator().milp.conditions)
    assert outcome.detail == (
        f"ValueError: the engine {backend!r} takes no conditions, and the model has {count}; "
        "expected one of: gurobi, gscip, scip, or a model with formulation='big-m'"
    )


def test_a_line_of_engines_goes_on_to_one_that_takes_them() -> None:
    chain = EngineChain([BACKENDS["highspy"], BACKENDS["gscip"]])
    assert chain.maximise(indicator().milp, 20.0).status is EngineStatus.OPTIMAL
    assert chain.name == "gscip"
    assert "takes no conditions" in chain.notes[0]


def test_the_relaxation_drops_what_says_nothing_without_binaries() -> None:
    milp = indicator().milp
    assert len(milp.conditions) == 2 * milp.integer.sum()
    assert not len(milp.relaxed().conditions)
    assert not milp.relaxed().integer.any()
    bound = BACKENDS["highspy"].maximise(milp.relaxed(), 5.0).bound
    assert bound >= BACKENDS["gscip"].maximise(milp, 20.0).bound - 1e-6


def test_an_unknown_formulation_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="formulation 'sos1' is unknown; expected one of: big-m, indicator"):
        verify.encode(zoo.network((2, 3, 1)), verify.Box([0.0] * 2, [1.0] * 2), formulation="sos1")


@pytest.mark.parametrize("ending", ["mps", "lp"])
@pytest.mark.parametrize("seed", range(3))
def test_files_with_conditions_are_read_back(seed: int, ending: str, tmp_path: Path) -> None:
    encoding, path = indicator(seed), tmp_path / f"model.{ending}"
    encoding.write(path)
    region = encoding.region
    best = zoo.enumerated_maximum(encoding.network, region.lower, region.upper, np.ones(1))
    sign = -1.0 if ending == "mps" else 1.0
    model = read_by_scip(path)
    assert model.getNConss() >= encoding.milp.rows.shape[0] + len(encoding.milp.conditions)
    model.optimize()
    assert sign * model.getObjVal() == pytest.approx(best, abs=1e-5)
    with read_by_gurobi(path) as other:
        assert other.NumGenConstrs == len(encoding.milp.conditions)
        other.optimize()
        assert sign * other.ObjVal == pytest.approx(best, abs=1e-4)


def read_back(lines: list[str], names: list[str]) -> dict[str, Any]:
    """Return the conditions of an MPS file: their entries, sides, binaries and values."""
    found: dict[str, Any] = {"entries": {}, "upper": {}, "switch": {}}
    section = ""
    for line in lines:
        words = line.split()
        if not line.startswith(" "):
            section = words[0]
        elif section == "COLUMNS" and words[1].startswith("c"):
            found["entries"][int(words[1][1:]), names.index(words[0])] = float(words[2])
        elif section == "RHS" and words[1].startswith("c"):
            found["upper"][int(words[1][1:])] = float(words[2])
        elif section == "INDICATORS":
            found["switch"][int(words[1][1:])] = (names.index(words[2]), int(words[3]))
    return found


def test_the_section_of_indicators_has_every_number(tmp_path: Path) -> None:
    encoding, path = indicator(), tmp_path / "model.mps"
    encoding.write(path)
    found, held = read_back(path.read_text().splitlines(), encoding.names()), encoding.milp.conditions
    places = np.array(list(found["entries"])).T
    matrix = sp.csr_matrix((list(found["entries"].values()), tuple(places)), shape=held.rows.shape)
    assert (matrix != held.rows).nnz == 0
    assert [found["upper"][row] for row in range(len(held))] == held.upper.tolist()
    expected = list(zip(held.binaries.tolist(), held.at.tolist(), strict=True))
    assert [found["switch"][row] for row in range(len(held))] == expected


def test_highs_refuses_a_file_with_conditions(tmp_path: Path) -> None:
    # It must not read the rows alone, which would be another model.
    import highspy

    indicator().write(tmp_path / "model.mps")
    engine = highspy.Highs()
    engine.silent()
    assert engine.readModel(str(tmp_path / "model.mps")) == highspy.HighsStatus.kError


@pytest.mark.parametrize("size", [1e4, 1e8])
@pytest.mark.parametrize("seed", range(2))
def test_the_leak_of_a_loose_big_m_is_seen_and_proves_nothing(seed: int, size: float) -> None:
    """With M = 1e8 an integrality tolerance of 1e-6 lets a neuron be 100: engines then report margins off by 60."""
    network = zoo.network((3, 4, 3, 1), seed=seed)
    region = verify.Box([-1.0] * 3, [1.0] * 3)
    best = zoo.enumerated_maximum(network, region.lower, region.upper, np.ones(1))
    known = verify.bound(network, region)
    hidden = tuple(type(layer)(np.full_like(layer.lower, -size), np.full_like(layer.upper, size)) for layer in known)
    encoding = verify.encode(network, region, bounds=(*hidden[:-1], known[-1]))
    outcome = BACKENDS["highspy"].maximise(encoding.milp, 2.0)
    # Whatever it says, its bound is outside, and a point is worth what the network says.
    assert outcome.bound >= best - max(outcome.allowance, 1e-6)
    # No margin that was moved to within the leak of such an M is called proven.
    if outcome.status is EngineStatus.OPTIMAL and outcome.values is not None:
        reached = float(network.predict(encoding.point(outcome.values)[None])[0])
        assert reached <= best + 1e-6
        leak = float(encoding.milp.cost @ outcome.values) + encoding.milp.constant - reached
        assert leak <= outcome.allowance


def test_a_point_that_leaks_is_no_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    # An engine that reports the leaking point of a loose big-M: an objective of 67 where the margin is -0.5.
    network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], [-1.5])])
    region = verify.Box([-1.0], [1.0])

    def leaking(milp: Milp, request: Request) -> Any:
        values = np.concatenate([[0.0], milp.upper[1:]])
        outcome = right(milp, request)
        return replace(outcome, values=values, bound=67.0)

    right = highspy_direct.maximise
    monkeypatch.setattr(highspy_direct, "maximise", leaking)
    answer = verify.find_adversarial(network, region, label=-1, backend="highspy")
    assert answer.status is verify.Verdict.UNKNOWN or answer.proof is not verify.Proof.SOLVER
    assert answer.witness is None


def test_a_loose_big_m_lets_a_neuron_run_away_within_tolerances_and_a_tight_one_does_not() -> None:
    # x = -1, where the neuron is off. A binary of 1e-6 passes for 0: with M = 1e8 the neuron may be 100.
    network, region = cx.SparseReLUNetwork([([[1.0]], None), ([[1.0]], None)]), verify.Box([-1.0], [1.0])
    known = verify.bound(network, region)
    loose = (type(known[0])(np.array([-1e8]), np.array([1e8])), known[1])
    for bounds, allowed in ((loose, 100.0), (known, 0.0)):
        milp = verify.encode(network, region, bounds=bounds).milp
        held = [value for value in (100.0, 1e-3, 0.0) if satisfies(milp, np.array([-1.0, value, 1e-6]))]
        assert max(held) == pytest.approx(allowed)


def satisfies(milp: Milp, values: np.ndarray) -> bool:
    rows, room = milp.rows @ values, 2e-6
    return bool((rows >= milp.row_lower - room).all() and (rows <= milp.row_upper + room).all())
