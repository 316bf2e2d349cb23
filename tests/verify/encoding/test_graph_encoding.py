"""Encodings of networks with linear units: no binary for these, the optimum of the chain of ReLUs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from ortools.math_opt.python import mathopt

import verify
from tests.helpers import graphs, zoo
from verify.backends.registry import BACKENDS
from verify.milp.request import Request

REGION = verify.Box([-0.6, -0.8], [0.9, 0.7])
WEIGHTS = np.array([1.0, -0.5])
CASES = [pytest.param(kind, seed, id=f"{kind}-{seed}") for kind in graphs.KINDS for seed in (1, 2)]


def oracle(graph: verify.ReLUGraph) -> float:
    return zoo.enumerated_maximum(graphs.chain_of(graph), REGION.lower, REGION.upper, WEIGHTS)


@pytest.mark.parametrize("formulation", ["big-m", "indicator"])
@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_the_optimum_is_that_of_every_pattern(kind: str, seed: int, formulation: str) -> None:
    graph = graphs.graph(kind, seed, depth=1 + seed % 2)
    encoding = verify.encode(graph, REGION, WEIGHTS, formulation=formulation)
    engine = BACKENDS["scipy" if formulation == "big-m" else "gscip"]
    found = engine.maximise(encoding.milp, Request(20.0)).bound
    assert abs(found - oracle(graph)) <= 1e-5 * max(1.0, abs(found))


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_points_of_the_network_are_points_of_the_model(kind: str, seed: int) -> None:
    graph = graphs.graph(kind, seed)
    encoding = verify.encode(graph, REGION, 0)
    linear = sum(int(mask.sum()) for mask in graph.linear)
    assert int(encoding.milp.integer.sum()) <= sum(graph.sizes[1:-1]) - linear
    for x in graphs.points_of(REGION, 50):
        values = encoding.complete(x)
        rows = encoding.milp.rows @ values
        assert (rows >= encoding.milp.row_lower - 1e-9).all()
        assert (rows <= encoding.milp.row_upper + 1e-9).all()
        assert np.allclose(encoding.outputs @ values + encoding.levels, graph.activations(x[None])[-1][0])


def test_a_written_model_has_the_same_optimum(tmp_path: Path) -> None:
    highspy = pytest.importorskip("highspy", reason="highspy is not installed")
    graph = graphs.graph("leaky", seed=1)
    verify.encode(graph, REGION, WEIGHTS).write(tmp_path / "model.mps")
    solver = highspy.Highs()
    solver.silent()
    solver.readModel(str(tmp_path / "model.mps"))
    solver.run()
    # In MPS the maximum is a minimum of negated costs.
    assert abs(-solver.getInfo().objective_function_value - oracle(graph)) <= 1e-5


@pytest.mark.parametrize("kind", graphs.KINDS)
def test_an_embedded_graph_has_the_same_optimum(kind: str) -> None:
    graph = graphs.graph(kind, seed=1)
    x: Any = cp.Variable(2, bounds=[REGION.lower, REGION.upper])
    inside = verify.embed(graph, x)
    problem = cp.Problem(cp.Maximize(WEIGHTS @ inside.outputs), inside.constraints)
    problem.solve(solver=cp.HIGHS)
    assert abs(problem.value - oracle(graph)) <= 1e-5
    model = mathopt.Model()
    inputs = [model.add_variable(lb=a, ub=b) for a, b in zip(REGION.lower, REGION.upper, strict=True)]
    outputs = verify.embed(graph, inputs, model=model).outputs
    model.maximize(float(WEIGHTS[0]) * outputs[0] + float(WEIGHTS[1]) * outputs[1])
    assert abs(mathopt.solve(model, mathopt.SolverType.HIGHS).objective_value() - oracle(graph)) <= 1e-5
