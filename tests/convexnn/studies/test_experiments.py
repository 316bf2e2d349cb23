"""The studies themselves: grids, what a run measures, the tables; on problems of a moment."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import convexnn as cx
from convexnn.datasets import ImageTask, image_task
from convexnn.datasets import planted as plant
from convexnn.studies import images, memory, planted
from convexnn.studies.harness.study import STUDIES, Run, Scale, Size, study_named
from convexnn.studies.harness.table import run_id
from convexnn.studies.methods.baselines import OURS, RELEASED, RIGL, TRAINED, run_baseline
from convexnn.studies.methods.psnr import psnr
from tests.helpers.study_pages import check_page, written


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("size", ["quick", "default", "full"])
def test_runs_have_their_keys_and_are_told_apart(name: str, size: Size) -> None:
    study = study_named(name)
    runs = study.runs(Scale(size, (0, 1)))
    assert study.name == name
    assert all(set(run) == set(study.keys) for run in runs)
    assert len({run_id(run) for run in runs}) == len(runs) > 0
    assert all(study.cost(run) > 0.0 for run in runs)
    assert pickle.loads(pickle.dumps(study.answer))


@pytest.mark.parametrize("name", STUDIES)
def test_a_seed_has_the_same_runs_whatever_stands_beside_it(name: str) -> None:
    study = study_named(name)
    both, first, second = (
        {run_id(run) for run in study.runs(Scale("default", seeds))} for seeds in ((0, 1), (0,), (1,))
    )
    assert first | second == both


def test_decibels() -> None:
    y = np.array([1.0, -4.0, 2.0])
    assert psnr(y, y + 0.1) == pytest.approx(10.0 * np.log10(16.0 / 0.01))
    assert psnr(y, y + 0.1, 1.0) == pytest.approx(20.0)
    assert psnr(y, y) == 300.0


def budget(run: Run) -> int:
    """Return the weights that a run of planted networks may have."""
    kind = planted.KINDS[run["kind"]]
    made = plant(run["m"], run["s"], n=5, outputs=kind.outputs, depth=kind.depth, signs=kind.signs)
    return planted.budget_of(run, kind, made)


class TestPlanted:
    @pytest.mark.parametrize("kind", list(planted.KINDS))
    def test_ours_finds_a_small_network(self, kind: str) -> None:
        wide = planted.KINDS[kind].outputs > 1
        run = {"kind": kind, "n": 1000, "m": 2, "s": 12 if wide else 4, "limit": 60.0, "seed": 0, "method": OURS}
        found = planted.answer(run)
        assert found["psnr"] > 100.0
        assert found["fresh_psnr"] > 100.0
        assert found["nnz"] <= budget(run)

    @pytest.mark.parametrize(("kind", "m", "s"), [("deep-one", 3, 2), ("deep-one", 3, 40), ("deep", 2, 60)])
    def test_layer_by_layer_has_as_many_weights_as_layers_hold(self, kind: str, m: int, s: int) -> None:
        run = {"kind": kind, "n": 200, "m": m, "s": s, "limit": 2.0, "seed": 0, "method": planted.LAYERWISE}
        assert np.isfinite(planted.answer(run)["psnr"])

    def test_two_layers_to_one_output_have_a_weight_more_for_each_neuron_read(self) -> None:
        run = {"kind": "deep-one", "n": 300, "m": 3, "s": 30, "seed": 0}
        assert planted.cells("deep-one", "full")[0] == (1, 2)
        assert budget(run) == 33

    def test_layer_by_layer_meets_the_budget_with_one_network(self) -> None:
        run = {"kind": "deep", "n": 300, "m": 3, "s": 30, "limit": 4.0, "seed": 0, "method": planted.LAYERWISE}
        found = planted.answer(run)
        assert 0 < found["nnz"] <= 30
        assert found["psnr"] > 10.0

    @pytest.mark.parametrize("method", [RELEASED, TRAINED, RIGL])
    @pytest.mark.parametrize("kind", list(planted.KINDS))
    def test_baselines_meet_the_budget(self, kind: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(planted.TRAINED_OPTIONS, "epochs_a_round", 1)
        monkeypatch.setitem(planted.TRAINED_OPTIONS, "last_epochs", 1)
        monkeypatch.setitem(planted.RIGL_OPTIONS, "epochs", 4)
        run = {"kind": kind, "n": 300, "m": 3, "s": 30, "limit": None, "seed": 0, "method": method}
        found = planted.answer(run)
        assert 0 <= budget(run) - found["nnz"] <= (3 if method == RIGL else 0)
        assert 0.0 < found["psnr"] < 50.0

    def test_the_whole_grid_is_that_of_the_paper(self) -> None:
        runs = planted.runs(Scale("full", (0,)))
        scalar = {(run["m"], run["s"]) for run in runs if run["kind"] == "scalar"}
        assert {run["n"] for run in runs} == {50_000}
        assert {m for m, _ in scalar} == {s for _, s in scalar} == {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
        assert all(s <= 100 * m for m, s in scalar)
        assert (1, 200) not in scalar
        assert (5, 500) in scalar

    def test_the_page(self, tmp_path: Path) -> None:
        runs: list[Run] = [
            {"kind": kind, "n": 5000, "m": m, "s": s, "limit": None, "seed": seed, "method": method}
            for kind in ("scalar", "deep")
            for m, s in ((5, 50), (20, 50))
            for seed in (0, 1)
            for method in ((OURS, RIGL) if kind == "scalar" else (OURS, RIGL, planted.LAYERWISE))
        ]
        answers = [(run, {"psnr": 40.0 + 40.0 * run["seed"], "fresh_psnr": 45.0, "nnz": run["s"]}) for run in runs]
        rows = written(planted.PLANTED, tmp_path, answers)
        sheet = planted.shares(rows)
        assert sheet.rows[0] == ("scalar", "ours", "4", "50 %", "0 %", "0 %", "0.5", "0.5")
        check_page(planted.PLANTED, tmp_path, rows, ("60.0 ± 28.3", "29, 26", "Ten outputs, two hidden layers"))
        # What is recorded is of 5,000 rows: it says nothing beside those of the whole grid.
        assert "29, 26" not in planted.details([{**row, "n": "50000"} for row in rows])


@pytest.fixture
def small_image(monkeypatch: pytest.MonkeyPatch) -> ImageTask:
    """An image of 6 x 6 pixels over 8 features, in place of those that need data."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((36, 8))
    task = ImageTask(X, np.maximum(X[:, 0] - X[:, 1], 0.0), (6, 6))
    monkeypatch.setattr(images, "image_task", lambda name, download: task)
    return task


class TestImages:
    def key(self, method: str, budgets: str = "3", depth: int = 1) -> Run:
        most = max(map(int, budgets.split(",")))
        limit = 20.0 if method == OURS else None
        return {"depth": depth, "m": 4, "s": most, "budgets": budgets, "limit": limit, "seed": 0, "method": method}

    @pytest.mark.usefixtures("small_image")
    def test_ours_says_when_it_reached_what_is_recorded(self) -> None:
        setting = images.ImageSetting("mnist", (), (), (4,), (3,), {(4, 3): images.Recorded(20.0, 60.0)}, 5.0)
        (found,) = images.answer_of(setting, self.key(OURS))
        assert found["psnr"] > 100.0
        assert 0.0 < found["reached"] <= found["seconds"]
        assert setting.limit_of((4, 3)) == 20.0
        (unknown,) = images.answer_of(images.PHOTOGRAPH, self.key(OURS))
        assert unknown["reached"] is None

    def test_the_first_time_at_a_level_counts(self) -> None:
        timer = images.TimeToTarget(20.0)
        for best, seconds in ((0.006, 1.0), (0.004, 2.0), (0.001, 3.0)):
            timer(cx.RecoveryProgress(0, best, best, seconds, 0, ""))
        timer.update(40.0, 4.0)
        assert timer.reached == 2.0
        late = images.TimeToTarget(20.0)
        late.update(20.0, 4.0)
        assert late.reached == 4.0

    @pytest.mark.usefixtures("small_image")
    @pytest.mark.parametrize("depth", [1, 2])
    def test_a_pass_of_pruning_gives_a_row_a_budget(self, depth: int, tmp_path: Path) -> None:
        run = self.key(RELEASED, "3,6,5", depth)
        rows = written(images.MNIST, tmp_path, [(run, images.MNIST.answer(run))])
        assert sorted((row["s"], row["nnz"]) for row in rows) == [("3", "3"), ("5", "5"), ("6", "6")]
        assert float(rows[0]["seconds"]) != 0.5

    @pytest.mark.usefixtures("small_image")
    def test_two_hidden_layers_are_fitted_too(self) -> None:
        (found,) = images.answer_of(images.DIGIT, self.key(OURS, "8", depth=2))
        assert 0 < found["nnz"] <= 8

    def test_cells_and_limits(self) -> None:
        runs = images.MNIST.runs(Scale("default", (0,)))
        limits = {(run["m"], run["s"]): run["limit"] for run in runs if run["method"] == OURS}
        assert limits == {(10, 50): 16.0, (20, 100): 25.0, (20, 200): 18.0, (50, 500): 33.0}
        passes = [run["budgets"] for run in runs if run["method"] == TRAINED]
        assert passes == ["50", "100,200", "500"]
        assert {run["depth"] for run in images.CIFAR.runs(Scale("full", (0,)))} == {1, 2}

    def test_the_page(self, tmp_path: Path) -> None:
        runs: list[Run] = [
            {"depth": 1, "m": 20, "s": s, "budgets": str(s), "limit": None, "seed": seed, "method": method}
            for s in (100, 200)
            for seed in (0, 1)
            for method in (OURS, RIGL)
        ]
        answers = [(run, {"psnr": 30.0 + run["seed"], "reached": 2.0 if run["seed"] else None}) for run in runs]
        rows = written(images.MNIST, tmp_path, answers)
        assert images.time_to_recorded(images.DIGIT, rows).rows[1] == ("20", "200", "35.6", "1 of 2", "2.0", "56")
        check_page(images.MNIST, tmp_path, rows, ("30.5 ± 0.7", "29.4", "published solver, as recorded", "501st zero"))

    @pytest.mark.data
    @pytest.mark.usefixtures("data_folder")
    def test_the_image_is_that_of_the_recorded_figures(self) -> None:
        task = image_task("mnist")
        assert task.X.shape == (784, 1500)
        assert 0.0 <= task.y.min() < task.y.max() <= 1.0


class TestMemory:
    @pytest.mark.parametrize("method", list(memory.METHODS))
    def test_every_method_is_measured(self, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "FEATURES", 40)
        monkeypatch.setattr(memory, "LIMIT", 1.0)
        found = memory.measure_here({"n": 200, "m": 5, "s": 60, "seed": 0, "method": method})
        assert found["seconds"] > 0.0
        assert 0.0 <= found["peak_mb"] < 200.0

    def test_a_run_has_a_process_of_its_own(self) -> None:
        found = memory.answer({"n": 200, "m": 5, "s": 60, "seed": 0, "method": "imp-batches"})
        assert found["seconds"] > 0.0
        assert 0.0 <= found["peak_mb"] < 200.0

    def test_a_process_that_fails_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "false")
        with pytest.raises(OSError, match=r"the process of the run .* ended with exit code 1"):
            memory.answer({"n": 200, "m": 5, "s": 60, "seed": 0, "method": "niht"})

    def test_the_page(self, tmp_path: Path) -> None:
        runs = memory.runs(Scale("quick", (0,)))
        rows = written(memory.MEMORY, tmp_path, [(run, {"peak_mb": float(run["m"])}) for run in runs])
        check_page(memory.MEMORY, tmp_path, rows, ("| growth | 40.0 times |", "500", "IMP, all rows a step"))


def test_larger_values_count_as_the_most_in_tables_and_pictures(tmp_path: Path) -> None:
    from convexnn.studies.harness.pictures import _cells
    from convexnn.studies.harness.summary import averaged

    rows = [{"m": "1", "s": "1", "psnr": value} for value in ("300.0", "60.0")]
    assert averaged("psnr", most=100.0)(rows) == "80.0 ± 28.3"
    mean, spread = _cells(rows, "psnr", (("1",), ("1",)), 100.0)
    assert mean[0, 0] == 80.0
    assert spread[0, 0] == pytest.approx(np.sqrt(800.0))


def test_an_unknown_baseline_is_named() -> None:
    with pytest.raises(ValueError, match="method 'ours' is unknown; expected one of: imp-released, imp-trained"):
        run_baseline("ours", np.ones((2, 1)), np.ones(2), [1])
