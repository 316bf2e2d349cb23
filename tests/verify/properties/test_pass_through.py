"""Inputs among the outputs: exact over the region, whatever the depth and the kinds of units."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import convexnn as cx
import verify
from tests.helpers import zoo
from verify.properties.pass_through import with_inputs


def exact_outputs(network: cx.SparseReLUNetwork, x: Any) -> list[Fraction]:
    """Return the outputs at a point in rational numbers."""
    values = [Fraction(float(value)) for value in x]
    for index, (weight, bias) in enumerate(network.layers):
        if index:
            values = [max(value, Fraction(0)) for value in values]
        rows = zip(weight.toarray().tolist(), bias.tolist(), strict=True)
        values = [sum((Fraction(a) * v for a, v in zip(row, values, strict=True)), Fraction(b)) for row, b in rows]
    return values


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (3, 4, 5, 2)])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_inputs_come_out_as_they_are(sizes: tuple[int, ...], scale: float) -> None:
    network, chosen = zoo.network(sizes, seed=1), np.array([2, 0])
    box = verify.Box([-3.0 * scale, scale, -scale], [-2.0 * scale, 4.0 * scale, 0.0])
    wider = with_inputs(network, chosen, box)
    rng = np.random.default_rng(0)
    for x in [box.lower, box.upper, *rng.uniform(box.lower, box.upper, (5, 3))]:
        plain = exact_outputs(network, x)
        assert exact_outputs(wider, x) == [*plain, Fraction(float(x[2])), Fraction(float(x[0]))]


class WithKinds(cx.SparseReLUNetwork):
    """A network that says of each hidden unit whether it is linear."""

    def __init__(self, layers: Any, linear: Sequence[Any]) -> None:
        super().__init__(layers)
        self.linear = tuple(linear)


def test_units_keep_their_kinds() -> None:
    network = WithKinds(zoo.network((2, 2, 3, 1), seed=0).layers, [[True, False], [False, True, True]])
    wider = with_inputs(network, np.array([1]), verify.Box([0.0, 0.0], [1.0, 1.0]))
    assert isinstance(wider, WithKinds)
    assert [mask.tolist() for mask in wider.linear] == [[True, False, False], [False, True, True, False]]
