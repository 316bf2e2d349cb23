"""Torch modules with a forward of their own, traced, beside the module itself in float64."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import verify
from convexnn import SparseReLUNetwork
from verify.reading.graph.agreement import finished
from verify.relu_graph import ReLUGraph


class Function(nn.Module):
    """A module whose forward is a function of its parts."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = forward
        self.weight = nn.Parameter(torch.randn(6, 4))
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class Block(nn.Module):
    """A residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.one(x)) + x)


def looking(m: Any, x: Tensor) -> Tensor:
    """Code that looks at shapes, goes through parts, and makes constants of shapes."""
    assert x.shape[-1] == 6
    x = x if x.dim() == 2 else x.unsqueeze(0)
    rows, *_ = x.shape
    total = sum((part.relu() for part in x.chunk(3, dim=1)), torch.zeros(rows, 2))
    kept = torch.maximum(m.a(x), torch.zeros(len(x), 4)) / np.sqrt(x.shape[1])
    # What weights say is the same for every row.
    kept = kept if m.a.weight.abs().max().item() < 1e9 else -kept
    return torch.cat([total, kept, x.new_ones(rows, 1)], 1)


torch.manual_seed(0)
LIN, ROW, IMAGE = nn.Linear, (6,), (2, 5, 4)

FORWARDS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "sums and differences": (Function(lambda m, x: 1.0 - (x + 2.0 - x / 4.0) * 3.0 - torch.sub(x, x, alpha=2)), ROW),
    "methods": (Function(lambda m, x: x.add(1.0).mul(2.0).sub(x).div(3.0).neg().relu()), ROW),
    "its own parameters": (Function(lambda m, x: torch.relu(x @ m.weight + m.weight.sum(0)) @ m.weight.t()), ROW),
    "addmm": (Function(lambda m, x: torch.addmm(m.weight[0], x, m.weight)), ROW),
    "linear and matmul": (Function(lambda m, x: F.linear(torch.matmul(x, m.weight), m.weight)), ROW),
    "matmul with a vector": (Function(lambda m, x: x @ m.weight[:, 0]), ROW),
    "piecewise linear": (
        Function(lambda m, x: F.relu6(x) + F.hardtanh(x) + F.leaky_relu(x, 0.2) + x.abs() + x.clamp(-0.5, 0.7)),
        ROW,
    ),
    "more of them": (Function(lambda m, x: F.hardsigmoid(x) - torch.clamp(x, min=0.1) + x.clamp_max(0.3)), ROW),
    "extremes of two": (
        Function(lambda m, x: torch.maximum(m.a(x), m.b(x)) - torch.min(m.a(x), m.b(x)), a=LIN(6, 3), b=LIN(6, 3)),
        ROW,
    ),
    "extremes along axes": (
        Function(lambda m, x: x.max(dim=1)[0] - x.amin(dim=1) + torch.min(x, 1)[0]),
        ROW,
    ),
    "sums along axes": (Function(lambda m, x: x.sum(dim=(2, 3)) - x.mean([-1, -2])), IMAGE),
    "joined": (Function(lambda m, x: torch.cat([x, torch.relu(-x)], dim=1)), ROW),
    "stacked": (Function(lambda m, x: torch.stack([x, -x], dim=1).flatten(1)), ROW),
    "parts": (Function(lambda m, x: x[:, 1:5:2] + x[:, [0, 3]] + x[..., -1].unsqueeze(1)), ROW),
    "chunks": (
        Function(lambda m, x: torch.relu(x.chunk(2, dim=1)[0]) - x.split([3, 3], 1)[1] + x.narrow(1, 2, 3)),
        ROW,
    ),
    "orders of axes": (Function(lambda m, x: x.permute(0, 2, 3, 1).transpose(1, 2).reshape(x.size(0), -1)), IMAGE),
    "views": (
        Function(lambda m, x: torch.relu(x).view(x.shape[0], 2, -1).contiguous().flatten(1).unsqueeze(1).squeeze(1)),
        IMAGE,
    ),
    "copies": (Function(lambda m, x: x.unsqueeze(2).expand(-1, -1, 3).flatten(1) + x.repeat(1, 3)), ROW),
    "convolution": (Function(lambda m, x: F.conv2d(x, m.a.weight, m.a.bias, 2, 1), a=nn.Conv2d(2, 3, 3)), IMAGE),
    "transposed convolution": (
        nn.Sequential(nn.ConvTranspose2d(2, 4, 3, (2, 1), 1, (1, 0), groups=2), nn.ReLU()),
        IMAGE,
    ),
    "pools": (Function(lambda m, x: F.max_pool2d(x, 2) - F.avg_pool2d(x, 2) + F.adaptive_avg_pool2d(x, (2, 2))), IMAGE),
    "pools with their options": (
        nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)),
        IMAGE,
    ),
    "coarse grids": (nn.Sequential(nn.AdaptiveAvgPool2d((3, None)), nn.AdaptiveMaxPool2d(2), nn.Flatten()), IMAGE),
    "padding": (nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.ConstantPad2d(1, 0.5), nn.ReflectionPad2d(1)), IMAGE),
    "functional padding": (
        Function(lambda m, x: F.pad(x, (1, 2), value=2.0) + F.pad(x, (2, 1, 0, 0), mode="replicate")),
        IMAGE,
    ),
    "upsampling": (Function(lambda m, x: F.interpolate(x, scale_factor=2) + F.interpolate(x, size=(10, 8))), IMAGE),
    "shuffled pixels": (nn.Sequential(nn.Conv2d(2, 8, 1), nn.PixelShuffle(2), nn.ReLU()), IMAGE),
    "layers of other kinds": (
        nn.Sequential(
            LIN(6, 5), nn.LeakyReLU(), LIN(5, 5), nn.PReLU(5), nn.ReLU6(), nn.Hardsigmoid(), nn.Threshold(0.2, 0.2)
        ),
        ROW,
    ),
    "a slope for each channel": (nn.Sequential(nn.Conv2d(2, 3, 2), nn.PReLU(3)), IMAGE),
    "residual blocks": (
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), Block(3), Block(3), nn.Flatten(), LIN(18, 2)),
        IMAGE,
    ),
    "dropout": (Function(lambda m, x: F.dropout(m.d(torch.relu(x)), training=m.training), d=nn.Dropout()), ROW),
    "choices": (
        Function(
            lambda m, x: (
                torch.where(x > 0.25, x, torch.tensor(0.25))
                + torch.where(x <= 0, 0.3 * x, x)
                + x * (x > 0)
                + x.masked_fill(x < 0, 0.0)
                + torch.where(m.weight[:, 0] > 0, x, -x)
            )
        ),
        ROW,
    ),
    "clamps between arrays": (Function(lambda m, x: torch.clamp(x, m.weight[:, 0], m.weight[:, 0].exp())), ROW),
    "rarer activations": (
        nn.Sequential(LIN(6, 5), nn.RReLU(), nn.Softshrink(0.2), Function(lambda m, x: F.threshold(x, 0.1, 0.1))),
        ROW,
    ),
    "products by indices": (
        Function(
            lambda m, x: (
                torch.einsum("bi,io->bo", x, m.weight)
                + torch.bmm(x.unsqueeze(1), m.weight.unsqueeze(0).expand(x.size(0), -1, -1)).squeeze(1)
                + torch.tensordot(x, m.weight, dims=([1], [0]))
                + torch.inner(x, m.weight.t())
                + torch.addmm(m.weight[0], x, m.weight, beta=2, alpha=0.5)
                + torch.matmul(x.view(-1, 1, 1, 6), m.weight.expand(1, 1, 6, 4)).flatten(1)
            )
        ),
        ROW,
    ),
    "moved entries": (
        Function(
            lambda m, x: (
                torch.flip(x, [1])
                + torch.roll(x, 2, 1)
                + x.index_select(1, torch.tensor([5, 0, 0, 3, 2, 1]))
                + x.select(1, 4).unsqueeze(1)
                + x.view(-1, 2, 3).movedim(1, 2).flatten(1)
                + torch.hstack(x.tensor_split(3, dim=1))
                + x[:, :3].repeat_interleave(2, dim=1)
                + torch.cumsum(x, 1)
                + torch.lerp(x, -x, 0.25)
            )
        ),
        ROW,
    ),
    "norms": (
        Function(
            lambda m, x: torch.norm(x, p=1, dim=1, keepdim=True) - torch.linalg.vector_norm(x, float("inf"), 1)[:, None]
        ),
        ROW,
    ),
    "values of extremes": (Function(lambda m, x: x.view(x.shape[0], 3, 2).max(dim=2).values), ROW),
    "code that looks at shapes": (
        Function(looking, a=LIN(6, 4)),
        ROW,
    ),
    "patches and borders": (
        nn.Sequential(
            nn.ReplicationPad2d(1),
            nn.CircularPad2d((1, 0, 0, 1)),
            nn.Conv2d(2, 4, 2, padding=1, padding_mode="circular"),
            nn.ChannelShuffle(2),
            nn.Conv2d(4, 1, 2, padding="same", padding_mode="reflect"),
            nn.InstanceNorm2d(1, track_running_stats=True),
            nn.Unfold(2, stride=2),
        ),
        IMAGE,
    ),
    "smooth upsampling": (
        nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelUnshuffle(2), nn.ReLU()),
        IMAGE,
    ),
    "tanh": (Function(lambda m, x: torch.tanh(m.a(x)), a=LIN(6, 3)), ROW),
    "softmax": (Function(lambda m, x: torch.softmax(m.a(x), dim=-1), a=LIN(6, 3)), ROW),
    "log-softmax of a block": (nn.Sequential(Function(lambda m, x: x - x.relu()), LIN(6, 3), nn.LogSoftmax(1)), ROW),
    "sigmoid, and a shape": (Function(lambda m, x: torch.sigmoid(m.a(x)).squeeze(-1), a=LIN(6, 1)), ROW),
    "a tuple of one": (Function(lambda m, x: (torch.relu(x),)), ROW),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_a_module_is_what_it_computes(name: str) -> None:
    module, shape = FORWARDS[name]
    module = module.double().train()
    network = verify.read_network(module, input_shape=shape)
    assert all(part.training for part in module.modules())
    rows = np.random.default_rng(0).uniform(-3.0, 3.0, (5, *shape))
    with torch.no_grad():
        result: Any = module.eval()(torch.tensor(rows))
    expected = (result[0] if isinstance(result, tuple) else result).numpy().reshape(5, -1)
    found = network.activations(rows.reshape(5, -1))[-1]
    found = found if network.final is None else finished(found, network.final)
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(expected).max()))


def test_kinds_of_networks() -> None:
    blocks = verify.read_network(FORWARDS["residual blocks"][0].double(), input_shape=IMAGE)
    # What a block passes on is never below zero: ReLUs carry it.
    assert type(blocks) is SparseReLUNetwork
    assert isinstance(verify.read_network(FORWARDS["layers of other kinds"][0].double()), ReLUGraph)
    final = verify.read_network(FORWARDS["softmax"][0].double())
    assert final.final == "softmax"
    assert final.notes == ("the softmax at the end is left out: outputs are what comes before it",)


def test_the_first_layer_tells_the_shape_of_a_row() -> None:
    assert verify.read_network(Function(lambda m, x: m.a(x).relu(), a=LIN(6, 3))).n_inputs == 6
    with pytest.raises(ValueError, match=r"layer a \(Conv2d\) does not tell the shape of a row; expected input_shape"):
        verify.read_network(Function(lambda m, x: m.a(x).relu(), a=nn.Conv2d(1, 2, 3)))


def deciding(m: Function, x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Function(lambda m, x: x * torch.relu(x)), "the operation mul (mul) cannot be read: it multiplies two values"),
        (Function(lambda m, x: x / x), "cannot be read: it divides by a value that the network computes"),
        (Function(lambda m, x: torch.exp(x)), "the operation exp (exp) cannot be read: it is not continuous and pi"),
        (
            Function(lambda m, x: torch.where(x > 1, x, 0.1 * x)),
            "it chooses between values that are not known to be eq",
        ),
        (
            Function(lambda m, x: torch.where(x > 0, x + 1, x)),
            "it chooses between values that are not known to be equal",
        ),
        (Function(lambda m, x: x * (x > 1)), "it chooses between values that are not known to be equal"),
        (Function(lambda m, x: m.a(x).argmax(1), a=LIN(6, 3)), "it sorts entries or gives their places"),
        (Function(lambda m, x: torch.einsum("bi,bi->b", x, x)), "it multiplies two values that the network computes"),
        (nn.Sequential(nn.LazyLinear(3)), "has lazy layers whose sizes are not known; expected a module that has run"),
        (Function(lambda m, x: torch.softmax(x, 1) * 2.0), "it acts on what a softmax, sigmoid or tanh makes"),
        (
            Function(lambda m, x: m.a(torch.sigmoid(x)), a=LIN(6, 2)),
            "layer a cannot be read: it acts on what a sigmoid",
        ),
        (Function(lambda m, x: F.dropout(x)), "it is in training mode, as F.dropout is by default"),
        (Function(deciding), "the module (Function) cannot be traced by torch.fx"),
        (Function(lambda m, x: m.a(x), a=nn.GELU()), "layer a cannot be read: it is a GELU; expected Linear, ReLU"),
        (Function(lambda m, x: (x, x)), "the torch module returns several outputs; expected output= one of: '0', '1'"),
        (Function(lambda m, x: x.sum(0, keepdim=True)), "the torch module returns shape"),
        (Function(lambda m, x: m.weight), "the torch module returns a Parameter; expected one array that depends on x"),
        (
            nn.Sequential(LIN(6, 3), nn.Sigmoid(), LIN(3, 2)),
            "layer 2 (Linear) cannot be read: it acts on what a sigmoid",
        ),
        (nn.Sequential(LIN(6, 3), nn.Threshold(0.1, 20.0)), "layer 1 (Threshold) cannot be read: it jumps"),
    ],
)
def test_what_is_not_piecewise_linear_is_named(module: nn.Module, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        verify.read_network(module, input_shape=ROW)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "asks",
    [
        lambda x: x.max().item() > 50.0,
        lambda x: x.tolist()[0][0] > 50.0,
        lambda x: not torch.allclose(x, x.clamp(-50.0, 50.0)),
        lambda x: not torch.equal(x, x.clamp(-50.0, 50.0)),
    ],
)
def test_a_branch_on_a_number_of_the_row_is_refused(asks: Callable[[Tensor], bool]) -> None:
    # No random row of the comparison comes to the other branch.
    module = Function(lambda m, x: -m.a(x) if asks(x) else m.a(x), a=LIN(6, 2))
    with pytest.raises(ValueError, match=r"of the numbers of a row\); expected a forward without branches"):
        verify.read_network(module, input_shape=ROW)


def clamping_a_view(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    y.view(-1, 2)[:, 0].clamp_(-50.0, 50.0)
    return y


def adding_to_another_name(m: Any, x: Tensor) -> Tensor:
    y = z = m.a(x)
    z += torch.relu(y - 50.0)
    return y if len(x.shape) == 2 else z


def calling_a_layer(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    m.b(y)
    return y


def telling_a_function(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    F.hardtanh(y, -50.0, 50.0, True)
    return y


@pytest.mark.parametrize("forward", [clamping_a_view, adding_to_another_name, calling_a_layer, telling_a_function])
def test_what_is_changed_in_place_and_used_by_another_name_is_refused(forward: Callable[..., Any]) -> None:
    # Random rows do not come to where the change makes a difference.
    module = Function(forward, a=LIN(6, 2), b=nn.Hardtanh(-50.0, 50.0, inplace=True))
    with pytest.raises(ValueError, match="changes a value in place, and the module returns it afterwards"):
        verify.read_network(module, input_shape=ROW)


def test_results_of_changes_in_place_are_read() -> None:
    def changing(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.a(x), inplace=True)
        y += y.mean(1, keepdim=True)
        y = m.b(F.dropout(y.mul_(2.0), 0.5, False, True))
        y /= 3.0
        y -= x[:, :3]
        y *= 2.0
        return y.clamp_(-0.1, 0.2) + x[:, 3:]

    module = Function(changing, a=LIN(6, 3), b=nn.Dropout(inplace=True))
    network = verify.read_network(module)
    rows = torch.randn(20, 6)
    with torch.no_grad():
        assert np.allclose(network.predict(rows.numpy()), module.eval()(rows).numpy(), atol=1e-5)


class TwoInputs(nn.Module):
    """A module of two inputs."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_a_module_of_two_inputs_is_refused() -> None:
    with pytest.raises(ValueError, match="takes the inputs x, y; expected a shape for each"):
        verify.read_network(TwoInputs())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_module_of_short_numbers_is_held_against_itself_in_float32(kind: torch.dtype) -> None:
    module = nn.Sequential(LIN(6, 5), nn.ReLU(), LIN(5, 2)).to(kind)
    rows = torch.randn(4, 6)
    network = verify.read_network(module)
    with torch.no_grad():
        expected = nn.Sequential(LIN(6, 5), nn.ReLU(), LIN(5, 2))
        expected.load_state_dict(module.state_dict())
        assert np.allclose(network.predict(rows), expected(rows), atol=1e-5)
    assert all(parameter.dtype == kind for parameter in module.parameters())


def test_one_of_several_outputs() -> None:
    pair = Function(lambda m, x: (m.a(x), x.relu()), a=LIN(6, 3))
    assert verify.read_network(pair, output="1").n_outputs == 6
    named = Function(lambda m, x: {"scores": m.a(x), "hidden": x.relu()}, a=LIN(6, 3))
    assert verify.read_network(named, output="scores").n_outputs == 3
    with pytest.raises(ValueError, match="no output 'score'; expected output= one of: 'scores', 'hidden'"):
        verify.read_network(named, output="score")


def test_a_scaled_input_tells_the_shape_of_a_row() -> None:
    assert verify.read_network(Function(lambda m, x: m.a((x.float() - 0.5) / 2.0), a=LIN(6, 3))).n_inputs == 6


def test_a_module_stays_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), Block(3), nn.Flatten(), LIN(18, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    names = [name for name, _ in module.named_modules()]
    verify.read_network(module, input_shape=IMAGE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert [name for name, _ in module.named_modules()] == names
    assert all(part.training and not part._forward_hooks for part in module.modules())
