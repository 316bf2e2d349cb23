"""Certified accuracy with labels as people have them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import convexnn as cx
import verify
from convexnn.checks import Floats

ROWS = np.array([[2.0], [1.5], [-1.0], [-2.0]])


def ball(x: Floats) -> verify.Box:
    return verify.LinfBall(x, 0.1)


def test_labels_of_a_classifier_are_its_own() -> None:
    for names in (["b", "a"], [1, 0], [True, False], [7, 3]):
        labels = np.repeat(names, 2)
        model = LogisticRegression(C=100.0).fit(ROWS, labels)
        assert verify.evaluate(model, ROWS, labels, ball).certified_accuracy == 1.0
        with pytest.raises(ValueError, match="y holds 9 at index 0; expected one of the classes"):
            verify.evaluate(model, ROWS, [9, 9, 9, 9], ball)


@pytest.mark.parametrize("labels", [[0, 0, 1, 2], [2, 1, 0, 0], [0, 1, 1, 1]])
def test_places_of_classes_are_no_labels_of_a_classifier(labels: list[int]) -> None:
    # A 1 alone is the first class: it cannot be the second one because a 0 stands in another row.
    model = LogisticRegression(C=100.0).fit(ROWS, [1, 1, 2, 3])
    with pytest.raises(ValueError, match=r"y holds 0 at index \d; expected one of the classes 1, 2, 3"):
        verify.evaluate(model, ROWS, labels, ball)


def test_zero_and_one_are_the_classes_of_one_output() -> None:
    network = cx.SparseReLUNetwork([([[1.0]], [-0.2])])
    for labels in ([1, 1, 0, 0], [1, 1, -1, -1]):
        assert verify.evaluate(network, ROWS, labels, ball).certified_accuracy == 1.0
    with pytest.raises(ValueError, match="y holds 2 at index 0; expected -1 or 1, or 0 or 1"):
        verify.evaluate(network, ROWS, [2, 1, 0, 0], ball)
