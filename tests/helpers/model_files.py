"""Files of MILPs, read by engines of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def read_by_highs(path: Path) -> Any:
    """Return HiGHS with the model of a file."""
    import highspy

    engine = highspy.Highs()
    engine.silent()
    assert engine.readModel(str(path)) == highspy.HighsStatus.kOk
    return engine


def read_by_scip(path: Path) -> Any:
    """Return the model of a file; the test is skipped where SCIP is not installed."""
    scip = pytest.importorskip("pyscipopt", reason="pyscipopt is not installed")
    model = scip.Model()
    model.hideOutput()
    model.readProblem(str(path))
    return model


@contextmanager
def read_by_gurobi(path: Path) -> Iterator[Any]:
    """Hold the model of a file; the test is skipped where Gurobi is not installed."""
    gurobi = pytest.importorskip("gurobipy", reason="gurobipy is not installed")
    with gurobi.Env(empty=True) as environment:
        environment.setParam("OutputFlag", 0)
        environment.start()
        with gurobi.read(str(path), env=environment) as model:
            yield model
