"""Pictures of answers: what is drawn are the shares, on the axes that were given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt

import convexnn as cx
import verify
from verify import plots


def test_robustness_is_drawn_by_radius() -> None:
    network = cx.SparseReLUNetwork([([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[1.0, -1.0]], [0.0])])
    rows, labels = [[1.0, 0.2], [0.1, 0.9], [0.5, 0.4]], [1, -1, 1]
    found = {
        radius: verify.evaluate(network, rows, labels, lambda row, r=radius: verify.LinfBall(row, r))  # type: ignore[misc]
        for radius in (0.3, 0.1, 0.01)
    }
    figure, ax = plt.subplots()
    assert plots.robustness(found, ax, "ours") is ax
    proven, standing = ax.get_lines()
    np.testing.assert_array_equal(proven.get_xdata(), [0.01, 0.1, 0.3])
    np.testing.assert_allclose(proven.get_ydata(), [100.0, 200 / 3, 200 / 3])
    np.testing.assert_allclose(standing.get_ydata(), [100.0, 200 / 3, 200 / 3])
    assert proven.get_label() == "ours: proven robust"
    plt.close(figure)


def test_no_radii_are_refused() -> None:
    with pytest.raises(ValueError, match="evaluations is empty; expected an Evaluation for each radius"):
        plots.robustness({})
