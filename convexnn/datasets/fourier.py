"""An image as a function of its pixels' places: Fourier features of the places, and the pixels to fit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_count, as_known, as_matrix
from convexnn.datasets.formats import Bytes, read_archive
from convexnn.datasets.images import CIFAR, MNIST, paper_split
from convexnn.datasets.store import DataNotFoundError, folders

# Frequencies, and their standard deviations over rows and columns (and colours), of the paper.
FREQUENCIES, MNIST_SCALE, CIFAR_SCALE, COLOUR_SCALE = 750, 2.0, 5.0, 0.05

# The image of the paper, of its own test set.
PAPER_INDEX = 1000

# A smaller file that will do for one photograph: the first of the test set.
FIRST_PHOTOGRAPHS = "cifar10_first100_test.npz"


@dataclass(frozen=True, eq=False, repr=False)
class ImageTask:
    """An image to be fitted by a network over Fourier features.

    Attributes
    ----------
    X : ndarray (n, d)
        Features of the places, in [-1, 1].
    y : ndarray (n,)
        Pixels in [0, 1], so that 1 is the peak of the PSNR.
    image_shape : tuple of int
        (height, width), or (3, height, width): y reshaped to it is the image, colour by colour.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.datasets import ImageTask, fourier_features
    >>> grey = np.array([[0.0, 0.5], [0.5, 1.0]])
    >>> task = ImageTask(fourier_features([[0, 0], [0, 1], [1, 0], [1, 1]], [[0.1, 0.2]]), grey.ravel(), grey.shape)
    >>> task.X.shape, task.y.reshape(task.image_shape).tolist()
    ((4, 2), [[0.0, 0.5], [0.5, 1.0]])
    """

    X: Floats
    y: Floats
    image_shape: tuple[int, ...]

    def __repr__(self) -> str:
        return f"<an image of {self.y.size} values, {self.X.shape[1]} features>"


def fourier_features(places: ArrayLike, frequencies: ArrayLike) -> Floats:
    """Return sin and cos of 2 pi places . frequencies^T: (n, 2 q) for places (n, p) and frequencies (q, p).

    As in Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions" (arXiv 2006.10739).

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.datasets import fourier_features
    >>> fourier_features([[0.0], [0.25]], [[1.0]]).round(6)
    array([[0., 1.],
           [1., 0.]])
    """
    where, waves = as_matrix(places, "places"), as_matrix(frequencies, "frequencies")
    if where.shape[1] != waves.shape[1]:
        raise ValueError(f"frequencies has {waves.shape[1]} columns; expected {where.shape[1]}, as places")
    angles = 2.0 * np.pi * where @ waves.T
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def image_task(
    name: str = "mnist",
    index: int | None = None,
    *,
    split: str = "standard",
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> ImageTask:
    """Return an image and the Fourier features of its pixels, as in figures 4 and 5 of arXiv 2509.20323.

    Parameters
    ----------
    name : {"mnist", "cifar10"}
        A digit: 784 pixels, 1,500 features. A photograph: 3,072 values, 1,500 features.
    index : int, optional
        Which image. Default with the standard split: the 501st zero of MNIST, the first airplane or automobile of
        CIFAR-10; with the paper's: number 1000, the image of the paper.
    split : {"standard", "paper"}
        What `index` counts: the images of the standard test set; or those of the paper's, of MNIST as in
        :func:`mnist`, of CIFAR-10 the airplanes and automobiles of the test set.
    seed : int, default 0
        Of the 750 frequencies: N(0, 4) over rows and columns for a digit; N(0, 25) over rows and columns, N(0, 0.0025)
        over colours for a photograph. Places are whole numbers 0, 1, ..., as in the published code.
    folder, download
        As :func:`mnist` takes them; for a photograph ``cifar10_first100_test.npz`` (x, y: the first 100 of the test
        set) in the folder will do.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type, shape or range; the message names it.
    OSError
        As :func:`mnist`.

    Examples
    --------
    >>> from convexnn.datasets import DataNotFoundError, image_task
    >>> try:
    ...     shape = image_task("mnist").X.shape
    ... except DataNotFoundError:  # the files are not here: image_task(download=True) fetches them
    ...     shape = (784, 1500)
    >>> shape
    (784, 1500)
    """
    random = np.random.RandomState(as_count(seed, "seed", at_least=0))
    paper = as_known(split, "split", ("standard", "paper")) == "paper"
    if as_known(name, "name", ("mnist", "cifar10")) == "mnist":
        parts = MNIST.load(folder, download)
        images, labels = (paper_split(*parts) if paper else parts)[2:]
        image = images[_chosen(index, len(images), [PAPER_INDEX] if paper else np.flatnonzero(labels == 0)[500:])]
        return _task(image, random.normal(size=(FREQUENCIES, 2)) * MNIST_SCALE)
    images, labels = _photographs(folder, download)
    vehicles = np.flatnonzero(labels <= 1)
    images = images[vehicles] if paper else images
    image = images[_chosen(index, len(images), [PAPER_INDEX] if paper else vehicles)]
    space = random.normal(size=(FREQUENCIES, 2)) * CIFAR_SCALE
    colour = random.normal(size=(FREQUENCIES, 1)) * COLOUR_SCALE
    return _task(image.transpose(2, 0, 1), np.concatenate([space, colour], axis=1))


def _task(image: Bytes, frequencies: Floats) -> ImageTask:
    """Return the task of an image (height, width), or (3, height, width): colour by colour, as the published code."""
    places = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1).reshape(-1, image.ndim)
    # Rows and columns first, then the colour, as the frequencies.
    places = np.roll(places, -1, axis=1) if image.ndim == 3 else places
    shape = tuple(map(int, image.shape))
    return ImageTask(fourier_features(places.astype(np.float64), frequencies), image.ravel() / 255.0, shape)


def _chosen(index: int | None, size: int, defaults: Sequence[int] | NDArray[np.int64]) -> int:
    """Return the index of one of so many images; where none is given, the first of the defaults."""
    if index is None and len(defaults) == 0:
        raise ValueError(f"index is not given and there is no such image by default; expected at most {size - 1}")
    chosen = int(defaults[0]) if index is None else as_count(index, "index", at_least=0)
    if chosen >= size:
        raise ValueError(f"index is {chosen}; expected at most {size - 1}: there are {size} images")
    return chosen


def _photographs(folder: str | os.PathLike[str] | None, fetch: bool) -> tuple[Bytes, Bytes]:
    """Return the test images of CIFAR-10 and their labels, or the first of them where that is what there is."""
    try:
        return CIFAR.load(folder, False)[2:]
    except DataNotFoundError:
        for place in folders(folder):
            if (place / FIRST_PHOTOGRAPHS).is_file():
                images, labels = read_archive(place / FIRST_PHOTOGRAPHS, ("x", "y"))
                return images, labels
        return CIFAR.load(folder, fetch)[2:]
