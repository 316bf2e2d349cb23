"""The commands `recover` and `budget-path`: what Python finds, from a table and in files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import convexnn as cx
from tests.helpers.command_line import call, complained


@pytest.fixture
def table(tmp_path: Path) -> Path:
    X = np.random.default_rng(0).standard_normal((120, 4))
    y = np.maximum(X[:, 0] - X[:, 1], 0) - np.maximum(X[:, 2], 0)
    path = tmp_path / "data.csv"
    rows = "\n".join(",".join(map(repr, [*x, value])) for x, value in zip(X.tolist(), y.tolist(), strict=True))
    path.write_text(f"a,b,c,d,y\n{rows}\n")
    return path


class TestRecover:
    def test_a_planted_network_is_found_and_written(self, table: Path, tmp_path: Path) -> None:
        files = ("--save", tmp_path / "net.npz", "--onnx", tmp_path / "net.onnx")
        result = call("recover", table, "--budget", 3, *files, "--json")
        found = json.loads(result.stdout)
        assert (result.exit_code, found["status"], found["nonzeros"]) == (0, "EXACT", 3)
        assert found["r2"] == pytest.approx(1.0)
        network = cx.SparseReLUNetwork.load(tmp_path / "net.npz")
        assert np.array_equal(network.layers[0][0].toarray(), found["weights"])
        x = np.array([[0.5, -1.0, 2.0, 0.0]])
        assert network.predict(x)[0] == pytest.approx(-0.5)

    def test_it_is_said_in_words_too(self, table: Path) -> None:
        result = call("recover", table, "--budget", 3, "--drop", "d", "--restarts", 1)
        assert "sparse ReLU network 3-2-1" in result.stdout

    def test_a_checkpoint_is_kept_and_read(self, table: Path, tmp_path: Path) -> None:
        command = ("recover", table, "--budget", 3, "--checkpoint", tmp_path / "run.json", "--json")
        first, again = (json.loads(call(*command).stdout) for _ in range(2))
        assert len(json.loads((tmp_path / "run.json").read_text())["starts"]) == 1
        assert again | {"seconds": 0} == first | {"seconds": 0}
        assert complained(call(*command, "--seed", 1), "run.json is that of another run")
        assert complained(call("recover", table, "--budget", 3, "--checkpoint", table), "is an input of the command")

    def test_a_limit_is_told_by_the_exit_code(self, table: Path) -> None:
        assert call("recover", table, "--budget", 2, "--time-limit", 0, "--json").exit_code == 4

    def test_what_is_wrong_is_one_line(self, table: Path) -> None:
        assert complained(call("recover", table, "--budget", 0), "budget is 0; expected")
        table.write_text("a,y\n1,yes\n2,no\n3,yes\n")
        assert complained(call("recover", table, "--budget", 1), "target 'y' holds text; expected a column of numbers")


class TestBudgetPath:
    def test_scores_and_files(self, table: Path, tmp_path: Path) -> None:
        files = ("--plot", tmp_path / "path.png", "--save", tmp_path / "model.npz")
        command = ("budget-path", table, "--budgets", "2,6", "--test-share", 0.3, "--time-limit", 2)
        found = json.loads(call(*command, *files, "--json").stdout)
        assert [step["budget"] for step in found["budgets"]] == [2, 6]
        assert (found["scoring"], found["best"], found["complete"]) == ("R2", 6, True)
        assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")
        predicted = call("predict", tmp_path / "model.npz", table, "--target", "y")
        assert predicted.exit_code == 0
        assert "R2 " in predicted.stderr

    def test_what_is_wrong_is_one_line(self, table: Path) -> None:
        assert complained(
            call("budget-path", table, "--budgets", "1,few"), "budgets is '1,few'; expected whole numbers"
        )
        assert complained(call("budget-path", table, "--test-share", 1.5), "cv is 1.5")
