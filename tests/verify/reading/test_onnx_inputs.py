"""ONNX models with several inputs, and with nodes in any order, beside onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import verify
from convexnn.checks import Floats
from tests.helpers.onnx_models import NODE, model_of
from verify.answers.replay import replay_of

RNG = np.random.default_rng(3)
W, V = (RNG.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (2, 4)))

# max(x W + z V, 0), x of 3 and z of 2 numbers.
TWO = [
    NODE("MatMul", ["x", "W"], ["p"]),
    NODE("MatMul", ["z", "V"], ["q"]),
    NODE("Add", ["p", "q"], ["s"]),
    NODE("Relu", ["s"], ["y"]),
]


def with_inputs(model: onnx.ModelProto, shapes: Mapping[str, tuple[str | int, ...]]) -> onnx.ModelProto:
    """Return a model with these inputs instead of its own."""
    del model.graph.input[:]
    model.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in shapes.items()
    )
    return model


def two() -> onnx.ModelProto:
    return with_inputs(model_of(TWO, W=W, V=V), {"x": ("n", 3), "z": ("n", 2)})


def by_onnxruntime(model: onnx.ModelProto, rows: Floats, shapes: Mapping[str, tuple[int, ...]]) -> Floats:
    """Return what onnxruntime makes of flat rows, in which the inputs lie one after the other."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])
    found = []
    for row in rows.astype(np.float32):
        parts = np.split(row, ends[:-1])
        feeds = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        found.append(session.run(None, feeds)[0].ravel())
    return np.array(found, dtype=np.float64)


def test_several_inputs_lie_one_after_the_other() -> None:
    model = two()
    network = verify.read_network(model)
    rows = RNG.standard_normal((10, 5))
    expected = by_onnxruntime(model, rows, {"x": (1, 3), "z": (1, 2)})
    assert network.n_inputs == 5
    assert np.allclose(network.predict(rows), expected, atol=1e-5)


def test_their_order_is_that_of_the_model_and_one_may_be_unused() -> None:
    shapes = {"z": (1, 2), "unused": (1, 1), "x": (1, 3)}
    model = with_inputs(model_of(TWO, W=W, V=V), shapes)
    network = verify.read_network(model)
    rows = RNG.standard_normal((10, 6))
    assert np.allclose(network.predict(rows), by_onnxruntime(model, rows, shapes), atol=1e-5)


def test_inputs_of_several_axes_with_and_without_a_batch() -> None:
    shapes = {"x": (2, 3), "z": (4,)}
    nodes = [
        NODE("MatMul", ["x", "W"], ["p"]),
        NODE("Mul", ["z", "two"], ["q"]),
        NODE("Add", ["p", "q"], ["s"]),
        NODE("Relu", ["s"], ["y"]),
    ]
    model = with_inputs(model_of(nodes, W=W, two=np.float32(2.0)), shapes)
    network = verify.read_network(model)
    rows = RNG.standard_normal((10, 10))
    assert np.allclose(network.predict(rows), by_onnxruntime(model, rows, shapes), atol=1e-5)


def test_a_question_and_its_replay_know_all_inputs(tmp_path: Path) -> None:
    file = tmp_path / "two.onnx"
    onnx.save(two(), file)
    box = verify.Box(-np.ones(5), np.ones(5))
    found = verify.maximize(file, box, 1)
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 5)).reshape(5, -1).T
    assert found.status is verify.Status.OPTIMAL
    assert found.value == pytest.approx(verify.read_network(file).predict(corners)[:, 1].max(), rel=1e-6)
    replay = replay_of(file)
    assert replay is not None
    outputs = verify.read_network(file).predict(found.witness[None])[0]
    assert replay.outputs(found.witness) == pytest.approx(outputs, abs=1e-5)


def test_sizes_that_the_model_leaves_open_are_told_for_each_input() -> None:
    model = with_inputs(model_of(TWO, W=W, V=V), {"x": ("n", "k"), "z": ("n", "l")})
    network = verify.read_network(model, input_shape=[(3,), (2,)])
    rows = RNG.standard_normal((5, 5))
    assert np.array_equal(network.predict(rows), verify.read_network(two()).predict(rows))
    with pytest.raises(ValueError, match=r"has 2 inputs \('x', 'z'\); expected a shape for each"):
        verify.read_network(model, input_shape=(3,))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(order=st.permutations(range(4)))
def test_nodes_may_be_listed_in_any_order(order: list[int]) -> None:
    model = with_inputs(model_of([TWO[place] for place in order], W=W, V=V), {"x": ("n", 3), "z": ("n", 2)})
    rows = RNG.standard_normal((5, 5))
    assert np.array_equal(verify.read_network(model).predict(rows), verify.read_network(two()).predict(rows))


def test_a_circle_of_nodes_is_refused_in_a_line() -> None:
    nodes = [NODE("Add", ["x", "b"], ["a"]), NODE("Relu", ["a"], ["b"]), NODE("Identity", ["b"], ["y"])]
    with pytest.raises(ValueError, match=r"ONNX node 0 \(Add\): operand 'b'") as caught:
        verify.read_network(model_of(nodes))
    assert "\n" not in str(caught.value)


def named(first: str, second: str) -> verify.Property:
    """Return that y_0 of `two` is below 1 where the input called x is 0 and that called z is in [0, 1]."""
    text = f"""(declare-network f (declare-input a real [1,3]{first}) (declare-input c real [1,2]{second})
        (declare-output d real [1,4]))"""
    bounds = "".join(f"(assert (<= 0 a[0,{i}] 0))" for i in range(3))
    bounds += "".join(f"(assert (<= 0 c[0,{i}] 1))" for i in range(2))
    return verify.parse_property(f"{text}{bounds}(assert (>= d[0,0] 10))")


def test_a_property_may_call_the_inputs_as_the_model_does(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    onnx.save(two(), path)
    for asked in (named('"x"', '"z"'), named("", ""), named("", ' "z"')):
        for source in (two(), path, two().SerializeToString()):
            assert verify.check_vnnlib(source, asked).status.name == "HOLDS"
        assert verify.check_vnnlib(verify.read_network(path), asked, model=path).status.name == "HOLDS"


@pytest.mark.parametrize("titles", [('"z"', '"x"'), ('"x"', '"y"'), ("", '"x"')])
def test_a_property_that_calls_the_inputs_otherwise_is_refused(titles: tuple[str, str]) -> None:
    # Taken in order, its z would be the model's x: an answer about another question.
    with pytest.raises(ValueError, match=r"calls the inputs .*; expected those of the model, in its order"):
        verify.check_vnnlib(two(), named(*titles))
    two_networks = verify.parse_property(
        f"""(declare-network f (declare-input a real [3]{titles[0]}) (declare-input c real [2]{titles[1]})
        (declare-output d real [4])) (declare-network g (declare-input e real [5]) (declare-output h real [4]))
        (assert (<= 0 a[0] e[0] 1))(assert (>= d[0] h[0]))"""
    )
    with pytest.raises(ValueError, match="the property calls the inputs"):
        verify.check_vnnlib([two(), two()], two_networks)


def test_names_of_inputs_need_a_model_that_has_them() -> None:
    with pytest.raises(ValueError, match=r"'x', 'z'; expected .* give an ONNX model, or leave the names out"):
        verify.check_vnnlib(verify.read_network(two()), named('"x"', '"z"'))
