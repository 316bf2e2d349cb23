"""MNIST and its like: where they are found, the split of the paper, what is missing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convexnn.datasets import (
    DataNotFoundError,
    cifar10,
    fashion_mnist,
    images,
    mnist,
)
from convexnn.datasets.images import paper_split
from tests.helpers.image_files import grey, idx, photographs, write_archive, write_grey


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
