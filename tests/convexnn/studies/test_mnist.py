"""The studies of MNIST: their runs, what a run answers on small images, and what the page is made of."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.baselines import Baseline
from convexnn.datasets import LabelledSplit
from convexnn.studies import mnist as room
from convexnn.studies.harness.study import Run, Scale, Size, Study, study_named
from convexnn.studies.harness.table import RunTable, run_id
from convexnn.studies.methods.baselines import ONE_SHOT, OURS, RELEASED, RIGL, TRAINED
from convexnn.studies.mnist import (
    BINARY,
    MNIST,
    TEN,
    TWO,
    Setting,
    answer_of,
    at_our_budgets,
    best_widths,
    cost_of,
    default_width,
    figures_of,
    live_neurons,
    row_of,
    tables,
)

METHODS = (OURS, RELEASED, TRAINED, ONE_SHOT, RIGL)
STUDIES = [(MNIST, TEN), (BINARY, TWO)]
SIZES: tuple[Size, ...] = ("quick", "default", "full")


def short(setting: Setting) -> Setting:
    """Return a setting of a few passes."""
    few: dict[str, dict[str, Any]] = {
        "imp-released": {"epochs_a_round": 1},
        "imp-trained": {"epochs_a_round": 1, "last_epochs": 1, "prune": 0.5},
        "one-shot": {"epochs": 2, "last_epochs": 2},
        "rigl": {"epochs": 2},
    }
    return changed(setting, few)


def changed(setting: Setting, options: dict[str, dict[str, Any]]) -> Setting:
    """Return a setting with some other options."""
    return replace(setting, options={name: {**old, **options.get(name, {})} for name, old in setting.options.items()})


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> LabelledSplit:
    """A few bright images in place of MNIST: each digit is a patch at a place of its own."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 10
    pixels = 0.1 * rng.random((120, 784))
    for digit in range(10):
        pixels[labels == digit, 70 * digit : 70 * digit + 40] += 0.8
    split = LabelledSplit(pixels[:80], labels[:80], pixels[80:], labels[80:], tuple("0123456789"), (28, 28))
    monkeypatch.setattr(room, "mnist", lambda download: split)
    return split


def drawn_rows(monkeypatch: pytest.MonkeyPatch, kind: str) -> list[Any]:
    """Return a list that takes the rows of each picture of a kind, in place of its drawing."""
    drawn: list[Any] = []

    def note(rows: Any, path: Path, *rest: Any, **options: Any) -> Path:
        drawn.append(rows)
        return path

    monkeypatch.setattr(room, kind, note)
    return drawn


def row(method: str, m: int, s: int, seed: int, accuracy: float) -> dict[str, str]:
    given = {"method": method, "m": m, "s": s, "seed": seed, "accuracy": accuracy, "seconds": 1.0, "peak_mb": 2.0}
    return {name: str(value) for name, value in given.items()}


@pytest.mark.parametrize(("study", "setting"), STUDIES)
@pytest.mark.parametrize("size", SIZES)
class TestRuns:
    def test_each_has_its_keys_once(self, size: Size, study: Study, setting: Setting) -> None:
        runs = study.runs(Scale(size, (0, 4)))
        assert all(set(run) == set(study.keys) for run in runs)
        assert len({run_id(run) for run in runs}) == len(runs)
        assert all(study.cost(run) > 0.0 for run in runs)

    def test_every_method_answers_every_budget(self, size: Size, study: Study, setting: Setting) -> None:
        runs = study.runs(Scale(size, (0,)))
        for m in setting.widths[size]:
            wanted = [s for s in setting.budgets[size] if s <= setting.weights(m)]
            for method in [name for name in METHODS if name != RELEASED or m in setting.released[size]]:
                here = [run for run in runs if run["m"] == m and run["method"] == method]
                budgets = {s for run in here for s in (setting.stops(run) if method in room.PASSES else [run["s"]])}
                assert set(wanted) <= budgets
        own = [run for run in runs if run["method"] == "ours" and run["m"] == default_width(run["s"])]
        assert [run["s"] for run in own] == list(setting.budgets[size])

    def test_a_smaller_size_runs_what_a_larger_one_runs(self, size: Size, study: Study, setting: Setting) -> None:
        # But for passes that go further down.
        larger = {run_id(run) for run in study.runs(Scale("full", (0,)))}
        own = [run for run in study.runs(Scale(size, (0,))) if run["method"] not in room.PASSES]
        assert {run_id(run) for run in own} <= larger


def test_the_default_width_is_that_of_fit_network() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 30)), rng.standard_normal(40)
    for s in (20, 200):
        fit = cx.fit_network(X, y, s, epochs=1, seed=0, patience=0)
        same = cx.fit_network(X, y, s, default_width(s), epochs=1, seed=0, patience=0)
        assert fit.objective == same.objective
    assert default_width(10**6) == 100


@pytest.mark.parametrize(("study", "setting"), STUDIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_run_answers_its_budgets(
    method: str, study: Study, setting: Setting, few: LabelledSplit, tmp_path: Path
) -> None:
    s = setting.budgets["quick"][-2]
    run: Run = {"seed": 1, "m": 4, "s": s, "method": method}
    answers = answer_of(short(setting), run)
    expected = setting.stops(run) if method in room.PASSES else [s]
    assert [answer["s"] for answer in answers] == expected
    for answer in answers:
        assert 0.0 <= answer["accuracy"] <= 100.0
        assert answer["nnz"] <= answer["s"]
        assert answer["neurons"] <= 4
        assert answer["seconds"] > 0.0
        assert answer["peak_mb"] >= 0.0
    table = RunTable(tmp_path / "runs.csv", study)
    table.append(run, answers)
    assert len(table.rows([run])) == len(expected)


@pytest.mark.parametrize("setting", [TEN, TWO])
@pytest.mark.parametrize("method", ["ours", "imp-trained"])
def test_what_is_easy_is_told_apart(method: str, setting: Setting, few: LabelledSplit) -> None:
    # The batches of the study would make a pass a step.
    many = {"epochs_a_round": 30, "prune": 0.5, "last_epochs": 100, "batch_size": 8}
    longer = changed(setting, {"imp-trained": many})
    run = {"seed": 0, "m": 20, "s": setting.budgets["quick"][-1], "method": method}
    assert answer_of(longer, run)[-1]["accuracy"] > 90.0


@pytest.mark.parametrize(("classes", "threshold"), [(None, 0.5), (np.array([0, 1]), 0.0)])
def test_one_output_is_cut_where_its_loss_says(classes: Any, threshold: float) -> None:
    network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, -1.0]], None)])
    found = Baseline(network, "by hand", 4, 0.0, 0.0, classes)
    rows = np.array([[-0.2], [0.3], [0.7]])
    data = LabelledSplit(rows, np.zeros(3, np.int64), rows, (rows[:, 0] > threshold).astype(np.int64), ("0", "1"))
    assert row_of(2, found, data)["accuracy"] == 100.0


@pytest.mark.parametrize("study", [MNIST, BINARY])
def test_a_study_is_found_and_its_answer_goes_to_other_processes(study: Study) -> None:
    assert study_named(study.name) is study
    assert pickle.loads(pickle.dumps(study.answer)) is study.answer


def test_neurons_without_a_way_through_are_not_counted() -> None:
    network = cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]], None), ([[1.0, 1.0, 0.0]], None)])
    assert live_neurons(network) == 1


def test_costs_are_passes_times_what_a_pass_takes() -> None:
    run = {"seed": 0, "m": 20, "s": 2000, "method": "imp-trained"}
    # 15,880 weights, 15 % less a round: 13 rounds of 4 epochs down to 2,000, and 10 epochs at the end.
    assert cost_of(TEN, run) == (13 * 4 + 10) * 40
    assert cost_of(TEN, {**run, "method": "ours"}) == 40 * 40


class TestPage:
    ROWS = (
        row("ours", 26, 200, 0, 88.0),
        row("ours", 26, 200, 1, 90.0),
        row("ours", 50, 200, 0, 99.0),
        row("rigl", 20, 200, 0, 70.0),
        row("rigl", 20, 200, 1, 60.0),
        row("rigl", 50, 200, 0, 64.0),
        row("rigl", 50, 200, 1, 67.0),
        row("imp-trained", 50, 200, 0, 82.5),
        row("imp-trained", 50, 500, 0, 91.5),
    )

    def test_ours_has_its_default_and_others_their_best_width(self) -> None:
        kept = [(one["method"], one["m"], one["accuracy"]) for one in best_widths(list(self.ROWS)) if one["s"] == "200"]
        assert kept == [
            ("ours", "26", "88.0"),
            ("ours", "26", "90.0"),
            ("rigl", "50", "64.0"),
            ("rigl", "50", "67.0"),
            ("imp-trained", "50", "82.5"),
        ]

    def test_the_points_are_those_to_the_best_of_the_others(self) -> None:
        text = tables(list(self.ROWS))
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "200 |" in line]
        assert lines[0] == ["200", "89.00 ± 1.41 (m=26)", "82.50 (m=50)", "65.50 ± 2.12 (m=50)", "+6.50"]
        assert "500" not in text
        assert "91.50 (m=50)" in tables(list(self.ROWS[3:]))
        assert tables([]) != ""

    def test_budgets_that_a_pass_stops_at_on_its_way_are_left_out(self) -> None:
        assert {one["s"] for one in at_our_budgets(list(self.ROWS))} == {"200"}
        assert len(at_our_budgets(list(self.ROWS[3:]))) == 6

    def test_pictures_are_drawn_of_the_grid(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = drawn_rows(monkeypatch, "heatmaps")
        pictures = figures_of(TEN, list(self.ROWS), tmp_path)
        assert [path.name for path in pictures] == ["accuracy.png", "budgets.png"]
        assert {one["m"] for one in drawn[0]} == {"20", "50"}
        assert pictures[1].stat().st_size > 1000

    def test_no_error_is_drawn_as_half_an_image(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = drawn_rows(monkeypatch, "curves")
        rows = [row("ours", 9, 20, 0, 100.0), row("rigl", 20, 20, 0, 99.5)]
        figures_of(TWO, rows, tmp_path)
        assert [float(one["error"]) for one in drawn[0]] == [100.0 * 0.5 / 2115, 0.5]
