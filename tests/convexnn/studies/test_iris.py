"""The study of iris: what runs measure, the optimum beside them, the page."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convexnn.studies import iris
from convexnn.studies.harness.study import Run, Scale, Size, study_named
from convexnn.studies.harness.table import run_id
from tests.helpers.study_pages import check_page, written


@pytest.mark.parametrize("size", ["quick", "default", "full"])
def test_runs_have_their_keys_and_are_told_apart(size: Size) -> None:
    study = study_named("iris")
    runs = study.runs(Scale(size, (0, 1)))
    assert all(set(run) == set(study.keys) for run in runs)
    assert len({run_id(run) for run in runs}) == len(runs) > 0
    assert all(study.cost(run) > 0.0 for run in runs)
    assert pickle.loads(pickle.dumps(study.answer))
    # The optimum is one for all seeds; starts are shared by none.
    own = [{run_id(run) for run in study.runs(Scale(size, (seed,))) if run["part"] != iris.OPTIMUM} for seed in (0, 1)]
    assert not own[0] & own[1]
    assert sum(run["part"] == iris.ACCURACY for run in runs) == 2 * iris.COUNTS[size][1]


def test_the_default_has_as_many_splits_as_are_stated() -> None:
    runs = iris.runs(Scale("default", (0, 1, 2)))
    assert sum(run["part"] == iris.ACCURACY for run in runs) >= 100
    assert sum(run["part"] == iris.PLAIN and run["step"] == "safe" for run in runs) >= 20


def run_of(part: str, ridge: float, s: int = 3, step: str | None = None, seed: int | None = 0) -> Run:
    return {"part": part, "ridge": ridge, "step": step, "seed": seed, "s": s}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets 1 to 3 alone, and short runs."""
    monkeypatch.setattr(iris, "BUDGETS", range(1, 4))
    monkeypatch.setattr(iris, "ITERATIONS", 2000)


@pytest.mark.usefixtures("few")
def test_nothing_is_below_the_optimum_and_restarts_reach_it() -> None:
    for s in iris.BUDGETS:
        best = iris.answer(run_of(iris.OPTIMUM, iris.RIDGE, s, seed=None))
        infimum = iris.answer(run_of(iris.OPTIMUM, 0.0, s, seed=None))
        assert isinstance(best, dict)
        assert isinstance(infimum, dict)
        assert infimum["loss"] < best["loss"]
        assert 0.0 < infimum["smoothness_monte_carlo"] <= infimum["smoothness_safe"]
        assert iris.restarts(run_of(iris.RESTARTS, iris.RIDGE), s)["loss"] == pytest.approx(best["loss"], rel=1e-6)
        for step in iris.STEPS:
            assert iris.plain(run_of(iris.PLAIN, 0.0, step=step), s)["loss"] >= infimum["loss"] - 1e-9


@pytest.mark.usefixtures("few")
def test_one_run_answers_all_budgets() -> None:
    rows = iris.answer(run_of(iris.ACCURACY, iris.RIDGE))
    assert isinstance(rows, list)
    assert [row["s"] for row in rows] == [1, 2, 3]
    assert all(0.5 < row["accuracy"] <= 1.0 for row in rows)
    again = iris.answer(run_of(iris.ACCURACY, iris.RIDGE))
    assert rows == again


def test_the_page(tmp_path: Path) -> None:
    answers: list[tuple[Run, Any]] = []
    for ridge in (0.0, iris.RIDGE):
        for s in iris.BUDGETS:
            row = {"loss": 1.0 / s, "smoothness_safe": 1.0, "smoothness_monte_carlo": 0.5}
            answers.append((run_of(iris.OPTIMUM, ridge, s, seed=None), row))
    kinds = [(iris.PLAIN, 0.0, step) for step in iris.STEPS]
    for part, ridge, step in [*kinds, (iris.RESTARTS, iris.RIDGE, None), (iris.ACCURACY, iris.RIDGE, None)]:
        for seed in (0, 1):
            found: list[dict[str, float]] = [
                {"s": s, "accuracy": 0.9 + 0.05 * (s == iris.WEIGHTS) * seed}
                if part == iris.ACCURACY
                else {"s": s, "loss": (1.0 + 0.02 * seed) / s, "stable": 1}
                for s in iris.BUDGETS
            ]
            answers.append((run_of(part, ridge, iris.WEIGHTS, step, seed), found))
    rows = written(iris.IRIS, tmp_path, answers)
    sheet = iris.ridged(rows)
    assert sheet.rows[3] == ("4", "0.25000", "2/2", "1/2", "1.020000", "90.00 %", "-2.50 ± 2.50")
    assert iris.bare(rows).rows[1] == ("2", "0.500", "1.000", "0.50000", *("2/2", "0.5000", "0.5050") * 2)
    check_page(iris.IRIS, tmp_path, rows, ("infimum", "less dense"))


def test_rows_are_the_150_standardised_ones() -> None:
    X = iris.layer(3, 0.0).X
    assert X.shape[0] == 150
    np.testing.assert_allclose(X[:, :4].mean(axis=0), 0.0, atol=1e-12)
