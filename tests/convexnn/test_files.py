"""Files: whole or as they were, whatever goes wrong while they are written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import convexnn as cx
import verify
from convexnn.cli.asking.questions import save_array
from convexnn.files import replacing
from convexnn.studies.harness.pictures import strips
from convexnn.tables import write_csv
from tests.helpers import zoo


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path, "w", encoding="utf-8") as file:
        file.write("old")
        assert not path.exists()

    def interrupted() -> None:
        with replacing(path, "w", encoding="utf-8") as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "a.txt", tmp_path / "link.txt"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    link.symlink_to(path)
    with replacing(link, "w", encoding="utf-8") as file:
        file.write("new")
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    plain = tmp_path / "plain.txt"
    plain.write_text("", encoding="utf-8")
    with replacing(tmp_path / "fresh.txt"):
        pass
    assert (tmp_path / "fresh.txt").stat().st_mode == plain.stat().st_mode


def test_a_stream_is_written_to_as_it_is(tmp_path: Path) -> None:
    with replacing("/dev/null", "w", encoding="utf-8") as file:
        file.write("nothing")
    assert not Path("/dev/null").is_file()


WRITERS: dict[str, Callable[[Path], object]] = {
    "network.npz": lambda path: zoo.network((3, 4, 1)).save(path),
    "network.onnx": lambda path: zoo.network((3, 4, 1)).to_onnx(path),
    "table.csv": lambda path: write_csv(path, ["a"], [[1.0]]),
    "witness.npy": lambda path: save_array(path, np.zeros(3)),
    "picture.png": lambda path: strips([{"method": "a", "value": "1"}], path, "value", label="value"),
    "model.mps": lambda path: verify.encode(zoo.network((3, 4, 1)), verify.LinfBall(np.zeros(3), 1.0)).write(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / name
    WRITERS[name](path)
    before = path.read_bytes()
    monkeypatch.setattr("convexnn.files.os.fsync", full)
    with pytest.raises(OSError, match=f"{name} cannot be written .No space left on device"):
        WRITERS[name](path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_errors_name_the_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name} cannot be written .No such file"):
        WRITERS[name](tmp_path / "absent" / name)
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=f"{name} cannot be written .it is a folder"):
        WRITERS[name](tmp_path / name)


def test_a_network_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    for sizes in ((3, 4, 1), (2, 2, 2)):
        zoo.network(sizes).save(path)
        assert cx.SparseReLUNetwork.load(path).sizes == sizes
