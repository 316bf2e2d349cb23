"""Files of MILPs, read by engines of their own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
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


def optimum_by(program: str, path: Path) -> float:
    """Return the optimum that a program of the shell finds of an MPS file."""
    report = path.with_suffix(".txt")
    commands = {
        "cbc": ["cbc", str(path), "solve", "solution", str(report)],
        "glpsol": ["glpsol", "--freemps", str(path), "--output", str(report)],
        "scip": ["scip", "-c", f"read {path} optimize write solution {report} quit"],
    }
    marks = {
        "cbc": r"objective value +(\S+)",
        "glpsol": r"Objective: +objective = +(\S+)",
        "scip": r"objective value: +(\S+)",
    }
    subprocess.run(commands[program], check=True, capture_output=True, timeout=60)
    found = re.search(marks[program], report.read_text())
    assert found is not None
    return float(found[1])


def minimum_of_mps(path: Path) -> float:
    """Return the minimum of a free MPS file: its sections as the format was from the first, and scipy."""
    import scipy.optimize as so
    import scipy.sparse as sp

    senses: dict[str, str] = {}
    entries: dict[tuple[str, str], float] = {}
    sides: dict[str, float] = {}
    ranges: dict[str, float] = {}
    bounds: dict[str, list[float]] = {}
    whole: dict[str, bool] = {}
    section, in_whole = "", False
    for line in path.read_text().splitlines():
        if line.startswith("*"):
            continue
        words = line.split()
        if not line.startswith(" "):
            section = words[0]
        elif section == "ROWS":
            senses[words[1]] = words[0]
        elif section == "COLUMNS" and "'MARKER'" in words:
            in_whole = words[2] == "'INTORG'"
        elif section == "COLUMNS":
            entries[words[1], words[0]] = float(words[2])
            whole[words[0]] = in_whole
        elif section == "RHS":
            sides[words[1]] = float(words[2])
        elif section == "RANGES":
            ranges[words[1]] = float(words[2])
        elif section == "BOUNDS":
            ends = bounds.setdefault(words[2], [0.0, np.inf])
            if words[0] == "FX":
                ends[:] = [float(words[3])] * 2
                continue
            place = {"LO": 0, "MI": 0, "UP": 1, "PL": 1}[words[0]]
            ends[place] = float(words[3]) if len(words) > 3 else (-np.inf, np.inf)[place]
    rows, columns = [name for name, sense in senses.items() if sense != "N"], list(whole)
    free = next(name for name, sense in senses.items() if sense == "N")
    cost = np.array([entries.get((free, name), 0.0) for name in columns])
    matrix = sp.csr_matrix([[entries.get((row, name), 0.0) for name in columns] for row in rows])
    side = np.array([sides.get(row, 0.0) for row in rows])
    span = np.array([ranges.get(row, np.inf) for row in rows])
    kinds = np.array([senses[row] for row in rows])
    low = np.where(kinds == "L", side - span, side)
    high = np.where(kinds == "G", side + span, side)
    limits = np.array([bounds[name] for name in columns])
    found = so.milp(
        cost,
        constraints=so.LinearConstraint(matrix, low, high),
        bounds=so.Bounds(limits[:, 0], limits[:, 1]),
        integrality=[int(whole[name]) for name in columns],
        options={"mip_rel_gap": 0.0},
    )
    return float(found.fun)
