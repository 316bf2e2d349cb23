"""Networks inside the models of cvxpy, MathOpt and gurobipy: the outputs are the network's."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from ortools.math_opt.python import mathopt

import verify
from convexnn.checks import Floats
from tests.helpers import zoo

LAYERS = ["cvxpy", "mathopt", "gurobi"]
SHAPES = [(3, 1), (3, 4, 1), (3, 4, 2), (3, 3, 3, 2)]


def gurobi() -> Any:
    """Return gurobipy, or skip where it or its licence is missing."""
    gp = pytest.importorskip("gurobipy", reason="gurobipy is not installed")
    try:
        gp.Model().dispose()
    except gp.GurobiError as error:
        pytest.skip(f"gurobipy has no licence: {error}")
    return gp


def best(layer: str, network: Any, region: verify.Box, weights: Floats, fixed: Floats | None = None) -> tuple[Any, Any]:
    """Return the maximum of weights . outputs by a model of that layer, and the inputs there."""
    lower, upper = (region.lower, region.upper) if fixed is None else (fixed, fixed)
    if layer == "cvxpy":
        x = cp.Variable(region.size, bounds=[region.lower, region.upper])
        inside = verify.embed(network, x)
        assert isinstance(inside, verify.Embedding)
        held = [] if fixed is None else [x == fixed]
        problem = cp.Problem(cp.Maximize(weights @ inside.outputs), [*held, *inside.constraints])
        problem.solve(solver=cp.HIGHS)
        return problem.value, x.value
    if layer == "mathopt":
        model = mathopt.Model()
        inputs = [model.add_variable(lb=a, ub=b) for a, b in zip(region.lower, region.upper, strict=True)]
        outputs = verify.embed(network, inputs, model=model).outputs
        for variable, a, b in zip(inputs, lower.tolist(), upper.tolist(), strict=True):
            variable.lower_bound, variable.upper_bound = a, b
        model.maximize(mathopt.fast_sum([w * out for w, out in zip(weights.tolist(), outputs, strict=True)]))
        result = mathopt.solve(model, mathopt.SolverType.GSCIP)
        return result.objective_value(), np.array([result.variable_values(variable) for variable in inputs])
    model = gurobi().Model()
    model.Params.OutputFlag = 0
    x = model.addMVar(region.size, lb=region.lower, ub=region.upper)
    outputs = verify.embed(network, x, model=model).outputs
    x.LB, x.UB = lower, upper
    model.setObjective(weights @ outputs, gurobi().GRB.MAXIMIZE)
    model.optimize()
    return model.ObjVal, x.X


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_embedded_outputs_are_the_networks_at_fixed_inputs(layer: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    region = verify.Box([-1.0] * 3, [1.5] * 3)
    for seed in range(25):
        network = zoo.network(shape, seed=seed, density=0.7)
        weights = rng.standard_normal(shape[-1])
        x = rng.uniform(-1.0, 1.5, 3)
        value, _ = best(layer, network, region, weights, x)
        assert value == pytest.approx(float(weights @ network.predict(x[None]).reshape(-1)), abs=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("seed", range(5))
def test_a_model_finds_the_maximum_that_enumeration_finds(layer: str, seed: int) -> None:
    network = zoo.network((3, 4, 3, 1), seed=seed, density=0.8)
    region = verify.Box([-1.0] * 3, [1.5] * 3)
    value, x = best(layer, network, region, np.ones(1))
    assert value == pytest.approx(zoo.enumerated_maximum(network, region.lower, region.upper, np.ones(1)), abs=1e-6)
    assert network.predict(x[None]).item() == pytest.approx(value, abs=1e-5)


def test_affine_expressions_and_regions_are_taken() -> None:
    network = zoo.network((3, 4, 1), seed=1, density=0.8)
    share = cp.Variable()
    inputs = cp.hstack([share, 1.0 - share, 0.25])
    inside = verify.embed(network, inputs, region=verify.Box([0.0, 0.0, 0.25], [1.0, 1.0, 0.25]))
    problem = cp.Problem(cp.Minimize(inside.outputs[0]), inside.constraints)
    problem.solve(solver=cp.HIGHS)
    line = np.linspace(0.0, 1.0, 2001)
    values = network.predict(np.column_stack([line, 1.0 - line, np.full(2001, 0.25)]))
    assert problem.value == pytest.approx(values.min(), abs=1e-2)
    assert problem.value <= values.min() + 1e-6
    assert -1e-7 <= share.value <= 1.0 + 1e-7
    model = mathopt.Model()
    variable = model.add_variable(lb=0.0, ub=1.0)
    members = [variable, 1.0 - variable, 0.25]
    outputs = verify.embed(network, members, model=model, region=inside.encoding.region).outputs
    model.minimize(outputs[0])
    assert mathopt.solve(model, mathopt.SolverType.GSCIP).objective_value() == pytest.approx(problem.value, abs=1e-6)


def test_numbers_of_numpy_among_the_inputs_are_numbers() -> None:
    network, model = zoo.network((3, 4, 1), seed=1, density=0.8), mathopt.Model()
    for region in (None, verify.Box([0.0] * 3, [1.0] * 3)):
        inputs = [model.add_variable(lb=0.5, ub=0.5), np.int64(1), np.float32(0.5)]
        model.minimize(verify.embed(network, inputs, model=model, region=region).outputs[0])
        value = network.predict(np.array([[0.5, 1.0, 0.5]])).item()
        assert mathopt.solve(model, mathopt.SolverType.GSCIP).objective_value() == pytest.approx(value, abs=1e-6)


def test_bad_input_is_named() -> None:
    network = zoo.network((3, 4, 1), seed=1, density=0.8)
    with pytest.raises(TypeError, match="inputs is a list without variables; expected those of cvxpy"):
        verify.embed(network, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"inputs has shape \(2,\); the network has 3 inputs"):
        verify.embed(network, cp.Variable(2, bounds=[0, 1]))
    with pytest.raises(ValueError, match=r"input 0 has no finite bounds \(-inf to inf\); expected bounded variables"):
        verify.embed(network, cp.Variable(3))
    with pytest.raises(ValueError, match="inputs is not affine"):
        verify.embed(network, cp.square(cp.Variable(3)))
    with pytest.raises(TypeError, match="model is given with cvxpy inputs"):
        verify.embed(network, cp.Variable(3, bounds=[0, 1]), model=1)
    with pytest.raises(ValueError, match="region is an L1 ball of radius 1 over 3 inputs; expected a Box or LinfBall"):
        verify.embed(network, cp.Variable(3), region=verify.L1Ball(np.zeros(3), 1.0))
    model = mathopt.Model()
    inputs = [model.add_variable(lb=0.0, ub=1.0) for _ in range(3)]
    with pytest.raises(TypeError, match=r"model is a NoneType; expected the mathopt\.Model"):
        verify.embed(network, inputs)
    with pytest.raises(ValueError, match="inputs has 2 entries; the network has 3 inputs"):
        verify.embed(network, inputs[:2], model=model)


def test_an_embedding_says_what_it_is() -> None:
    inside = verify.embed(zoo.network((3, 4, 1), seed=1, density=0.8), cp.Variable(3, bounds=[-1, 1]))
    assert "binary variables" in str(inside)
    assert repr(inside) == f"<{inside}>"
