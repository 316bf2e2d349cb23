"""How torch's functions are called, what kinds of objects are no modules, and types that round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import verify

ROW, IMAGE = (6,), (2, 5, 4)


class Called(nn.Module):
    """A module whose forward is a function of a layer's result."""

    def __init__(self, forward: Callable[..., Any], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.layer = forward, nn.Linear(6, 6) if layer is None else layer
        self.register_buffer("places", torch.tensor([4, 0, 0]))
        self.register_buffer("kept", torch.tensor([True, False, True, True, False, True]))

    def forward(self, x: Tensor) -> Any:
        return self.function(self, self.layer(x))


CALLS: dict[str, tuple[Called, tuple[int, ...]]] = {
    "NumPy's names of axes": (
        Called(lambda m, y: torch.stack([y.sum(axis=1, keepdims=True), y.amax(axis=1).unsqueeze(axis=1)], axis=1)),  # type: ignore[call-arg]
        ROW,
    ),
    "arguments by name": (
        Called(lambda m, y: F.linear(input=torch.relu(input=y), weight=m.layer.weight) + torch.add(y, other=y)),
        ROW,
    ),
    "a choice by name": (Called(lambda m, y: torch.where(condition=y > 0, input=y, other=0.1 * y)), ROW),
    "a mask by name": (Called(lambda m, y: y.masked_fill(mask=y < 0, value=0.0)), ROW),
    "a layer by name": (Called(lambda m, y: m.layer(input=y).relu()), ROW),
    "shapes by name": (
        Called(lambda m, y: y.view(size=(-1, 2, 3)).permute(dims=(0, 2, 1)).reshape(shape=(-1, 6)).relu()),
        ROW,
    ),
    "places in a buffer": (Called(lambda m, y: y[:, m.places].relu() - y[:, m.kept][:, :3]), ROW),
    "pairs of places": (Called(lambda m, y: y.view(-1, 2, 3)[:, [0, 1], [2, 0]].relu()), ROW),
    "shapes of others": (
        Called(lambda m, y: y[:, :1].expand_as(y) + torch.broadcast_to(y[:, 1:2], (y.shape[0], 6)) * y.mT.mT.shape[1]),
        ROW,
    ),
    "matrices turned": (Called(lambda m, y: (m.layer.weight @ y.mT).mT.relu()), ROW),
    "cropped": (Called(lambda m, y: F.pad(y, (-1, 2, 1, -2), value=0.3).relu(), nn.Conv2d(2, 2, 1)), IMAGE),
    "cropped by a layer": (Called(lambda m, y: y.relu(), nn.Sequential(nn.ZeroPad2d((-1, 1, -2, 0)))), IMAGE),
    "a transposed convolution by a function": (
        Called(lambda m, y: F.conv_transpose2d(y, m.layer.weight, None, 2, 1, (1, 0)).relu(), nn.Conv2d(2, 2, 3)),
        IMAGE,
    ),
    "grids of three axes": (
        Called(
            lambda m, y: F.adaptive_max_pool3d(y, (1, 2, 1)),
            nn.Sequential(nn.ConstantPad3d((1, 0, 0, 1, 1, 0), 0.2), nn.AdaptiveAvgPool3d((2, 3, 2))),
        ),
        (2, 3, 4, 3),
    ),
    "patches folded": (
        Called(lambda m, y: y, nn.Sequential(nn.Unfold(2), nn.ReLU(), nn.Fold((5, 4), 2))),
        IMAGE,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_read_as_torch_takes_it(name: str) -> None:
    module, shape = CALLS[name]
    network = verify.read_network(module.double().eval(), input_shape=shape)
    rows = np.random.default_rng(0).standard_normal((50, network.n_inputs)) * 3.0
    with torch.no_grad():
        expected = module(torch.from_numpy(rows).reshape(-1, *shape)).reshape(50, -1).numpy()
    assert np.allclose(network.predict(rows).reshape(50, -1), expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, y: (y * 65536.0).to(torch.int32) / 65536.0,
        lambda m, y: (y * 65536.0).to(dtype=torch.int64) / 65536.0,
        lambda m, y: (y * 65536.0).type_as(m.places) / 65536.0,
        lambda m, y: (y * 65536.0).to(m.places) / 65536.0,
    ],
)
def test_steps_too_fine_for_random_rows_are_refused(forward: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"it makes numbers of type torch\.int\d\d of real ones; expected a type of"):
        verify.read_network(Called(forward))


def test_a_comparison_may_become_whole_numbers() -> None:
    network = verify.read_network(Called(lambda m, y: y * (y > 0).to(torch.int32)))
    assert (network.predict(np.random.default_rng(0).standard_normal((50, 6))) >= 0.0).all()


def test_a_layer_that_is_called_with_more_is_refused() -> None:
    module = Called(lambda m, y: m.layer(y, output_size=(11, 9)), nn.ConvTranspose2d(2, 2, 3, 2, 1))
    with pytest.raises(ValueError, match="layer layer cannot be read: it is called with 2 arguments; expected one"):
        verify.read_network(module, input_shape=(2, 3, 3))


def test_padding_by_copies_crops_nothing() -> None:
    with pytest.raises(ValueError, match=r"it pads by \[-1, 1\] in mode 'replicate'; expected no negative numbers"):
        verify.read_network(Called(lambda m, y: F.pad(y[:, None], (-1, 1), mode="replicate")))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(3), "network is a Tensor of torch; expected a torch.nn.Module"),
        (nn.Linear, "network is the class Linear; expected a torch.nn.Module"),
        (torch.optim.SGD(nn.Linear(2, 1).parameters(), 0.1), "network is a SGD of torch; expected a torch.nn.Module"),
    ],
)
def test_what_is_no_module_is_named(given: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        verify.read_network(given)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_is_refused() -> None:
    module = torch.jit.trace(nn.Linear(2, 1), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="the torch module is a ScriptModule, whose code"):
        verify.read_network(module, input_shape=(2,))


class Compiled(nn.Module):
    """What torch.compile returns, as far as it tells the module; importing its compiler takes half a minute."""

    __module__ = "torch._dynamo.eval_frame"

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, *args: Any) -> Any:
        raise AssertionError("a compiler is asked for")


def test_a_compiled_module_is_the_one_that_was_compiled() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert verify.read_network(Compiled(module)) == verify.read_network(module)


class Shifted(nn.Module):
    """A module of anyone's own that has a part of the name that torch.compile gives."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, x: Tensor) -> Any:
        return self._orig_mod(x) + 5.0


def test_a_part_of_the_name_that_the_compiler_gives_is_not_the_module() -> None:
    inner = nn.Linear(3, 2)
    x = np.ones((1, 3))
    shifted, plain = verify.read_network(Shifted(inner)), verify.read_network(inner)
    assert np.allclose(shifted.predict(x), plain.predict(x) + 5.0)


@pytest.mark.parametrize("module", [nn.Linear(6, 2), Called(lambda m, y: y.relu())])
def test_an_output_that_does_not_exist_is_refused(module: nn.Module) -> None:
    assert verify.read_network(module, output="0").n_inputs == 6
    with pytest.raises(ValueError, match="the torch module returns one array, no output 'extra'"):
        verify.read_network(module, output="extra")
