"""Inputs among the outputs: exact whatever the depth and the kinds of units."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from tests.helpers import zoo
from tests.helpers.graphs import random_graph
from verify.bounds.functions import Functions
from verify.properties.pass_through import with_inputs


def exactly(network: cx.SparseReLUNetwork, x: list[float]) -> list[Fraction]:
    """Return the outputs at a point in rational numbers."""
    found = Functions(sp.csr_matrix(np.eye(network.n_outputs)), np.zeros(network.n_outputs), network).exactly_at(
        np.array(x)
    )
    assert found is not None
    return found


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (3, 4, 5, 2)])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
@pytest.mark.parametrize("linear", [False, True])
def test_inputs_come_out_as_they_are(sizes: tuple[int, ...], scale: float, linear: bool) -> None:
    network = random_graph(1, sizes) if linear else zoo.network(sizes, seed=1)
    wider, rng = with_inputs(network, np.array([2, 0])), np.random.default_rng(0)
    for x in (scale * rng.standard_normal((5, 3))).tolist():
        assert exactly(wider, x) == [*exactly(network, x), Fraction(x[2]), Fraction(x[0])]


def test_units_keep_their_kinds() -> None:
    network = verify.ReLUGraph(zoo.network((2, 2, 3, 1), seed=0).layers, [[True, False], [False, True, True]])
    wider = with_inputs(network, np.array([1]))
    assert isinstance(wider, verify.ReLUGraph)
    assert [mask.tolist() for mask in wider.linear] == [[True, False, True], [False, True, True, True]]
