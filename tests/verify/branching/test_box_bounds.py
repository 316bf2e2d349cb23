"""Bounds over many boxes: each holds at points of its box, neurons that pass on what they get included."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from convexnn.checks import Floats
from verify.bounds.crown import output_interval
from verify.bounds.layer_bounds import crown_bounds
from verify.branching.box_bounds import BoxNetwork
from verify.branching.box_layers import Flags
from verify.branching.clipping import clip_to_linear, clip_to_region
from verify.regions.intervals import Interval


def layers_of(sizes: tuple[int, ...], seed: int, density: float = 1.0) -> list[tuple[sp.csr_matrix, Floats]]:
    """Return layers of random weights, sparse ones below a density of 1."""
    rng = np.random.default_rng(seed)
    return [
        (
            sp.csr_matrix(rng.standard_normal((o, i)) * (rng.random((o, i)) < density)),
            0.3 * rng.standard_normal(o),
        )
        for i, o in pairwise(sizes)
    ]


def values(layers: list[tuple[sp.csr_matrix, Floats]], X: Floats, linear: list[Flags | None]) -> Floats:
    """Return outputs at rows of `X`, with neurons that pass on what they get."""
    for (weight, bias), mask in zip(layers[:-1], linear, strict=True):
        before = X @ weight.toarray().T + bias
        X = np.maximum(before, 0.0) if mask is None else np.where(mask, before, np.maximum(before, 0.0))
    return np.asarray(X @ layers[-1][0].toarray().T + layers[-1][1])


def boxes(size: int, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return boxes within [-1, 1], of all widths down to 0."""
    ends = np.sort(rng.uniform(-1.0, 1.0, (2, count, size)), axis=0)
    ends[1] = ends[0] + (ends[1] - ends[0]) * rng.choice([0.0, 0.01, 0.3, 1.0], (count, size))
    ends[:, 0] = [[-1.0] * size, [1.0] * size]
    return ends[0], ends[1]


SHAPES = [(2, 6, 2), (3, 8, 8, 2), (1, 5, 5, 5, 3), (6, 12, 10, 8, 1), (4, 2)]


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("density", [1.0, 0.08])
@pytest.mark.parametrize("sizes", SHAPES)
def test_bounds_hold_at_points_of_the_boxes(sizes: tuple[int, ...], density: float, through: bool) -> None:
    rng = np.random.default_rng(len(sizes))
    wide = tuple(
        30 * size if density < 1.0 and 0 < place < len(sizes) - 1 else size for place, size in enumerate(sizes)
    )
    layers = layers_of(wide, 5, density)
    linear: list[Flags | None] = [rng.random(len(bias)) < 0.3 if through else None for _, bias in layers[:-1]]
    root = np.full(sizes[0], -1.0), np.full(sizes[0], 1.0)
    known = []
    low, high = root
    for (weight, bias), mask in zip(layers, [*linear, None], strict=True):
        rising, falling = weight.maximum(0.0), weight.minimum(0.0)
        low, high = rising @ low + falling @ high + bias - 1e-9, rising @ high + falling @ low + bias + 1e-9
        known.append(Interval(low, high))
        mask = np.zeros(len(bias), dtype=bool) if mask is None else mask
        low, high = np.where(mask, low, np.maximum(low, 0.0)), np.where(mask, high, np.maximum(high, 0.0))
    rows, offsets = rng.standard_normal((4, sizes[-1])), rng.standard_normal(4)
    network = BoxNetwork(layers, known, *root, rows, offsets, linear)
    lower, upper = boxes(sizes[0], 40, rng)
    phases = np.tile(network.root_phases(), (40, 1))
    found = network.enter(lower, upper, phases).functions(rng.random((40, 4)) < 0.8)
    everything = np.ones((40, 4), dtype=bool)
    entered = network.enter(lower, upper, found.phases)
    again, better = entered.functions(everything), entered.functions(everything)
    entered.improve(better, everything, float(np.median(again.upper)))
    assert (better.upper <= again.upper).all()
    entered.play(better, everything, float(np.median(better.upper)))
    assert (better.upper <= again.upper).all()
    for box in range(40):
        X = lower[box] + rng.random((200, sizes[0])) * (upper - lower)[box]
        X[0], X[1] = lower[box], upper[box]
        truth = values(layers, X, linear) @ rows.T + offsets
        assert np.allclose(network.values(X), truth)
        assert (truth <= again.upper[box] + 1e-9).all()
        assert (truth <= found.upper[box] + 1e-9).all()
        assert (truth <= better.upper[box] + 1e-9).all()
        assert (truth <= X @ better.slopes[box].T + better.offsets[box] + 1e-9).all()
        assert (truth <= X @ again.slopes[box].T + again.offsets[box] + 1e-9).all()


def test_they_are_those_of_a_question_about_the_box_alone() -> None:
    layers = layers_of((3, 10, 10, 2), 1)
    network, rng = cx.SparseReLUNetwork(layers), np.random.default_rng(0)
    whole = verify.Box([-1.0] * 3, [1.0] * 3)
    rows = np.eye(2)
    bound = BoxNetwork(network.layers, crown_bounds(network, whole), whole.lower, whole.upper, rows, np.zeros(2))
    lower, upper = boxes(3, 20, rng)
    found = (
        bound.enter(lower, upper, np.tile(bound.root_phases(), (20, 1))).functions(np.ones((20, 2), dtype=bool)).upper
    )
    alone = np.empty_like(found)
    for place in range(20):
        box = verify.Box(lower[place], upper[place])
        alone[place] = output_interval(sp.csr_matrix(rows), network.layers, crown_bounds(network, box), box).upper
    # Neurons that cannot switch keep their intervals here, which makes those of the next layer wider at times.
    assert (found >= alone - 1e-9).all()
    assert (found <= alone + 1e-9).mean() > 0.9


def test_a_point_has_the_value_there() -> None:
    layers = layers_of((3, 10, 10, 10, 2), 1)
    network = cx.SparseReLUNetwork(layers)
    whole = verify.Box([-1.0] * 3, [1.0] * 3)
    bound = BoxNetwork(network.layers, crown_bounds(network, whole), whole.lower, whole.upper, np.eye(2), np.zeros(2))
    X = np.random.default_rng(0).uniform(-1.0, 1.0, (30, 3))
    found = bound.enter(X, X, np.tile(bound.root_phases(), (30, 1))).functions(np.ones((30, 2), dtype=bool))
    assert np.allclose(found.upper, network.predict(X), rtol=0.0, atol=1e-10)
    assert (found.upper >= network.predict(X)).all()


def test_clipping_keeps_every_point_where_the_function_is_not_negative() -> None:
    rng = np.random.default_rng(0)
    lower, upper = boxes(3, 200, rng)
    slopes = rng.standard_normal((200, 3)) * rng.choice([0.0, 1e-8, 1.0], (200, 3))
    offsets = rng.standard_normal(200) * rng.choice([0.1, 1.0], 200)
    excess = np.maximum(slopes, 0.0) * upper + np.minimum(slopes, 0.0) * lower
    excess = np.maximum(excess.sum(axis=1) + offsets + 1e-12, 0.0)
    low, high = clip_to_linear(lower, upper, slopes, excess)
    X = lower + rng.random((500, 200, 3)) * (upper - lower)
    met = np.asarray((X * slopes).sum(axis=2) + offsets >= 0.0)
    kept = np.asarray(((low <= X) & (high >= X)).all(axis=2))
    assert kept[met].all()
    assert (high - low < upper - lower).any()


REGIONS = [
    verify.L2Ball([0.1, -0.2, 0.3], 0.7),
    verify.L1Ball([0.1, -0.2, 0.3], 0.7, clip=(-0.5, 0.5)),
    verify.LinfBall([0.1, -0.2, 0.3], 0.7),
    verify.Box([-1.0] * 3, [1.0] * 3).where([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0]], [0.5, 0.2]),
    verify.L2Ball([0.0, 0.0, 0.0], 0.9).where([[1.0, 2.0, 0.0]], [0.3]),
]


@pytest.mark.parametrize("region", REGIONS, ids=str)
def test_boxes_keep_all_points_of_a_region(region: verify.Box) -> None:
    rng = np.random.default_rng(1)
    lower, upper = boxes(3, 300, rng)
    lower, upper = (np.clip(end, region.lower, region.upper) for end in (lower, upper))
    low, high = clip_to_region(region, lower, upper)
    X = region.project(rng.uniform(-1.0, 1.0, (400, 3)))
    # Points of a rim on the rim of a box too.
    lower[5:, 0] = X[: len(lower) - 5, 0]
    low, high = clip_to_region(region, np.minimum(lower, upper), upper)
    for point in X:
        inside = ((np.minimum(lower, upper) <= point) & (point <= upper)).all(axis=1)
        assert ((low <= point) & (point <= high)).all(axis=1)[inside].all()
    if not region.is_box:
        assert ((high - low < upper - lower) | (low > high)).any()
