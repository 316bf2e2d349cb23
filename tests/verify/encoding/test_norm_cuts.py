"""L2 balls by conic relaxations: bounds meet points inside, cuts hold exactly, nothing rests on Clarabel."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import clarabel
import numpy as np
import pytest
import scipy.sparse as sp

import convexnn as cx
import verify
from convexnn.checks import Floats
from tests.helpers import zoo
from verify import Status
from verify.backends.registry import BACKENDS
from verify.encoding import norm_cuts, outer_approximation
from verify.encoding.conic_relaxation import FREE, OFF, ON, ConicModel, ConicOptimum
from verify.encoding.encode import Encoding
from verify.encoding.norm_cuts import CutSearch
from verify.milp.conjunction import least_of
from verify.milp.engine_result import EngineStatus

SHAPES = [(2, 1), (2, 4, 1), (3, 4, 3, 1), (2, 3, 2, 2, 1)]


def drawn(seed: int) -> Encoding:
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    network = zoo.network(shape, seed=seed, density=float(rng.choice([0.6, 1.0])), bias=bool(seed % 3))
    center = rng.uniform(0.0, 1.0, shape[0])
    clip: Any = [(0, 1), None, (-0.2, 1.1)][seed % 3]
    return verify.encode(network, verify.L2Ball(center, float(rng.uniform(0.2, 1.0)), clip))


def conic_maximum(network: cx.SparseReLUNetwork, ball: Any) -> float:
    """Return the largest output by a second-order cone program of x itself for every activation pattern."""
    best, size = -np.inf, network.n_inputs
    hidden = [weight.shape[0] for weight, _ in network.layers[:-1]]
    for pattern in np.ndindex(*[2] * sum(hidden)):
        slope, offset, rows, sides = np.eye(size), np.zeros(size), [np.zeros((0, size))], [np.zeros(0)]
        states = np.split(np.array(pattern, dtype=float), np.cumsum(hidden)[:-1])
        for (weight, bias), active in zip(network.layers[:-1], states, strict=False):
            slope, offset = weight @ slope, weight @ offset + bias
            rows.append((1.0 - 2.0 * active)[:, None] * slope)
            sides.append((2.0 * active - 1.0) * offset)
            slope, offset = active[:, None] * slope, active * offset
        weight, bias = network.layers[-1]
        gain, constant = (weight @ slope)[0], float((weight @ offset + bias)[0])
        best = max(best, constant + _piece(gain, np.vstack(rows), np.concatenate(sides), ball))
    return best


def _piece(gain: Floats, rows: Floats, sides: Floats, ball: Any) -> float:
    size, eye = len(gain), np.eye(len(gain))
    matrix = sp.csc_matrix(np.vstack([rows, eye, -eye, np.zeros((1, size)), -eye]))
    right = np.concatenate([sides, ball.upper, -ball.lower, [ball.radius], -ball.center])
    cones = [clarabel.NonnegativeConeT(len(rows) + 2 * size), clarabel.SecondOrderConeT(size + 1)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    found = clarabel.DefaultSolver(sp.csc_matrix((size, size)), -gain, matrix, right, cones, settings).solve()
    return -float(found.obj_val) if str(found.status) in ("Solved", "AlmostSolved") else -np.inf


def maximised(encoding: Encoding, backend: str = "highspy", about_sign: bool = False) -> Any:
    return outer_approximation.maximise(BACKENDS[backend], encoding, lambda: 20.0, lambda point: False, about_sign)


@pytest.mark.parametrize("backend", zoo.ENGINES)
@pytest.mark.parametrize("seed", range(12))
def test_the_bound_meets_a_point_of_the_ball(seed: int, backend: str) -> None:
    encoding = drawn(seed)
    outcome = maximised(encoding, backend)
    assert outcome.status is EngineStatus.OPTIMAL
    best = conic_maximum(encoding.network, encoding.region)
    scale = 1.0 + abs(best)
    assert outcome.bound == pytest.approx(best, abs=1e-6 * scale)
    moves = outcome.values[: len(encoding.inputs.moved)]
    assert np.linalg.norm(moves) <= encoding.region.radius * (1.0 + 1e-7)  # type: ignore[attr-defined]
    reached = float(encoding.network.predict(encoding.point(outcome.values)[None])[0])
    assert reached == pytest.approx(outcome.bound, abs=1e-6 * scale)


@pytest.mark.parametrize("seed", range(8))
def test_many_inputs_leave_no_gap(seed: int) -> None:
    # Tangents of the moves left 3e-4 of the radius here: each row is off by an engine's tolerance, and there are many.
    rng = np.random.default_rng(seed)
    network = zoo.network((300, 6, 4, 1), seed=seed)
    encoding = verify.encode(network, verify.L2Ball(rng.uniform(0.2, 0.8, 300), 0.3, (0, 1)))
    outcome = maximised(encoding)
    assert outcome.status is EngineStatus.OPTIMAL
    reached = float(network.predict(encoding.point(outcome.values)[None])[0])
    assert outcome.bound - reached <= 1e-6 * (1.0 + abs(reached))
    assert outcome.bound >= reached - 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_cuts_hold_for_every_point_in_exact_arithmetic(seed: int) -> None:
    encoding = drawn(seed)
    search = CutSearch(ConicModel(encoding, encoding.milp), lambda point: False)
    search.run(lambda: 20.0)
    model, ball = search.with_cuts(), encoding.region
    added, inputs = model.rows[encoding.milp.rows.shape[0] :].toarray(), encoding.inputs
    sides = model.row_upper[encoding.milp.rows.shape[0] :]
    count = len(inputs.moved)
    rng, radius = np.random.default_rng(seed), Fraction(ball.radius)  # type: ignore[attr-defined]
    # Points at the ends of the cuts themselves are the hardest.
    for direction in [*added[:, :count], *rng.standard_normal((20, count))]:
        exact = [max(Fraction(float(part)), Fraction(0)) for part in direction]
        square = sum((part * part for part in exact), Fraction(0))
        if not square:
            continue
        # A rational length at or above the true one: the moves are in the ball for certain.
        length = Fraction(float(np.sqrt(float(square)))) * (1 + Fraction(1, 2**48))
        moves = [part / length * radius for part in exact]
        assert sum((move * move for move in moves), Fraction(0)) <= radius * radius
        for row, side in zip(added[:, :count], sides, strict=True):
            assert sum((Fraction(float(a)) * v for a, v in zip(row, moves, strict=True)), Fraction(0)) <= Fraction(
                float(side)
            )


@pytest.mark.parametrize("seed", range(8))
def test_a_pattern_fixed_is_the_network_there(seed: int) -> None:
    encoding = drawn(4 * seed + 2)
    conic = ConicModel(encoding, encoding.milp)
    values, binaries, _ = conic.neurons
    free = conic.optimum(np.full(len(values), FREE))
    assert free is not None
    for x in encoding.region.project(np.random.default_rng(seed).uniform(0.0, 1.0, (5, encoding.network.n_inputs))):
        states = np.where(encoding.complete(x)[binaries] > 0.5, ON, OFF)
        fixed = conic.optimum(states)
        assert fixed is not None
        assert fixed.feasible
        assert float(encoding.network.predict(x[None])[0]) <= fixed.value + 1e-7
        assert fixed.value <= free.value + 1e-7
        reached = float(encoding.network.predict(encoding.point(fixed.values)[None])[0])
        assert reached == pytest.approx(fixed.value, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_relaxations_say_no_bound_is_wrong(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, encoding = np.random.default_rng(seed), drawn(seed)
    best = conic_maximum(encoding.network, encoding.region)

    def wild(conic: ConicModel, states: Any, seconds: float = 1.0) -> ConicOptimum | None:
        pull = rng.standard_normal(conic.moves)
        values = rng.uniform(conic.milp.lower, conic.milp.upper)
        choice = int(rng.integers(4))
        if choice == 0:
            return None
        return ConicOptimum(
            choice > 1, float(rng.standard_normal()), values, pull / np.linalg.norm(pull), np.zeros(len(states))
        )

    monkeypatch.setattr(ConicModel, "optimum", wild)
    monkeypatch.setattr(norm_cuts, "MOST", 20)
    outcome = maximised(encoding)
    assert outcome.bound >= best - 1e-6 * (1.0 + abs(best))


def test_signs_are_proven_without_the_optimum() -> None:
    for seed in range(8):
        encoding = drawn(seed)
        best = conic_maximum(encoding.network, encoding.region)
        outcome = maximised(encoding, about_sign=True)
        assert outcome.bound >= best - 1e-6
        if best < -1e-2:
            assert outcome.bound < -outcome.allowance


def test_a_point_that_settles_ends_it() -> None:
    encoding, seen = drawn(2), list[Floats]()

    def found(point: Floats) -> bool:
        seen.append(point)
        return True

    outcome = outer_approximation.maximise(BACKENDS["highspy"], encoding, lambda: 20.0, found)
    assert outcome.status is EngineStatus.STOPPED
    assert len(seen) == 1
    assert np.allclose(encoding.point(outcome.values), seen[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
def test_the_least_of_several_functions(seed: int) -> None:
    network, ball = zoo.network((2, 4, 2), seed=seed), verify.L2Ball([0.3, 0.6], 0.5, (0, 1))
    encodings = [verify.encode(network, ball, row) for row in np.eye(2)]
    milp = least_of([one.milp for one in encodings], np.full(2, -50.0), np.full(2, 50.0))
    outcome = maximised(replace(encodings[0], milp=milp))
    assert outcome.values is not None
    grid = np.stack(np.meshgrid(*[np.linspace(0.0, 1.1, 221)] * 2), axis=-1).reshape(-1, 2)
    inside = ball.project(grid)
    reached = float(network.predict(inside).min(axis=1).max())
    assert outcome.bound >= reached - 1e-6
    at_point = float(network.predict(encodings[0].point(outcome.values)[None]).min())
    assert outcome.bound == pytest.approx(at_point, abs=1e-6 * (1.0 + abs(at_point)))


@pytest.mark.parametrize("power", [-60, -30, 30, 60, 600])
@pytest.mark.parametrize("cut", [False, True])
def test_units_of_the_network_do_not_matter(power: int, cut: bool) -> None:
    # Clarabel has absolute tolerances: without units of our own it found nothing beyond 1e9, or squares overflowed.
    network, region = zoo.network((3, 4, 3, 1), seed=0), verify.L2Ball([0.1, -0.2, 0.3], 1.0)
    (weight, bias), *others = network.layers
    size = 2.0**power
    layers = [(size * weight, size * bias), *((more, size * shift) for more, shift in others)]
    asked = region.where([[1.0, 1.0, 1.0]], [0.5]) if cut else region
    found = verify.maximize(cx.SparseReLUNetwork(layers), asked, backend="scipy", time_limit=30.0)
    known = conic_maximum(network, region)  # the constraint does not touch the best point
    assert found.status is Status.OPTIMAL
    assert found.bound / size == pytest.approx(known, abs=1e-5)
    assert found.value / size == pytest.approx(known, abs=1e-5)
