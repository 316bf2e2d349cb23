"""Rows with labels, in a part to train on and a part to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class LabelledSplit:
    """Rows and their labels, train and test.

    Attributes
    ----------
    X_train, X_test : ndarray (n, d)
        The rows, float64.
    y_train, y_test : ndarray (n,)
        Labels 0, 1, ..., int64.
    names : tuple of str
        What each label stands for.
    image_shape : tuple of int
        A row as an image, (height, width) or (height, width, 3); empty where rows are no images.

    Examples
    --------
    >>> from convexnn.datasets import iris
    >>> split = iris(test_share=0.5)
    >>> split.X_test.shape, split.y_test.shape, split.image_shape
    ((75, 4), (75,), ())
    """

    X_train: Floats
    y_train: Labels
    X_test: Floats
    y_test: Labels
    names: tuple[str, ...]
    image_shape: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[Floats, Labels, Floats, Labels]:
        """X_train, y_train, X_test, y_test."""
        return self.X_train, self.y_train, self.X_test, self.y_test

    def only(self, labels: Sequence[int]) -> LabelledSplit:
        """Return the rows with these labels, which keep their values."""
        if not set(labels) or not set(labels) <= set(range(len(self.names))):
            raise ValueError(f"labels is {list(labels)}; expected labels from 0 to {len(self.names) - 1}")
        train, test = np.isin(self.y_train, labels), np.isin(self.y_test, labels)
        return replace(
            self,
            X_train=self.X_train[train],
            y_train=self.y_train[train],
            X_test=self.X_test[test],
            y_test=self.y_test[test],
        )

    def __repr__(self) -> str:
        return (
            f"<{len(self.y_train)} rows to train on, {len(self.y_test)} to test on, {self.X_train.shape[1]} features>"
        )
