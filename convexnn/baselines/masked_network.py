"""A network in training with a mask: what is pruned stays zero, what is given stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convexnn.fitting.layers import Layers
from convexnn.network import SparseReLUNetwork


@dataclass(frozen=True, eq=False)
class MaskedNetwork:
    """Layers with a mask over their parameters.

    Attributes
    ----------
    layers : Layers
        The network; its parameters are changed in place.
    kept : Tensor (N,) of bool
        Parameters that are not pruned; biases never are.
    free : Tensor (N,) of bool
        Parameters that are trained where they are kept: all but a last layer that is given.
    """

    layers: Layers
    kept: Tensor
    free: Tensor

    @classmethod
    def random(
        cls,
        sizes: tuple[int, ...],
        bias: bool,
        signs: Tensor | None,
        device: torch.device,
        generator: torch.Generator,
    ) -> MaskedNetwork:
        """Return a dense network as torch begins one: weights and biases uniform within 1 / sqrt(inputs).

        With `signs` (width,) the last layer is these signs, without a bias.
        """
        layers = Layers.zero(sizes, bias, torch.float32)
        weights, biases = layers.split(layers.parameters)
        for index, inputs in enumerate(sizes[:-1]):
            for part in (weights[index], *biases[index : index + 1]):
                part.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
        layers = layers.with_parameters(layers.parameters.to(device))
        free = torch.ones_like(layers.parameters, dtype=torch.bool)
        if signs is not None:
            for part, frozen in ((layers.parameters, signs), (free, torch.zeros_like(signs, dtype=torch.bool))):
                views, ends = layers.split(part)
                views[-1][0] = frozen
                if bias:
                    ends[-1].zero_()
        return cls(layers, torch.ones_like(free), free)

    @property
    def counted(self) -> Tensor:
        """Which weights a budget counts (W,), bool."""
        return self.free[: self.layers.n_weights]

    @property
    def nnz(self) -> int:
        """Number of nonzero weights that a budget counts."""
        weights = self.layers.parameters[: self.layers.n_weights]
        return int(torch.count_nonzero(weights * self.counted))

    @property
    def n_kept(self) -> int:
        """Number of weights that a budget counts and the mask keeps."""
        return int(torch.count_nonzero(self.kept[: self.layers.n_weights] & self.counted))

    def keep_largest(self, budget: int) -> None:
        """Prune to the `budget` weights of largest magnitude among those kept, all layers together."""
        count = self.layers.n_weights
        mask = self.kept[:count]
        scores = torch.where(mask & self.counted, self.layers.parameters[:count].abs(), -1.0)
        best = torch.zeros_like(mask)
        best[scores.topk(budget, sorted=False).indices] = True
        mask &= best | ~self.counted
        self.apply()

    def apply(self) -> None:
        """Zero what is pruned."""
        self.layers.parameters.mul_(self.kept)

    def rewind(self, parameters: Tensor) -> None:
        """Go back to earlier parameters (N,), the mask kept."""
        self.layers.parameters.copy_(parameters)
        self.apply()

    def copy(self) -> MaskedNetwork:
        """Return a copy that trains on its own."""
        return MaskedNetwork(self.layers.with_parameters(self.layers.parameters.clone()), self.kept.clone(), self.free)

    def network(self) -> SparseReLUNetwork:
        """Return the network as it is, with all of its neurons."""
        weights = [weight.double().cpu().numpy() for weight in self.layers.weights]
        biases = [bias.double().cpu().numpy() for bias in self.layers.biases]
        ends = biases or [np.zeros(size) for size in self.layers.sizes[1:]]
        return SparseReLUNetwork(list(zip(weights, ends, strict=True)))
