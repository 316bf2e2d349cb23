"""Data sets: planted networks, MNIST and its like, small tables, and images as functions from places to grey levels.

In come sizes, seeds or files; out come arrays in a part to train on and a part to test on (`labelled.py`, the place to
start reading). `embedded.py` has what scikit-learn ships, `store.py` folders and downloads, `on_disk.py` rows that are
larger than the memory. No file is unpickled.
"""

from convexnn.datasets.embedded import GREY_LEVELS, Split, digits, iris
from convexnn.datasets.fourier import ImageTask, fourier_features, image_task
from convexnn.datasets.images import cifar10, fashion_mnist, mnist
from convexnn.datasets.labelled import LabelledSplit, Labels
from convexnn.datasets.on_disk import rows_on_disk
from convexnn.datasets.planting import Planted, planted
from convexnn.datasets.store import DataNotFoundError

__all__ = [
    "GREY_LEVELS",
    "DataNotFoundError",
    "ImageTask",
    "LabelledSplit",
    "Labels",
    "Planted",
    "Split",
    "cifar10",
    "digits",
    "fashion_mnist",
    "fourier_features",
    "image_task",
    "iris",
    "mnist",
    "planted",
    "rows_on_disk",
]
