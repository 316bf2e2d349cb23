"""Random ONNX graphs with branches, of whole numbers, beside onnxruntime to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

import verify
from tests.helpers.onnx_models import NODE, answers, model_of

SETTINGS = settings(max_examples=70, deadline=None, derandomize=True)


class Drawing:
    """A graph that grows: names of arrays with their shapes, nodes, constants."""

    def __init__(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        self.rng = rng
        self.shapes: dict[str, tuple[int, ...]] = {"x": shape}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Any] = {}

    def constant(self, *shape: int) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = self.rng.integers(-2, 3, shape).astype(np.float32)
        return name

    def pick(self, shape: tuple[int, ...] | None = None) -> str:
        """Return the name of an array, one of the last ones mostly."""
        names = [name for name, own in self.shapes.items() if shape is None or own == shape]
        return names[-1 - int(self.rng.integers(min(len(names), 4)))]

    def add(self, kind: str, inputs: list[str], shape: tuple[int, ...], **options: Any) -> None:
        name = f"h{len(self.nodes)}"
        self.nodes.append(NODE(kind, inputs, [name], **options))
        self.shapes[name] = shape

    def grow(self, kind: str) -> None:
        """Append a node of a kind to an array that it fits."""
        name = self.pick()
        shape, rng = self.shapes[name], self.rng
        if kind in ("Relu", "Abs", "Neg", "Identity"):
            self.add(kind, [name], shape)
        elif kind == "LeakyRelu":
            self.add(kind, [name], shape, alpha=0.5)
        elif kind == "Clip":
            low, high = self.constant(), self.constant()
            self.add(kind, [name, low, high], shape)
        elif kind in ("Add", "Sub", "Max", "Min", "Sum"):
            self.add(kind, [name, self.pick(shape)], shape)
        elif kind == "constants":
            part = shape[int(rng.integers(1, len(shape) + 1)) :]
            self.add(str(rng.choice(["Add", "Sub", "Mul", "Max", "Min"])), [name, self.constant(*part)], shape)
        elif kind == "MatMul":
            size = int(rng.integers(1, 4))
            self.add(kind, [name, self.constant(shape[-1], size)], (*shape[:-1], size))
        elif kind == "Concat" and np.prod(shape) < 12:
            self.add(kind, [name, self.pick(shape)], (*shape[:-1], 2 * shape[-1]), axis=-1)
        elif kind == "Transpose" and len(shape) == 3:
            self.add(kind, [name], (shape[0], shape[2], shape[1]), perm=[0, 2, 1])
        elif kind == "ReduceMax" and shape[-1] > 1:
            self.add(kind, [name], (*shape[:-1], 1), axes=[-1])


KINDS = (
    *("Relu", "Abs", "Neg", "LeakyRelu", "Clip", "Add", "Sub", "Max", "Min", "Sum", "constants", "MatMul", "Concat"),
    *("Transpose", "ReduceMax", "Relu", "MatMul"),
)


@SETTINGS
@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=12),
    seed=st.integers(0, 10_000),
)
def test_graphs_of_onnx_nodes_keep_their_function(shape: list[int], kinds: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawing = Drawing((1, *shape), rng)
    for kind in ("constants", *kinds):
        drawing.grow(kind)
    drawing.nodes[-1].output[0] = "y"
    # Up to 12 products of numbers of up to 2 stay whole and below 2^24 where inputs are small; halves of slopes too.
    model = model_of(drawing.nodes, ("n", *shape), **drawing.constants)
    network = verify.read_network(model)
    rows = [rng.integers(-2, 3, (1, *shape)).astype(np.float32) for _ in range(5)]
    expected = answers(model, rows)
    found = network.activations(np.array([row.ravel() for row in rows], dtype=np.float64))[-1]
    if np.abs(expected).max() < 2**12:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5)
