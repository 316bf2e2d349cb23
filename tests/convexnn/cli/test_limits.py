"""Limits on the command line: reading counts, what is imported does not."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.estimators.base import SparseReLUEstimator
from tests.helpers.command_line import call, complained

PROPERTY = """(declare-const X_0 Real) (declare-const Y_0 Real)
(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= Y_0 2))
"""


class LateError(Exception):
    """Raised in place of an answer."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a network of one input and output, a point, a property and a table."""
    cx.SparseReLUNetwork([([[1.0]], None)]).save(tmp_path / "net.npz")
    (tmp_path / "points.csv").write_text("0.5\n0.7\n")
    (tmp_path / "p.vnnlib").write_text(PROPERTY)
    rows = [f"{x},{max(x, 0.0)}" for x in np.linspace(-1.0, 1.0, 20)]
    (tmp_path / "table.csv").write_text("\n".join(["x,y", *rows]))
    return tmp_path


def commands(folder: Path) -> dict[str, list[Any]]:
    ball = [folder / "net.npz", folder / "points.csv", "--radius", 0.1]
    return {
        "attack": ["attack", *ball],
        "attack of rows": ["attack", *ball, "--rows", "all"],
        "maximize": ["maximize", *ball],
        "maximize of rows": ["maximize", *ball, "--rows", "all"],
        "vnnlib": ["vnnlib", folder / "net.npz", folder / "p.vnnlib"],
        "fit": ["fit", folder / "table.csv"],
    }


NAMES = list(commands(Path()))


@pytest.mark.parametrize("name", NAMES)
def test_reading_is_taken_off_the_limit(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    def late(*given: Any, time_limit: float = -1.0, **more: Any) -> Any:
        estimator = [part.time_limit for part in given if isinstance(part, SparseReLUEstimator)]
        limits.append(estimator[0] if estimator else time_limit)
        raise LateError

    for question in ("find_adversarial", "maximize", "check_vnnlib"):
        monkeypatch.setattr(verify, question, late)
    monkeypatch.setattr(cx.SparseReLURegressor, "fit", late)
    now = count()
    command = name.split()[0]
    for module in ("asking.questions", "fit" if command == "fit" else f"asking.{command}"):
        # Every look at this clock is a second later.
        monkeypatch.setattr(f"convexnn.cli.{module}.perf_counter", lambda: float(next(now)), raising=False)
    assert call(*commands(folder)[name], "--time-limit", 10).exit_code == 70
    assert call(*commands(folder)[name], "--time-limit", 0).exit_code == 70
    assert limits == [9.0, 0.0]


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_below_zero_is_refused_as_it_was_given(name: str, folder: Path) -> None:
    assert complained(call(*commands(folder)[name], "--time-limit", -3), "time_limit is -3")


def test_a_model_keeps_the_limit_that_was_given(folder: Path) -> None:
    model = folder / "model.npz"
    call("fit", folder / "table.csv", "--time-limit", 50, "--budget", 4, "--save", model)
    assert cx.SparseReLURegressor.load(model).time_limit == 50


def test_what_is_imported_is_no_part_of_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = np.maximum(X[:, 0], 0.0)
    for module in ("fitting.fit_network", "recovery.recover"):
        monkeypatch.setattr(f"convexnn.{module}.seconds_to_import", lambda name: 1000.0)
    assert cx.fit_network(X, y, 3, epochs=1, patience=0).seconds < -900.0
    assert cx.recover(X, y, 1, n_restarts=1, patience=1).seconds < -900.0


def test_the_seconds_of_an_import_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from convexnn.solvers.common import deadline

    now = count(0, 3)
    monkeypatch.setattr(deadline, "perf_counter", lambda: next(now))
    assert deadline.seconds_to_import("json") == 3
