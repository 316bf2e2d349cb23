"""Images as functions of their pixels: features and the images chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convexnn.datasets import (
    DataNotFoundError,
    fourier_features,
    image_task,
)
from tests.helpers.image_files import grey, photographs, write_archive


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
