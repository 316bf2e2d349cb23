"""Reading networks: torch modules and files, held against the originals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm

import verify
from tests.helpers import zoo

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((20, 6)).astype(np.float32)


class Residual(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]
        return out


MODULES = {
    "linear": nn.Linear(6, 2),
    "one hidden layer": nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1)),
    "no bias": nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)),
    "nested, with neutral layers": nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Dropout(0.5)), nn.Identity(), nn.Linear(4, 3)
    ),
    "two affine layers in a row": nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)),
    "a residual": Residual(nn.Linear(6, 6), nn.ReLU()),
    "a ReLU at both ends": nn.Sequential(nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 2), nn.ReLU()),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_torch_module_keeps_its_function(name: str) -> None:
    module = MODULES[name].eval()
    network = verify.read_network(module)
    with torch.no_grad():
        expected = module(torch.tensor(ROWS)).numpy()
    assert np.allclose(network.predict(ROWS).reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.GELU())), "layer 1.0 is a GELU; expected Linear, ReLU"),
        (nn.GELU(), "the module is a GELU; expected Linear, ReLU"),
        (nn.Sequential(nn.ReLU()), "the torch module has no affine layer"),
        (nn.Sequential(nn.Linear(6, 4), nn.Linear(5, 2)), "layer 1 (Linear) cannot be read: it takes 5 entries; 4"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(5, 2)), "layer 2 (Linear) cannot be read: it takes 5"),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 3)), "layer 1 (Conv2d) does not tell the shape of a row; expected"),
        (nn.Sequential(nn.Unflatten(1, (-1, 3))), "layer 0 (Unflatten) does not tell the shape of a row"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(6, 4)), "layer 0 (Flatten) cannot be read: it flattens axes 0 to -1"),
        (nn.Sequential(nn.Linear(6, 4), nn.Flatten(), nn.BatchNorm1d(3)), "layer 2 (BatchNorm1d) cannot be read"),
        (nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False)), "it keeps no running statistics"),
    ],
)
def test_an_unsupported_torch_layer_is_named_with_its_position(module: nn.Module, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        verify.read_network(module)


def test_weights_that_are_not_finite_are_refused_even_where_a_zero_hides_them() -> None:
    broken, blind = nn.Linear(2, 2), nn.Linear(2, 1)
    nn.init.constant_(broken.weight, float("nan"))
    nn.init.zeros_(blind.weight)
    with pytest.raises(ValueError, match=r"layer 0 \(Linear\) cannot be read: it has .* that is not finite"):
        verify.read_network(nn.Sequential(broken, blind))


class Leaky(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.01 * x - 1e-9)


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    module[0].register_forward_hook(lambda layer, inputs, output: 3 * output)
    return module


def patched() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    # Unlike relu only far from any row that a comparison would try.
    module[1].forward = lambda x: torch.where(x < 1e4, torch.relu(x), -x)
    return module


class Called(nn.Linear):
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return super().__call__(x) if len(x) > 1 else -super().__call__(x)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(6, 6), Leaky(), nn.Linear(6, 2)),
        hooked(),
        patched(),
        Called(6, 2),
    ],
)
def test_a_module_that_computes_something_else_than_its_layers_is_refused(module: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"has a forward hook; expected|it chooses between values|looks at shapes"):
        verify.read_network(module)


def test_pruned_weights_are_those_of_the_next_forward_pass() -> None:
    source, target = (nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)) for _ in range(2))
    for module in (source, target):
        prune.l1_unstructured(module[0], "weight", amount=0.5)
    target.load_state_dict(source.state_dict())
    network = verify.read_network(target)
    with torch.no_grad():
        assert np.allclose(network.predict(ROWS), source(torch.tensor(ROWS)).numpy(), atol=1e-5)


def test_modes_and_statistics_stay_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 1))
    module[2].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    verify.read_network(module)
    assert [part.training for part in module.modules()] == [True, True, True, False, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_weights_that_a_mode_computes_are_those_of_eval_mode() -> None:
    # In training mode a look at such a weight takes a step of the power iteration and changes it.
    module = nn.Sequential(spectral_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    network = verify.read_network(module)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    with torch.no_grad():
        assert np.allclose(network.predict(ROWS), module.eval()(torch.tensor(ROWS)).numpy(), atol=1e-5)


def test_a_module_that_trains_on_in_eval_mode_is_read_as_in_eval_mode() -> None:
    class Stubborn(nn.Sequential):
        def train(self, mode: bool = True) -> Stubborn:
            return self

    module = Stubborn(nn.BatchNorm1d(6), nn.Linear(6, 2))
    network = verify.read_network(module)
    assert torch.equal(module.state_dict()["0.running_mean"], torch.zeros(6))
    for part in module:
        part.eval()
    with torch.no_grad():
        assert np.allclose(network.predict(ROWS), module(torch.tensor(ROWS)).numpy(), atol=1e-5)


def test_a_module_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer 0 \(Linear\) cannot be read"):
        verify.read_network(nn.Sequential(nn.Linear(6, 4, device="meta")))


class TestFiles:
    def test_what_convexnn_writes_is_read_back(self, tmp_path: Path) -> None:
        network = zoo.network((6, 4, 3), density=0.5)
        exact = verify.read_network(str(network.save(tmp_path / "net.npz")))
        rounded = verify.read_network(network.to_onnx(tmp_path / "net.onnx"))
        assert np.array_equal(exact.predict(ROWS), network.predict(ROWS))
        assert np.allclose(rounded.predict(ROWS), network.predict(ROWS), atol=1e-5)
        assert verify.read_network(network) is network

    @pytest.mark.parametrize("name", ["none.npz", "none.onnx"])
    def test_a_missing_file(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            verify.read_network(tmp_path / name)

    def test_other_files_and_types(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(b"not a model")
        (tmp_path / "net.pt").write_bytes(b"not a network")
        with pytest.raises(ValueError, match="is not an ONNX file"):
            verify.read_network(tmp_path / "net.onnx")
        with pytest.raises(ValueError, match=r"has the ending '.pt'; expected .npz, .onnx or .onnx.gz"):
            verify.read_network(tmp_path / "net.pt")
        with pytest.raises(TypeError, match="network is a list; expected a SparseReLUNetwork"):
            verify.read_network([1, 2])

    @pytest.mark.parametrize("shape", [6, (), "6", (6.0,), (0,)])
    def test_an_input_shape_that_is_none(self, shape: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"input_shape is .*; expected"):
            verify.read_network(nn.Linear(6, 2), input_shape=shape)

    def test_an_input_shape_without_a_module(self) -> None:
        with pytest.raises(ValueError, match="input_shape is given; expected it with a torch module or an ONNX"):
            verify.read_network(zoo.network((6, 4, 3)), input_shape=(6,))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (nn.Linear(2, 2).state_dict(), "weights alone? make the module, module.load_state_dict(...)"),
        ([(np.eye(2), np.zeros(2))], "weights and biases? convexnn.SparseReLUNetwork([(W1, b1), (W2, b2)])"),
        (lambda x: x, "a function? read_network knows networks alone"),
    ],
)
def test_what_is_no_network_is_told_what_to_do(source: Any, words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        verify.read_network(source)


@pytest.mark.parametrize(
    ("name", "words"),
    [("m.pth", "torch.onnx.export"), ("m.h5", "tf2onnx"), ("m.joblib", "load the estimator in Python")],
)
def test_a_file_of_another_library_is_told_what_to_do(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=re.escape(words)):
        verify.read_network(tmp_path / name)
