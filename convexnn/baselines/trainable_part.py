"""The part of a network in training that steps can change: without idle neurons, without inputs that nobody sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convexnn.baselines.masked_network import MaskedNetwork
from convexnn.fitting.layers import Layers


@dataclass(frozen=True, eq=False)
class TrainablePart:
    """A smaller network that trains just as the whole does.

    A neuron without weights to inputs (and without a bias) gives nothing, one without weights to outputs gets no
    gradient: neither moves, and nothing moves because of them.

    Attributes
    ----------
    model : MaskedNetwork
        The part, on parameters of its own.
    inputs : Tensor (d',)
        The inputs that it sees.
    indices : Tensor (P,)
        Where its parameters are among those of the whole.
    """

    model: MaskedNetwork
    inputs: Tensor
    indices: Tensor

    @classmethod
    def of(cls, whole: MaskedNetwork) -> TrainablePart | None:
        """Return the part that can change, None where there is none: no way leads from an input to an output."""
        layers, units = whole.layers, _live_units(whole)
        if units is None:
            return None
        blocks, biases = layers.split(torch.arange(len(whole.kept), device=whole.kept.device))
        pairs = zip(blocks, units, units[1:], strict=False)
        weights = [block[after][:, before].flatten() for block, before, after in pairs]
        indices = torch.cat([*weights, *biases])
        part = Layers(tuple(map(len, units)), layers.parameters[indices], layers.bias)
        return cls(MaskedNetwork(part, whole.kept[indices], whole.free[indices]), units[0], indices)

    def write_back(self, whole: MaskedNetwork) -> None:
        """Set the parameters of the whole to those of the part."""
        whole.layers.parameters[self.indices] = self.model.layers.parameters


def _live_units(whole: MaskedNetwork) -> list[Tensor] | None:
    """Return the inputs that are seen, the neurons of each hidden layer that are not idle, and all outputs.

    None where a layer has no weight left. A neuron with a bias is never idle for want of inputs: all of them stay then.
    """
    layers, used = whole.layers, whole.kept.clone()
    weights = used[: layers.n_weights]
    while not layers.bias and bool((idle := layers.idle(used)).any()):
        weights &= ~idle
    masks = layers.split(used)[0]
    if not layers.bias and not all(bool(mask.any()) for mask in masks):
        return None
    everything = [torch.arange(size, device=used.device) for size in layers.sizes]
    hidden = everything[1:-1] if layers.bias else [mask.any(1).nonzero().flatten() for mask in masks[:-1]]
    return [masks[0].any(0).nonzero().flatten(), *hidden, everything[-1]]
