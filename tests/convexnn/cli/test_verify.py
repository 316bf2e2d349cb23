"""The commands of verify: one question, batches that go on where they were killed, properties."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.cli.files.batch import Job, read_log, run_batch
from convexnn.cli.files.points import parse_rows
from tests.helpers.command_line import call, complained

BOX = """(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))
"""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The identity of two inputs: class 0 where the first is larger."""
    return cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], None)]).to_onnx(tmp_path / "net.onnx")


@pytest.fixture
def points(tmp_path: Path) -> Path:
    path = tmp_path / "points.csv"
    path.write_text("1.0, 0.0\n0.6, 0.4\n0.0, 1.0\n")
    return path


class TestAttacks:
    def test_rows_have_a_line_each(self, network: Path, points: Path) -> None:
        result = call("attack", network, points, "--radius", 0.2, "--rows", "all")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [line["verdict"] for line in lines] == ["ROBUST", "COUNTEREXAMPLE", "ROBUST"]
        assert [line["key"]["row"] for line in lines] == [0, 1, 2]
        assert lines[1]["replayed"] > 0
        assert result.exit_code == 1
        assert "3 rows: 2 ROBUST, 1 COUNTEREXAMPLE" in result.stderr

    def test_surrogates_are_sparsities_and_part_of_the_question(
        self, network: Path, points: Path, tmp_path: Path
    ) -> None:
        log = tmp_path / "log.jsonl"
        command = ("attack", network, points, "--radius", 0.2, "--rows", "all", "--log", log)
        assert call(*command, "--surrogates", "0.3,0.5").exit_code == 1
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["verdict"] for line in lines] == ["ROBUST", "COUNTEREXAMPLE", "ROBUST"]
        call(*command)
        assert len(log.read_text().splitlines()) == 6
        assert call("maximize", network, points, "--output", 0, "--radius", 0.1, "--surrogates", "0.5").exit_code == 0
        wrong = call("attack", network, points, "--radius", 0.2, "--surrogates", "0.5,1")
        assert wrong.exit_code == 2
        assert "surrogates[1] is 1; expected a sparsity in [0, 1)" in wrong.stderr
        assert "surrogates is 'half'; expected numbers" in call(*command[:5], "--surrogates", "half").stderr

    def test_a_log_is_resumed_and_a_torn_line_done_again(self, network: Path, points: Path, tmp_path: Path) -> None:
        log = tmp_path / "log.jsonl"
        command = ("attack", network, points, "--radius", 0.2, "--log", log, "--rows")
        assert call(*command, "0:2").exit_code == 1
        first = log.read_text().splitlines(keepends=True)
        assert len(first) == 2
        log.write_text(first[0] + first[1][:40])
        assert call(*command, "all").exit_code == 1
        again = log.read_text().splitlines(keepends=True)
        assert again[0] == first[0]
        assert [json.loads(line)["key"]["row"] for line in again] == [0, 1, 2]

    def test_another_question_or_another_file_is_not_resumed(self, network: Path, points: Path, tmp_path: Path) -> None:
        log = tmp_path / "log.jsonl"
        command = ("attack", network, points, "--rows", "0", "--log", log, "--radius")
        call(*command, 0.2)
        call(*command, 0.3)
        assert len(log.read_text().splitlines()) == 2
        points.write_text("0.9, 0.0\n")
        call(*command, 0.3)
        assert len(log.read_text().splitlines()) == 3

    def test_processes_give_the_same_lines(self, network: Path, points: Path) -> None:
        command = ("attack", network, points, "--radius", 0.2, "--rows", "all")
        alone, several = call(*command), call(*command, "--jobs", 2)
        lines = [sorted(result.stdout.splitlines()) for result in (alone, several)]
        verdicts = [{json.loads(line)["key"]["row"]: json.loads(line)["verdict"] for line in part} for part in lines]
        assert verdicts[0] == verdicts[1]
        assert several.exit_code == alone.exit_code

    def test_a_single_row_may_have_several_processes(self, network: Path, points: Path) -> None:
        alone, both = (call("attack", network, points, "--radius", 0.2, "--jobs", jobs) for jobs in (1, 2))
        assert both.exit_code == alone.exit_code == 0
        assert call("maximize", network, points, "--radius", 0.2, "--output", 0, "--jobs", 2).exit_code == 0

    def test_labels_and_a_target(self, network: Path, points: Path, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_text("0\n0\n0\n")
        result = call("attack", network, points, "--radius", 0.2, "--rows", "2,0", "--labels", tmp_path / "labels.txt")
        assert [json.loads(line)["verdict"] for line in result.stdout.splitlines()] == ["MISCLASSIFIED", "ROBUST"]
        assert call("attack", network, points, "--radius", 0.2, "--row", 1, "--target", 1).exit_code == 1

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--rows", "0:x"), "rows is '0:x'; expected all, a slice such as 0:100, or numbers such as 0,3,5"),
            (("--rows", "7"), "rows '7' names 7; the points file has 3 rows, counted from 0"),
            (("--rows", "3:"), "names no row"),
            (("--rows", "all", "--witness", "w.npy"), "witness is given with many rows"),
            (("--log", "log.jsonl"), "log or dask is given for a single row"),
            (("--rows", "all", "--label", "5"), "label is 5; expected 0 to 1"),
            (("--rows", "all", "--clip", 0.5, 1), "row 0: x is 0 at index 1, outside clip [0.5, 1]"),
            (("--target", "0"), "target is 0, which is the label; expected another class"),
            (("--labels", "labels.txt", "--rows", "all"), "labels file labels.txt has 1 entries; expected 3"),
            (("--labels", "labels.txt", "--label", "1"), "both label and labels are given"),
            (("--rows", "all", "--log", "points.csv"), "is an input of the command"),
            (("--rows", "all", "--log", "other.txt"), "other.txt, line 1: it is no line of a batch"),
        ],
    )
    def test_bad_input_is_one_line(
        self,
        options: tuple[Any, ...],
        words: str,
        network: Path,
        points: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "labels.txt").write_text("0\n")
        (tmp_path / "other.txt").write_text("something\nelse\n")
        result = call("attack", network.name, points.name, "--radius", 0.2, *options)
        assert complained(result, words), result.stderr


def test_rows_are_named_in_three_ways() -> None:
    assert parse_rows("all", 3) == [0, 1, 2]
    assert parse_rows("1:", 3) == [1, 2]
    assert parse_rows("2,0", 3) == [2, 0]


class TestBatch:
    def jobs(self) -> list[Job]:
        return [Job({"row": row}, (row,)) for row in range(3)]

    def test_what_is_done_is_not_done_again(self, tmp_path: Path) -> None:
        done: list[int] = []

        def work(row: int) -> dict[str, Any]:
            if len(done) == 2:
                raise KeyboardInterrupt
            done.append(row)
            return {"square": row * row}

        with pytest.raises(KeyboardInterrupt):
            run_batch(self.jobs(), work, tmp_path / "log.jsonl")
        assert len(read_log(tmp_path / "log.jsonl")) == 2
        done.clear()
        lines = run_batch(self.jobs(), work, tmp_path / "log.jsonl")
        assert done == [2]
        assert [line["square"] for line in lines] == [0, 1, 4]

    def test_a_run_that_is_killed_leaves_whole_lines(self, tmp_path: Path) -> None:
        code = """
import os, sys
from pathlib import Path
from convexnn.cli.files.batch import Job, run_batch
def work(row):
    if row == 2:
        os._exit(9)
    return {"row": row}
run_batch([Job({"row": row}, (row,)) for row in range(4)], work, Path(sys.argv[1]))
"""
        killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "log.jsonl")], check=False)
        assert killed.returncode == 9
        assert [line["row"] for line in read_log(tmp_path / "log.jsonl").values()] == [0, 1]

    def test_a_last_line_without_its_end_is_torn(self, tmp_path: Path) -> None:
        log = tmp_path / "log.jsonl"
        log.write_text('{"key": {"row": 0}, "square": 0}\n{"key": {"row": 1}, "square": 1}')
        assert len(read_log(log)) == 1
        assert log.read_text() == '{"key": {"row": 0}, "square": 0}\n'

    @pytest.mark.parametrize(
        "text",
        [
            '{"my": "notes, without a last newline"}',
            "notes",
            '{"key": 3}\n',
            "[" * 100_000 + "\n",
            '{"key": {"row": 0}, "square": 0}\nnotes',
            '{"key": {"row": 0}, "squ\n',
        ],
    )
    def test_a_file_that_is_no_log_is_left_as_it_is(self, text: str, tmp_path: Path) -> None:
        log = tmp_path / "notes.json"
        log.write_text(text)
        with pytest.raises(ValueError, match=r"notes\.json, line [12]: it is no line of a batch; expected another log"):
            run_batch(self.jobs(), abs, log)
        assert log.read_text() == text

    def test_a_line_without_its_figure_is_refused(self, tmp_path: Path) -> None:
        log = tmp_path / "log.jsonl"
        for line in (
            '{"key": {"row": 0}}',
            '{"key": {"row": 0}, "verdict": "PERHAPS"}',
            '{"key": {"row": 0}, "verdict": []}',
        ):
            log.write_text(f"{line}\n")
            with pytest.raises(ValueError, match=r"has a line with the verdict .*; expected one of: YES, NO"):
                run_batch(self.jobs(), abs, log, known=("verdict", ["YES", "NO"]))
            assert log.read_text() == f"{line}\n"

    def test_a_log_that_another_process_works_on_is_refused(self, tmp_path: Path) -> None:
        log = tmp_path / "log.jsonl"

        def work(row: int) -> dict[str, Any]:
            with pytest.raises(OSError, match=r"log\.jsonl is in use by another process; wait until it ends"):
                run_batch(self.jobs(), abs, log)
            return {"square": row * row}

        assert len(run_batch(self.jobs(), work, log)) == len(read_log(log)) == 3
        assert run_batch(self.jobs(), abs, log)[2]["square"] == 4

    def test_lines_are_on_the_disk_before_the_next_job(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        log, sizes = tmp_path / "log.jsonl", list[int]()
        monkeypatch.setattr("convexnn.files.os.fsync", lambda handle: sizes.append(log.stat().st_size))
        run_batch(self.jobs(), lambda row: {"square": row}, log)
        assert sizes == sorted(set(sizes))
        assert sizes[-1] == log.stat().st_size

    def test_a_full_disk_names_the_log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("convexnn.files.os.fsync", full)
        with pytest.raises(OSError, match=r"log\.jsonl cannot be written .No space left on device"):
            run_batch(self.jobs(), lambda row: {"square": row}, tmp_path / "log.jsonl")

    def test_a_worker_that_is_killed_is_one_line_and_the_rest_is_in_the_log(self, tmp_path: Path) -> None:
        log = tmp_path / "log.jsonl"
        jobs = [Job({"row": row}, (row, log)) for row in range(4)]
        with pytest.raises(OSError, match="a worker process was killed, perhaps for want of memory; runs that ended"):
            run_batch(jobs, killed_at_last, log, n_jobs=2)
        assert len(read_log(log)) == 3

    def test_a_device_is_no_log_to_read(self) -> None:
        lines = run_batch(self.jobs(), lambda row: {"square": row}, Path("/dev/null"))
        assert [line["square"] for line in lines] == [0, 1, 2]


def killed_at_last(row: int, log: Path) -> dict[str, Any]:
    """Return a figure; the last row waits until the others are in the log, and kills its process."""
    while row == 3 and log.read_text().count("\n") < 3:
        time.sleep(0.01)
    if row == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"row": row}


class TestMaximize:
    def test_one_row(self, network: Path, points: Path, tmp_path: Path) -> None:
        witness = tmp_path / "w.npy"
        result = call("maximize", network, points, "--radius", 0.25, "--output", 1, "--json", "--witness", witness)
        figures = json.loads(result.stdout)
        assert (result.exit_code, figures["status"], figures["value"]) == (0, "OPTIMAL", 0.25)
        assert np.load(witness).tolist() == figures["witness"]

    def test_weights_a_minimum_and_many_rows(self, network: Path, points: Path) -> None:
        command = ("maximize", network, points, "--radius", 0.25, "--weights", "1,-1", "--minimum", "--rows", "all")
        result = call(*command)
        assert [json.loads(line)["value"] for line in result.stdout.splitlines()] == pytest.approx([0.5, -0.3, -1.5])
        assert result.exit_code == 0

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ((), "objective is None for 2 outputs; expected an output's index or 2 weights"),
            (("--output", 2), "objective is 2; expected the index of an output, 0 to 1"),
            (("--weights", "1;2"), "weights is '1;2'; expected numbers with commas between"),
            (("--weights", "1,2", "--output", 0), "both output and weights are given"),
        ],
    )
    def test_bad_input_is_one_line(self, options: tuple[Any, ...], words: str, network: Path, points: Path) -> None:
        assert complained(call("maximize", network, points, "--radius", 0.25, *options), words)


class TestVnnlib:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "holds.vnnlib").write_text(BOX + "(assert (>= (+ Y_0 Y_1) 2.5))")
        (tmp_path / "violated.vnnlib").write_text(BOX + "(assert (>= (+ Y_0 Y_1) 1.5))")
        (tmp_path / "broken.vnnlib").write_text(BOX + "(assert (>= Y_0")

    def test_it_holds(self, network: Path) -> None:
        result = call("vnnlib", network, "holds.vnnlib", "--time-limit", 60)
        assert result.exit_code == 0
        assert result.stdout.startswith("holds in 0.")
        assert not Path("holds.witness.txt").exists()

    def test_a_violation_is_written_as_vnn_comp_has_it(self, network: Path) -> None:
        result = call("vnnlib", network, "violated.vnnlib")
        assert result.exit_code == 1
        assert result.stdout.startswith("violated in ")
        assert "witness: violated.witness.txt" in result.stdout
        text = Path("violated.witness.txt").read_text()
        assert text.startswith("((X_0 ")
        values = dict(line.strip("()").split() for line in text.split("\n") if line)
        assert sum(float(values[name]) for name in ("Y_0", "Y_1")) >= 1.5

    def test_a_witness_as_an_array(self, network: Path) -> None:
        call("vnnlib", network, "violated.vnnlib", "--witness", "w.npy")
        assert np.load("w.npy").sum() >= 1.5

    def test_several_are_a_batch(self, network: Path) -> None:
        command = ("vnnlib", network, "violated.vnnlib", "holds.vnnlib", "--log", "log.jsonl")
        assert call(*command).exit_code == 1
        again = call(*command)
        assert len(Path("log.jsonl").read_text().splitlines()) == 2
        assert "2 properties: 1 violated, 1 holds" in again.stderr

    def test_unknown_exits_with_3(self, tmp_path: Path) -> None:
        hidden = [[1, 0], [-1, 0], [0, 1], [0, -1]]
        cx.SparseReLUNetwork([(hidden, None), ([[1, -1, 0, 0], [0, 0, 1, -1]], None)]).save(tmp_path / "n.npz")
        wide = BOX.replace(" 0))", " -1))") + "(assert (>= (+ Y_0 Y_1) 1.5)) (assert (<= Y_0 0.25))"
        (tmp_path / "hard.vnnlib").write_text(wide)
        result = call("vnnlib", "n.npz", "hard.vnnlib", "--time-limit", 0, "--json")
        assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (3, "UNKNOWN")

    def test_bad_input_is_one_line(self, network: Path) -> None:
        broken = call("vnnlib", network, "broken.vnnlib")
        assert complained(broken, "broken.vnnlib, line 3: a parenthesis is not closed by line 3, the last")
        assert complained(call("vnnlib", network, "none.vnnlib"), "property 'none.vnnlib' cannot be read")
        assert complained(call("vnnlib", network, "holds.vnnlib", "--log", "x"), "log or dask is given for a single")
        several = ("holds.vnnlib", "violated.vnnlib")
        assert complained(call("vnnlib", network, *several, "--witness", "x"), "witness is given with several")
        assert complained(call("vnnlib", network, *several, "--also", network), "also is given with several properties")
        two = call("vnnlib", network, "holds.vnnlib", "--also", network)
        assert complained(two, "2 networks are given for a property of one")

    def test_a_property_of_two_networks(self, network: Path) -> None:
        box = "".join(f"(assert (<= 0 a[{i}] 1))(assert (== a[{i}] c[{i}]))" for i in range(2))
        networks = "".join(
            f"(declare-network {name} (declare-input {x} Real [2]) (declare-output {y} Real [2]))"
            for name, x, y in ("fab", "gcd")
        )
        for level, code in ((0.1, 0), (-0.1, 1)):
            Path("two.vnnlib").write_text(f"{networks}{box}(assert (>= b[0] (+ d[0] {level})))")
            assert call("vnnlib", network, "two.vnnlib", "--also", network).exit_code == code
        assert Path("two.witness.txt").read_text().count("X_") == 4
        assert complained(call("vnnlib", network, "two.vnnlib"), "about 2 networks, f and g, and 1 is given")
