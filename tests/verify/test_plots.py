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


def test_an_attack_is_drawn_as_three_images() -> None:
    center, witness = np.array([0.1, 0.5, 0.9, 0.3]), np.array([0.2, 0.5, 0.7, 0.3])
    figure, axes = plt.subplots(1, 3)
    assert plots.attack(center, witness, (2, 2), axes) is axes
    shown = [ax.images[0] for ax in axes]
    for image, values in zip(shown, (center, witness, witness - center), strict=True):
        np.testing.assert_allclose(image.get_array(), values.reshape(2, 2))
    assert shown[0].get_clim() == shown[1].get_clim() == (0.1, 0.9)
    assert shown[2].get_clim() == pytest.approx((-0.2, 0.2))
    plt.close(figure)


def test_a_change_in_colours_is_the_largest_over_them() -> None:
    change = np.array([0.1, -0.2, 0.0, 0.0, 0.0, 0.3])
    axes = plots.attack(np.full(6, 0.5), 0.5 + change, (1, 2, 3))
    np.testing.assert_allclose(axes[2].images[0].get_array(), [[-0.2, 0.3]])
    plt.close("all")


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="center and witness have 4 and 4 entries; expected 6, those of image_shape"):
        plots.attack(np.zeros(4), np.zeros(4), (2, 3))
    with pytest.raises(ValueError, match="axes has 1 members; expected 3"):
        plots.attack(np.zeros(4), np.zeros(4), (2, 2), [None])


def test_ranges_are_drawn_as_bars() -> None:
    network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0], [1.0, 0.0]], None)])
    found = verify.output_range(network, verify.Box([-1.0], [2.0]))
    figure, ax = plt.subplots()
    assert plots.ranges(found, ax, ["|x|", "relu(x)"]) is ax
    proven, reached = ax.containers
    np.testing.assert_allclose([bar.get_width() for bar in proven], found.upper - found.lower)
    np.testing.assert_allclose([bar.get_x() for bar in reached], found.reached_lower)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["|x|", "relu(x)"]
    plt.close(figure)
    with pytest.raises(ValueError, match="names has 1 members; expected 2, one an output"):
        plots.ranges(found, names=["|x|"])
