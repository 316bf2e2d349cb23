"""The layers of a network in training: one flat vector of parameters, and the kernels over its views."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layers:
    """h_0 = x, h_l = relu(W_l h_{l-1} + b_l), no ReLU at the end.

    Attributes
    ----------
    sizes : tuple of int
        Inputs, hidden neurons of each layer, outputs.
    parameters : Tensor (N,)
        All weights W_l (out, in), layer by layer, then all biases.
    bias : bool
        Whether there are biases.
    """

    sizes: tuple[int, ...]
    parameters: Tensor
    bias: bool

    @classmethod
    def zero(cls, sizes: tuple[int, ...], bias: bool, dtype: torch.dtype) -> Layers:
        """Return layers without weights."""
        count = sum(before * after for before, after in pairwise(sizes)) + bias * sum(sizes[1:])
        return cls(sizes, torch.zeros(count, dtype=dtype), bias)

    @classmethod
    def random(cls, sizes: tuple[int, ...], bias: bool, like: Tensor, generator: torch.Generator) -> Layers:
        """Return layers with weights N(0, 2 / in), the last N(0, 1 / in), and no biases yet."""
        layers = cls.zero(sizes, bias, like.dtype)
        for weight, inputs in zip(layers.weights, sizes, strict=False):
            gain = 1.0 if weight is layers.weights[-1] else 2.0
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=like.dtype) * (gain / inputs) ** 0.5)
        return layers.with_parameters(layers.parameters.to(like.device))

    def with_parameters(self, parameters: Tensor) -> Layers:
        """Return layers of these sizes with other parameters (N,)."""
        return Layers(self.sizes, parameters, self.bias)

    def monotone_signs(self, monotonic: Tensor) -> Tensor:
        """Return the sign (N,) that each parameter has to have where outputs rise in some inputs and fall in others.

        `monotonic` (d,) is 1 where they are to rise, -1 where they are to fall, 0 where they may do as they like, and
        so is what is returned. Each neuron gets the sign that its weights on the way to the outputs have most of, s,
        those of inputs are given and those of outputs 1: with s_a w_ab s_b >= 0 for all weights w_ab, every path from
        an input to an output has the input's sign, and the slope is a sum over paths.
        """
        signs = [self.parameters.new_ones(self.sizes[-1])]
        for weight in reversed(self.weights[1:]):
            signs.insert(0, torch.where(signs[0] @ weight < 0.0, -1.0, 1.0).to(weight))
        signs.insert(0, monotonic.to(self.parameters))
        parts = [torch.outer(after, before).flatten() for before, after in pairwise(signs)]
        return torch.cat([*parts, self.parameters[self.n_weights :] * 0.0])

    def turned(self, monotonic: Tensor) -> Layers:
        """Return layers with signs turned as :meth:`monotone_signs` wants them, every other neuron of either sign."""
        even = self.with_parameters(self.parameters.clone())
        even.weights[-1].abs_()[:, 1::2] *= -1.0
        signs = even.monotone_signs(monotonic)
        return self.with_parameters(torch.where(signs == 0.0, self.parameters, self.parameters.abs() * signs))

    def keeping(self, signs: Tensor | None) -> Layers:
        """Return layers without the parameters that do not have the `signs` (N,) they are to have, if any."""
        return self if signs is None else self.with_parameters(with_signs(self.parameters, signs))

    def narrowed(self, width: int) -> Layers:
        """Return the layers without the weakest neurons of hidden layers of more than `width`."""
        chosen = [torch.arange(self.sizes[0], device=self.parameters.device)]
        for before, after in pairwise(self.weights):
            strength = before.norm(dim=1) * after.norm(dim=0)
            chosen.append(strength.topk(min(width, len(strength))).indices.sort().values)
        chosen.append(torch.arange(self.sizes[-1], device=self.parameters.device))
        weights = [
            weight[after][:, before] for weight, (before, after) in zip(self.weights, pairwise(chosen), strict=True)
        ]
        biases = [bias[after] for bias, after in zip(self.biases, chosen[1:], strict=False)]
        flat = torch.cat([part.flatten() for part in (*weights, *biases)])
        return Layers(tuple(map(len, chosen)), flat, self.bias)

    @property
    def n_weights(self) -> int:
        """Number of weights, the first so many parameters."""
        return sum(before * after for before, after in pairwise(self.sizes))

    @property
    def nnz(self) -> int:
        """Number of nonzero weights."""
        return int(torch.count_nonzero(self.parameters[: self.n_weights]))

    @cached_property
    def weights(self) -> list[Tensor]:
        """The weights of each layer (out, in): views of the parameters."""
        return self.split(self.parameters)[0]

    @cached_property
    def biases(self) -> list[Tensor]:
        """The biases of each layer (out,): views of the parameters; empty where there are none."""
        return self.split(self.parameters)[1]

    def split(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return views of a vector that is laid out as the parameters: one for each weight, one for each bias."""
        shapes = [(after, before) for before, after in pairwise(self.sizes)]
        pieces = flat[: self.n_weights].split([rows * columns for rows, columns in shapes])
        weights = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return weights, list(flat[self.n_weights :].split(self.sizes[1:])) if self.bias else []

    def forward(self, rows: Tensor) -> list[Tensor]:
        """Return h_0, ..., h_L for rows (n, d), the outputs last."""
        values = [rows]
        for index, weight in enumerate(self.weights):
            affine = values[-1] @ weight.T
            if self.bias:
                affine += self.biases[index]
            values.append(affine.relu_() if index < len(self.weights) - 1 else affine)
        return values

    def gradient(self, values: list[Tensor], slope: Tensor) -> Tensor:
        """Return the gradient (N,) in the parameters, given h_0, ..., h_L and the slope dL/dh_L (n, k)."""
        flat = torch.empty_like(self.parameters)
        weights, biases = self.split(flat)
        for index in reversed(range(len(weights))):
            torch.mm(slope.T, values[index], out=weights[index])
            if self.bias:
                torch.sum(slope, 0, out=biases[index])
            if index:
                slope = (slope @ self.weights[index]).mul_(values[index] > 0.0)
        return flat

    def idle(self, kept: Tensor) -> Tensor:
        """Return which weights in a mask `kept` (N,) of 0 and 1 are of neurons without inputs or without outputs."""
        masks = self.split(kept)[0]
        idle = [torch.zeros_like(mask, dtype=torch.bool) for mask in masks]
        for index, (before, after) in enumerate(pairwise(masks)):
            useless = ~(before.any(1) & after.any(0))
            idle[index] |= useless[:, None]
            idle[index + 1] |= useless
        return torch.cat([part.flatten() for part in idle]) & (kept[: self.n_weights] > 0.0)


def with_signs(parameters: Tensor, signs: Tensor) -> Tensor:
    """Return parameters (N,), those at zero that do not have their sign in `signs` (N,), where 0 is any."""
    return torch.where(parameters * signs < 0.0, 0.0, parameters)
