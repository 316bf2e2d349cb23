"""Instances of VNN-COMP: results and witnesses, lists that go on where they stopped, crashes that are one row."""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import convexnn as cx
from convexnn.cli.asking import isolated
from convexnn.cli.files.instances import Instance, read_instances
from tests.helpers.command_line import call, complained
from tests.helpers.onnx_models import NODE, model_of

BOX = """(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (<= 0 X_0 1)) (assert (<= 0 X_1 1))
"""
FORMULAS = {"sat": "(assert (>= Y_0 0.5))", "unsat": "(assert (>= Y_0 1.5))", "error": "(assert (>= Y_7 1.5))"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the identity of two inputs, a property for each result, and the list of them."""
    cx.SparseReLUNetwork([(np.eye(2), None), (np.eye(2), None)]).to_onnx(tmp_path / "net.onnx")
    rows = []
    for name, formula in FORMULAS.items():
        (tmp_path / f"{name}.vnnlib").write_text(BOX + formula)
        rows.append(f"./net.onnx,{name}.vnnlib,20")
    (tmp_path / "instances.csv").write_text("\n".join(rows))
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def single(folder: Path, name: str, *more: object, network: str = "net.onnx") -> Any:
    result = call(
        "vnncomp", "test", folder / network, folder / f"{name}.vnnlib", folder / "result.txt", *(more or (20,))
    )
    file = folder / "result.txt"
    return result, file.read_text() if file.exists() else None


class TestSingle:
    def test_sat_has_its_witness_in_the_standard_form(self, folder: Path) -> None:
        result, text = single(folder, "sat")
        assert result.exit_code == 0
        assert text is not None
        head, _, witness = text.partition("\n")
        assert head == "sat"
        assert witness.startswith("((X_0 ")
        assert witness.endswith("))\n")
        pairs = dict(re.findall(r"\(([XY]_[01]) ([^ ()]+)\)", witness))
        values = {name: float(value) for name, value in pairs.items()}
        assert list(pairs) == ["X_0", "X_1", "Y_0", "Y_1"]
        assert 0.5 <= values["Y_0"] == values["X_0"] <= 1

    @pytest.mark.parametrize(("name", "code"), [("unsat", 0), ("error", 2)])
    def test_other_results_are_a_word(self, folder: Path, name: str, code: int) -> None:
        result, text = single(folder, name)
        assert (result.exit_code, text) == (code, f"{name}\n")
        assert ("Y_7 is not declared" in result.stderr) is (name == "error")

    def test_no_time_is_a_timeout(self, folder: Path) -> None:
        (folder / "deep.vnnlib").write_text(BOX + "(assert (>= (+ Y_0 Y_1) 1.5))(assert (<= Y_0 (- Y_1 0.99)))")
        assert single(folder, "deep", 0)[1] == "timeout\n"

    def test_packed_files_stand_in_for_plain_ones(self, folder: Path) -> None:
        for name in ("net.onnx", "sat.vnnlib"):
            plain = folder / name
            plain.with_name(f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
        assert single(folder, "sat")[1].startswith("sat\n((X_0 ")

    def test_the_scripts_of_the_competition_say_its_version_first(self, folder: Path) -> None:
        target = folder / "result.txt"
        assert call("vnncomp", "v1", "c", folder / "net.onnx", folder / "unsat.vnnlib", target, 9).exit_code == 0
        assert target.read_text() == "unsat\n"

    def test_a_missing_file_is_an_error(self, folder: Path) -> None:
        result, text = single(folder, "unsat", network="none.onnx")
        assert (result.exit_code, text) == (2, "error\n")
        assert "none.onnx' cannot be read" in result.stderr

    def test_what_is_not_understood_is_one_line(self, folder: Path) -> None:
        assert complained(single(folder, "sat", "soon")[0], "LIMIT is 'soon'; expected seconds")
        assert complained(single(folder, "sat", 5, 6)[0], "6 arguments are given without --output; expected INSTANCES")
        assert complained(call("vnncomp", folder / "instances.csv"), "without --output")
        assert complained(single(folder, "sat", 5, "--time-limit", 2)[0], "expected them with a list")

    def test_workers_search_for_one_answer(self, folder: Path) -> None:
        assert single(folder, "sat", 5, "--jobs", 2)[1].startswith("sat")


NETWORKS = """(declare-network f (declare-input a Real [2]) (declare-output b Real [2]))
(declare-network g (declare-input c Real [2]) (declare-output d Real [2]))
(assert (<= 0 a[0] 1)) (assert (<= 0 a[1] 1)) (assert (== a[0] c[0])) (assert (== a[1] c[1]))
"""


class TestSeveralNetworks:
    @pytest.fixture
    def pair(self, folder: Path) -> Path:
        """A folder with a second network, half the first, and two properties of both."""
        cx.SparseReLUNetwork([(np.eye(2), None), (0.5 * np.eye(2), None)]).to_onnx(folder / "half.onnx")
        for name, level in (("near", 0.75), ("far", 0.25)):
            (folder / f"{name}.vnnlib").write_text(f"{NETWORKS}(assert (>= b[0] (+ d[0] {level})))")
        return folder

    def test_a_list_has_them_by_name(self, pair: Path) -> None:
        networks = "\"[('g', './half.onnx'), ('f', 'net.onnx')]\""
        (pair / "two.csv").write_text(f"{networks},near.vnnlib,20\n{networks},far.vnnlib,20\n")
        result = call("vnncomp", pair / "two.csv", "--output", pair / "results.csv")
        assert result.exit_code == 0, result.stderr
        found = rows(pair / "results.csv")
        assert [row["result"] for row in found] == ["unsat", "sat"]
        text = (pair / found[1]["witness"]).read_text()
        values = {name: float(value) for name, value in re.findall(r"\(([XY]_[0-3]) ([^ ()]+)\)", text)}
        assert values["X_0"] == values["X_2"] >= 0.5
        assert (values["Y_0"], values["Y_2"]) == (values["X_0"], values["X_0"] / 2)

    def test_a_single_instance(self, pair: Path) -> None:
        networks = repr([("f", str(pair / "net.onnx")), ("g", str(pair / "half.onnx"))])
        for name, word in (("near", "unsat"), ("far", "sat")):
            call("vnncomp", "v1", "c", networks, pair / f"{name}.vnnlib", pair / "result.txt", 20)
            assert (pair / "result.txt").read_text().partition("\n")[0] == word

    def test_inputs_named_as_in_the_models_are_held_against_them(self, pair: Path) -> None:
        one = np.eye(1, dtype=np.float32)
        nodes = [NODE("MatMul", ["p", "W"], ["s"]), NODE("MatMul", ["q", "V"], ["t"]), NODE("Sub", ["s", "t"], ["y"])]
        model = model_of(nodes, W=one, V=one)
        del model.graph.input[:]
        model.graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "pq")
        onnx.save(model, pair / "sub.onnx")
        declared = "".join(
            f'(declare-network {net} (declare-input {a} Real [1] "p") (declare-input {b} Real [1] "{{}}")'
            f"(declare-output {y} Real [1]))"
            for net, a, b, y in (("f", "a", "b", "y"), ("g", "c", "d", "z"))
        )
        box = "".join(f"(assert (<= 0 {name}[0] 1))" for name in "abcd")
        networks = repr([(name, str(pair / "sub.onnx")) for name in "fg"])
        for title, word in (("q", "unsat"), ("r", "error")):
            (pair / "named.vnnlib").write_text(declared.replace("{}", title) + box + "(assert (>= y[0] (+ z[0] 2.5)))")
            call("vnncomp", "v1", "c", networks, pair / "named.vnnlib", pair / "result.txt", 20)
            assert (pair / "result.txt").read_text().partition("\n")[0] == word

    def test_one_network_may_have_its_name_too(self, folder: Path) -> None:
        (folder / "one.csv").write_text("\"[('N', 'net.onnx')]\",unsat.vnnlib,20\n")
        call("vnncomp", folder / "one.csv", "--output", folder / "results.csv")
        assert [row["result"] for row in rows(folder / "results.csv")] == ["unsat"]

    @pytest.mark.parametrize("networks", ["[('f', 'net.onnx')", "[('f',)]", "[1]", "[]"])
    def test_a_list_that_is_none_is_refused_in_a_line(self, folder: Path, networks: str) -> None:
        (folder / "two.csv").write_text(f'"{networks}",sat.vnnlib,20\n')
        result = call("vnncomp", folder / "two.csv", "--output", folder / "results.csv")
        assert complained(result, "row 1: the networks are ")

    def test_names_that_the_property_has_not_are_listed(self, pair: Path) -> None:
        networks = repr([("f", str(pair / "net.onnx")), ("h", str(pair / "half.onnx"))])
        result = call("vnncomp", "v1", "c", networks, pair / "far.vnnlib", pair / "result.txt", 20)
        assert complained(result, "about 2 networks, f and g, and 2 are given, f and h; expected")


class TestLists:
    def test_each_instance_has_its_row_and_runs_once(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        command = ("vnncomp", folder / "instances.csv", "--output", folder / "results.csv", "--jobs", 2, "--json")
        result = call(*command)
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout) == {"instances": 3, "sat": 1, "unsat": 1, "error": 1}
        found = {row["vnnlib"]: row for row in rows(folder / "results.csv")}
        assert {name: row["result"] for name, row in found.items()} == {f"{name}.vnnlib": name for name in FORMULAS}
        assert (folder / found["sat.vnnlib"]["witness"]).read_text().startswith("((X_0 ")
        assert "Y_7 is not declared" in found["error.vnnlib"]["note"]
        # A row that a kill has torn, and one that was never there, are all that runs again.
        text = (folder / "results.csv").read_text().splitlines(keepends=True)
        (folder / "results.csv").write_text("".join(text[:2]) + text[2][:9])
        started = recorded(monkeypatch, "unknown")
        again = call(*command)
        assert json.loads(again.stdout)["unknown"] == 2
        assert len(started) == 2
        assert (folder / "results.csv").read_text().startswith("".join(text[:2]))

    def test_a_list_may_have_names_and_its_limits_may_be_replaced(self, folder: Path) -> None:
        (folder / "list.csv").write_text("onnx,vnnlib,limit\nnet.onnx,sat.vnnlib,300\n\nnet.onnx,sat.vnnlib,300\n")
        found = Instance("net.onnx", "sat.vnnlib", 300.0, (folder / "net.onnx",), folder / "sat.vnnlib")
        assert read_instances(folder / "list.csv") == [found]
        assert read_instances(folder / "list.csv", 5.0)[0].limit == 5.0

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "lists no instance"),
            ("net.onnx,sat.vnnlib", "row 1: it has 2 cells; expected onnx, vnnlib, limit"),
            ("net.onnx,sat.vnnlib,soon", "row 1: the limit is 'soon'; expected seconds"),
            ("net.onnx,sat.vnnlib,nan", "the limit is 'nan'"),
            ("net.onnx,none.vnnlib,5", "none.vnnlib' cannot be read"),
        ],
    )
    def test_a_list_that_is_wrong_is_one_line(self, folder: Path, text: str, words: str) -> None:
        (folder / "list.csv").write_text(text)
        assert complained(call("vnncomp", folder / "list.csv", "--output", folder / "results.csv"), words)

    def test_a_file_that_is_no_table_stays_as_it_is(self, folder: Path) -> None:
        for text in ("mine", "onnx,vnnlib,limit,result,seconds,witness,note\na,b\n"):
            (folder / "results.csv").write_text(text)
            result = call("vnncomp", folder / "instances.csv", "--output", folder / "results.csv")
            assert complained(result, "it is no") or complained(result, "is no table of results")
            assert (folder / "results.csv").read_text() == text


def recorded(monkeypatch: pytest.MonkeyPatch, word: str, code: str = "") -> list[Instance]:
    """Let instances run a line of Python that writes a word where their result goes; return those that do."""
    started: list[Instance] = []

    def command(instance: Instance, file: Path, options: dict[str, Any]) -> list[str]:
        started.append(instance)
        return [sys.executable, "-c", code or f"open({str(file)!r}, 'w').write({word + chr(10)!r})"]

    monkeypatch.setattr(isolated, "_command", command)
    return started


class TestCrashes:
    @pytest.mark.parametrize(
        ("code", "result", "note"),
        [
            ("import os; os.kill(os.getpid(), 9)", "error", "The process was killed by SIGKILL"),
            ("raise SystemExit(7)", "error", "The process ended with code 7 and no result."),
            ("import sys; sys.exit('error: out of luck')", "error", "out of luck"),
            ("import time; time.sleep(60)", "timeout", "It did not end by itself and was ended."),
        ],
    )
    def test_one_instance_is_one_row(
        self, folder: Path, code: str, result: str, note: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorded(monkeypatch, "", code)
        monkeypatch.setattr(isolated, "GRACE", 0.5 if result == "timeout" else 60.0)
        command = ("vnncomp", folder / "instances.csv", "--output", folder / "results.csv", "--time-limit", 0)
        assert call(*command).exit_code == 0
        found = rows(folder / "results.csv")
        assert [row["result"] for row in found] == [result] * 3
        assert all(row["note"].startswith(note) for row in found)

    def test_an_interrupted_instance_ends_the_list_and_has_no_row(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorded(monkeypatch, "", "raise SystemExit(130)")
        result = call("vnncomp", folder / "instances.csv", "--output", folder / "results.csv")
        assert (result.exit_code, result.stderr) == (130, "error: interrupted\n")
        assert rows(folder / "results.csv") == []
