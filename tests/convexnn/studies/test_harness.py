"""Studies: a sweep that goes on where it stopped, its table, page and pictures, and the command around it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import joblib
import matplotlib.image
import numpy as np
import pytest

import convexnn
from convexnn.cli.reproduce import _duration
from convexnn.studies.harness import study as room
from convexnn.studies.harness.pictures import curves, heatmaps, scatter, strips
from convexnn.studies.harness.reproduce import reproduce
from convexnn.studies.harness.study import Scale
from convexnn.studies.harness.summary import cost_summary, mean_and_spread, page, pivot
from convexnn.studies.harness.sweep import Progress, measured, sweep
from convexnn.studies.harness.table import RunTable, distinct, numbers, run_id, select
from tests.helpers.command_line import call, complained
from tests.helpers.fake_study import FAKE, runs, value
from tests.helpers.places import ROOT


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The runs that were answered, in their order, in all processes."""
    file = tmp_path / "trace"
    monkeypatch.setenv("TRACE", str(file))
    return lambda: file.read_text(encoding="ascii").splitlines() if file.exists() else []


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake study among those that are found by name."""
    monkeypatch.setattr(room, "STUDIES", {"fake": ("tests.helpers.fake_study", "FAKE")})


class TestTable:
    def test_rows_come_back_in_the_order_of_the_runs(self, tmp_path: Path) -> None:
        table, asked = RunTable(tmp_path / "runs.csv", FAKE), runs(Scale("default", (0, 1)))
        for run in reversed(asked):
            table.append(run, measured(FAKE.answer, run)[1])
        rows = table.rows(asked)
        plain = select(rows, method="plain")
        assert [(int(row["seed"]), int(row["m"]), int(row["s"])) for row in plain] == [
            (run["seed"], run["m"], run["s"]) for run in asked if run["method"] == "plain"
        ]
        assert all(float(row["value"]) == int(row["m"]) * int(row["s"]) + int(row["seed"]) for row in rows)
        assert len(rows) == 2 * len(plain)
        assert table.missing(asked) == []

    def test_a_run_with_several_rows_is_done_with_its_last(self, tmp_path: Path) -> None:
        path, run = tmp_path / "runs.csv", {"seed": 0, "m": 2, "s": 6, "method": "all at once"}
        table = RunTable(path, FAKE)
        table.append(run, [{"value": 1.0}, {"s": 3, "value": 2.0}])
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        assert [line.split(",")[2] for line in lines[1:]] == ["3", "6"]
        path.write_text("".join(lines[:2]) + lines[2][:9], encoding="utf-8")
        assert RunTable(path, FAKE).missing([run]) == [run]
        assert RunTable(path, FAKE).rows([run]) == []
        table.append(run, [{"value": 3.0}, {"s": 3, "value": 4.0}])
        assert numbers(table.rows([run]), "value") == [4.0, 3.0]

    @pytest.mark.parametrize("torn", [1, 5, 12])
    def test_a_torn_last_line_is_cut_off(self, tmp_path: Path, torn: int) -> None:
        path, asked = tmp_path / "runs.csv", runs(Scale("quick", (0,)))[:2]
        table = RunTable(path, FAKE)
        for run in asked:
            table.append(run, [{"value": 1.5}])
        whole = path.read_bytes()
        path.write_bytes(whole[:-torn])
        assert RunTable(path, FAKE).missing(asked) == asked[1:]
        table.append(asked[1], [{"value": 1.5}])
        assert path.read_bytes() == whole

    @pytest.mark.parametrize("left", [0, 3])
    def test_a_torn_header_is_written_anew(self, tmp_path: Path, left: int) -> None:
        path, run = tmp_path / "runs.csv", runs(Scale("quick", (0,)))[0]
        path.write_text("seed,m"[:left], encoding="utf-8")
        table = RunTable(path, FAKE)
        table.append(run, [{"value": 1.0}])
        assert numbers(table.rows([run]), "value") == [1.0]

    def test_what_identifies_a_run_is_told_apart(self) -> None:
        asked = runs(Scale("full", (0, 1, 2)))
        assert len({run_id(run) for run in asked}) == len(asked)
        assert run_id(asked[0]) == run_id(dict(reversed(asked[0].items())))

    def test_none_and_missing_columns_are_empty_cells(self, tmp_path: Path) -> None:
        run = {"seed": 0, "m": None, "s": 3, "method": "plain"}
        table = RunTable(tmp_path / "runs.csv", FAKE)
        table.append(run, [{"value": None}])
        assert table.missing([run]) == []
        assert table.rows([run])[0]["m"] == table.rows([run])[0]["value"] == ""
        assert numbers(table.rows([run]), "value") == []

    def test_text_with_commas_survives_and_lines_become_one(self, tmp_path: Path) -> None:
        run = {"seed": 0, "m": 2, "s": 3, "method": 'with, "all"'}
        table = RunTable(tmp_path / "runs.csv", FAKE)
        table.append(run, [{"value": "a\n b"}])
        assert table.rows([run])[0]["value"] == "a b"
        assert table.rows([run])[0]["method"] == run["method"]

    def test_other_columns_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "runs.csv"
        path.write_text("seed,width\n0,2\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"runs\.csv has other columns than seed, m, s, method, value"):
            RunTable(path, FAKE)

    @pytest.mark.parametrize("text", ["notes, all of them in one line", "a" * 200_000 + "\n", '"' * 9 + "\n"])
    def test_a_file_that_is_no_table_is_left_as_it_is(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "runs.csv"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"runs\.csv has other columns"):
            RunTable(path, FAKE)
        assert path.read_text(encoding="utf-8") == text

    @pytest.mark.parametrize(
        ("answers", "words"),
        [([{"value": 1, "colour": 2}], "has a column 'colour'"), ([{"s": 9}], "no row of the run itself"), ([], "no")],
    )
    def test_answers_that_do_not_fit(self, tmp_path: Path, answers: list[dict[str, Any]], words: str) -> None:
        table = RunTable(tmp_path / "runs.csv", FAKE)
        with pytest.raises(ValueError, match=words):
            table.append(runs(Scale("quick", (0,)))[0], answers)
        assert not table.path.exists()


class TestSweep:
    def test_it_goes_on_where_it_stopped(self, tmp_path: Path, trace: Callable[[], list[str]]) -> None:
        asked, path = runs(Scale("default", (0, 1))), tmp_path / "runs.csv"
        for count, _ in enumerate(sweep(FAKE, asked, RunTable(path, FAKE)), start=1):
            if count == 4:
                break
        steps = list(sweep(FAKE, asked, RunTable(path, FAKE)))
        assert len(trace()) == len(set(trace())) == len(asked)
        assert [step.done for step in steps] == list(range(1, len(asked) - 3))
        assert {step.total for step in steps} == {len(asked) - 4}
        assert steps[-1].left == 0.0
        assert list(sweep(FAKE, asked, RunTable(path, FAKE))) == []

    def test_the_time_left_follows_from_what_runs_cost(self, tmp_path: Path) -> None:
        asked = runs(Scale("default", (0,)))
        costs = [run["m"] for run in asked]
        for count, step in enumerate(sweep(FAKE, asked, RunTable(tmp_path / "runs.csv", FAKE)), start=1):
            assert step.left == pytest.approx(step.seconds * sum(costs[count:]) / sum(costs[:count]))

    def test_a_kill_loses_the_run_in_flight_alone(self, tmp_path: Path) -> None:
        code = f"""
import os, signal
from pathlib import Path
from tests.helpers import fake_study
from convexnn.studies.harness.study import Scale
from convexnn.studies.harness.sweep import sweep
from convexnn.studies.harness.table import RunTable
def answer(run):
    if run["m"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return fake_study.answer(run)
import dataclasses
study = dataclasses.replace(fake_study.FAKE, answer=answer)
list(sweep(study, study.runs(Scale("default", (0,))), RunTable(Path({str(tmp_path / "runs.csv")!r}), study)))
"""
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
        asked = runs(Scale("default", (0,)))
        missing = RunTable(tmp_path / "runs.csv", FAKE).missing(asked)
        assert missing == [run for run in asked if run["m"] == 5]

    def test_a_worker_that_is_killed_is_one_line(self, tmp_path: Path) -> None:
        def answer(run: dict[str, Any]) -> dict[str, Any]:
            os.kill(os.getpid(), signal.SIGKILL)
            return {}

        study, asked = dataclasses.replace(FAKE, answer=answer), runs(Scale("quick", (0,)))
        with pytest.raises(OSError, match="a worker process was killed, perhaps for want of memory; runs that ended"):
            list(sweep(study, asked, RunTable(tmp_path / "runs.csv", study), jobs=2))

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_processes_give_the_same_rows(self, tmp_path: Path, jobs: int) -> None:
        asked, table = runs(Scale("default", (0,))), RunTable(tmp_path / "runs.csv", FAKE)
        assert len(list(sweep(FAKE, asked, table, jobs=jobs))) == len(asked)
        rows = table.rows(asked)
        assert [float(row["value"]) for row in select(rows, method="plain")] == [
            value(run) for run in asked if run["method"] == "plain"
        ]
        assert all(
            row["versions"].startswith("python 3.") and f"convexnn {convexnn.__version__}" in row["versions"]
            for row in rows
        )
        assert min(numbers(rows, "seconds")) >= 0.0

    @pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
    def test_the_backend_is_the_callers(self, tmp_path: Path, backend: str) -> None:
        # multiprocessing cannot yield results as they come, as Ray's cannot: rounds instead.
        asked, table = runs(Scale("default", (0,))), RunTable(tmp_path / "runs.csv", FAKE)
        with joblib.parallel_config(backend=backend, n_jobs=2):
            steps = list(sweep(FAKE, asked[:3], table))
            steps += list(sweep(FAKE, asked, table, jobs=2))
        assert [step.done for step in steps] == [1, 2, 3, *range(1, len(asked) - 2)]
        assert table.missing(asked) == []

    def test_a_run_has_one_thread_and_its_peak_is_its_own(self) -> None:
        import torch

        def answer(run: dict[str, Any]) -> dict[str, Any]:
            return {"value": torch.get_num_threads() + np.ones(run["m"] * 125_000).sum()}

        big = measured(answer, {"m": 80})[1][0]
        small = measured(answer, {"m": 1})[1][0]
        assert small["value"] == 125_001
        assert big["peak_mb"] > 75.0
        assert small["peak_mb"] < 40.0

    def test_what_earlier_runs_left_behind_does_not_hide_the_peak(self) -> None:
        # Pieces of 50 kB come from the heap, which cannot shrink below the one that stays.
        stay = list[Any]()

        def answer(run: dict[str, Any]) -> dict[str, Any]:
            pieces = [np.ones(6250) for _ in range(2000)]
            stay.append(np.ones(6250))
            return {"value": len(pieces)}

        assert min(measured(answer, {})[1][0]["peak_mb"] for _ in range(3)) > 80.0

    def test_a_run_may_measure_for_itself(self) -> None:
        row = measured(lambda run: {"seconds": 0.25, "peak_mb": 7.0}, {})[1][0]
        assert (row["seconds"], row["peak_mb"]) == (0.25, 7.0)

    def test_an_interruption_that_a_solver_took_ends_the_sweep(self) -> None:
        def answer(run: dict[str, Any]) -> dict[str, Any]:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                while True:
                    pass
            except KeyboardInterrupt:
                return {"value": 1.0}

        kept = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            measured(answer, {})
        assert signal.getsignal(signal.SIGINT) is kept


class TestReproduce:
    def test_a_folder_that_another_process_works_on_is_refused(self, tmp_path: Path) -> None:
        seen: list[Progress] = []

        def again(step: Progress) -> None:
            seen.append(step)
            with pytest.raises(OSError, match="fake is in use by another process; wait until it ends, or name another"):
                reproduce(FAKE, "quick", seeds=[0], output=tmp_path)

        rows = reproduce(FAKE, "quick", seeds=[0], output=tmp_path, callback=again).rows
        assert seen
        assert reproduce(FAKE, "quick", seeds=[0], output=tmp_path).rows == rows

    def test_the_folder_holds_the_table_the_page_and_the_pictures(self, tmp_path: Path) -> None:
        report = reproduce(FAKE, "quick", output=tmp_path)
        assert [path.name for path in report.files] == ["runs.csv", "summary.md", "report.html", "value.png"]
        assert all(path.parent == tmp_path / "fake" for path in report.files)
        text = (tmp_path / "fake" / "summary.md").read_text(encoding="utf-8")
        for words in (
            "# Products",
            "convexnn reproduce fake --quick\n",
            "seeds 0, 1",
            "Each run multiplies.",
            "(value.png)",
        ):
            assert words in text
        web = (tmp_path / "fake" / "report.html").read_text(encoding="utf-8")
        assert "<h1>Products</h1>" in web
        assert web.count("<img") == web.count('src="data:image/png;base64,') == 1
        assert "| 2   | 3   |" not in text
        assert "6.5 ± 0.7" in text
        assert matplotlib.image.imread(report.files[3]).shape[2] == 4

    def test_only_what_is_asked_for_is_on_the_page(self, tmp_path: Path) -> None:
        reproduce(FAKE, "full", seeds=[0], output=tmp_path)
        report = reproduce(FAKE, "quick", seeds=[0], output=tmp_path)
        assert distinct(report.rows, "m") == ["2"]
        steps = list[Progress]()
        again = reproduce(FAKE, "full", seeds=[0], output=tmp_path, callback=steps.append)
        assert [(step.done, step.total) for step in steps] == [(0, 0)]
        assert distinct(again.rows, "m") == ["2", "5", "10"]

    def test_the_page_names_many_seeds_by_their_stretches(self) -> None:
        seeds = ("5", "", "0", "2", "3", "4", "2")
        rows = [{"run": str(place), "seed": seed, "seconds": "1", "versions": "x"} for place, seed in enumerate(seeds)]
        assert cost_summary(rows) == "7 runs of seeds 0, 2 to 5, one thread each, 7 seconds in all; 7 rows; x."

    def test_the_page_counts_the_seconds_of_a_run_once(self) -> None:
        rows = [
            {"run": run, "seconds": seconds, "versions": "x"} for run, seconds in (("a", "2"), ("a", "5"), ("b", "1"))
        ]
        assert cost_summary(rows) == "2 runs, one thread each, 6 seconds in all; 3 rows; x."
        assert cost_summary([]) == "No runs."

    def test_progress_is_told(self, tmp_path: Path) -> None:
        steps = list[Progress]()
        reproduce(FAKE, "quick", seeds=[3], output=tmp_path, callback=steps.append)
        # Before the first run too, so that a caller knows how many there will be.
        assert [step.done for step in steps] == [0, 1, 2, 3]
        assert [step.total for step in steps] == [3] * 4
        assert steps[0].run is None
        assert steps[0].left == math.inf

    @pytest.mark.parametrize(
        ("name", "size", "seeds", "words"),
        [
            ("figure9", "quick", None, "study 'figure9' is unknown; expected one of: planted, mnist-binary"),
            (FAKE, "large", None, "size 'large' is unknown"),
            (FAKE, "quick", [-1], r"seeds\[0\] is -1"),
            (FAKE, "quick", 3, "seeds is 3; expected a sequence of whole numbers"),
            (FAKE, "quick", [], "seeds is empty; expected at least one whole number"),
        ],
    )
    def test_bad_arguments(self, tmp_path: Path, name: Any, size: Any, seeds: Any, words: str) -> None:
        with pytest.raises((TypeError, ValueError), match=words):
            reproduce(name, size, seeds=seeds, output=tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("jobs", [0, -1, 1.5, "2"])
    def test_jobs_are_a_whole_number(self, tmp_path: Path, jobs: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"jobs is .*; expected a whole number of at least 1"):
            reproduce(FAKE, "quick", jobs=jobs, output=tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_the_folder_is_a_path(self) -> None:
        with pytest.raises(TypeError, match="output is 3; expected the path of a folder"):
            reproduce(FAKE, "quick", output=3)  # type: ignore[arg-type]

    def test_a_seed_that_is_named_twice_counts_once(self, tmp_path: Path) -> None:
        # Its rows would stand in every mean twice, and make the spread too small.
        report = reproduce(FAKE, "quick", seeds=[1, 0, 1], output=tmp_path)
        assert len(report.rows) == 8
        assert distinct(report.rows, "seed") == ["1", "0"]
        assert "--seeds 1,0\n" in (tmp_path / "fake" / "summary.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("known")
class TestCommand:
    def test_it_runs_and_says_what_is_written(self, tmp_path: Path) -> None:
        result = call("reproduce", "fake", "--quick", "--seeds", "0, 2,0", "--jobs", 2, "--output", tmp_path)
        assert result.exit_code == 0, result.stderr
        assert "| m | s |" in result.stdout
        assert "8 rows; written: " in result.stdout
        assert "6/6" in result.stderr
        text = (tmp_path / "fake" / "summary.md").read_text(encoding="utf-8")
        assert "convexnn reproduce fake --quick --seeds 0,2\n" in text

    def test_a_second_call_runs_nothing(self, tmp_path: Path, trace: Callable[[], list[str]]) -> None:
        for _ in range(2):
            result = call("reproduce", "fake", "--output", tmp_path)
            assert result.exit_code == 0
            assert "0/?" not in result.stderr
        assert len(trace()) == len(set(trace())) == 18

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["fake", "--quick", "--full"], "both --quick and --full are given; expected at most one"),
            (["figure9"], "study 'figure9' is unknown; expected one of: fake"),
            (["fake", "--seeds", "0,-1"], "seeds is '0,-1'; expected whole numbers of at least 0 with commas between"),
            (["fake", "--seeds", ""], "seeds is ''"),
            (["fake", "--jobs", "0"], "jobs"),
        ],
    )
    def test_bad_input_is_one_line(self, tmp_path: Path, arguments: list[str], words: str) -> None:
        assert complained(call("reproduce", *arguments, "--output", tmp_path), words)
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert complained(call("reproduce", "fake", "--output", tmp_path / "file"), "cannot be written")


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (99.0, "99 s"), (150.0, "2 min"), (7500.0, "2:05 h")])
def test_the_time_left_in_words(seconds: float, words: str) -> None:
    assert _duration(seconds) == words


class TestPages:
    def test_mean_and_spread(self) -> None:
        assert mean_and_spread([]) == ""
        assert mean_and_spread([2.0]) == "2.0"
        assert mean_and_spread([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"

    def test_a_table_over_two_columns(self) -> None:
        rows = [{"s": s, "method": method, "value": s + method} for s in "12" for method in "ab"][:3]
        sheet = pivot(rows, ("s",), "method", lambda here: "/".join(row["value"] for row in here), {"a": "A"})
        assert sheet.header == ("s", "A", "b")
        assert sheet.rows == (("1", "1a", "1b"), ("2", "2a", ""))

    def test_a_page_without_rows(self) -> None:
        empty = dataclasses.replace(FAKE, tables=lambda rows: "")
        assert page(empty, [], [], "convexnn reproduce fake") == (
            "# Products\n\n    convexnn reproduce fake\n\nNo runs.\n\nEach run multiplies.\n"
        )


class TestPictures:
    ROWS: ClassVar[list[dict[str, str]]] = [
        {"seed": seed, "m": m, "s": s, "method": method, "value": str(int(m) * int(s) + int(seed))}
        for seed in "01"
        for m in ("2", "10")
        for s in ("3", "20")
        for method in ("ours", "theirs")
        if (m, method) != ("10", "theirs")
    ]

    def test_a_heatmap_shows_mean_and_deviation_of_every_cell(self) -> None:
        from convexnn.studies.harness.pictures import _cells

        mean, spread = _cells(select(self.ROWS, method="ours"), "value", (("2", "10"), ("3", "20")))
        assert np.allclose(mean, [[6.5, 40.5], [30.5, 200.5]])
        assert np.allclose(spread, np.sqrt(0.5))
        mean, _ = _cells(select(self.ROWS, method="theirs"), "value", (("2", "10"), ("3", "20")))
        assert np.isnan(mean[1]).all()

    def test_a_band_is_the_deviation_or_the_middle_half(self) -> None:
        from convexnn.studies.harness.pictures import _band

        values = [1.0, 2.0, 3.0, 4.0, 10.0]
        assert _band(values, True) == (2.0, 3.0, 4.0)
        assert _band(values, False) == pytest.approx((4.0 - 12.5**0.5, 4.0, 4.0 + 12.5**0.5))
        assert _band([3.0], False) == (3.0, 3.0, 3.0)

    def test_all_kinds_are_drawn_without_rows_too(self, tmp_path: Path) -> None:
        for rows, name in ((self.ROWS, "full"), ([], "empty")):
            if rows:
                heatmaps(rows, tmp_path / f"{name}1.png", "value", limits=(0, 50), label="dB", title="title")
            curves(rows, tmp_path / f"{name}2.png", "s", ["value", "m"], labels=("s", "dB"), lines={"recorded": 30.0})
            scatter(rows, tmp_path / f"{name}3.png", "s", "value", labels=("s", "dB"), diagonal=True, logarithmic="xy")
            scatter(rows, tmp_path / f"{name}4.png", "s", "value", labels=("s", "dB"), apart=True)
            strips(rows, tmp_path / f"{name}5.png", "value", label="dB")
        pictures = sorted(tmp_path.glob("*.png"))
        assert len(pictures) == 9
        for path in pictures:
            assert np.ptp(matplotlib.image.imread(path)[..., :3]) > 0.5


def test_a_scale_is_a_value() -> None:
    assert Scale("quick", (0,)) == Scale("quick", (0,))
    assert json.dumps(dataclasses.asdict(Scale("full", (0, 1)))) == '{"size": "full", "seeds": [0, 1]}'
