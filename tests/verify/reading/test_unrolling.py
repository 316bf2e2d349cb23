"""Convolutions, batch norm and chains of all layers: against torch in float64, and onnxruntime on whole numbers.

Sums and products of small whole numbers are exact in float32, so that what is read must agree to the last bit.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import verify
from convexnn import SparseReLUNetwork

SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 10_000)


def whole(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Return small whole numbers, some of them zero."""
    return rng.integers(-2, 3, shape).astype(np.float32)


def agree_with_onnxruntime(
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any],
    shape: tuple[int, ...],
    rng: np.random.Generator,
    path: Path,
    batch: int | str = "n",
) -> SparseReLUNetwork:
    """Hold a graph from x (batch, *shape) to y, of whole numbers, against onnxruntime, to the last bit; return it."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "test", [x], [y], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    network = verify.read_network(path)
    session = onnxruntime.InferenceSession(path)
    for row in whole(rng, 4, *shape):
        (expected,) = session.run(None, {"x": row[None]})
        assert np.array_equal(network.activations(row.reshape(1, -1).astype(float))[-1].ravel(), expected.ravel())
    return network


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the sizes of a convolution over one or two axes; each kernel fits into its grid."""
    axes = draw(st.integers(1, 2))
    small = st.lists(st.integers(1, 3), min_size=axes, max_size=axes)
    kernel, strides, dilations = draw(small), draw(small), draw(small)
    padding = draw(st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes))
    reach = [dilation * (k - 1) + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    grid = [size + draw(st.integers(0, 4)) for size in reach]
    groups = draw(st.integers(1, 3))
    channels = (groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)))
    return {
        "kernel": (channels[1], channels[0] // groups, *kernel),
        "shape": (channels[0], *grid),
        "group": groups,
        "strides": strides,
        "dilations": dilations,
        "pads": padding,
        "seed": draw(seeds),
    }


@SETTINGS
@given(window=windows(), auto=st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]), bias=st.booleans())
def test_an_onnx_convolution_is_that_of_onnxruntime(
    window: dict[str, Any], auto: str, bias: bool, tmp_path: Path
) -> None:
    # onnxruntime refuses dilations beside SAME.
    assume(not auto.startswith("SAME") or max(window["dilations"]) == 1)
    rng = np.random.default_rng(window["seed"])
    options = {name: window[name] for name in ("group", "strides", "dilations")}
    options |= {"pads": window["pads"]} if auto == "NOTSET" else {"auto_pad": auto}
    constants = {"k": whole(rng, *window["kernel"]), "b": whole(rng, window["kernel"][0])}
    node = helper.make_node("Conv", ["x", "k", "b"] if bias else ["x", "k"], ["y"], **options)
    network = agree_with_onnxruntime([node], constants, window["shape"], rng, tmp_path / "net.onnx")
    weight, _ = network.layers[0]
    assert weight.nnz <= weight.shape[0] * np.count_nonzero(constants["k"]) // window["kernel"][0] + weight.shape[0] * (
        prod(window["kernel"][1:])
    )


def agree_with_torch(module: nn.Module, shape: tuple[int, ...], seed: int) -> SparseReLUNetwork:
    """Hold a module in float64, read in training mode, against itself in eval mode; return it read."""
    network = verify.read_network(module.train(), input_shape=shape)
    rows = np.random.default_rng(seed).standard_normal((5, *shape))
    with torch.no_grad():
        expected = module.eval()(torch.tensor(rows)).numpy().reshape(5, -1)
    found = network.activations(rows.reshape(5, -1))[-1]
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(expected).max()))
    return network


def shuffled(module: nn.Module, seed: int) -> nn.Module:
    """Return a module in float64 whose batch norms have statistics, scales and shifts of their own."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.double().modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (part.running_mean, part.running_var, *part.parameters()):
                assert tensor is not None
                tensor.data = 0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
    return module


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@SETTINGS
@given(
    window=windows(), padding=st.sampled_from(["numbers", "same", "valid"]), bias=st.booleans(), affine=st.booleans()
)
def test_a_torch_convolution_and_batch_norm_are_those_of_torch(
    window: dict[str, Any], padding: str, bias: bool, affine: bool
) -> None:
    axes, (n_out, _, *kernel) = len(window["strides"]), window["kernel"]
    kinds: list[tuple[Any, Any]] = [(nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d)]
    convolve, normalise = kinds[axes - 1]
    strides = [1] * axes if padding == "same" else window["strides"]
    pads = tuple(window["pads"][:axes]) if padding == "numbers" else padding
    torch.manual_seed(window["seed"])
    layer = convolve(window["shape"][0], n_out, kernel, strides, pads, window["dilations"], window["group"], bias)
    module = nn.Sequential(layer, normalise(n_out, affine=affine), nn.ReLU())
    agree_with_torch(shuffled(module, window["seed"]), window["shape"], window["seed"])


def a_layer(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a layer of a kind for rows of a shape, and the shape of its result; ReLU where the kind does not fit."""
    size = int(rng.integers(1, 5))
    if kind == "linear":
        return nn.Linear(shape[-1], size, bias=bool(rng.integers(2))), (*shape[:-1], size)
    if kind == "conv" and len(shape) in (2, 3):
        layer = (nn.Conv1d if len(shape) == 2 else nn.Conv2d)(shape[0], size, 3, padding=1)
        return layer, (size, *shape[1:])
    if kind == "norm" and len(shape) < 4:
        return (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0]), shape
    if kind == "flatten":
        start = int(rng.integers(1, len(shape) + 1))
        return nn.Flatten(start), (*shape[: start - 1], prod(shape[start - 1 :]))
    if kind == "unflatten" and shape[-1] % 2 == 0:
        return nn.Unflatten(-1, (2, shape[-1] // 2)), (*shape[:-1], 2, shape[-1] // 2)
    return {"dropout": nn.Dropout(0.5), "identity": nn.Identity()}.get(kind, nn.ReLU()), shape


KINDS = ("linear", "conv", "norm", "flatten", "unflatten", "dropout", "identity", "relu")


@SETTINGS
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=8),
    seed=seeds,
)
def test_chains_of_torch_layers_keep_their_function(shape: list[int], kinds: list[str], seed: int) -> None:
    rng, layers, now = np.random.default_rng(seed), [], tuple(shape)
    torch.manual_seed(seed)
    for kind in kinds:
        layer, now = a_layer(kind, now, rng)
        layers.append(layer)
    layers.append(nn.Linear(now[-1], 2))
    agree_with_torch(shuffled(nn.Sequential(*layers), seed), tuple(shape), seed)


class Drawing:
    """A graph of ONNX nodes that grows: the shape of its value for one row, its nodes and constants."""

    def __init__(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        self.shape, self.rng = (1, *shape), rng
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Any] = {}

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def add(self, kind: str, before: list[str], after: list[str], shape: tuple[int, ...], **options: Any) -> None:
        """Append a node with constants on the two sides of the value."""
        count = len(self.nodes)
        last = f"h{count}" if count else "x"
        self.nodes.append(helper.make_node(kind, [*before, last, *after], [f"h{count + 1}"], **options))
        self.shape = shape

    def grow(self, kind: str) -> None:
        """Append a node of a kind, where it fits."""
        shape, rng, size = self.shape, self.rng, int(self.rng.integers(1, 4))
        if kind == "gemm" and len(shape) == 2:
            turned = bool(rng.integers(2))
            matrix = self.constant(whole(rng, size, shape[1]) if turned else whole(rng, shape[1], size))
            bias = self.constant(whole(rng, *[(), (1,), (size,), (1, size)][rng.integers(4)]))
            options = {"alpha": float(rng.integers(1, 3)), "beta": -1.0, "transB": int(turned)}
            self.add("Gemm", [], [matrix, bias], (shape[0], size), **options)
        elif kind == "left gemm" and len(shape) == 2:
            turned, over = bool(rng.integers(2)), bool(rng.integers(2))
            rows, columns = shape[::-1] if over else shape
            matrix = self.constant(whole(rng, rows, size) if turned else whole(rng, size, rows))
            self.add("Gemm", [matrix], [], (size, columns), transA=int(turned), transB=int(over))
        elif kind == "gemm of columns" and len(shape) == 2:
            matrix = self.constant(whole(rng, shape[0], size))
            self.add("Gemm", [], [matrix], (shape[1], size), transA=1)
        elif kind == "matmul":
            matrix = self.constant(whole(rng, shape[-1], size))
            self.add("MatMul", [], [matrix], (*shape[:-1], size))
        elif kind == "left matmul":
            matrix = self.constant(whole(rng, size, shape[-2]))
            self.add("MatMul", [matrix], [], (*shape[:-2], size, shape[-1]))
        elif kind in ("Add", "Sub"):
            part = shape[rng.integers(len(shape)) :]
            name = self.constant(whole(rng, *[size if rng.integers(2) else 1 for size in part]))
            self.add(kind, *(([name], []) if rng.integers(2) else ([], [name])), shape)
        elif kind == "Flatten":
            axis = int(rng.integers(-len(shape), len(shape) + 1))
            cut = axis + len(shape) if axis < 0 else axis
            self.add("Flatten", [], [], (prod(shape[:cut]), prod(shape[cut:])), axis=axis)
        elif kind == "Reshape":
            sizes = [[1, -1], [0, -1, 1], [1, 1, -1], [-1, shape[-1]]][rng.integers(4)]
            asked = self.constant(np.array(sizes))
            self.add("Reshape", [], [asked], np.empty(shape).reshape([size or shape[0] for size in sizes]).shape)
        elif kind in ("Relu", "Identity", "Dropout"):
            self.add(kind, [], [], shape)


BY_ROWS = ("gemm", "matmul", "Add", "Sub", "Relu", "Identity", "Dropout")
# These can mix the rows of a batch: their graphs take one row.
NODES = (*BY_ROWS, "left gemm", "gemm of columns", "left matmul", "Flatten", "Reshape")


@SETTINGS
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    kinds=st.lists(st.sampled_from(NODES), min_size=1, max_size=7),
    seed=seeds,
)
def test_chains_of_onnx_nodes_keep_their_function(
    shape: list[int], kinds: list[str], seed: int, tmp_path: Path
) -> None:
    batch: int | str = "n" if set(kinds) <= set(BY_ROWS) else 1
    rng = np.random.default_rng(seed)
    drawing = Drawing(tuple(shape), rng)
    for kind in ("Sub", *kinds):
        drawing.grow(kind)
    drawing.nodes[-1].output[0] = "y"
    agree_with_onnxruntime(drawing.nodes, drawing.constants, tuple(shape), rng, tmp_path / "net.onnx", batch)


def test_constants_that_follow_from_constants_are_folded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["W", "two"], ["V"]),
        helper.make_node("Transpose", ["V"], ["U"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "U"], ["y"]),
    ]
    agree_with_onnxruntime(nodes, {"W": whole(rng, 3, 5)}, (5,), rng, tmp_path / "net.onnx")


@pytest.mark.parametrize("epsilon", [1e-5, 0.25])
def test_batch_norm_in_onnx_is_that_of_onnxruntime(epsilon: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    statistics = {name: rng.uniform(0.5, 2.0, 3).astype(np.float32) for name in "sbmv"}
    node = helper.make_node("BatchNormalization", ["x", *"sbmv"], ["y"], epsilon=epsilon)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(value, name) for name, value in statistics.items()]
    model = helper.make_model(
        helper.make_graph([node], "test", [x], [y], stored), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, str(tmp_path / "net.onnx"))
    rows = rng.standard_normal((6, 3, 4, 2)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"x": rows})
    found = verify.read_network(tmp_path / "net.onnx").predict(rows.reshape(6, -1))
    assert np.allclose(found, expected.reshape(6, -1), atol=1e-5)


def test_a_convolution_of_many_entries_stays_sparse() -> None:
    module = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
    network = verify.read_network(module, input_shape=(3, 32, 32))
    # A dense matrix would hold 50 million entries; the border has fewer than 27 a row.
    assert network.layers[0][0].shape == (16 * 32 * 32, 3 * 32 * 32)
    assert network.layers[0][0].nnz == 16 * 3 * (3 * 32 - 2) ** 2


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (nn.Conv2d(1, 1, 3), (1, 2, 9), "the module (Conv2d) cannot be read: it has a kernel of shape"),
        (nn.Conv2d(2, 1, 3), (1, 9, 9), "it takes 2 channels in 1 groups; 1 come in"),
        (nn.Conv2d(9, 1, 3), (9, 9), "it has a kernel of shape (1, 9, 3, 3) for an array of shape (9, 9)"),
        (nn.Sequential(nn.Identity(), nn.BatchNorm2d(3)), (2, 4, 4), "layer 1 (BatchNorm2d) cannot be read: it norm"),
        (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 1, 1)), (6,), "layer 0 (Unflatten) cannot be read"),
    ],
)
def test_a_layer_that_does_not_fit_is_named(module: nn.Module, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        verify.read_network(module, input_shape=shape)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["weight", "bias", "running_mean", "running_var"])
def test_an_entry_that_is_not_finite_is_named_with_its_layer(part: str) -> None:
    module = nn.Sequential(nn.Conv1d(1, 2, 2), nn.BatchNorm1d(2), nn.ReLU())
    with torch.no_grad():
        getattr(module[1], part)[1] = float("nan")
    with pytest.raises(ValueError, match=r"layer 1 \(BatchNorm1d\) cannot be read: it has a weight or bias that is"):
        verify.read_network(module, input_shape=(1, 4))


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_kernel_that_is_not_finite_is_refused(part: str) -> None:
    module = nn.Conv1d(1, 2, 2)
    with torch.no_grad():
        getattr(module, part)[1] = float("inf")
    with pytest.raises(ValueError, match=r"the module \(Conv1d\) cannot be read: it has a weight or bias that is"):
        verify.read_network(module, input_shape=(1, 4))
