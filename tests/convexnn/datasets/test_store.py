"""Downloads: once, by their sums, and nothing left of those that fail."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convexnn.datasets import (
    DataNotFoundError,
    images,
    mnist,
    store,
)
from convexnn.datasets.images import IDX
from convexnn.datasets.store import Source, download
from tests.helpers.image_files import write_grey


class TestDownloads:
    @staticmethod
    def sources(folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: bool = False) -> list[str]:
        """Let MNIST come from files in a folder; return the addresses that are asked for."""
        from urllib.request import urlopen

        asked: list[str] = []

        def note(url: str, timeout: float) -> Any:
            asked.append(url)
            return urlopen(url, timeout=timeout)

        monkeypatch.setattr(store, "urlopen", note)
        sums = [hashlib.sha256((folder / f"{name}.gz").read_bytes()).hexdigest() for name in IDX]
        sums[2] = "0" * 64 if wrong else sums[2]
        sources = tuple(Source(f"{folder.as_uri()}/{name}.gz", digits) for name, digits in zip(IDX, sums, strict=True))
        fields = {name: getattr(images.MNIST, name) for name in images.MNIST.__dataclass_fields__}
        monkeypatch.setattr(images, "MNIST", images.Collection(**{**fields, "sources": sources}))
        return asked

    def test_files_are_downloaded_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        train = write_grey(tmp_path / "server", packed=True)[0]
        asked = self.sources(tmp_path / "server", monkeypatch)
        with pytest.raises(DataNotFoundError):
            mnist()
        for _ in range(2):
            assert np.array_equal(mnist(download=True, scaled=False).X_train, train.reshape(30, 784))
        assert len(asked) == 4
        assert len(list((tmp_path / "cache" / "convexnn" / "mnist").iterdir())) == 4
        # Once they are there, nobody has to ask for a download.
        assert len(mnist().X_test) == 20

    def test_a_file_with_another_sum_is_not_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_grey(tmp_path / "server", packed=True)
        self.sources(tmp_path / "server", monkeypatch, wrong=True)
        with pytest.raises(OSError, match=r"t10k-images-idx3-ubyte\.gz has the SHA-256 sum .*; expected 0000"):
            mnist(download=True, folder=tmp_path / "mine")
        left = sorted(path.name for path in (tmp_path / "mine" / "mnist").iterdir())
        assert left == [f"{name}.gz" for name in IDX[:2]]

    def test_without_a_network_the_error_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from urllib.request import urlopen

        monkeypatch.setattr(store, "urlopen", urlopen)
        missing = Source((tmp_path / "nothing.gz").as_uri(), "0" * 64)
        with pytest.raises(OSError, match=r"cannot be downloaded .*; expected a network, or nothing\.gz in"):
            download([missing], tmp_path / "mine")
        assert not list((tmp_path / "mine").iterdir())

    @pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError("reset"), IncompleteRead(b"half", 9)])
    def test_a_download_that_breaks_leaves_nothing(
        self, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise error

        monkeypatch.setattr(store, "urlopen", lambda url, timeout: Broken())
        with pytest.raises(
            OSError, match=r"http://nowhere/file\.gz cannot be downloaded \(.+\); expected a network"
        ) as caught:
            download([Source("http://nowhere/file.gz", "0" * 64)], tmp_path / "mine")
        assert "\n" not in str(caught.value)
        assert not list((tmp_path / "mine").iterdir())

    def test_a_full_disk_names_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full:
            def update(self, piece: bytes) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(store, "urlopen", lambda url, timeout: io.BytesIO(b"all of it"))
        monkeypatch.setattr("convexnn.datasets.store.hashlib.sha256", Full)
        with pytest.raises(OSError, match=r"file\.gz cannot be written \(No space left on device\)"):
            download([Source("http://nowhere/file.gz", "0" * 64)], tmp_path / "mine")
        assert not list((tmp_path / "mine").iterdir())

    @pytest.mark.parametrize("which", [images.MNIST, images.FASHION, images.CIFAR], ids=lambda which: which.title)
    def test_every_source_has_a_sum(self, which: images.Collection) -> None:
        for source in which.sources:
            assert len(bytes.fromhex(source.sha256)) == 32
            assert source.name == source.url.split("/")[-1]
