"""The commands fit and predict: a table in, a model that survives its file, the same predictions everywhere."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_diabetes, load_wine

import convexnn as cx
import verify
from convexnn.cli import main
from convexnn.cli.files.data_file import read_rows
from convexnn.cli.fit import monotonic_signs
from convexnn.cli.tables.encoding import Encoding
from convexnn.fitting.training import _Trainer
from tests.helpers.command_line import call, complained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wine.csv (a target of text) and diabetes.csv (a target of numbers)."""
    folder = tmp_path_factory.mktemp("fit")
    for name, data in (("wine", load_wine()), ("diabetes", load_diabetes())):
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow([*data.feature_names, "kind"])
            names = getattr(data, "target_names", None)
            for row, target in zip(data.data.tolist(), data.target.tolist(), strict=True):
                lines.writerow([*row, target if names is None else names[target]])
    return folder


def test_a_text_target_is_classified_saved_loaded_and_exported(folder: Path) -> None:
    model, onnx = folder / "wine.npz", folder / "wine.onnx"
    result = call("fit", folder / "wine.csv", "--target", "kind", "--budget", 60, "--save", model, "--onnx", onnx)
    assert result.exit_code == 0, result.stderr
    assert "SparseReLUClassifier: 'kind', 3 classes, from 13 features" in result.stdout
    assert "weights of at most 60" in result.stdout
    assert "on 44 rows held out" in result.stdout

    X = load_wine().data
    loaded = cx.SparseReLUClassifier.load(model)
    assert loaded.feature_names_in_.tolist() == load_wine().feature_names
    del loaded.feature_names_in_
    labels = loaded.predict(X)
    shown = call("predict", model, folder / "wine.csv", "--target", "kind", "--probabilities")
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert [row["prediction"] for row in rows] == labels.tolist()
    given = np.array([[float(row[f"probability of {name}"]) for name in loaded.classes_] for row in rows])
    np.testing.assert_allclose(given, loaded.predict_proba(X), rtol=1e-12)
    share = np.mean(labels == load_wine().target_names[load_wine().target])
    assert f"accuracy {share:.4f} on 178 rows" in shown.stderr
    assert share > 0.9

    logits = onnxruntime.InferenceSession(onnx).run(None, {"x": X.astype(np.float32)})[0]
    assert np.mean(loaded.classes_[np.asarray(logits).argmax(axis=1)] == labels) == 1.0
    np.testing.assert_allclose(logits, loaded.decision_function(X), atol=1e-3)
    np.testing.assert_allclose(cx.SparseReLUNetwork.load(model).predict(X), loaded.decision_function(X))
    assert verify.read_network(model).n_outputs == 3


def test_a_target_of_numbers_is_regressed_on(folder: Path) -> None:
    model = folder / "diabetes.npz"
    result = call("fit", folder / "diabetes.csv", "--budget", 40, "--test-share", 0.2, "--save", model, "--json")
    figures = json.loads(result.stdout)
    assert figures["estimator"] == "SparseReLURegressor"
    assert figures["target"] == "kind"
    assert figures["measure"] == "R2"
    assert figures["rows"] == {"fitted": 354, "held_out": 88}
    assert figures["weights"] <= figures["budget"] == 40
    shown = json.loads(call("predict", model, folder / "diabetes.csv", "--target", "kind", "--json").stdout)
    loaded = cx.SparseReLURegressor.load(model)
    X, y = load_diabetes(return_X_y=True)
    predicted = np.array(shown["rows"])[:, 0]
    np.testing.assert_allclose(predicted, loaded.network_.predict(X), rtol=1e-12)
    assert shown["score"] == pytest.approx(1.0 - np.var(y - predicted) / np.var(y), abs=1e-2)


def test_a_small_network_is_shown_as_its_formulas_in_the_names_of_the_columns(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.npz"
    result = call("fit", folder / "diabetes.csv", "--budget", 4, "--save", model)
    loaded = cx.SparseReLURegressor.load(model)
    formulas = loaded.network_.formula(loaded.feature_names_in_).split("\n")
    assert [line.strip() for line in result.stdout.split("\n")[3 : 3 + len(formulas)]] == formulas
    assert re.search(r"relu\(.*(bmi|s5|bp)", result.stdout)


def test_the_scores_are_those_of_the_estimator_on_the_same_rows(folder: Path) -> None:
    from sklearn.model_selection import train_test_split

    X, y = load_diabetes(return_X_y=True)
    train, test = train_test_split(np.arange(442), test_size=110, random_state=3)
    options: dict[str, Any] = {"budget": 30, "width": 8, "depth": 2, "bias": False, "ridge": 0.05}
    model = cx.SparseReLURegressor(**options, random_state=3).fit(X[train], y[train])
    given = [f"--{name}={value}" for name, value in options.items() if name != "bias"]
    figures = json.loads(call("fit", folder / "diabetes.csv", *given, "--no-bias", "--seed", 3, "--json").stdout)
    assert figures["score"]["held_out"] == pytest.approx(model.score(X[test], y[test]))
    assert figures["score"]["fitted"] == pytest.approx(model.score(X[train], y[train]))
    assert figures["nonzeros"] == model.network_.nnz
    names = list(figures["features"])
    assert figures["formula"] == [line.strip() for line in model.network_.formula(names).split("\n")]


def test_numbers_can_be_labels(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((60, 2))
    table = tmp_path / "table.csv"
    np.savetxt(table, np.column_stack([X, X[:, 0] > 0.0]), delimiter=",")
    hinted = call("fit", table, "--test-share", 0)
    assert "holds 2 whole numbers, fitted as such; --task classify if they are labels" in hinted.stderr
    assert "held out" not in hinted.stdout
    result = call("fit", table, "--task", "classify", "--save", tmp_path / "m.npz", "--json")
    assert json.loads(result.stdout)["classes"] == [0, 1]
    assert result.stderr == ""
    # Without a header the columns are known by their index; the target may be missing.
    np.savetxt(tmp_path / "fresh.csv", X[:3], delimiter=",")
    fresh = call("predict", tmp_path / "m.npz", tmp_path / "fresh.csv", "--csv", tmp_path / "out.csv")
    assert fresh.stdout == ""
    lines = (tmp_path / "out.csv").read_text().split()
    assert lines[0] == "prediction"
    assert set(lines[1:]) <= {"0", "1"}


def test_a_fit_that_is_cut_short_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, model = folder / "diabetes.csv", tmp_path / "m.npz"
    limited = call("fit", table, "--budget", 40, "--time-limit", 0, "--save", model)
    assert limited.exit_code == 4
    assert limited.stderr.startswith("cut short by the time limit: this is the best network by then")
    assert limited.stderr.count("\n") == 1
    assert f"written: {model}" in limited.stdout
    assert cx.SparseReLURegressor.load(model).network_.n_inputs == 10
    passes: list[int] = []
    whole = _Trainer.run_epoch

    def stopped(trainer: _Trainer, *rest: Any) -> float:
        passes.append(1)
        if len(passes) == 5:
            raise KeyboardInterrupt
        return whole(trainer, *rest)

    monkeypatch.setattr(_Trainer, "run_epoch", stopped)
    interrupted = call("fit", table, "--budget", 40, "--json")
    assert interrupted.exit_code == 4
    assert interrupted.stderr.startswith("cut short by Ctrl-C or SIGTERM: this is the best network by then")
    assert json.loads(interrupted.stdout)["status"] == "INTERRUPTED"
    help_text = " ".join(call("fit", "--help").stdout.split())
    assert "4: cut short by the time limit, Ctrl-C or SIGTERM" in help_text


@pytest.mark.parametrize("ignored", [False, True])
def test_sigterm_ends_a_fit_as_ctrl_c_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    # In the background of a shell SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    monkeypatch.setattr(_Trainer, "run_epoch", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    kept, model = signal.getsignal(signal.SIGTERM), tmp_path / "m.npz"
    try:
        code = main(["fit", str(folder / "diabetes.csv"), "--budget", "40", "--save", str(model)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 4
    assert cx.SparseReLURegressor.load(model).network_.n_inputs == 10
    assert signal.getsignal(signal.SIGTERM) is kept


def test_a_truth_between_the_labels_is_not_met(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((60, 2))
    for name, level in (("whole", 0.0), ("half", 0.5)):
        np.savetxt(tmp_path / f"{name}.csv", np.column_stack([X, (X[:, 0] > 0.0) + level]), delimiter=",")
    model = tmp_path / "m.npz"
    assert call("fit", tmp_path / "whole.csv", "--task", "classify", "--save", model).exit_code == 0
    scores = []
    for name in ("whole", "half"):
        result = call("predict", model, tmp_path / f"{name}.csv", "--target", 2, "--json")
        scores.append(json.loads(result.stdout)["score"])
    assert scores[0] > 0.8
    assert scores[1] == 0.0


def test_features_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("b,note,a\n1,x,2\n3,,4\n")
    np.testing.assert_array_equal(read_rows(table, Encoding.of_numbers(["a", "b"])).X, [[2.0, 1.0], [4.0, 3.0]])


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a,b,y\n1,2,3\n4,,6\n", [], "has 1 missing cell, in column 'b' (1); the first is '' in line 3, column 'b'"),
        ("a,b,y\n1,2,3\n4,NA,6\n", [], "the first is 'NA' in line 3, column 'b'; --missing drop leaves such rows out"),
        (
            "a,b,y\n1,2,3\n4,5,6\n",
            ["--target", "z"],
            "target is 'z'; expected an index from 0 to 2, or one of: a, b, y",
        ),
        ("a,y\n1,u\n2,u\n3,u\n4,u\n", [], "y has one class (u) alone; expected at least 2 classes"),
        ("a,y\n1,u\n2,v\n3,w\n4,x\n", [], "classes in"),
        ("a,y\n1,u\n2,v\n3,u\n4,v\n", ["--task", "regress"], "target 'y' holds text; expected numbers"),
        ("a,y\n1,1\n2,3\n3,4\n", ["--task", "cluster"], "task 'cluster' is unknown; expected one of: auto, classify"),
        (
            "a,y\n1,1\n2,3\n3,4\n",
            ["--budget", "1"],
            "budget is 1; expected at least 2, one weight for each output",
        ),
        ("a,y\n1,1\n2,3\n3,4\n", ["--depth", "0"], "depth is 0; expected a whole number of at least 1"),
        (
            "a,y\n1,1\n2,3\n3,4\n",
            ["--test-share", "1"],
            "test_share is 1.0; expected a share of at least 0 and below 1",
        ),
        ("a,y\n1,1\n2,3\n3,4\n", ["--test-share", "0.9"], "expected at least 2 rows left to fit"),
    ],
)
def test_bad_input_is_one_clear_line(text: str, options: list[str], words: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(text)
    assert complained(call("fit", table, *options), words)


def test_bad_models_and_tables_are_refused_by_predict(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.npz"
    table = tmp_path / "table.csv"
    table.write_text("a,b,y\n1,2,3\n4,5,7\n7,8,8\n1,0,1\n")
    assert call("fit", table, "--test-share", 0, "--save", model).exit_code == 0
    other = tmp_path / "other.csv"
    other.write_text("a,c\n1,2\n")
    assert complained(call("predict", model, other), "has no column 'b'; expected the features of the model")
    other.write_text("1,2\n")
    assert complained(call("predict", model, other), "has no column 'a', 'b', and no header")
    assert complained(call("predict", model, table, "--probabilities"), "predicts numbers; expected a model of classes")
    assert complained(call("predict", table, table), "is not an estimator saved by convexnn")
    cx.SparseReLURegressor.load(model).network_.save(tmp_path / "net.npz")
    assert complained(call("predict", tmp_path / "net.npz", table), "holds a network alone; expected an estimator")
    assert complained(call("predict", model, table, "--csv", table), "is an input of the command")


def test_a_model_is_monotone_where_asked(folder: Path, tmp_path: Path) -> None:
    options = ["--target", "kind", "--budget", 30, "--test-share", 0]
    shown = call("fit", folder / "diabetes.csv", *options, "--monotonic", "bmi=+1, s1=-1", "--save", tmp_path / "m.npz")
    assert shown.exit_code == 0, shown.stderr
    model = cx.SparseReLURegressor.load(tmp_path / "m.npz")
    at = {name: place for place, name in enumerate(load_diabetes().feature_names)}
    below, above = model.network_.slope_bounds()
    assert below[0, at["bmi"]] == 0.0 < above[0, at["bmi"]]
    assert above[0, at["s1"]] == 0.0
    path = call("budget-path", folder / "diabetes.csv", "--budgets", 4, "--test-share", 0.3, "--monotonic", "bmi=-1")
    assert path.exit_code == 0, path.stderr


@pytest.mark.parametrize(
    ("monotonic", "words"),
    [
        ("weight=1", "monotonic is 'weight=1', and 'weight' is no feature; expected NAME=SIGN of 'age', 'sex', 'bmi'"),
        ("bmi", "monotonic is 'bmi', and 'bmi' has no sign; expected NAME=SIGN"),
        ("bmi=1,bmi=-1", "monotonic gives 'bmi' the signs 1 and -1; expected one of them"),
        ("bmi=2", "monotonic gives 'bmi' the sign '2'; expected +1, 0 or -1"),
    ],
)
def test_signs_that_are_none_are_refused(monotonic: str, words: str, folder: Path) -> None:
    assert complained(call("fit", folder / "diabetes.csv", "--monotonic", monotonic), words)


def test_a_model_of_two_columns_of_one_name_predicts_tables_that_have_them(tmp_path: Path) -> None:
    table, model = tmp_path / "twice.csv", tmp_path / "model.npz"
    table.write_text("a,a,y\n1,2,3\n2,4,4\n3,5,9\n4,1,2\n")
    assert call("fit", table, "--budget", 2, "--test-share", 0, "--save", model).exit_code == 0
    predicted = call("predict", model, table)
    assert predicted.exit_code == 0, predicted.stderr
    network = cx.SparseReLURegressor.load(model).network_
    expected = network.predict([[1, 2], [2, 4], [3, 5], [4, 1]])
    assert [float(line) for line in predicted.stdout.split()[1:]] == pytest.approx(expected)


def test_names_with_commas_and_equals_have_signs() -> None:
    assert monotonic_signs("kind=a,b=-1, kind=a=+1 ,size=0", ["size", "kind=a", "kind=a,b"]) == [0, 1, -1]
