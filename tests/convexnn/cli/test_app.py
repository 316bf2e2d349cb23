"""The command line: the demonstration once in full, and every command as a stranger would call it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import convexnn as cx
from convexnn.cli import crosscheck
from convexnn.cli.files.data_file import read_data
from convexnn.datasets import digits
from tests.helpers.command_line import Result, call, complained
from tests.helpers.places import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    """The demonstration, run once in full."""
    return call("demo", "--output", folder, "--json")


def test_a_column_that_is_constant_but_for_rounding_is_nothing_once_standardised() -> None:
    rows = np.column_stack([np.full(97, 0.3), np.linspace(1.0, 2.0, 97)])
    assert np.std(rows[:, 0]) > 0.0
    scaled = crosscheck._standardized(rows)
    assert not scaled[:, 0].any()
    np.testing.assert_allclose([scaled[:, 1].mean(), scaled[:, 1].std()], [0.0, 1.0], atol=1e-12)


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
        assert "even or odd" in page
        assert "http" not in page

    def test_the_tables_are_printed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        import convexnn.cli.demonstration.experiment as room

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

        monkeypatch.setattr("convexnn.cli.demonstration.experiment.digits", lambda **options: interrupt())
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
            ({"network": "points.csv"}, "has the ending '.csv'; expected .npz, .onnx or .onnx.gz"),
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
            ({"backend": "cplex"}, "backend 'cplex' is unknown; expected one of: auto, branching, gurobi, highspy"),
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

    def test_an_input_is_not_overwritten(self, network: Path, points: Path) -> None:
        for output in (network, points):
            held = output.read_bytes()
            result = call("attack", network, points, "--radius", 0.6, "--witness", output)
            assert complained(result, "is an input of the command; expected another file to write to")
            assert output.read_bytes() == held

    def test_a_defect_is_no_verdict(self, network: Path, points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object, **options: object) -> None:
            raise AssertionError("it broke")

        monkeypatch.setattr("verify.find_adversarial", fail)
        result = call("attack", network, points, "--radius", 0.4)
        assert result.exit_code == 70
        assert "it broke" in result.stderr


class TestCrosscheck:
    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((40, 3))
        y = np.maximum(X[:, 0] - X[:, 1], 0.0) + 0.1 * rng.standard_normal(40)
        rows = [",".join(map(str, row)) for row in np.column_stack([X, y])]
        path = tmp_path / "data.csv"
        path.write_text("a,b,c,y\n" + "\n".join(rows) + "\n")
        return path

    def test_alone_it_shows_a_small_problem(self) -> None:
        result = call("crosscheck", "--patterns", 10)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("squared loss + ")
        assert all(f"\n{name}" in result.stdout for name in ("admm", "fista", "cvxpy"))

    @pytest.mark.parametrize("loss", ["logistic", "softmax"])
    def test_it_makes_labels_up_as_well(self, loss: str) -> None:
        result = call("crosscheck", "--patterns", 5, "--loss", loss, "--solvers", "fista", "--json")
        assert json.loads(result.stdout)["program"].startswith(f"{loss} loss + ")

    def test_a_file_gives_what_the_package_gives(self, table: Path) -> None:
        result = call("crosscheck", table, "--penalty", "l1", "--strength", 0.01, "--patterns", 8, "--json")
        assert result.exit_code == 0, result.stderr
        X, y = np.split(np.loadtxt(table, delimiter=",", skiprows=1), [3], axis=1)
        program = cx.ConvexProgram(X, y[:, 0], cx.sample_patterns(X, 8), penalty="l1", strength=0.01)
        figures = json.loads(result.stdout)
        assert figures["program"] == str(program)
        rows = {row["solver"]: row for row in figures["rows"]}
        assert rows["admm"]["objective"] == pytest.approx(cx.solve(program).objective, rel=1e-9)

    def test_the_target_by_name_and_by_index(self, table: Path) -> None:
        answers = [
            call("crosscheck", table, "--patterns", 8, "--solvers", "cvxpy", "--json", *more).stdout
            for more in (["--target", "a"], ["--target", 0], ["--target", -4])
        ]
        objectives = {json.loads(answer)["rows"][0]["objective"] for answer in answers}
        assert len(objectives) == 1
        assert json.loads(answers[0])["rows"][0]["objective"] != pytest.approx(
            json.loads(call("crosscheck", table, "--patterns", 8, "--solvers", "cvxpy", "--json").stdout)["rows"][0][
                "objective"
            ]
        )

    def test_budgets_cones_and_a_bias(self, table: Path) -> None:
        few = ("--patterns", 4, "--json")
        assert "at most 3 of" in json.loads(call("crosscheck", table, "--budget", 3, *few).stdout)["program"]
        told = call("crosscheck", table, "--cone", "--bias", "--standardize", "--solvers", "interior_point,cvxpy", *few)
        assert told.exit_code == 0
        assert "in ReLU cones; 40 rows, 3 features and a bias" in json.loads(told.stdout)["program"]

    def test_gates_and_budgets_take_their_options(self, table: Path) -> None:
        few = (table, "--kind", "sparse", "--order", 1, "--merge-within", 0.2, "--drop", "b", "--patterns", 30)
        result = call("crosscheck", *few, "--budget", 3, "--budget-per-neuron", 1, "--solvers", "niht", "--json")
        assert result.exit_code == 0, result.stderr
        X = np.loadtxt(table, delimiter=",", skiprows=1)
        drawn = cx.sample_patterns(X[:, [0, 2]], 30, kind="sparse", order=1, merge_within=0.2)
        program = cx.ConvexProgram(X[:, [0, 2]], X[:, 3], drawn, budget=3, budget_per_neuron=1)
        assert json.loads(result.stdout)["program"] == str(program)

    def test_it_says_what_it_is_about_to_solve(self, table: Path) -> None:
        result = call("crosscheck", table, "--patterns", 4, "--solvers", "fista", "--json")
        assert result.stderr.splitlines()[0] == json.loads(result.stdout)["program"].splitlines()[0]
        assert result.stderr.index("squared loss") < result.stderr.index("fista: ")

    def test_the_tolerance_is_that_of_the_agreement(self, table: Path) -> None:
        few = (table, "--patterns", 8, "--solvers", "fista,cvxpy")
        loose = call("crosscheck", *few, "--tolerance", 1e-2)
        assert loose.exit_code == 0, loose.stdout
        stopped = call("crosscheck", *few[:-1], "fista", "--time-limit", 0)
        assert stopped.exit_code == 1
        assert stopped.stdout.splitlines()[-1].startswith("NOT converged: ")

    def test_tables_for_a_paper_and_a_file(self, table: Path, tmp_path: Path) -> None:
        few = (table, "--patterns", 4, "--solvers", "fista")
        assert call("crosscheck", *few, "--latex").stdout.startswith("\\begin{tabular}")
        path = tmp_path / "new" / "out.csv"
        assert call("crosscheck", *few, "--markdown", "--csv", path).stdout.startswith("| solver |")
        assert path.read_text().startswith("solver,")

    def test_the_input_is_not_overwritten(self, table: Path, tmp_path: Path) -> None:
        text, link = table.read_text(), tmp_path / "link.csv"
        link.symlink_to(table)
        for output in (table, link, tmp_path / "." / "data.csv"):
            result = call("crosscheck", table, "--csv", output)
            assert complained(result, "is an input of the command; expected another file to write to")
        assert table.read_text() == text

    def test_without_agreement_it_exits_with_1(self, table: Path) -> None:
        assert call("crosscheck", table, "--solvers", "fista", "--time-limit", 0).exit_code == 1
        assert call("crosscheck", table, "--solvers", "niht").exit_code == 1

    def test_an_interruption_exits_with_130(self, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(*arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("convexnn.solvers.convex.fista.fista_step", stop)
        assert call("crosscheck", table, "--solvers", "fista").exit_code == 130

    @pytest.mark.parametrize(
        ("text", "options", "words"),
        [
            ("", [], "is empty; expected rows of numbers"),
            ("1,2\n", [], "has 1 row of 2 columns; expected at least 2 of each"),
            ("1,2\n3\n", [], "has 1 cell in line 2; expected 2"),
            ("1,2\n3,\n", [], "has 1 missing cell, in column '1' (1); the first is '' in line 2, column '1'"),
            (
                "a,b\n1,2\n# no\nx,4\n",
                ["--comment", "#"],
                "holds 'x' in line 4, column 'a'; expected a finite number (text among numbers: correct the cell, or",
            ),
            ("1,2\n3,4\ninf,5\n", [], "holds 'inf' in line 3, column '0'; expected a finite number"),
            ("a,b\n1,2\n2,3\n", ["--target", "c"], "target is 'c'; expected an index from 0 to 1, or one of: a, b"),
            ("1,,3\n4,5,6\n", [], "the first is '' in line 1, column '1'"),
            (
                ",a,y\n0,1,2\n1,3,4\n",
                [],
                "an empty cell in line 1, column '0'; expected a name (written with its index?",
            ),
            (
                "a;y\n1,5;2\n3,5;4\n",
                [],
                "holds '1,5' in line 2, column 'a'; expected a finite number (a decimal comma? --decimal ,",
            ),
            (
                "a;y\n1;2,5\n3;4,5\n",
                [],
                "holds '2,5' in line 2, column 'y'; expected a finite number (a decimal comma? --dec",
            ),
            ("1,5;2,5\n3,5;4,5\n", [], "holds '5;2' in line 1, column '1'; expected a finite number (write decimals"),
            ("a,y\n1,5,2,5\n3,5,4,5\n", [], "has 4 cells in line 2; expected 2 (decimal commas? write decimals with"),
            ("a,a,y\n1,2,3\n4,5,6\n", ["--target", "a"], "target is 'a', the name of 2 columns; expected an index"),
            ("a,a,y\n1,2,3\n4,5,6\n", ["--drop", "a"], "drop is 'a', the name of 2 columns; expected an index"),
            ("a,b,y\n1,2,3\n4,5,6\n", ["--drop", "z"], "drop is 'z'; expected an index from 0 to 2, or one of: a, b"),
            ("a,b,y\n1,2,3\n4,5,6\n", ["--drop", "a", "--target", "a"], "target is 'a', which drop leaves out"),
            ("a,b\n1,2\n2,3\n", ["--drop", "a"], "has 2 rows of 1 column; expected at least 2 of each"),
            ("a,b\n1,2\n2,3\n", ["--target", "2"], "target is '2'; expected an index"),
            ("1,2\n3,4\n", ["--loss", "hinge"], "loss 'hinge' is unknown"),
            ("1,u\n3,v\n", ["--loss", "squared"], "y cannot be read as real numbers"),
            ("1,2\n3,4\n", ["--penalty", "ridge"], "penalty is 'ridge' without strength"),
            ("1,2\n3,4\n", ["--penalty", "l1", "--budget", "1"], "both of budget and penalty given"),
            ("1,2\n3,4\n", ["--budget", "0"], "budget is 0; expected a whole number of at least 1"),
            ("1,2\n3,4\n", ["--solvers", "magic"], "solver 'magic' is unknown"),
            ("1,2\n3,4\n", ["--kind", "odd"], "kind 'odd' is unknown"),
            ("1,2\n3,4\n", ["--solvers", "fista,fista"], "expected at least one name, each once"),
            ("1,2\n3,4\n", ["--kind", "convolutional"], "expected one of: gaussian, sparse, single, enumerate"),
            ("1,2\n3,4\n", ["--order", "1"], "order is given and kind is 'gaussian'"),
            ("1,2\n3,4\n", ["--budget-per-neuron", "1"], "budget_per_neuron is 1 without a budget"),
            ("1,2\n3,4\n", ["--merge-within", "1"], "merge_within is 1"),
            ("1,2\n3,4\n", ["--tolerance", "-1"], "tolerance is -1.0; expected a finite number of at least 0"),
            ("1,2\n3,4\n", ["--time-limit", "nan"], "time_limit is nan; expected a finite number of at least 0"),
            ("1,2\n3,4\n", ["--json", "--latex"], "more than one of --json, --markdown and --latex given"),
        ],
    )
    def test_bad_input_is_one_line(self, text: str, options: list[str], words: str, tmp_path: Path) -> None:
        path = tmp_path / "bad.csv"
        path.write_text(text)
        result = call("crosscheck", path, *options)
        assert complained(result, words), result.stderr

    def test_no_file_and_no_target(self, tmp_path: Path) -> None:
        assert complained(call("crosscheck", tmp_path / "none.csv"), "none.csv' cannot be read")
        assert complained(call("crosscheck", "--drop", "y"), "drop is 'y' without data; expected a data file")
        assert complained(call("crosscheck", "--target", "y"), "target is 'y' without data; expected a data file")


class TestDataFiles:
    @pytest.mark.parametrize(
        ("text", "features", "target", "values"),
        [
            ("a,b,c\n1,2,3\n4,5,6\n", ("a", "b"), "c", [3.0, 6.0]),
            ("1,2,3\n4,5,6\n", ("0", "1"), "2", [3.0, 6.0]),
            ("1;2;yes\n4;5;no\n", ("0", "1"), "2", ["yes", "no"]),
            ("length\twidth\tkind\n1\t2\tyes\n4\t5\tno\n", ("length", "width"), "kind", ["yes", "no"]),
            ("1 2 3\n4 5 6\n", ("0", "1"), "2", [3.0, 6.0]),
            ("\ufeffa,2020,c\n1,2,3\n\n4,5,6\n", ("a", "2020"), "c", [3.0, 6.0]),
            ("# a,b,c\n1,2,3\n4,5,6\n", ("# a", "b"), "c", [3.0, 6.0]),
            ('"a; b; c; d",b,c\n1,2,3\n4,5,6\n', ("a; b; c; d", "b"), "c", [3.0, 6.0]),
            ('"a, b",b,c\n1,2,3\n4,5,6\n', ("a, b", "b"), "c", [3.0, 6.0]),
        ],
    )
    def test_headers_and_separators(
        self, text: str, features: tuple[str, ...], target: str, values: list[object], tmp_path: Path
    ) -> None:
        path = tmp_path / "data.csv"
        path.write_text(text, encoding="utf-8")
        found = read_data(path)
        assert (found.features, found.target, found.y.tolist()) == (features, target, values)
        assert found.X.tolist() == [[1.0, 2.0], [4.0, 5.0]]

    def test_columns_are_left_out(self, tmp_path: Path) -> None:
        path = tmp_path / "data.csv"
        path.write_text(",a,note,b,y,z\n0,1,good,2,3,\n1,4,,5,6,7\n")
        found = read_data(path, drop=["note", "0", "-1"])
        assert (found.features, found.target, found.y.tolist()) == (("a", "b"), "y", [3.0, 6.0])
        assert found.X.tolist() == [[1.0, 2.0], [4.0, 5.0]]
        assert read_data(path, "a", ["note", "0", "z"]).features == ("b", "y")

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "data.csv").write_bytes(b"\xff\xfe\x00\x81")
        with pytest.raises(ValueError, match="is not UTF-8 text"):
            read_data(tmp_path / "data.csv")


def test_the_command_and_its_help() -> None:
    for arguments in ([], ["attack"], ["crosscheck"]):
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


def test_the_figures_of_the_page_are_those_of_the_demo(result: Result) -> None:
    # Processors round differently and a support may turn on it, so the figures are held to what stays.
    figures = json.loads(result.stdout)
    table = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
    for name, way in (("IHT", "iht"), ("L1", "l1")):
        column = 1 if name == "IHT" else 2
        assert abs(page_figure(table, "weights found", column) - figures[way]["weights"]) <= 3
        loss = page_figure(table, "mean training loss of the convex model", column)
        assert loss == pytest.approx(figures[way]["loss"], rel=0.1)
        for network in ("exact", "refit"):
            accuracy = page_figure(table, f"{network} network: test accuracy", column) / 100
            assert accuracy == pytest.approx(figures[way][network]["test_accuracy"], abs=0.02)


def page_figure(text: str, row: str, column: int) -> float:
    """Return a number of the page's table."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {row} |")]
    return float(line.split("|")[column + 1].strip().removesuffix(" %").replace(",", ""))


def test_what_a_library_prints_past_python_stays_out_of_the_answer(tmp_path: Path) -> None:
    code = """
import os, sys
import verify
from convexnn.cli import main
from convexnn.cli.files.data_file import read_data
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
