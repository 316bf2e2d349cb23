"""Files of images and labels: written here and read back, damaged ones refused."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from convexnn.datasets.formats import RECORD, read_archive, read_cifar, read_idx
from tests.helpers.image_files import cifar_bytes, idx, photographs


class TestFormats:
    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("shape", [(5,), (3, 4, 2)])
    def test_an_idx_file_is_read(self, tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
        array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        path = tmp_path / "file"
        path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
        assert np.array_equal(read_idx(path), array)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is not an IDX file of bytes"),
            (b"\0\0\x0d\1\0\0\0\1\0\0\0\0", "is not an IDX file of bytes"),
            (idx(np.zeros((3, 2), np.uint8))[:-1], "holds 5 entries; expected 6"),
            (idx(np.zeros((3, 2), np.uint8)) + b"\0", "holds 7 entries; expected 6"),
            (b"\0\0\x08\x03\0\0\0\2", "holds 0 entries; expected"),
            (b"\0\0\x08\x04" + b"\xff" * 16, "holds 0 entries; expected 340282366"),
            (gzip.compress(idx(np.zeros((30, 2), np.uint8)), mtime=0)[:-9], "is damaged, gzip cannot unpack it"),
        ],
    )
    def test_a_damaged_idx_file_is_refused(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_idx(path)

    def test_an_archive_needs_no_pickle(self, tmp_path: Path) -> None:
        path = tmp_path / "objects.npz"
        np.savez(path, x=np.array([{"a": 1}], dtype=object))
        with pytest.raises(ValueError, match=r"cannot be read .*; expected an archive with x"):
            read_archive(path, ("x",))

    def test_other_archives_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "other.npz"
        np.savez(path, x=np.zeros(3))
        with pytest.raises(ValueError, match="holds x as float64; expected uint8"):
            read_archive(path, ("x",))
        with pytest.raises(ValueError, match="it lacks y"):
            read_archive(path, ("x", "y"))
        for content in (b"nothing", b"PK\x03\x04 and no more", pickle.dumps({"x": 1})):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"other\.npz cannot be read"):
                read_archive(path, ("x",))

    @pytest.mark.parametrize("packed", [False, True])
    def test_cifar_is_read_from_its_folder_and_from_its_archive(self, tmp_path: Path, packed: bool) -> None:
        batches = [photographs(3, seed) for seed in range(6)]
        names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
        folder = tmp_path / "cifar-10-batches-bin"
        folder.mkdir()
        for name, batch in zip(names, batches, strict=True):
            (folder / name).write_bytes(cifar_bytes(*batch))
        path = folder
        if packed:
            path = tmp_path / "cifar-10-binary.tar.gz"
            with tarfile.open(path, "w:gz") as archive:
                archive.add(folder, arcname="cifar-10-batches-bin")
        pixels, labels = read_cifar(path, "train")
        assert np.array_equal(pixels, np.concatenate([batch[0] for batch in batches[:5]]))
        assert np.array_equal(labels, np.concatenate([batch[1] for batch in batches[:5]]))
        assert np.array_equal(read_cifar(path, "test")[0], batches[5][0])

    def test_a_damaged_cifar_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "test_batch.bin").write_bytes(b"\0" * (RECORD + 1))
        with pytest.raises(ValueError, match=f"test_batch.bin has {RECORD + 1} bytes; expected records of {RECORD}"):
            read_cifar(tmp_path, "test")
        path = tmp_path / "cifar-10-binary.tar.gz"
        path.write_bytes(b"nothing")
        with pytest.raises(ValueError, match="is not the archive of CIFAR-10"):
            read_cifar(path, "test")
        with tarfile.open(path, "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("other"), io.BytesIO())
        with pytest.raises(ValueError, match=r"it lacks test_batch\.bin"):
            read_cifar(path, "test")
