"""Data sets: planted networks, MNIST and its like, images as functions of their pixels, and small tables.

In come sizes, seeds or files; out come arrays in a part to train on and a part to test on. No reader runs code of a
file. Start reading in `labelled.py`.
"""

from convexnn.datasets.embedded import GREY_LEVELS, Split, digits, iris
from convexnn.datasets.fourier import ImageTask, fourier_features, image_task
from convexnn.datasets.images import cifar10, fashion_mnist, mnist
from convexnn.datasets.labelled import LabelledSplit, Labels
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
]
