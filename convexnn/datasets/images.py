"""MNIST, Fashion-MNIST and CIFAR-10, from files as they are passed around, or downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convexnn.checks import as_flag, as_known
from convexnn.datasets.formats import Bytes, read_archive, read_cifar, read_idx
from convexnn.datasets.labelled import LabelledSplit
from convexnn.datasets.store import Source, cache, download, folders, not_found

# Images and labels: train, then test.
Parts = tuple[Bytes, Bytes, Bytes, Bytes]

ARCHIVE = ("x_train", "y_train", "x_test", "y_test")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# The split of the paper: so many images of each class of all 70,000 (or 60,000) to train on, the next ones to test on.
PAPER_TRAIN, PAPER_TEST = 5000, 1000


@dataclass(frozen=True)
class Collection:
    """A data set of images, and where it may be found.

    Attributes
    ----------
    title : str
        Its name for people.
    archives : tuple of str
        Names of NumPy archives.
    subfolders : tuple of str
        Folders of its other files, below a folder of data.
    find : callable
        Takes such a folder; returns the parts, or None where the files are not there.
    sources : tuple of Source
        What can be downloaded, into the first of `subfolders`.
    names : tuple of str
        What each label stands for.
    files : str
        What an error says is expected.
    """

    title: str
    archives: tuple[str, ...]
    subfolders: tuple[str, ...]
    find: Callable[[Path], Parts | None]
    sources: tuple[Source, ...]
    names: tuple[str, ...]
    files: str

    def load(self, folder: str | os.PathLike[str] | None, fetch: bool) -> Parts:
        """Return the parts from the first folder that has them, or from a download."""
        for base in folders(folder):
            found = self.read_from(base)
            if found is not None:
                return found
        if not fetch:
            raise not_found(self.title, self.files, folder)
        base = cache() if folder is None else Path(folder)
        download(self.sources, base / self.subfolders[0])
        found = self.read_from(base)
        if found is None:
            raise not_found(self.title, self.files, base)
        return found

    def read_from(self, base: Path) -> Parts | None:
        """Return the parts from a folder, None where it has them not."""
        for name in self.archives:
            if (base / name).is_file():
                train, y_train, test, y_test = read_archive(base / name, ARCHIVE)
                return train, y_train, test, y_test
        for subfolder in self.subfolders:
            found = self.find(base / subfolder)
            if found is not None:
                return found
        return None


def mnist(
    *,
    split: str = "standard",
    scaled: bool = True,
    folder: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> LabelledSplit:
    """Return MNIST: 70,000 digits of 28 x 28 grey pixels.

    Parameters
    ----------
    split : {"standard", "paper"}
        "standard": 60,000 and 10,000 images. "paper", the split of arXiv 2509.20323: of each digit the first 5,000 of
        all 70,000, in that order, and the next 1,000; sorted by digit.
    scaled : bool, default True
        Whether pixels are in [0, 1]; else 0 to 255.
    folder : path, optional
        Where the files are; default the folder that CONVEXNN_DATA names, then that of downloads. Either ``mnist.npz``
        (x_train, y_train, x_test, y_test) or the four IDX files, compressed or not, there or below in ``mnist`` or
        ``MNIST/raw``.
    download : bool, default False
        Whether files that are not found are downloaded (12 MB, to ``~/.cache/convexnn``) and checked by their sums.

    Raises
    ------
    DataNotFoundError
        The files are not there.
    OSError
        They cannot be downloaded, or are not those they should be.
    ValueError
        A file is damaged, or `split` is unknown.

    Examples
    --------
    >>> from convexnn.datasets import DataNotFoundError, mnist
    >>> try:
    ...     shape = mnist().X_train.shape
    ... except DataNotFoundError:  # the files are not here: mnist(download=True) fetches them
    ...     shape = (60000, 784)
    >>> shape
    (60000, 784)
    """
    return _split(MNIST, split, scaled, folder, download)


def fashion_mnist(
    *,
    split: str = "standard",
    scaled: bool = True,
    folder: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> LabelledSplit:
    """Return Fashion-MNIST: 70,000 pieces of clothing of 28 x 28 grey pixels.

    Arguments and errors as of :func:`mnist`; the files are ``fashion_mnist.npz``, or the four IDX files in
    ``fashion-mnist``, ``fashion_mnist`` or ``FashionMNIST/raw`` (a download is of 31 MB).

    Examples
    --------
    >>> from convexnn.datasets import DataNotFoundError, fashion_mnist
    >>> try:
    ...     shape = fashion_mnist().X_train.shape
    ... except DataNotFoundError:  # the files are not here: fashion_mnist(download=True) fetches them
    ...     shape = (60000, 784)
    >>> shape
    (60000, 784)
    """
    return _split(FASHION, split, scaled, folder, download)


def cifar10(
    *,
    split: str = "standard",
    scaled: bool = True,
    folder: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> LabelledSplit:
    """Return CIFAR-10: 60,000 photographs of 32 x 32 pixels, rows of red, green and blue pixel by pixel.

    Arguments and errors as of :func:`mnist`; the files are ``cifar10.npz``, or the binary version, as the folder
    ``cifar-10-batches-bin`` or the archive ``cifar-10-binary.tar.gz`` (a download is of 170 MB). The version for
    Python is pickled, which would run code of the file, and is not read.

    Examples
    --------
    >>> from convexnn.datasets import DataNotFoundError, cifar10
    >>> try:
    ...     shape = cifar10().X_train.shape
    ... except DataNotFoundError:  # the files are not here: cifar10(download=True) fetches them
    ...     shape = (50000, 3072)
    >>> shape
    (50000, 3072)
    """
    return _split(CIFAR, split, scaled, folder, download)


def _split(
    which: Collection, split: str, scaled: bool, folder: str | os.PathLike[str] | None, fetch: bool
) -> LabelledSplit:
    known, unit = as_known(split, "split", ("standard", "paper")), 255.0 if as_flag(scaled, "scaled") else 1.0
    train, y_train, test, y_test = which.load(folder, as_flag(fetch, "download"))
    if len(train) != len(y_train) or len(test) != len(y_test) or train.shape[1:] != test.shape[1:]:
        shapes = ", ".join(str(part.shape) for part in (train, y_train, test, y_test))
        raise ValueError(f"{which.title} has arrays of shapes {shapes}; expected one label an image")
    if known == "paper":
        train, y_train, test, y_test = paper_split(train, y_train, test, y_test)
    rows = [part.reshape(len(part), -1) / unit for part in (train, test)]
    labels = [part.astype(np.int64) for part in (y_train, y_test)]
    return LabelledSplit(rows[0], labels[0], rows[1], labels[1], which.names, tuple(map(int, train.shape[1:])))


def paper_split(train: Bytes, y_train: Bytes, test: Bytes, y_test: Bytes) -> Parts:
    """Return the parts of the paper's split: of each label the first images of all, and the next ones."""
    images, labels = np.concatenate([train, test]), np.concatenate([y_train, y_test])
    places = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    first = np.concatenate([place[:PAPER_TRAIN] for place in places])
    then = np.concatenate([place[PAPER_TRAIN : PAPER_TRAIN + PAPER_TEST] for place in places])
    return images[first], labels[first], images[then], labels[then]


def _find_idx(folder: Path) -> Parts | None:
    paths = [next((p for p in (folder / n, folder / f"{n}.gz") if p.is_file()), None) for n in IDX]
    found = [path for path in paths if path is not None]
    if len(found) < len(IDX):
        return None
    train, y_train, test, y_test = map(read_idx, found)
    return train, y_train, test, y_test


def _find_cifar(folder: Path) -> Parts | None:
    for path in (folder / "cifar-10-batches-bin", folder / "cifar-10-binary.tar.gz"):
        if path.exists():
            return *read_cifar(path, "train"), *read_cifar(path, "test")
    return None


def _idx_sources(base: str, sums: tuple[str, ...]) -> tuple[Source, ...]:
    return tuple(Source(f"{base}/{name}.gz", digits) for name, digits in zip(IDX, sums, strict=True))


MNIST = Collection(
    "MNIST",
    ("mnist.npz",),
    ("mnist", "", "MNIST/raw"),
    _find_idx,
    _idx_sources(
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    tuple("0123456789"),
    "mnist.npz or the four IDX files",
)

FASHION = Collection(
    "Fashion-MNIST",
    ("fashion_mnist.npz", "fashion-mnist.npz"),
    # Never the folder itself: the files have the names of those of MNIST.
    ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
    _find_idx,
    _idx_sources(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    "fashion_mnist.npz or the four IDX files in fashion-mnist",
)

CIFAR = Collection(
    "CIFAR-10",
    ("cifar10.npz",),
    ("", "cifar10"),
    _find_cifar,
    (
        Source(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar10.npz, cifar-10-batches-bin or cifar-10-binary.tar.gz",
)
