"""Files of a MILP: other programs read the same model back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import verify
from tests.helpers import zoo
from tests.helpers.model_files import minimum_of_mps, optimum_by, read_by_gurobi, read_by_highs, read_by_scip
from verify.backends.registry import BACKENDS
from verify.encoding.encode import Encoding, Milp
from verify.milp.request import Request
from verify.milp.writing import write_milp

ENDINGS = ["mps", "lp"]

# An MPS file is the minimum of minus the objective.
SIGNS = {"mps": -1.0, "lp": 1.0}


def encoded(seed: int) -> Encoding:
    return verify.encode(zoo.network((3, 5, 4, 1), seed=seed), verify.Box([-1.0] * 3, [1.0, 0.5, 1.5]))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("seed", range(3))
def test_highs_reads_every_number_back(seed: int, ending: str, tmp_path: Path) -> None:
    encoding, path = encoded(seed), tmp_path / f"model.{ending}"
    encoding.write(path)
    lp, milp = read_by_highs(path).getLp(), encoding.milp
    order = [list(lp.col_names_).index(name) for name in encoding.names()]
    sign = SIGNS[ending]
    for found, expected in ((lp.col_cost_, sign * milp.cost), (lp.col_lower_, milp.lower), (lp.col_upper_, milp.upper)):
        assert np.array_equal(np.array(found)[order], expected)
    assert np.array_equal([kind.value == 1 for kind in np.array(lp.integrality_)[order]], milp.integer)
    # The constant is the cost of a variable fixed to 1.
    fixed = list(lp.col_names_).index("constant")
    assert (lp.offset_, lp.col_cost_[fixed]) == (0.0, sign * milp.constant)
    assert lp.sense_.value == -sign
    assert lp.col_lower_[fixed] == lp.col_upper_[fixed] == 1.0
    assert np.array_equal(lp.row_lower_, milp.row_lower)
    assert np.array_equal(lp.row_upper_, milp.row_upper)
    matrix = lp.a_matrix_
    kind = sp.csc_matrix if matrix.format_.value == 1 else sp.csr_matrix
    shape = (lp.num_row_, lp.num_col_)
    rows = sp.csr_matrix(kind((matrix.value_, matrix.index_, matrix.start_), shape=shape))[:, order]
    assert (rows != milp.rows).nnz == 0


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_the_same(seed: int, ending: str, tmp_path: Path) -> None:
    encoding, path = encoded(seed), tmp_path / f"model.{ending}"
    encoding.write(path)
    engine = read_by_highs(path)
    engine.setOptionValue("mip_rel_gap", 0.0)
    engine.run()
    best = zoo.enumerated_maximum(encoding.network, encoding.region.lower, encoding.region.upper, np.ones(1))
    assert SIGNS[ending] * engine.getObjectiveValue() == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_reader_that_knows_no_sense_finds_minus_the_maximum(seed: int, tmp_path: Path) -> None:
    encoding, path = encoded(seed), tmp_path / "model.mps"
    encoding.write(path)
    text = path.read_text()
    assert text.startswith("* Written by convexnn. The model asks for a maximum;")
    assert "OBJSENSE" not in text
    best = zoo.enumerated_maximum(encoding.network, encoding.region.lower, encoding.region.upper, np.ones(1))
    assert minimum_of_mps(path) == pytest.approx(-best, abs=1e-5)


@pytest.mark.parametrize("program", ["cbc", "glpsol", "scip"])
def test_programs_of_the_shell_find_it_too(program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    encoding, path = encoded(0), tmp_path / "model.mps"
    encoding.write(path)
    best = zoo.enumerated_maximum(encoding.network, encoding.region.lower, encoding.region.upper, np.ones(1))
    assert optimum_by(program, path) == pytest.approx(-best, abs=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_scip_and_gurobi_read_the_same_optimum(ending: str, tmp_path: Path) -> None:
    encoding, path = encoded(0), tmp_path / f"model.{ending}"
    encoding.write(path)
    best = BACKENDS["scipy"].maximise(encoding.milp, Request(20.0)).bound
    model = read_by_scip(path)
    model.optimize()
    assert SIGNS[ending] * model.getObjVal() == pytest.approx(best, abs=1e-5)
    with read_by_gurobi(path) as other:
        other.optimize()
        assert SIGNS[ending] * other.ObjVal == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_of_every_kind(ending: str, tmp_path: Path) -> None:
    # Equal ends, two ends, one end, an empty row, a variable without an entry, and sides that are infinite.
    milp = Milp(
        cost=np.array([1.0, -1.0, 0.0]),
        constant=-0.125,
        error=0.0,
        rows=sp.csr_matrix([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
        row_lower=np.array([1.0, -0.5, -np.inf, -1.0]),
        row_upper=np.array([1.0, 0.25, 0.75, np.inf]),
        lower=np.array([-np.inf, -2.0, 0.0]),
        upper=np.array([np.inf, np.inf, 1.0]),
        integer=np.array([False, False, True]),
    )
    write_milp(milp, ["x", "y", "z"], tmp_path / f"model.{ending}")
    engine = read_by_highs(tmp_path / f"model.{ending}")
    engine.run()
    assert SIGNS[ending] * engine.getObjectiveValue() == pytest.approx(0.25 - 0.125)


def test_names_say_layer_and_neuron() -> None:
    encoding = encoded(0)
    names = encoding.names()
    assert len(set(names)) == len(names) == len(encoding.milp.cost)
    assert [name[0] for name, whole in zip(names, encoding.milp.integer, strict=True) if whole] == ["z"] * int(
        encoding.milp.integer.sum()
    )
    assert f"a1_{encoding.unstable[1][0]}" in names


def test_another_ending_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in '.txt'; expected one of: .mps, .lp"):
        encoded(0).write(tmp_path / "model.txt")
    with pytest.raises(OSError, match="No such file"):
        encoded(0).write(tmp_path / "none" / "model.mps")


def test_a_model_without_rows_is_written(tmp_path: Path) -> None:
    milp = encoded(0).milp
    empty = replace(milp, rows=milp.rows[:0], row_lower=np.zeros(0), row_upper=np.zeros(0))
    for ending in ENDINGS:
        write_milp(empty, encoded(0).names(), tmp_path / f"model.{ending}")
        assert np.isfinite(read_by_highs(tmp_path / f"model.{ending}").getInfo().objective_function_value)
