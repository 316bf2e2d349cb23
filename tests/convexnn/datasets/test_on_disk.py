"""Rows on the disk: the numbers of the source in float64, block by block, and lines about what is no table of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convexnn as cx
from convexnn.datasets import rows_on_disk
from tests.helpers.command_line import call, complained
from tests.helpers.places import ROOT


def parquet(path: Path, columns: dict[str, Any], row_group_size: int = 7) -> Path:
    """Write columns to a Parquet file of small row groups and return it; skip where pyarrow is missing."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow (pip install convexnn[parquet])")
    from pyarrow.parquet import write_table

    write_table(arrow.table(columns), path, row_group_size=row_group_size)
    return path


@pytest.mark.parametrize("block", [1, 10, 1 << 22])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "bool"])
def test_a_map_of_any_numbers_becomes_one_of_float64(
    dtype: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convexnn.datasets.on_disk.BLOCK", block)
    X = (10 * np.random.default_rng(0).standard_normal((9, 4))).astype(dtype)
    np.save(tmp_path / "given.npy", X)
    for source in (X, tmp_path / "given.npy", np.load(tmp_path / "given.npy", mmap_mode="r+")):
        rows = rows_on_disk(source, tmp_path / "X.npy")
        assert isinstance(rows, np.memmap)
        assert not rows.flags.writeable
        assert rows.tolist() == X.astype(float).tolist()
    assert rows_on_disk(X, tmp_path / "X.npy", first=2, last=5).tolist() == X[2:5].astype(float).tolist()


@pytest.mark.parametrize("block", [1, 12, 1 << 22])
def test_rows_of_a_parquet_file(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convexnn.datasets.on_disk.BLOCK", block)
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal(20), rng.standard_normal(20).astype(np.float32), rng.integers(9, size=20)
    table = parquet(tmp_path / "t.parquet", {"a": a, "b": b, "c": c})
    whole = np.column_stack([a, b.astype(float), c.astype(float)])
    assert rows_on_disk(table, tmp_path / "X.npy").tolist() == whole.tolist()
    for first, last in [(0, 20), (3, 4), (6, 15), (14, 20)]:
        part = rows_on_disk(table, tmp_path / "X.npy", ["c", "a"], first=first, last=last)
        assert part.tolist() == whole[first:last, [2, 0]].tolist()


def test_what_is_no_table_of_numbers_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "X.npy"
    numbers = [1.0, 2.0, None, 4.0]
    table = parquet(tmp_path / "t.parquet", {"a": numbers, "b": ["x", "y", "z", "w"], "c": [1, 2, 3, 4]}, 2)
    with pytest.raises(ValueError, match=r"t.parquet has a missing cell in row 2, column 'a'; expected a number"):
        rows_on_disk(table, out, ["c", "a"])
    with pytest.raises(ValueError, match=r"cells of type string in column 'b'; expected numbers"):
        rows_on_disk(table, out, ["b"])
    with pytest.raises(ValueError, match=r"has no column 'd', or two; expected some of: a, b, c"):
        rows_on_disk(table, out, ["d"])
    with pytest.raises(ValueError, match=r"rows 3 to 9 are asked for, of 4; expected at least one of these"):
        rows_on_disk(table, out, ["c"], first=3, last=9)
    (tmp_path / "not.parquet").write_bytes(b"PAR1 is how it begins")
    with pytest.raises(ValueError, match=r"not.parquet cannot be read as Parquet"):
        rows_on_disk(tmp_path / "not.parquet", out)
    with pytest.raises(FileNotFoundError, match=r"source '.*none.parquet' cannot be read \(No such file"):
        rows_on_disk(tmp_path / "none.parquet", out)
    (tmp_path / "not.npy").write_bytes(b"nothing of this kind")
    with pytest.raises(ValueError, match=r"not.npy cannot be read as rows of numbers"):
        rows_on_disk(tmp_path / "not.npy", out)
    with pytest.raises(ValueError, match=r"source has shape \(3,\) and dtype float64; expected rows \(n, d\)"):
        rows_on_disk(np.ones(3), out)
    with pytest.raises(ValueError, match="source cannot be read as rows of numbers"):
        rows_on_disk([[1.0, 2.0], [3.0]], out)
    with pytest.raises(TypeError, match="columns is 'ca'; expected a sequence of names, such as"):
        rows_on_disk(table, out, "ca")
    np.savez(tmp_path / "several.npz", a=np.ones((2, 2)))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    with pytest.raises(ValueError, match=r"several\.npy cannot be read as rows of numbers"):
        rows_on_disk(tmp_path / "several.npy", out)
    assert not out.exists()


def large(folder: Path) -> Path:
    """Write a table that a network of three neurons explains but for noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((25_000, 8))
    y = np.maximum(X[:, 0] - X[:, 1], 0.0) + np.maximum(2.0 * X[:, 2] + X[:, 3], 0.0) - np.maximum(X[:, 4], 0.0)
    columns = {name: X[:, place] for place, name in enumerate("abcdefgh")}
    noise = 0.1 * rng.standard_normal(len(y))
    return parquet(folder / "large.parquet", columns | {"y": y + noise, "left out": rng.standard_normal(len(y))}, 6000)


WORDS = ("--budget", "5", "--width", "3", "--restarts", "1", "--patience", "1", "--drop", "left out", "--json")


def test_the_command_line_finds_the_same_in_rows_on_the_disk_and_on_ranks(tmp_path: Path) -> None:
    from tests.convexnn.test_rank_workers import ranks

    table = large(tmp_path)
    on_disk = call("recover", table, *WORDS, "--on-disk", tmp_path)
    assert (on_disk.exit_code, on_disk.stderr) == (0, "")
    found, held = json.loads(on_disk.stdout), json.loads(call("recover", table, *WORDS).stdout)
    assert np.allclose(found["weights"], held["weights"], rtol=1e-9)
    assert found["r2"] == pytest.approx(held["r2"], rel=1e-9)
    begun = ranks(2, ["-m", "convexnn", "recover", str(table), *WORDS, "--on-disk", str(tmp_path)])
    (first, errors), (second, _) = (rank.communicate(timeout=120) for rank in begun)
    assert ([rank.returncode for rank in begun], errors, second) == ([0, 0], "", "")
    shared_out = json.loads(first)
    assert np.allclose(shared_out["weights"], found["weights"], rtol=1e-9)
    assert np.array_equal(np.array(shared_out["weights"]) != 0.0, np.array(found["weights"]) != 0.0)
    assert shared_out["r2"] == pytest.approx(found["r2"], rel=1e-9)
    assert "h0 = relu(" in (shown := call("recover", table, *WORDS[:-1], "--on-disk", tmp_path).stdout)
    assert shown.split("\n")[-4:] == call("recover", table, *WORDS[:-1]).stdout.split("\n")[-4:]
    # Nothing is left of what was on the disk.
    assert [path.name for path in tmp_path.iterdir()] == ["large.parquet"]


def test_what_the_command_line_cannot_read_so_is_one_line(tmp_path: Path) -> None:
    table = parquet(tmp_path / "t.parquet", {"a": [1.0, 2.0], "y": [1.0, 3.0]})
    words = ("recover", table, "--budget", 1, "--on-disk", tmp_path)
    assert complained(call(*words, "--target", "z"), "t.parquet has no column 'z'; expected some of: a, y")
    assert complained(call(*words, "--drop", "a"), "has 2 rows and 1 columns that are not left out; expected a target")
    assert complained(call(*words[:-1], tmp_path / "no"), "no is no folder; expected one with room for 8 bytes")
    assert complained(call(*words, "--missing", "drop"), "--on-disk reads numbers of a Parquet file; expected no")
    (tmp_path / "t.csv").write_text("a,y\n1,2\n2,3\n")
    assert complained(call("recover", tmp_path / "t.csv", "--on-disk", tmp_path), "t.csv cannot be read as Parquet")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_rows_of_a_parquet_file_are_not_held(tmp_path: Path) -> None:
    """In a process of its own: of 192 MB of float64 no more than two thirds are held, pyarrow's buffers included."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600_000, 40))
    target = np.maximum(X[:, 0] - X[:, 1], 0.0) - np.maximum(X[:, 2] + X[:, 3], 0.0)
    columns = {f"x{place}": X[:, place] for place in range(40)}
    parquet(tmp_path / "t.parquet", columns | {"y": target}, 20_000)
    script = """
import threading, time
import numpy as np
import pyarrow.parquet
from convexnn.datasets import rows_on_disk
def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
before, most = anonymous(), [0]
def watch():
    while True:
        most[0] = max(most[0], anonymous())
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
X = rows_on_disk("t.parquet", "X.npy", [f"x{place}" for place in range(40)])
print(most[0] - before)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert int(ran.stdout) < 192_000 * 2 / 3
    assert cx.recover(np.load(tmp_path / "X.npy", mmap_mode="r"), target, 4, 2).status is cx.Status.EXACT
