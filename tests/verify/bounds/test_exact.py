"""Exact values and bounds: rational arithmetic against fractions, summed one by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import convexnn as cx
import verify
from tests.helpers.graphs import chain_of, points_of, random_graph
from tests.helpers.sound_bounds import MILD, WILD, drawn_box, drawn_network, rim_points
from tests.helpers.zoo import exact_outputs
from verify.bounds import exact_values
from verify.bounds.dyadics import Dyadics, float_above, nearest_float, stacked
from verify.bounds.exact_bounds import exact_upper
from verify.bounds.functions import Functions

FEW = st.integers(-4, 4).map(lambda value: value / 2.0)


def all_outputs(network: cx.SparseReLUNetwork) -> Functions:
    count = network.n_outputs
    return Functions(sp.csr_matrix(np.eye(count)), np.zeros(count), network)


class TestDyadics:
    @given(npst.arrays(float, 4, elements=WILD), npst.arrays(float, 4, elements=WILD))
    def test_sums_products_and_the_larger_ones_are_exact(self, left: Any, right: Any) -> None:
        first, second = ([Fraction(value) for value in values] for values in (left, right))
        pairs = list(zip(first, second, strict=True))
        one, other = Dyadics.of(left), Dyadics.of(right)
        assert one.fractions() == first
        assert (one + other).fractions() == [a + b for a, b in pairs]
        assert (one - other).fractions() == [a - b for a, b in pairs]
        assert (one * other).fractions() == [a * b for a, b in pairs]
        assert one.larger(other).fractions() == [max(pair) for pair in pairs]
        assert one.smaller(other).fractions() == [min(pair) for pair in pairs]
        assert one.clipped().fractions() == [max(a, Fraction(0)) for a in first]
        assert (Dyadics.of(left[None]) @ other).fractions() == [sum(a * b for a, b in pairs)]
        assert stacked([one, other]).fractions() == [*first, *second]

    @pytest.mark.parametrize("value", [0.0, 5e-324, -5e-324, 1.7976931348623157e308, 0.1, -3.0, 2.0**-1074])
    def test_any_float_is_held_as_it_is(self, value: float) -> None:
        assert Dyadics.of([value, 1.0]).fractions() == [Fraction(value), 1]

    @pytest.mark.parametrize("size", [Fraction(1, 10**400), Fraction(10**400), Fraction(1, 3), Fraction(0)])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_floats_keep_signs_and_lie_above(self, size: Fraction, sign: int) -> None:
        value, nearest = sign * size, nearest_float(sign * size)
        assert (nearest > 0, nearest < 0) == (value > 0, value < 0)
        assert float_above(value) == np.inf or Fraction(float_above(value)) >= value


class TestValues:
    @given(st.data())
    def test_they_are_those_of_fractions(self, data: Any) -> None:
        sizes = data.draw(st.sampled_from([(2, 2), (2, 3, 2), (3, 2, 4, 1)]))
        network = drawn_network(data, sizes, data.draw(st.sampled_from([WILD, MILD])))
        x = data.draw(npst.arrays(float, sizes[0], elements=WILD))
        rows = data.draw(npst.arrays(float, (2, sizes[-1]), elements=MILD))
        offsets = data.draw(npst.arrays(float, 2, elements=MILD))
        outputs = exact_outputs(network, x)[-1]
        wanted = [
            sum((Fraction(a) * b for a, b in zip(row, outputs, strict=True)), Fraction(shift))
            for row, shift in zip(rows, offsets, strict=True)
        ]
        assert Functions(sp.csr_matrix(rows), offsets, network).exactly_at(x) == wanted

    def test_what_is_much_work_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        functions = all_outputs(cx.SparseReLUNetwork([(np.ones((3, 2)), None)]))
        assert functions.exactly_at(np.ones(2)) == [Fraction(2)] * 3
        assert functions.exactly_at(np.array([1.0, np.inf])) is None
        monkeypatch.setattr(exact_values, "MOST_WORDS", 8)
        assert functions.exactly_at(np.ones(2)) is None


class TestBounds:
    @given(st.data())
    def test_no_point_is_above(self, data: Any) -> None:
        sizes = data.draw(st.sampled_from([(2, 2), (2, 3, 2), (2, 3, 3, 1)]))
        network = drawn_network(data, sizes, data.draw(st.sampled_from([FEW, MILD])))
        box = drawn_box(data, sizes[0], FEW)
        regions = [box, verify.L1Ball(box.center, 1.5), verify.L2Ball(box.center, 0.5)]
        region = data.draw(st.sampled_from([*regions, box.where([[1.0, 1.0]], [float(box.center.sum()) + 0.5])]))
        functions = all_outputs(network)
        found = exact_upper(functions, region, range(network.n_outputs))
        assert found is not None
        for point in rim_points(data, region):
            values = functions.exactly_at(point)
            assert values is not None
            if region.contains(point):
                assert all(value <= bound for value, bound in zip(values, found, strict=True))

    @given(st.data())
    def test_at_a_single_input_they_are_the_values(self, data: Any) -> None:
        network = drawn_network(data, (2, 3, 3, 2), MILD)
        x = data.draw(npst.arrays(float, 2, elements=MILD))
        functions = all_outputs(network)
        assert exact_upper(functions, verify.Box(x, x), [0, 1]) == functions.exactly_at(x)

    @given(npst.arrays(float, (2, 3), elements=MILD), npst.arrays(float, 3, elements=MILD))
    def test_of_affine_functions_they_are_the_maxima(self, weight: Any, center: Any) -> None:
        functions = all_outputs(cx.SparseReLUNetwork([(weight, [0.1, -0.3])]))
        box, ball = verify.Box(center - 0.3, center + 0.7), verify.L1Ball(center, 0.7, clip=(center - 0.2, center + 9))
        corners = [np.where(ends, box.upper, box.lower) for ends in product([False, True], repeat=3)]
        values = [functions.exactly_at(corner) for corner in corners]
        best = [max(value[index] for value in values if value is not None) for index in range(2)]
        assert exact_upper(functions, box, [0, 1]) == best
        # Never above what is rounded outward.
        found, rounded = exact_upper(functions, ball, [0, 1]), ball.support(weight) + np.array([0.1, -0.3])
        assert found is not None
        assert all(float(value) <= bound + 1e-12 for value, bound in zip(found, rounded, strict=True))
        assert all(
            float(value) >= reached - 1e-9
            for value, reached in zip(found, functions.at(ball.peaks(weight)).max(axis=0), strict=True)
        )

    def test_a_large_network_is_left(self) -> None:
        network = cx.SparseReLUNetwork(
            [(np.ones((400, 400)), None), (np.ones((400, 400)), None), (np.ones((1, 400)), None)]
        )
        assert exact_upper(all_outputs(network), verify.Box(np.zeros(400), np.ones(400)), [0]) is None


class TestLinearUnits:
    @pytest.mark.parametrize("seed", range(8))
    def test_exact_values_and_bounds_know_linear_units(self, seed: int) -> None:
        network = random_graph(seed)
        region = verify.LinfBall(np.zeros(2), 0.5)
        functions, tops = all_outputs(network), []
        for x in points_of(region, 6, seed):
            found, same = functions.exactly_at(x), all_outputs(chain_of(network)).exactly_at(x)
            assert found is not None
            assert found == same
            tops.append(found)
        upper = exact_upper(functions, region, [0, 1])
        assert upper is not None
        assert all(max(values) <= bound for values, bound in zip(zip(*tops, strict=True), upper, strict=True))

    def test_a_network_of_linear_units_alone_has_its_exact_maximum(self) -> None:
        network = verify.ReLUGraph([([[1.0], [-1.0]], None), ([[0.5, 0.25]], [1.0])], [[True, True]])
        upper = exact_upper(all_outputs(network), verify.Box([-3.0], [2.0]), [0])
        assert upper == [Fraction(3, 2)]
