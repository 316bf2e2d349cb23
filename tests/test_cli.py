"""The command line: the demonstration once in full, and every command as a stranger would call it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import convexnn as cx
from convexnn.cli import main
from convexnn.datasets import digits


@dataclass(frozen=True)
class Result:
    """What one call of the command line gave."""

    exit_code: int
    stdout: str
    stderr: str


def call(*arguments: object) -> Result:
    """Call the command line as a shell would."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def complained(result: Result, words: str) -> bool:
    """Whether a call ended as bad input with one line on standard error that holds `words`."""
    one_line = result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.exit_code == 2 and one_line and words in result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    """The demonstration, run once in full."""
    return call("demo", "--output", folder, "--json")


class TestDemo:
    def test_it_runs(self, result: Result) -> None:
        assert result.exit_code == 0, result.stderr

    def test_the_figures_are_sane(self, result: Result) -> None:
        figures = json.loads(result.stdout)
        assert figures["patterns"]["drawn"] == 140
        assert figures["patterns"]["merged"] > 0
        assert figures["iht"]["weights"] == 60
        assert abs(figures["l1"]["weights"] - 60) <= 3
        for way in ("iht", "l1"):
            assert figures[way]["exact"]["worst_difference"] < 1e-9
            assert figures[way]["refit"]["nonzeros"] == figures[way]["weights"] + figures[way]["refit"]["neurons"]
            assert figures[way]["refit"]["test_accuracy"] > figures["linear"]["test_accuracy"] + 0.02
        assert figures["l1"]["gap"] < 1e-6
        verdicts = [image["verdict"] for image in figures["images"]]
        assert len(verdicts) == 20
        assert {"ROBUST", "COUNTEREXAMPLE"} <= set(verdicts)
        assert "UNKNOWN" not in verdicts

    @pytest.mark.usefixtures("result")
    def test_the_files_hold_the_same_network(self, folder: Path) -> None:
        network, split = cx.SparseReLUNetwork.load(folder / "network.npz"), digits()
        session = onnxruntime.InferenceSession(folder / "network.onnx")
        (outputs,) = session.run(None, {"x": split.X_test.astype(np.float32)})
        assert np.allclose(outputs[:, 0], network.predict(split.X_test), atol=1e-4)

    @pytest.mark.usefixtures("result")
    def test_the_report_is_self_contained(self, folder: Path) -> None:
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert page.count("<img") == page.count('src="data:image/png;base64,') == 2
        assert page.count("<table>") == page.count("</table>") == 3
        assert "http" not in page

    def test_the_tables_are_printed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        import convexnn.cli.demo as room

        monkeypatch.setattr(room, "N_IMAGES", 2)
        monkeypatch.setattr(
            room, "match_strength", lambda split, patterns, _: cx.solve(room.l1_program(split, patterns, 0.05))
        )
        result = call("demo", "--output", tmp_path)
        assert result.exit_code == 0, result.stderr
        for words in ("Odd or even?", "IHT, budget 60", "proven robust, by MILP", "network.onnx"):
            assert words in result.stdout
        assert "merging equal ones" in result.stderr

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert complained(call("demo", "--output", tmp_path / "file" / "demo"), "cannot be written (Not a directory)")

    def test_an_interruption_exits_with_130(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def interrupt(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("convexnn.cli.demo.digits", lambda **options: interrupt())
        result = call("demo", "--output", tmp_path)
        assert result.exit_code == 130
        assert result.stderr.endswith("error: interrupted\n")


class TestAttack:
    @pytest.fixture
    def network(self, tmp_path: Path) -> Path:
        return cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], None)]).save(tmp_path / "net.npz")

    @pytest.fixture
    def points(self, tmp_path: Path) -> Path:
        path = tmp_path / "points.csv"
        path.write_text("1.0, 0.0\n0.5, 0.4\n\n")
        return path

    def test_a_proof_exits_with_0(self, network: Path, points: Path) -> None:
        result = call("attack", network, points, "--radius", 0.4)
        assert result.exit_code == 0
        assert result.stdout.startswith("ROBUST: ")

    def test_an_attack_exits_with_1_and_writes_its_witness(self, network: Path, points: Path, tmp_path: Path) -> None:
        witness = tmp_path / "witness.npy"
        result = call("attack", network, points, "--row", 1, "--radius", 0.1, "--witness", witness, "--json")
        assert result.exit_code == 1
        figures = json.loads(result.stdout)
        assert figures["verdict"] == "COUNTEREXAMPLE"
        assert np.load(witness).tolist() == figures["witness"]

    def test_a_misclassified_center_exits_with_1(self, network: Path, points: Path) -> None:
        assert call("attack", network, points, "--radius", 0.1, "--label", 1).exit_code == 1

    def test_unknown_exits_with_3(self, tmp_path: Path) -> None:
        hard = cx.SparseReLUNetwork([([[1.0], [-1.0], [0.5], [-0.5]], None), ([[1.0, 1.0, -1.0, -1.0]], [0.25])])
        hard.save(tmp_path / "hard.npz")
        np.save(tmp_path / "x.npy", np.zeros((1, 1)))
        assert (
            call("attack", tmp_path / "hard.npz", tmp_path / "x.npy", "--radius", 1, "--time-limit", 0).exit_code == 3
        )

    def test_an_onnx_file_and_a_clip(self, points: Path, tmp_path: Path) -> None:
        network = cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], None)]).to_onnx(tmp_path / "net.onnx")
        outside = call("attack", network, points, "--row", 1, "--radius", 0.3, "--clip", 0.45, 0.55)
        assert complained(outside, "x is 0.4 at index 1, outside clip [0.45, 0.55]")
        assert call("attack", network, points, "--row", 1, "--radius", 0.3, "--clip", 0, 1).exit_code == 1

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"network": "none.npz"}, "none.npz' cannot be read (No such file or directory)"),
            ({"network": "none[/x].onnx"}, "none[/x].onnx' cannot be read"),
            ({"network": "points.csv"}, "has the ending '.csv'; expected .npz or .onnx"),
            ({"network": "broken.npz"}, "is not a network saved by convexnn"),
            ({"points": "none.csv"}, "none.csv' cannot be read (No such file or directory)"),
            ({"points": "words.csv"}, "cannot be read as rows of numbers"),
            ({"points": "ragged.csv"}, "cannot be read as rows of numbers"),
            ({"points": "hole.csv"}, "cannot be read as rows of numbers"),
            ({"points": "nan.csv"}, "points holds nan"),
            ({"points": "empty.csv"}, "it is empty"),
            ({"points": "broken.npy"}, "cannot be read as rows of numbers"),
            ({"row": 7}, "row is 7; the points file"),
            ({"row": -1}, "Invalid value for '--row'"),
            ({"radius": "wide"}, "Invalid value for '--radius'"),
            ({"witness": "none/w.npy/w.npy"}, "cannot be written"),
            ({"radius": -1}, "radius is -1.0; expected a finite number of at least 0"),
            ({"backend": "cplex"}, "backend 'cplex' is unknown; expected one of: auto, highs, scipy"),
            ({"label": 5}, "label is 5; expected 0 to 1"),
        ],
    )
    @pytest.mark.usefixtures("network", "points")
    def test_bad_input_is_one_line_and_exits_with_2(
        self, change: dict[str, object], words: str, tmp_path: Path
    ) -> None:
        (tmp_path / "words.csv").write_text("one, two\n")
        (tmp_path / "ragged.csv").write_text("1, 2\n3\n")
        (tmp_path / "hole.csv").write_text("1.0,,0.0\n")
        (tmp_path / "nan.csv").write_text("1.0,nan\n")
        (tmp_path / "empty.csv").write_text("\n")
        (tmp_path / "none").write_text("a file, not a folder")
        (tmp_path / "broken.npz").write_text("no network")
        (tmp_path / "broken.npy").write_text("no array")
        chosen = {"network": "net.npz", "points": "points.csv", "radius": 0.1} | change
        files = [tmp_path / str(chosen.pop(name)) for name in ("network", "points")]
        if "witness" in chosen:
            chosen["witness"] = tmp_path / str(chosen["witness"])
        options = [text for name, value in chosen.items() for text in (f"--{name}", value)]
        assert complained(call("attack", *files, *options), words)

    def test_a_table_of_a_spreadsheet_is_read(self, network: Path, tmp_path: Path) -> None:
        (tmp_path / "points.csv").write_text("\ufeff1.0,0.0\n", encoding="utf-8")
        assert call("attack", network, tmp_path / "points.csv", "--radius", 0.4).exit_code == 0

    def test_a_witness_file_keeps_its_name_and_is_left_out_without_a_witness(
        self, network: Path, points: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "new" / "witness.bin"
        assert call("attack", network, points, "--radius", 0.4, "--witness", target).exit_code == 0
        assert not target.exists()
        assert call("attack", network, points, "--radius", 0.6, "--witness", target).exit_code == 1
        assert np.load(target).shape == (2,)

    def test_a_defect_is_no_verdict(self, network: Path, points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object, **options: object) -> None:
            raise AssertionError("it broke")

        monkeypatch.setattr("verify.find_adversarial", fail)
        result = call("attack", network, points, "--radius", 0.4)
        assert result.exit_code == 70
        assert "it broke" in result.stderr


def test_the_command_and_its_help() -> None:
    for arguments in ([], ["attack"]):
        result = subprocess.run(
            [sys.executable, "-m", "convexnn", *arguments, "--help"], capture_output=True, text=True, check=True
        )
        assert "Usage: " in result.stdout


def test_an_unknown_command_exits_with_2() -> None:
    assert call("conquer").exit_code == 2


class TestDigits:
    def test_the_split_is_stratified_and_scaled(self) -> None:
        split = digits([3], [8])
        assert split.X_train.shape == (214, 64)
        assert split.X_test.shape == (143, 64)
        assert split.X_train.min() == -1.0
        assert split.X_train.max() == 1.0
        assert set(split.y_train) == {-1.0, 1.0}
        assert split.names == ("3", "8")

    @pytest.mark.parametrize(
        ("groups", "words"),
        [(([], [1]), "negative is []"), (([1], [10]), "positive is [10]"), (([1, 2], [2]), "both hold digits [2]")],
    )
    def test_bad_digits_are_refused(self, groups: tuple[list[int], list[int]], words: str) -> None:
        with pytest.raises(ValueError, match=re.escape(words)):
            digits(*groups)


def test_the_figures_of_the_readme_are_those_of_the_demo(result: Result) -> None:
    # Processors round differently and a support may turn on it, so the figures are held to what stays.
    figures = json.loads(result.stdout)
    table = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    for name, way in (("IHT", "iht"), ("L1", "l1")):
        column = 1 if name == "IHT" else 2
        assert abs(readme_figure(table, "weights found", column) - figures[way]["weights"]) <= 3
        loss = readme_figure(table, "mean training loss of the convex model", column)
        assert loss == pytest.approx(figures[way]["loss"], rel=0.1)
        for network in ("exact", "refit"):
            accuracy = readme_figure(table, f"{network} network: test accuracy", column) / 100
            assert accuracy == pytest.approx(figures[way][network]["test_accuracy"], abs=0.02)


def readme_figure(text: str, row: str, column: int) -> float:
    """Return a number of the README's table."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {row} |")]
    return float(line.split("|")[column + 1].strip().removesuffix(" %").replace(",", ""))


def test_what_a_library_prints_past_python_stays_out_of_the_answer(tmp_path: Path) -> None:
    code = """
import os, sys
import verify
from convexnn.cli import main
original = verify.find_adversarial
def loud(*arguments, **options):
    os.write(1, b"stray line of a library\\n")
    return original(*arguments, **options)
verify.find_adversarial = loud
sys.exit(main(sys.argv[1:]))
"""
    network = cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], None)]).save(tmp_path / "net.npz")
    np.save(tmp_path / "x.npy", np.array([1.0, 0.0]))
    command = [sys.executable, "-c", code, "attack", str(network), str(tmp_path / "x.npy"), "--radius", "0.4", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["verdict"] == "ROBUST"
    assert "stray line" in result.stderr
