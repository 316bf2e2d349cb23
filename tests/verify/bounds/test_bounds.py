"""Regions and bounds: sound to the last bit, exact where they should be."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import convexnn as cx
import verify
from tests.helpers import zoo
from verify.bounds.margins import margins_of
from verify.regions.intervals import affine_interval

FLOATS = st.floats(-1e6, 1e6, allow_subnormal=True)


@settings(max_examples=60)
@given(
    npst.arrays(float, (3, 4), elements=FLOATS),
    npst.arrays(float, 3, elements=FLOATS),
    npst.arrays(float, (2, 3), elements=FLOATS),
    npst.arrays(float, 4, elements=FLOATS),
    npst.arrays(float, 4, elements=st.floats(0, 1e3)),
)
def test_bounds_hold_in_exact_arithmetic(W: Any, b: Any, V: Any, center: Any, widths: Any) -> None:
    network = cx.SparseReLUNetwork([(W, b), (V, None)])
    region = verify.Box(center - widths, center + widths)
    layers = verify.bound(network, region)
    for corner in product(*zip(region.lower, region.upper, strict=True)):
        for values, layer in zip(zoo.exact_outputs(network, np.array(corner)), layers, strict=True):
            for value, low, high in zip(values, layer.lower, layer.upper, strict=True):
                assert Fraction(low) <= value <= Fraction(high)


def test_the_first_layer_is_exact_up_to_rounding() -> None:
    network = zoo.network((4, 6, 1), seed=2)
    region = verify.Box([-1.0] * 4, [2.0] * 4)
    corners = np.array(list(product([-1.0, 2.0], repeat=4)))
    values = network.activations(corners)[0]
    first = verify.bound(network, region)[0]
    assert np.allclose(first.lower, values.min(axis=0), atol=1e-12)
    assert np.allclose(first.upper, values.max(axis=0), atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6, 1), (4, 5, 5, 3), (4, 2)])
def test_samples_and_smaller_boxes_lie_inside(shape: tuple[int, ...]) -> None:
    network = zoo.network(shape, seed=3, density=0.6)
    outer = verify.Box([-1.0] * 4, [1.0] * 4)
    inner = verify.Box([-0.5] * 4, [0.75] * 4)
    points = np.random.default_rng(0).uniform(-1, 1, (2000, 4))
    layers = zip(network.activations(points), verify.bound(network, outer), verify.bound(network, inner), strict=True)
    for values, wide, narrow in layers:
        assert (values >= wide.lower).all()
        assert (values <= wide.upper).all()
        assert (wide.lower <= narrow.lower).all()
        assert (wide.upper >= narrow.upper).all()


def test_overflow_is_unknown_never_proven() -> None:
    network = cx.SparseReLUNetwork([([[1e305, 1e305]], None), ([[1.0]], None), ([[0.0]], [-1.0])])
    layers = verify.bound(network, verify.Box([1e99, 1e99], [1e99, 1e99]))
    assert layers[0].upper[0] == np.inf
    assert not layers[2].upper[0] < -2.0


def test_margins_are_bounded_with_the_rounding_of_their_own_rows() -> None:
    weight, bias = np.array([[1e16, 1.0], [1e16, 2.0]]), np.zeros(2)
    network = cx.SparseReLUNetwork([(weight, bias)])
    margins = margins_of(network, 0)
    point = np.array([3.0, 1.0])
    interval = margins.over(verify.Interval(point, point))
    assert interval.lower[0] <= 1.0 <= interval.upper[0]


def test_a_point_has_a_tight_interval() -> None:
    network = zoo.network((4, 3, 2), seed=1)
    x = np.array([0.1, -0.2, 0.3, 0.4])
    last = verify.bound(network, verify.Box(x, x))[-1]
    assert np.allclose(last.lower, network.predict(x[None])[0], atol=1e-12)
    assert (last.lower < last.upper).all()


def test_affine_interval_of_an_empty_row_is_its_bias() -> None:
    network = cx.SparseReLUNetwork([([[0.0, 0.0]], [2.0])])
    (weight, bias), box = network.layers[0], verify.Interval(np.full(2, -9.0), np.full(2, 9.0))
    interval = affine_interval(weight, bias, box)
    assert interval.lower[0] == pytest.approx(2.0)
    assert interval.upper[0] == pytest.approx(2.0)


class TestRegions:
    def test_a_ball_is_clipped(self) -> None:
        ball = verify.LinfBall([0.05, 0.5, 1.0], 0.1, clip=(0, 1))
        assert ball.lower.tolist() == pytest.approx([0.0, 0.4, 0.9])
        assert ball.upper.tolist() == pytest.approx([0.15, 0.6, 1.0])
        assert ball.center.tolist() == [0.05, 0.5, 1.0]
        assert (ball.size, ball.radius) == (3, 0.1)

    def test_the_center_of_a_box_is_its_midpoint(self) -> None:
        assert verify.Box([0.0, -1.0], [1.0, -1.0]).center.tolist() == [0.5, -1.0]
        assert verify.Box([-1e100], [1e100]).center.tolist() == [0.0]

    def test_projection_is_into_the_region(self) -> None:
        box = verify.Box([0.0, 0.0], [1.0, 1.0])
        assert box.contains(box.project(np.array([5.0, -5.0])))
        assert not box.contains(np.array([0.5, np.nextafter(1.0, 2.0)]))

    def test_they_read_well(self) -> None:
        assert str(verify.Box([0.0], [2.0])) == "box over 1 input, widths 2 to 2"
        assert str(verify.LinfBall([0.0, 1.0], 0.5)) == "L-inf ball of radius 0.5 over 2 inputs"

    @pytest.mark.parametrize(
        ("make", "error", "words"),
        [
            (
                lambda: verify.Box([1.0], [0.0]),
                ValueError,
                "lower is 1 and upper 0 at index 0; expected lower <= upper",
            ),
            (
                lambda: verify.Box([1.0 + 2.0**-52], [1.0]),
                ValueError,
                "lower is 1.0000000000000002 and upper 1 at index 0; expected lower <= upper",
            ),
            (lambda: verify.Box([1.0], [0.0, 1.0]), ValueError, "upper has shape (2,); expected (1,)"),
            (lambda: verify.Box([], []), ValueError, "at least one entry"),
            (lambda: verify.Box([np.nan], [0.0]), ValueError, "lower holds nan"),
            (
                lambda: verify.LinfBall([0.5], -0.1),
                ValueError,
                "radius is -0.1; expected a finite number of at least 0",
            ),
            (lambda: verify.LinfBall([0.5], np.nan), ValueError, "radius is nan"),
            (lambda: verify.LinfBall([0.5], "1"), TypeError, "radius is '1'"),  # type: ignore[arg-type]
            (lambda: verify.LinfBall([2.0], 0.1, clip=(0, 1)), ValueError, "x is 2 at index 0, outside clip [0, 1]"),
            (lambda: verify.LinfBall([0.5], 0.1, clip=(0, 1, 2)), ValueError, "expected a pair (lower, upper)"),  # type: ignore[arg-type]
            (lambda: verify.LinfBall([0.5], 0.1, clip=("a", 1)), ValueError, "expected a pair of numbers"),
            (lambda: verify.LinfBall([0.5], 0.1, clip=(0, np.nan)), ValueError, "clip is [0, nan] at index 0"),
            (lambda: verify.LinfBall([[0.5]], 0.1), ValueError, "x has shape (1, 1); expected a vector (d,)"),
            (lambda: verify.LinfBall([], 0.1), ValueError, "x is empty"),
            (
                lambda: verify.LinfBall([0.5], 1.7e308),
                ValueError,
                "the region reaches to 1.7e+308; expected at most 1e100",
            ),
            (lambda: verify.bound(zoo.network((2, 1)), verify.Box([0.0], [1.0])), ValueError, "region has 1 inputs"),
            (lambda: verify.bound(zoo.network((2, 1)), [0.0, 1.0]), TypeError, "region is a list"),  # type: ignore[arg-type]
            (
                lambda: verify.bound(zoo.network((1, 1)), verify.Box([0.0], [1.0]), "milp"),
                ValueError,
                "method 'milp' is unknown; expected one of: interval, crown, lp",
            ),
        ],
    )
    def test_bad_input_is_one_clear_line(self, make: Any, error: type[Exception], words: str) -> None:
        with pytest.raises(error) as caught:
            make()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
