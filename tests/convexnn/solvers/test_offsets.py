"""Offsets and units of features: programs as they were stated, solved in coordinates in which the data are round."""

from __future__ import annotations

import tracemalloc

import cvxpy as cp
import numpy as np
import pytest
import torch

import convexnn as cx
from convexnn.checks import Floats
from convexnn.solvers.convex.basis.basis_penalty import BasisPenalty
from convexnn.solvers.registry import SOLVERS

# Offsets and units of the features.
PLACES = [(10.0, 1.0), (100.0, 1.0), (1e4, 1.0), (0.0, 1e-6), (0.0, 1e6), (100.0, 1e6), (1e4, 1e6)]


def rows_and_target(seed: int, offset: float, scale: float, n: int = 80) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, 3))
    y = np.maximum(points[:, 0] - points[:, 1], 0.0) - np.maximum(points[:, 2], 0.0) + 0.1 * rng.standard_normal(n)
    return scale * (points + offset), y - y.mean()


def shifted(
    penalty: str, offset: float, scale: float, cone: bool = False, kind: str = "gaussian", seed: int = 0
) -> cx.ConvexProgram:
    """Return a program on features with an offset and a unit, its strength a share of the one that leaves nothing."""
    X, y = rows_and_target(seed, offset, scale)
    patterns = cx.sample_patterns(X, 8, seed=seed, bias=True, kind=kind)
    if penalty == "none":
        return cx.ConvexProgram(X, y, patterns, penalty=penalty, cone=cone)
    if penalty == "ridge":
        return cx.ConvexProgram(X, y, patterns, penalty=penalty, strength=1e-3 * scale**2, cone=cone)
    program = cx.ConvexProgram(X, y, patterns, penalty=penalty, strength=1.0, cone=cone)
    return program.with_strength(0.05 * cx.strength_max(program))


@pytest.mark.parametrize("solver", ["admm", "fista"])
@pytest.mark.parametrize(("offset", "scale"), PLACES)
@pytest.mark.parametrize("penalty", ["group_l1", "l1", "ridge"])
def test_offsets_and_units_cost_no_accuracy(penalty: str, offset: float, scale: float, solver: str) -> None:
    program = shifted(penalty, offset, scale)
    solution = cx.solve(program, solver)
    assert solution.status is cx.Status.CONVERGED
    assert solution.iterations <= {"admm": 1000, "fista": 5000}[solver]
    reference = cx.solve(program, "cvxpy")
    assert solution.objective <= reference.objective + 1e-6 * program.zero_loss
    if reference.status is cx.Status.CONVERGED:
        assert solution.objective == pytest.approx(reference.objective, abs=1e-6 * program.zero_loss)


@pytest.mark.parametrize(
    ("penalty", "solver"),
    [("group_l1", "admm"), ("group_l1", "fista"), ("l1", "admm"), ("l1", "fista"), ("ridge", "admm")],
)
def test_sparse_gates_with_an_offset(penalty: str, solver: str) -> None:
    program = shifted(penalty, 100.0, 1.0, kind="sparse")
    assert not program.patterns.features.all()
    solution = cx.solve(program, solver)
    assert solution.status is cx.Status.CONVERGED
    reference = cx.solve(program, "cvxpy")
    assert solution.objective == pytest.approx(reference.objective, abs=1e-6 * program.zero_loss)


def test_an_l1_penalty_leaves_zeros_in_the_bias_too() -> None:
    for solver in ("admm", "fista"):
        weights = cx.solve(shifted("l1", 10.0, 1.0), solver).weights
        assert (weights[weights.any(axis=1), -1] == 0.0).any()


@pytest.mark.parametrize("penalty", ["group_l1", "ridge", "none"])
@pytest.mark.parametrize(("offset", "scale"), [(100.0, 1e6), (10.0, 1e6), (100.0, 1e-6)])
def test_offsets_and_units_together_in_cones(penalty: str, offset: float, scale: float) -> None:
    program = shifted(penalty, offset, scale, cone=True, seed=2)
    solution = cx.solve(program, "interior_point")
    assert solution.status is cx.Status.CONVERGED
    assert solution.iterations <= 100


def test_the_interior_point_keeps_a_limit_of_memory() -> None:
    program = shifted("group_l1", 0.0, 1.0, cone=True)
    with pytest.raises(ValueError, match="memory_limit is 1000; interior_point expects at least") as caught:
        cx.solve(program, "interior_point", memory_limit=1000)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    tracemalloc.start()
    solution = cx.solve(program, "interior_point", memory_limit=least)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert solution.status is cx.Status.CONVERGED
    # Small arrays that the interpreter holds come on top.
    assert peak <= least + 1_000_000


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1e3), (30.0, 1.0), (100.0, 0.01)])
@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
@pytest.mark.parametrize("penalty", ["group_l1", "l1", "ridge", "feature_l1"])
def test_a_proximal_map_in_a_basis_is_that_of_the_stated_penalty(
    penalty: str, kind: str, offset: float, scale: float
) -> None:
    program = shifted(penalty, offset, scale, kind=kind)
    assert program.penalty is not None
    inside = BasisPenalty(program, torch.zeros(1, dtype=torch.float64), 1 << 30)
    assert inside.basis.matrix is not None
    matrix = inside.basis.matrix
    point = np.random.default_rng(1).standard_normal(program.neurons_shape) * program.owned
    for share in (1e-3, 0.1, 1.0, 30.0):
        amount = share / np.abs(matrix).max() ** program.penalty.degree
        found = inside.prox(torch.tensor(point), amount).numpy()
        coordinates = cp.Variable(point.shape)
        objective = amount * program.penalty.expression(coordinates @ matrix.T) + 0.5 * cp.sum_squares(
            coordinates - point
        )
        best = cp.Problem(cp.Minimize(objective), [coordinates[~program.owned] == 0.0] if kind == "sparse" else [])
        best.solve(solver="CLARABEL")
        value = amount * program.penalty.value(found @ matrix.T) + 0.5 * float(np.square(found - point).sum())
        assert value <= best.value * (1.0 + 1e-6) + 1e-9
        assert not found[~program.owned].any()


@pytest.mark.parametrize(("offset", "scale"), [(10.0, 1.0), (1e4, 1.0), (100.0, 1e6)])
def test_auto_asks_the_reference_first_where_no_interior_point_method_does_the_cones(
    offset: float, scale: float
) -> None:
    program = shifted("feature_l1", offset, scale, cone=True)
    solution = cx.solve(program, time_limit=5.0)
    assert (solution.solver, solution.status) == ("cvxpy (CLARABEL)", cx.Status.CONVERGED)
    # A start is no option of cvxpy, and features that are round are no trouble for admm.
    assert cx.solve(program, start=solution, max_iterations=1).solver == "admm"
    assert cx.solve(shifted("feature_l1", 0.0, 1.0, cone=True)).solver == "admm"


def test_auto_asks_the_reference_last_where_it_would_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> cx.Solution:
        raise AssertionError("cvxpy was asked")

    monkeypatch.setattr("convexnn.solvers.convex.cvxpy_reference.reference", refused)
    monkeypatch.setattr(type(SOLVERS["cvxpy"]), "options", ("time_limit", "tolerance"))
    X, y = rows_and_target(0, 100.0, 1.0)
    patterns = cx.sample_patterns(X, 120, seed=0, bias=True)
    program = cx.ConvexProgram(X, y, patterns, penalty="feature_l1", strength=1e-3, cone=True)
    assert cx.solve(program, time_limit=0.5).solver == "admm"


def test_auto_goes_on_where_the_reference_that_was_asked_first_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: object, **__: object) -> cx.Solution:
        raise RuntimeError("cvxpy with CLARABEL failed")

    monkeypatch.setattr("convexnn.solvers.convex.cvxpy_reference.reference", failed)
    program = shifted("feature_l1", 100.0, 1.0, cone=True)
    monkeypatch.setattr(type(SOLVERS["cvxpy"]), "options", ("time_limit", "tolerance"))
    assert cx.solve(program, time_limit=1.0).solver == "admm"
