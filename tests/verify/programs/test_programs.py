"""Linear programs against points, against enumeration, and with multipliers that are made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers.zoo import enumerated_maximum, network
from verify.bounds.functions import Functions
from verify.bounds.layer_bounds import crown_bounds
from verify.programs import program_tree
from verify.programs.program_tree import ProgramTree
from verify.programs.proofs import proven
from verify.programs.relaxed import Relaxed, relax
from verify.programs.single_cuts import single_cuts

pytest.importorskip("highspy")

SIZES = [(2, 6, 2), (3, 4, 4, 2), (4, 3, 3, 3, 2), (1, 5, 2), (5, 4, 3, 2)]


def relaxed_of(sizes: tuple[int, ...], seed: int) -> tuple[Relaxed, Functions, verify.Box]:
    """Return a random network's function, relaxed over a random box."""
    net, rng = network(sizes, seed, density=0.8), np.random.default_rng(seed)
    center, width = rng.uniform(-1.0, 1.0, sizes[0]), rng.uniform(0.0, 1.5, sizes[0])
    box = verify.Box(center - width, center + width)
    functions = Functions(sp.csr_matrix(rng.standard_normal((1, 2))), rng.standard_normal(1), net)
    return relax(functions, 0, box, crown_bounds(net, box)), functions, box


def variables(relaxed: Relaxed, net: cx.SparseReLUNetwork, x: Floats) -> Floats:
    """Return the variables (v,) of the relaxation at an input."""
    triangles, known = relaxed.triangles, crown_bounds(net, relaxed.triangles.region)
    parts = [x]
    for before, bounds in zip(net.activations(x[None]), known[:-1], strict=False):
        live = np.flatnonzero(bounds.live)
        parts += [before[0, live], np.maximum(before[0, bounds.switching], 0.0)]
    found = np.concatenate(parts)
    assert len(found) == triangles.rows.shape[1]
    return found


def points(box: verify.Box, count: int = 60) -> Floats:
    """Return points of a box, corners among them."""
    draws = np.random.default_rng(0).random((count, box.size))
    draws[::3] = draws[::3].round()
    return np.asarray(box.lower + draws * (box.upper - box.lower))


@pytest.mark.parametrize("sizes", SIZES)
def test_every_point_of_the_network_meets_all_rows_and_cuts(sizes: tuple[int, ...]) -> None:
    relaxed, functions, box = relaxed_of(sizes, 3)
    inner = points(box)
    every = np.array([variables(relaxed, functions.network, x) for x in inner])
    assert np.allclose(every @ relaxed.cost + relaxed.constant, functions.at(inner)[:, 0])
    # Corners of the relaxation, as far from the network as they get.
    loose = every.copy()
    loose[:, relaxed.neurons.value] = relaxed.upper[relaxed.neurons.value]
    for point in loose[:20]:
        rows, sides, neurons = single_cuts(relaxed, point)
        assert (rows @ point > sides).all()
        assert len(neurons) == len(sides)
        relaxed = relaxed.with_rows(rows, sides)
    own, size = relaxed.triangles, 1.0 + np.abs(every).max()
    held = own.rows @ every.T
    assert (held >= own.lower[:, None] - 1e-12 * size).all()
    assert (held <= own.upper[:, None] + 1e-12 * size).all()
    assert (every >= relaxed.lower - 1e-12 * size).all()
    assert (every <= relaxed.upper + 1e-12 * size).all()


@pytest.mark.parametrize("sizes", SIZES)
def test_made_up_multipliers_prove_nothing_false(sizes: tuple[int, ...]) -> None:
    relaxed, functions, box = relaxed_of(sizes, 5)
    rng, inner = np.random.default_rng(1), points(box, 200)
    values = functions.at(inner)[:, 0]
    patterns = np.array([relaxed.neurons.phases(functions.network, x) for x in inner])
    for row in range(0, len(inner), 10):
        phases = np.where(rng.random(patterns.shape[1]) < 0.5, patterns[row], 0).astype(np.int8)
        inside = (patterns * phases >= 0).all(axis=1)
        duals = rng.standard_normal((5, len(relaxed.triangles.lower))) * rng.choice([1e-3, 1.0, 1e3], (5, 1))
        duals[0, :3] = [np.nan, np.inf, -np.inf][: duals.shape[1]]
        found = proven(relaxed, np.tile(phases, (5, 1)), duals)
        assert inside.any()
        assert (found >= values[inside].max() - 1e-12).all()


def climbing(functions: Functions, level: list[float]) -> Callable[[Floats], bool]:
    """Return what takes the best point seen, if it is above the level, as the new level."""

    def visit(shown: Floats) -> bool:
        best = float(functions.at(shown)[:, 0].max())
        if best <= level[0]:
            return False
        level[0] = best + 1e-9 * (1.0 + abs(best))
        return True

    return visit


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_the_maximum_is_that_of_enumeration(sizes: tuple[int, ...], seed: int) -> None:
    relaxed, functions, box = relaxed_of(sizes, seed)
    if not len(relaxed.neurons):
        pytest.skip("no neuron can switch")
    offset = float(functions.offsets[0])
    truth = enumerated_maximum(functions.network, box.lower, box.upper, functions.row(0)) + offset
    level = [float(functions.at(box.center[None])[0, 0])]
    tree = ProgramTree(relaxed, climbing(functions, level), level[0])
    while tree.run(lambda: False, lambda: 10.0):
        assert tree.upper >= truth - 1e-9
        tree.raise_to(level[0])
    assert tree.over
    assert not tree.stuck
    assert tree.closed == pytest.approx(1.0)
    assert level[0] == pytest.approx(truth, abs=1e-6)
    assert truth - 1e-9 <= tree.upper <= level[0]


@pytest.mark.parametrize("sizes", SIZES[:3])
def test_a_search_that_stops_says_what_is_proven_and_goes_on(sizes: tuple[int, ...]) -> None:
    relaxed, functions, box = relaxed_of(sizes, 7)
    truth = enumerated_maximum(functions.network, box.lower, box.upper, functions.row(0)) + float(functions.offsets[0])
    level = truth - 0.01 * (1.0 + abs(truth))
    tree, uppers = ProgramTree(relaxed, lambda shown: False, level), [np.inf]
    while not tree.over and len(uppers) < 500:
        calls = iter(range(100))
        tree.run(lambda calls=calls: next(calls) > 0, lambda: 10.0)  # type: ignore[misc]
        uppers.append(tree.upper)
        assert truth - 1e-9 <= uppers[-1] <= uppers[-2] + 1e-6
    # What is above the level is reached, and cannot be closed.
    assert tree.over
    assert tree.stuck


def test_a_search_without_time_for_its_first_program_begins_when_there_is_some() -> None:
    relaxed, functions, box = relaxed_of((5, 4, 3, 2), 5)
    truth = enumerated_maximum(functions.network, box.lower, box.upper, functions.row(0)) + float(functions.offsets[0])
    tree = ProgramTree(relaxed, lambda shown: False, truth + 0.01)
    assert not tree.run(lambda: False, lambda: 0.0)
    assert not tree.over
    assert tree.upper >= truth
    assert not tree.run(lambda: False, lambda: 10.0)
    assert tree.over
    assert not tree.stuck
    # What is proven is below the level: a condition that may be met with equality is ruled out.
    assert truth <= tree.upper < truth + 0.01


def test_whoever_used_the_engine_before_with_more_threads_is_no_hindrance() -> None:
    import highspy

    relaxed, functions, box = relaxed_of((5, 4, 3, 2), 5)
    truth = enumerated_maximum(functions.network, box.lower, box.upper, functions.row(0)) + float(functions.offsets[0])
    highspy.Highs.resetGlobalScheduler(True)
    try:
        other = highspy.Highs()
        other.silent()
        other.setOptionValue("threads", 2)
        other.addVar(0.0, 1.0)
        other.run()
        tree = ProgramTree(relaxed, lambda shown: False, truth + 0.01)
        tree.run(lambda: False, lambda: 10.0)
        lines, programs = (verify.bound(functions.network, box, method=method)[-1] for method in ("crown", "lp"))
    finally:
        highspy.Highs.resetGlobalScheduler(True)
    assert tree.over
    assert not tree.stuck
    assert (programs.upper < lines.upper - 1e-4).all()


def test_what_is_stuck_takes_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # The sum of |x| - |x|, which is 0 everywhere: each of the 2^8 cells is a tie that nothing closes.
    eye, ones = np.eye(8), np.ones(8)
    hidden, last = np.concatenate([eye, -eye, eye, -eye]), np.concatenate([ones, ones, -ones, -ones])
    net, box = cx.SparseReLUNetwork([(hidden, None), (last[None], None)]), verify.Box(-ones, ones)
    relaxed = relax(Functions(sp.csr_matrix([[1.0]]), np.zeros(1), net), 0, box, crown_bounds(net, box))
    tree = ProgramTree(relaxed, lambda shown: False, 0.0)
    monkeypatch.setattr(program_tree, "LARGEST", 200 * (3 * len(tree.program.heights) + len(tree.program.width)))
    tree.run(lambda: False, lambda: 10.0)
    assert tree.full
    assert len(tree.heap) + len(tree.stuck) <= 210
    assert tree.upper >= 0.0


def test_what_an_engine_gets_wrong_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    relaxed, functions, box = relaxed_of((3, 4, 4, 2), 3)
    truth = enumerated_maximum(functions.network, box.lower, box.upper, functions.row(0)) + float(functions.offsets[0])
    tree = ProgramTree(relaxed, lambda shown: False, truth - 0.5)
    solve = tree.program.engine.solve

    def lying(level: float, seconds: float) -> Any:
        found = solve(level, seconds)
        return None if found is None else type(found)(-np.inf, None, found.duals, None)

    monkeypatch.setattr(tree.program.engine, "solve", lying)
    tree.run(lambda: False, lambda: 10.0)
    assert tree.over
    assert tree.stuck
    assert tree.upper >= truth


def test_a_program_without_a_point_is_proven_by_its_ray() -> None:
    # p_1 = x and p_2 = -x - 1 over [-2, 2]: both active is nowhere.
    net = cx.SparseReLUNetwork([([[1.0], [-1.0]], [0.0, -1.0]), ([[1.0, 1.0]], None)])
    box = verify.Box([-2.0], [2.0])
    relaxed = relax(Functions(sp.csr_matrix([[1.0]]), np.zeros(1), net), 0, box, crown_bounds(net, box))
    tree = ProgramTree(relaxed, lambda shown: False, -100.0)
    both = np.ones(2, dtype=np.int8)
    tree.program.suppose(both)
    found = tree.program.solve(-1e9, 10.0)
    assert found is not None
    assert found.point is None
    assert proven(relaxed, np.tile(both, (len(found.duals), 1)), np.array(found.duals)).min() < -100.0
