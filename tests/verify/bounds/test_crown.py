"""CROWN bounds: sound in rational arithmetic, outside every activation pattern, never looser than intervals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import convexnn as cx
import verify
from tests.helpers import zoo
from tests.helpers.sound_bounds import MILD, WILD, assert_encloses, crown_alone, drawn_box, drawn_network, drawn_points
from verify.bounds import crown
from verify.bounds.crown import output_interval
from verify.bounds.margins import margins_of

SHAPES = [(2, 3), (3, 4, 2), (2, 3, 3, 2), (3, 2, 2, 2, 1)]


@pytest.mark.parametrize("entries", [WILD, MILD], ids=["wild", "mild"])
@settings(max_examples=60)
@given(st.data())
def test_bounds_hold_in_exact_arithmetic(entries: Any, data: Any) -> None:
    network, region = drawn_network(data, [3, 3, 3, 2], entries), drawn_box(data, 3, entries)
    met, raw = verify.bound(network, region), crown_alone(network, region)
    for x in drawn_points(data, region):
        exact = zoo.exact_outputs(network, x)
        assert_encloses(met, exact, finite=False)
        assert_encloses(raw, exact, finite=False)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_no_activation_pattern_is_outside_and_intervals_are_never_tighter(shape: tuple[int, ...], seed: int) -> None:
    network = zoo.network(shape, seed=seed, density=0.9)
    region = verify.Box([-1.0] * shape[0], [1.5] * shape[0])
    plain, met, raw = (
        verify.bound(network, region, "interval"),
        verify.bound(network, region),
        crown_alone(network, region),
    )
    for index, (wide, narrow, own) in enumerate(zip(plain, met, raw, strict=True)):
        assert (wide.lower <= narrow.lower).all()
        assert (wide.upper >= narrow.upper).all()
        part = cx.SparseReLUNetwork(network.layers[: index + 1])
        for row in np.eye(len(own.lower)):
            highest = zoo.enumerated_maximum(part, region.lower, region.upper, row)
            lowest = -zoo.enumerated_maximum(part, region.lower, region.upper, -row)
            for layer in (narrow, own):
                assert row @ layer.upper >= highest - 1e-7
                assert row @ layer.lower <= lowest + 1e-7


@pytest.mark.parametrize("seed", range(4))
def test_margins_are_outside_every_activation_pattern(seed: int) -> None:
    network = zoo.network((3, 4, 3, 3), seed=seed)
    region = verify.Box([-0.5] * 3, [0.5] * 3)
    margins = margins_of(network, 0)
    found = margins.crown(region, verify.bound(network, region))
    for row, upper, lower in zip(margins.rows.toarray(), found.upper, found.lower, strict=True):
        assert upper >= zoo.enumerated_maximum(network, region.lower, region.upper, row) - 1e-7
        assert lower <= -zoo.enumerated_maximum(network, region.lower, region.upper, -row) + 1e-7


@settings(max_examples=40)
@given(st.data())
def test_functions_of_the_outputs_hold_in_exact_arithmetic(data: Any) -> None:
    network, rows = drawn_network(data, [2, 3, 4], WILD), data.draw(npst.arrays(float, (3, 4), elements=WILD))
    region = verify.LinfBall(data.draw(npst.arrays(float, 2, elements=MILD)), 0.1)
    found = output_interval(sp.csr_matrix(rows), network.layers, verify.bound(network, region), region)
    for x in (region.lower, region.center, region.upper):
        outputs = zoo.exact_outputs(network, x)[-1]
        for row, low, high in zip(rows, found.lower, found.upper, strict=True):
            value = sum((Fraction(c) * y for c, y in zip(row, outputs, strict=True)), Fraction(0))
            assert Fraction(low) <= value <= Fraction(high)


def test_it_is_exact_where_no_neuron_can_switch() -> None:
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal((4, 3)), rng.choice([-50.0, 50.0], 4)) for _ in range(1)]
    layers += [(rng.standard_normal((3, 4)), np.full(3, 9.0))]
    network, region = cx.SparseReLUNetwork(layers), verify.Box([-1.0] * 3, [1.0] * 3)
    on = layers[0][1] > 0.0
    slope = layers[1][0] @ (layers[0][0] * on[:, None])
    offset = layers[1][0] @ (layers[0][1] * on) + 9.0
    last = verify.bound(network, region)[-1]
    assert last.upper == pytest.approx(offset + np.abs(slope).sum(axis=1), rel=1e-12)
    assert last.lower == pytest.approx(offset - np.abs(slope).sum(axis=1), rel=1e-12)


def test_both_lines_of_an_unstable_neuron_are_used() -> None:
    # relu(x) + relu(-x) = |x|: lines (x + 1) / 2 and (1 - x) / 2 above add up to 1, lines x and -x below to 0.
    network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[1.0, 1.0]], None)])
    region = verify.Box([-1.0], [1.0])
    assert verify.bound(network, region, "interval")[-1].upper == pytest.approx([2.0])
    last = verify.bound(network, region)[-1]
    assert last.lower == pytest.approx([0.0])
    assert last.upper == pytest.approx([1.0])


def test_an_overflow_on_the_way_is_unknown() -> None:
    network = cx.SparseReLUNetwork([([[1e200], [-1e200]], None), ([[1e200, -1e200]], None), ([[-1e-300]], [1.0])])
    region = verify.Box([-1e-200], [1.0])
    for layer in (*verify.bound(network, region), *crown_alone(network, region)):
        assert not (np.isnan(layer.lower) | np.isnan(layer.upper)).any()
    assert verify.bound(network, region)[1].upper[0] == np.inf
    assert crown_alone(network, region)[2].lower[0] == -np.inf


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_tiles_and_sparse_products_change_nothing(density: float, monkeypatch: pytest.MonkeyPatch) -> None:
    network = zoo.network((12, 20, 20, 3), seed=1, density=density)
    region = verify.Box([-1.0] * 12, [1.0] * 12)
    whole = verify.bound(network, region)
    for name, value in (("TILE", 1), ("DENSE", 0.0), ("DENSE", 2.0)):
        monkeypatch.setattr(crown, name, value)
        for one, other in zip(whole, verify.bound(network, region), strict=True):
            assert np.allclose(one.lower, other.lower, rtol=1e-12, atol=1e-12)
            assert np.allclose(one.upper, other.upper, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 8, 1), (4, 8, 8, 3)])
def test_samples_lie_inside_and_fewer_neurons_can_switch(shape: tuple[int, ...]) -> None:
    network = zoo.network(shape, seed=3, density=0.6)
    region = verify.Box([-0.5] * 4, [0.25] * 4)
    points = np.random.default_rng(0).uniform(-0.5, 0.25, (2000, 4))
    for values, layer in zip(network.activations(points), verify.bound(network, region), strict=True):
        assert (values >= layer.lower).all()
        assert (values <= layer.upper).all()
    wide, narrow = (
        verify.encode(network, region, np.ones(shape[-1]), verify.bound(network, region, method))
        for method in ("interval", "crown")
    )
    assert narrow.milp.integer.sum() <= wide.milp.integer.sum()


def test_a_proof_by_crown_says_so() -> None:
    # 1.5 - |x| on [-1, 1]: intervals see 1.5 - 2, CROWN 1.5 - 1.
    network = cx.SparseReLUNetwork([([[1.0], [-1.0]], None), ([[-1.0, -1.0]], [1.5])])
    answer = verify.find_adversarial(network, verify.Box([-1.0], [1.0]))
    assert (answer.status, answer.proof, answer.backend) == (verify.Verdict.ROBUST, verify.Proof.CROWN, None)
    assert answer.bound == pytest.approx(-0.5)
    assert "CROWN bounds: margin at most -0.5" in str(answer.trace[-1])
