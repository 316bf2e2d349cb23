"""Objectives are the same in every question; a final function is left out where it keeps the order, else refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import convexnn as cx
import verify
from tests.helpers import graphs, zoo

REGION = verify.LinfBall([0.1, -0.2], 0.4)


def test_an_index_and_its_weights_are_the_same_objective() -> None:
    network = zoo.network((2, 4, 3), seed=1)
    row = np.array([0.0, 0.0, 1.0])
    for asked in (verify.maximize, verify.minimize):
        assert asked(network, REGION, 2).value == asked(network, REGION, row).value
    assert np.array_equal(verify.encode(network, REGION, 2).milp.cost, verify.encode(network, REGION, row).milp.cost)
    every = verify.output_range(network, REGION)
    one, two = verify.output_range(network, REGION, 2), verify.output_range(network, REGION, [row, -row])
    assert abs(one.upper[0] - every.upper[2]) <= 1e-6 * abs(every.upper[2])
    assert np.allclose(two.upper, [every.upper[2], -every.lower[2]], rtol=1e-6)
    assert (len(one.lower), len(two.lower), len(every.lower)) == (1, 2, 3)


@pytest.mark.parametrize("question", [verify.maximize, verify.minimize, verify.encode, verify.output_range])
def test_bad_objectives_are_one_clear_line(question: Callable[..., Any]) -> None:
    network = zoo.network((2, 4, 3), seed=1)
    with pytest.raises(ValueError, match="objective is 3; expected the index of an output, 0 to 2"):
        question(network, REGION, 3)
    with pytest.raises(ValueError, match="objective has shape"):
        question(network, REGION, [1.0, 2.0])


def ending(network: cx.SparseReLUNetwork, final: str) -> cx.SparseReLUNetwork:
    return cx.SparseReLUNetwork(network.layers, final=final)


def module_of(network: cx.SparseReLUNetwork, last: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(*network.to_torch("float64"), last)


@pytest.mark.parametrize("final", ["softmax", "log_softmax", "sigmoid", "tanh"])
@pytest.mark.parametrize("radius", [0.02, 2.0])
def test_the_order_is_that_of_the_values_before(final: str, radius: float) -> None:
    network, region = zoo.network((2, 6, 3), seed=2), verify.LinfBall([0.1, -0.2], radius)
    last = {
        "softmax": torch.nn.Softmax(1),
        "log_softmax": torch.nn.LogSoftmax(1),
        "sigmoid": torch.nn.Sigmoid(),
        "tanh": torch.nn.Tanh(),
    }[final]
    plain = verify.find_adversarial(network, region)
    found = verify.find_adversarial(ending(network, final), region, model=module_of(network, last))
    assert (found.status, found.label) == (plain.status, plain.label)
    assert f"The final {final} is left out: it keeps the order of the outputs." in found.reason
    near = verify.min_radius(ending(network, final), region, time_limit=10.0)
    assert near.status is verify.min_radius(network, region, time_limit=10.0).status
    assert f"final {final} is left out" in near.reason
    y = [0 if plain.label is None else plain.label]
    rows = verify.evaluate(ending(network, final), region.center[None], y, lambda x: region)
    assert rows.answers[0].status is plain.status


@pytest.mark.parametrize("label", [-1, 1])
def test_a_sigmoid_of_one_output_is_replayed_around_one_half(label: int) -> None:
    network = cx.SparseReLUNetwork([([[1.0, 0.5], [-1.0, 1.0]], None), ([[1.0, -1.0]], [0.1 * label])])
    region, model = verify.LinfBall([0.0, 0.0], 1.0), module_of(network, torch.nn.Sigmoid())
    found = verify.find_adversarial(ending(network, "sigmoid"), region, model=model)
    assert (found.status, found.label) == (verify.Verdict.COUNTEREXAMPLE, label)
    assert found.replayed is not None
    assert 0.0 < found.replayed < 0.5
    assert "it keeps the sign of the output" in found.reason
    near = verify.min_radius(ending(network, "sigmoid"), region, model=model)
    assert near.status is verify.Nearness.FOUND
    assert near.lower > 0.0


TEXT = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)" + "".join(
    f"(assert (>= X_{index} -0.6))(assert (<= X_{index} 0.6))" for index in range(2)
)


def test_properties_that_compare_outputs_are_about_the_values_before() -> None:
    network = zoo.network((2, 6, 2), seed=2)
    order = verify.parse_property(TEXT + "(assert (>= Y_0 Y_1))")
    found, plain = (verify.check_vnnlib(net, order) for net in (ending(network, "softmax"), network))
    assert found.status is plain.status
    assert "The final softmax is left out" in found.reason
    for other in ("(assert (>= Y_0 0.5))", "(assert (>= (+ Y_0 Y_1) 0.0))"):
        with pytest.raises(ValueError, match=r"a condition of the property asks for values of the outputs"):
            verify.check_vnnlib(ending(network, "softmax"), verify.parse_property(TEXT + other))


def test_values_are_refused_by_name() -> None:
    network = ending(zoo.network((2, 4, 3), seed=1), "softmax")
    for question in ("maximize", "minimize", "output_range", "encode"):
        with pytest.raises(
            ValueError, match=f"{question} asks for values of the outputs, and the network ends in a soft"
        ):
            getattr(verify, question)(network, REGION, 0)
        getattr(verify, question)(network.without_final(), REGION, 0)
    with pytest.raises(ValueError, match="difference asks for values"):
        verify.difference(network, network, REGION)
    assert verify.certify_through(network, network, verify.LinfBall([0.1, -0.2], 1e-3)).status is verify.Verdict.ROBUST


def test_copies_keep_the_final_function() -> None:
    for network in (ending(zoo.network((2, 4, 3), seed=1), "softmax"), graphs.graph("leaky", seed=1)):
        for copy in (verify.prune(network, 0.5), verify.simplify(network), network.with_layers(network.layers)):
            assert copy.final == network.final
            assert type(copy) is type(network)
