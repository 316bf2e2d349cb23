"""Data sets: files written here and read back, downloads by their sums."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convexnn.datasets import (
    DataNotFoundError,
    cifar10,
    digits,
    fashion_mnist,
    fourier_features,
    image_task,
    images,
    iris,
    mnist,
    store,
)
from convexnn.datasets.formats import RECORD, read_archive, read_cifar, read_idx
from convexnn.datasets.images import IDX, paper_split
from convexnn.datasets.store import Source, download

Bytes = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No folder of data but those that a test makes, and no network."""
    if "data_folder" not in request.fixturenames:
        monkeypatch.delenv("CONVEXNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(url: str, timeout: float) -> None:
        raise AssertionError(f"{url} was asked for")

    monkeypatch.setattr(store, "urlopen", refuse)


def grey(n: int, seed: int = 0) -> tuple[Bytes, Bytes]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


def photographs(n: int, seed: int = 0) -> tuple[Bytes, Bytes]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


def idx(array: Bytes) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def cifar_bytes(pixels: Bytes, labels: Bytes) -> bytes:
    return b"".join(
        bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(pixels, labels, strict=True)
    )


def write_grey(folder: Path, *, packed: bool = False, seed: int = 0) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    parts = (*grey(30, seed), *grey(20, seed + 1))
    for name, array in zip(IDX, parts, strict=True):
        content = idx(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return parts


def write_archive(path: Path, train: tuple[Bytes, Bytes], test: tuple[Bytes, Bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])


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
            (gzip.compress(idx(np.zeros((30, 2), np.uint8)), mtime=0)[:-9], "is not a whole gzip file"),
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


class TestImages:
    @pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw"])
    @pytest.mark.parametrize("packed", [False, True])
    def test_mnist_is_found_as_idx_files(self, tmp_path: Path, place: str, packed: bool) -> None:
        train, y_train, test, y_test = write_grey(tmp_path / place, packed=packed)
        found = mnist(folder=tmp_path)
        np.testing.assert_allclose(found.X_train, train.reshape(30, 784) / 255.0)
        np.testing.assert_allclose(found.X_test, test.reshape(20, 784) / 255.0)
        assert np.array_equal(found.y_train, y_train)
        assert np.array_equal(found.y_test, y_test)
        assert found.image_shape == (28, 28)
        assert found.names == tuple("0123456789")
        assert repr(found) == "<30 rows to train on, 20 to test on, 784 features>"

    def test_the_environment_names_the_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        train, test = grey(4), grey(3, 1)
        write_archive(tmp_path / "mnist.npz", train, test)
        with pytest.raises(DataNotFoundError):
            mnist()
        monkeypatch.setenv("CONVEXNN_DATA", str(tmp_path))
        found = mnist(scaled=False)
        assert np.array_equal(found.X_train, train[0].reshape(4, 784).astype(float))
        assert found.X_train.dtype == np.float64

    def test_fashion_is_never_taken_for_mnist(self, tmp_path: Path) -> None:
        write_grey(tmp_path)
        with pytest.raises(DataNotFoundError, match="Fashion-MNIST was not found"):
            fashion_mnist(folder=tmp_path)
        train = write_grey(tmp_path / "fashion-mnist", seed=5)[0]
        assert np.array_equal(fashion_mnist(folder=tmp_path, scaled=False).X_train, train.reshape(30, 784))
        assert not np.array_equal(mnist(folder=tmp_path, scaled=False).X_train, train.reshape(30, 784))

    def test_photographs_have_their_colours_last(self, tmp_path: Path) -> None:
        train, test = photographs(4), photographs(3, 1)
        write_archive(tmp_path / "cifar10.npz", train, test)
        found = cifar10(folder=tmp_path)
        assert found.image_shape == (32, 32, 3)
        np.testing.assert_allclose(found.X_test.reshape(3, 32, 32, 3), test[0] / 255.0)

    def test_only_some_labels(self, tmp_path: Path) -> None:
        train, y_train, _, y_test = write_grey(tmp_path)
        found = mnist(folder=tmp_path).only((3, 7))
        assert np.array_equal(found.y_train, y_train[np.isin(y_train, (3, 7))])
        assert np.array_equal(found.y_test, y_test[np.isin(y_test, (3, 7))])
        np.testing.assert_allclose(found.X_train, train[np.isin(y_train, (3, 7))].reshape(-1, 784) / 255.0)
        for bad in ((), (3, 10)):
            with pytest.raises(ValueError, match="labels is"):
                found.only(bad)

    def test_the_split_of_the_paper(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(images, "PAPER_TRAIN", 2)
        monkeypatch.setattr(images, "PAPER_TEST", 1)
        train, test = np.arange(6, dtype=np.uint8), np.arange(6, 9, dtype=np.uint8)
        y_train, y_test = np.array([1, 0, 1, 0, 1, 1], np.uint8), np.array([0, 1, 0], np.uint8)
        parts = [part.tolist() for part in paper_split(train, y_train, test, y_test)]
        assert parts == [[1, 3, 0, 2], [0, 0, 1, 1], [6, 4], [0, 1]]

    @pytest.mark.parametrize("load", [mnist, fashion_mnist, cifar10])
    def test_what_is_missing_is_said(self, load: Any, tmp_path: Path) -> None:
        with pytest.raises(DataNotFoundError) as caught:
            load(folder=tmp_path)
        message = str(caught.value)
        assert str(tmp_path) in message
        assert "set CONVEXNN_DATA to their folder, or pass download=True" in message
        assert "\n" not in message

    def test_labels_and_images_are_counted(self, tmp_path: Path) -> None:
        write_archive(tmp_path / "mnist.npz", (grey(4)[0], grey(5)[1]), grey(3))
        with pytest.raises(ValueError, match="expected one label an image"):
            mnist(folder=tmp_path)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"split": "mine"}, "split 'mine' is unknown"),
            ({"scaled": 255}, "scaled is 255"),
            ({"folder": 3}, "folder is 3; expected the path of a folder"),
        ],
    )
    def test_errors_name_the_argument(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises((TypeError, ValueError), match=message):
            mnist(**options)


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

    @pytest.mark.parametrize("which", [images.MNIST, images.FASHION, images.CIFAR], ids=lambda which: which.title)
    def test_every_source_has_a_sum(self, which: images.Collection) -> None:
        for source in which.sources:
            assert len(bytes.fromhex(source.sha256)) == 32
            assert source.name == source.url.split("/")[-1]


class TestImageTasks:
    def test_features_are_sines_and_cosines(self) -> None:
        places, waves = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[0.25, 0.0], [0.0, 0.5], [0.1, 0.2]])
        angles = np.array([[2 * np.pi * (a @ b) for b in waves] for a in places])
        np.testing.assert_allclose(fourier_features(places, waves), np.hstack([np.sin(angles), np.cos(angles)]))
        with pytest.raises(ValueError, match="frequencies has 2 columns; expected 3, as places"):
            fourier_features(np.zeros((1, 3)), waves)

    def test_a_digit(self, tmp_path: Path) -> None:
        train, test = grey(4), grey(3, 1)
        write_archive(tmp_path / "mnist.npz", train, test)
        task = image_task(index=2, seed=3, folder=tmp_path)
        frequencies = 2.0 * np.random.RandomState(3).normal(size=(750, 2))
        np.testing.assert_allclose(task.y.reshape(task.image_shape), test[0][2] / 255.0)
        for place in (0, 29, 783):
            angles = 2.0 * np.pi * frequencies @ divmod(place, 28)
            np.testing.assert_allclose(task.X[place], np.hstack([np.sin(angles), np.cos(angles)]), atol=1e-9)

    @pytest.mark.parametrize("whole", [False, True])
    def test_a_photograph(self, tmp_path: Path, whole: bool) -> None:
        pixels, labels = photographs(6)
        labels[:] = (5, 7, 1, 0, 2, 1)
        if whole:
            write_archive(tmp_path / "cifar10.npz", photographs(2), (pixels, labels))
        else:
            np.savez(tmp_path / "cifar10_first100_test.npz", x=pixels, y=labels)
        task = image_task("cifar10", folder=tmp_path)
        assert task.image_shape == (3, 32, 32)
        np.testing.assert_allclose(task.y.reshape(3, 32, 32).transpose(1, 2, 0), pixels[2] / 255.0)
        random = np.random.RandomState(0)
        space, colour = 5.0 * random.normal(size=(750, 2)), 0.05 * random.normal(size=750)
        for row, column, channel in ((0, 0, 0), (3, 30, 2), (31, 1, 1)):
            angles = 2.0 * np.pi * (space @ (row, column) + colour * channel)
            place = channel * 1024 + row * 32 + column
            np.testing.assert_allclose(task.X[place], np.hstack([np.sin(angles), np.cos(angles)]), atol=1e-9)
        chosen = image_task("cifar10", 1, split="paper", folder=tmp_path)
        np.testing.assert_allclose(chosen.y.reshape(3, 32, 32).transpose(1, 2, 0), pixels[3] / 255.0)

    def test_an_image_that_is_not_there(self, tmp_path: Path) -> None:
        write_archive(tmp_path / "mnist.npz", grey(4), grey(3, 1))
        with pytest.raises(ValueError, match="index is 3; expected at most 2: there are 3 images"):
            image_task(index=3, folder=tmp_path)
        with pytest.raises(ValueError, match=r"index is not given and there is no such image by default"):
            image_task(folder=tmp_path)
        with pytest.raises(DataNotFoundError, match="CIFAR-10 was not found"):
            image_task("cifar10", folder=tmp_path)


class TestIris:
    def test_the_training_rows_have_mean_0_and_variance_1(self) -> None:
        made = iris(seed=3)
        np.testing.assert_allclose(made.X_train.mean(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(made.X_train.std(axis=0), 1.0)
        assert (np.bincount(made.y_train) == 40).all()
        assert (np.bincount(made.y_test) == 10).all()
        assert made.names == ("setosa", "versicolor", "virginica")
        raw = iris(seed=3, scaled=False)
        back = made.X_test * raw.X_train.std(axis=0) + raw.X_train.mean(axis=0)
        np.testing.assert_allclose(back, raw.X_test)
        assert not np.array_equal(raw.X_test, iris(seed=4, scaled=False).X_test)

    @pytest.mark.parametrize("share", [0.0, 1.0, 0.001, 0.999, np.nan, "a fifth"])
    def test_a_share_is_a_share(self, share: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="test_share is"):
            iris(test_share=share)

    @pytest.mark.parametrize(("name", "value"), [("test_share", 2.0), ("test_share", "half"), ("seed", -1)])
    def test_digits_name_the_argument_too(self, name: str, value: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=f"^{name} is .*; expected"):
            digits(**{name: value})


@pytest.mark.data
def test_mnist_itself(data_folder: Path) -> None:
    standard, other = mnist(folder=data_folder, scaled=False), mnist(folder=data_folder, split="paper", scaled=False)
    # The sum of the images as the authors published them.
    content = hashlib.sha256(idx(standard.X_train.astype(np.uint8).reshape(-1, 28, 28))).hexdigest()
    assert content == "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    assert (np.bincount(other.y_train) == 5000).all()
    assert (np.bincount(other.y_test) == 1000).all()
    zeros = standard.X_train[standard.y_train == 0]
    assert np.array_equal(other.X_train[:5000], zeros[:5000])
    assert np.array_equal(other.X_test[: len(zeros) - 5000], zeros[5000:][:1000])
