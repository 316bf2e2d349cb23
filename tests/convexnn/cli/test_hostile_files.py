"""Broken and hostile files: each is refused in one line, with exit code 2, before much is held."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.cli.files.data_file import read_data
from convexnn.cli.files.points import read_points
from convexnn.network_files import stored, write_arrays
from tests.helpers.command_line import call, complained
from tests.helpers.places import ROOT

NUMBERS = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"


def npy(header: str) -> bytes:
    """Return an .npy file with this header and no numbers."""
    line = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return cx.SparseReLUNetwork([(np.eye(3), None), (np.ones((2, 3)), None)]).save(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", b"PK\x03\x04" + b"x" * 60),
        ("x.npy", npy(NUMBERS % "(1000000000000, 3)")),
        ("x.npy", npy(NUMBERS % "(18446744073709551616, 3)")),
        ("x.npy", npy(NUMBERS % "(4294967296, 4294967296)")),
        ("x.npy", npy(NUMBERS % "(-1, 3)")),
        ("x.npy", npy("((((")),
        ("x.npy", npy(NUMBERS.replace("<f8", "|O") % "(1, 3)")),
        ("x.npy", b"\x93NUM"),
        ("x.csv", b"# nothing\n# but comments\n"),
        ("x.csv", b"\xff\xfe\x00"),
        ("x.csv", b"9" * 1_000_000 + b"x"),
    ],
)
def test_points_that_cannot_be_read(name: str, content: bytes, network: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    result = call("attack", network, tmp_path / name, "--radius", 0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert complained(result, f"{name} cannot be read as rows of numbers")
    assert len(result.stderr) < 3000
    assert peak < 1 << 26


def test_points_that_can_be_read_still_are(tmp_path: Path) -> None:
    rows = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    for order in (rows, np.asfortranarray(rows), rows[0]):
        np.save(tmp_path / "x.npy", order)
        np.testing.assert_array_equal(read_points(tmp_path / "x.npy"), np.atleast_2d(order))
    (tmp_path / "x.csv").write_text("# a, b\n1 2 3\n\n4 5 6 # the last\n")
    np.testing.assert_array_equal(read_points(tmp_path / "x.csv"), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,y\n1,2,3\n1,2," + "9" * 200_000 + "\n", "a cell of more than 131,072 characters in line 3"),
        ('a,b,y\n1,2,"3\n' + "4,5,6\n" * 40_000, "a cell of more than 131,072 characters in line 2"),
        ('a,b,y\n1,2,3\n"4\n",2,5\n1,2,"3\n4,5,6\n', "a quote that is not closed in line 5"),
        ('a,b,y\n1,2,3\n4,5,"6\n', "a quote that is not closed in line 3"),
    ],
)
def test_cells_that_have_no_end(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    assert complained(call("fit", tmp_path / "x.csv"), words)


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_line_ends_end_a_row(mark: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"a,y\r\n1,u{mark}v\n2,w\r3,u\n", encoding="utf-8", newline="")
    assert read_data(tmp_path / "x.csv", target="y").y.tolist() == [f"u{mark}v", "w", "u"]


ABOUT = {"format": "convexnn-estimator-1", "kind": "SparseReLURegressor", "parameters": {}}


@pytest.mark.parametrize(
    "arrays",
    [
        *[{"estimator": text} for text in ("[" * 100_000, "[1]", "3", "null", "{", '{"format": "x"}')],
        {"estimator": json.dumps({**ABOUT, "parameters": []})},
        {"estimator": json.dumps({**ABOUT, "parameters": {"colour": 1}})},
        {"estimator": json.dumps({**ABOUT, "kind": [1]})},
        {"estimator": json.dumps(ABOUT), "feature_names": ["a"]},
        {"estimator": json.dumps(ABOUT | {"kind": "SparseReLUClassifier"}), "classes": [1, 2, 3]},
        {"estimator": json.dumps(ABOUT), "n_layers": 10**9},
        {"estimator": json.dumps(ABOUT), "shape0": [10**12, 3]},
        {"estimator": json.dumps(ABOUT), "data0": [np.inf, 1.0, 1.0]},
        {"estimator": json.dumps(ABOUT), "indices0": [0, 1, 10**6]},
    ],
)
def test_models_that_cannot_be_read(arrays: dict[str, Any], network: Path, tmp_path: Path) -> None:
    held = stored(cx.SparseReLUNetwork.load(network)) | {name: np.asarray(value) for name, value in arrays.items()}
    if "classes" in arrays:
        held["classes_are_objects"] = np.array(False)
    path = write_arrays(tmp_path / "model.npz", held)
    (tmp_path / "rows.csv").write_text("0,1,2\n3,4,5\n")
    assert complained(call("predict", path, tmp_path / "rows.csv"), "model.npz")


def test_a_model_of_which_a_member_is_no_array(network: Path, tmp_path: Path) -> None:
    held = stored(cx.SparseReLUNetwork.load(network))
    path = write_arrays(tmp_path / "model.npz", held | {"estimator": np.array(json.dumps(ABOUT))})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("feature_names.npy", b"no array")
    (tmp_path / "rows.csv").write_text("0,1,2\n3,4,5\n")
    assert complained(call("predict", path, tmp_path / "rows.csv"), "model.npz is not an estimator saved by convexnn")


def test_random_changes_are_read_or_refused() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), "--files", "25", "--minutes", "5"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" 0 bad") == 8
