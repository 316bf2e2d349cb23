"""The part of a network in training that steps can change: without idle neurons, without inputs that nobody sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convexnn.baselines.masked_network import Trainee
from convexnn.fitting.layers import Layers


@dataclass(frozen=True, eq=False)
class LivePart:
    """A smaller network that trains just as the whole does.

    A neuron without weights to inputs (and without a bias) gives nothing, one without weights to outputs gets no
    gradient: neither moves, and nothing moves because of them.

    Attributes
    ----------
    trainee : Trainee
        The part, on parameters of its own.
    inputs : Tensor (d',)
        The inputs that it sees.
    places : Tensor (P,)
        Where its parameters are among those of the whole.
    """

    trainee: Trainee
    inputs: Tensor
    places: Tensor

    @classmethod
    def of(cls, whole: Trainee) -> LivePart | None:
        """Return the live part, None where there is none: no way leads from an input to an output."""
        layers, used = whole.layers, whole.kept.clone()
        weights = used[: layers.n_weights]
        # A neuron with a bias is never idle for want of inputs.
        while not layers.bias and bool((idle := layers.idle(used)).any()):
            weights &= ~idle
        masks = layers.split(used)[0]
        if not layers.bias and not all(bool(mask.any()) for mask in masks):
            return None
        everything = [torch.arange(size, device=used.device) for size in layers.sizes]
        inputs = masks[0].any(0).nonzero().flatten()
        hidden = everything[1:-1] if layers.bias else [mask.any(1).nonzero().flatten() for mask in masks[:-1]]
        lives = [inputs, *hidden, everything[-1]]
        blocks, ends = layers.split(torch.arange(len(used), device=used.device))
        parts = [
            block[after][:, before].flatten() for block, before, after in zip(blocks, lives, lives[1:], strict=False)
        ]
        places = torch.cat([*parts, *ends])
        sizes = tuple(map(len, lives))
        part = Layers(sizes, layers.parameters[places], layers.bias)
        return cls(Trainee(part, whole.kept[places], whole.free[places]), inputs, places)

    def write_back(self, whole: Trainee) -> None:
        """Set the parameters of the whole to those of the part."""
        whole.layers.parameters[self.places] = self.trainee.layers.parameters
