"""The small data sets that come with scikit-learn: digits of 8 x 8 pixels, iris."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from convexnn.checks import Floats, as_count, as_flag, as_nonnegative, require
from convexnn.datasets.labelled import LabelledSplit

GREY_LEVELS = 16


@dataclass(frozen=True, eq=False)
class Split:
    """A two-class problem as a regression on -1 and +1.

    Attributes
    ----------
    X_train, X_test : ndarray (n, d)
        Rows scaled to [-1, 1].
    y_train, y_test : ndarray (n,)
        -1 and +1.
    image_shape : tuple of int
        A row as an image.
    names : tuple of str
        What -1 and +1 stand for.

    Examples
    --------
    >>> from convexnn.datasets import digits
    >>> split = digits((3,), (8,))
    >>> split.image_shape, sorted(set(split.y_train.tolist())), split.names
    ((8, 8), [-1.0, 1.0], ('3', '8'))
    """

    X_train: Floats
    y_train: Floats
    X_test: Floats
    y_test: Floats
    image_shape: tuple[int, int]
    names: tuple[str, str]


def digits(
    negative: Sequence[int] = (0, 2, 4, 6, 8),
    positive: Sequence[int] = (1, 3, 5, 7, 9),
    *,
    names: tuple[str, str] | None = None,
    test_share: float = 0.4,
    seed: int = 0,
) -> Split:
    """Return a two-class problem on scikit-learn's embedded 8x8 digits, stratified into train and test.

    Pixels 0..16 are scaled to [-1, 1], so one grey level is 1/8.

    Parameters
    ----------
    negative, positive : sequence of int
        The digits of the classes -1 and +1, without overlap; default even and odd.
    names : tuple of str, optional
        What -1 and +1 stand for; default the digits themselves.
    test_share : float, default 0.4
        Share of the rows in the test set, above 0 and below 1.
    seed : int, default 0
        Of the split.

    Examples
    --------
    >>> from convexnn.datasets import digits
    >>> split = digits()  # even against odd
    >>> split.X_train.shape, split.X_test.shape
    ((1078, 64), (719, 64))
    """
    share, first = _as_share(test_share), as_count(seed, "seed", at_least=0)
    groups = {"negative": set(negative), "positive": set(positive)}
    for name, group in groups.items():
        if not group or not group <= set(range(10)):
            raise ValueError(f"{name} is {sorted(group)}; expected digits from 0 to 9")
    if groups["negative"] & groups["positive"]:
        raise ValueError(f"negative and positive both hold digits {sorted(groups['negative'] & groups['positive'])}")
    data = require("sklearn.datasets", "scikit-learn", "the digits data set")
    selection = require("sklearn.model_selection", "scikit-learn", "the digits data set")
    images, labels = data.load_digits(return_X_y=True)
    chosen = np.isin(labels, [*negative, *positive])
    X, y = 2.0 * images[chosen] / GREY_LEVELS - 1.0, np.where(np.isin(labels[chosen], positive), 1.0, -1.0)
    parts = selection.train_test_split(X, y, test_size=share, random_state=first, stratify=y)
    shown = names or ("/".join(map(str, negative)), "/".join(map(str, positive)))
    return Split(parts[0], parts[2], parts[1], parts[3], (8, 8), shown)


def iris(*, test_share: float = 0.2, scaled: bool = True, seed: int = 0) -> LabelledSplit:
    """Return Fisher's iris, 150 rows of 4 features in 3 classes, stratified into train and test.

    Parameters
    ----------
    test_share : float, default 0.2
        Share of the rows in the test set, above 0 and below 1.
    scaled : bool, default True
        Whether features are brought to mean 0 and variance 1 on the training rows; else they are centimetres.
    seed : int, default 0
        Of the split.

    Examples
    --------
    >>> from convexnn.datasets import iris
    >>> split = iris()
    >>> split.X_train.shape, split.names
    ((120, 4), ('setosa', 'versicolor', 'virginica'))
    """
    share = _as_share(test_share)
    rows = ceil(150 * share - 1e-9)
    if not 3 <= rows <= 147:
        raise ValueError(f"test_share is {test_share!r}, {rows} of 150 rows; expected 3 to 147, one a class")
    data = require("sklearn.datasets", "scikit-learn", "the iris data set").load_iris()
    selection = require("sklearn.model_selection", "scikit-learn", "the iris data set")
    split = selection.train_test_split
    parts = split(
        data.data,
        data.target,
        test_size=share,
        random_state=as_count(seed, "seed", at_least=0),
        stratify=data.target,
    )
    train, test, y_train, y_test = parts
    if as_flag(scaled, "scaled"):
        center, scale = train.mean(axis=0), train.std(axis=0)
        train, test = (train - center) / scale, (test - center) / scale
    names = tuple(str(name) for name in data.target_names)
    return LabelledSplit(train, y_train, test, y_test, names)


def _as_share(test_share: float) -> float:
    share = as_nonnegative(test_share, "test_share")
    if not 0.0 < share < 1.0:
        raise ValueError(f"test_share is {test_share!r}; expected a share above 0 and below 1")
    return share
