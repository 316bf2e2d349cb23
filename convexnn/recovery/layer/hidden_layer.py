"""The hidden layer of a one-output network in search of its weights: live neurons, and gates that wait for one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from convexnn.recovery.layer.problem import NEGLIGIBLE, Problem

# 1 - cosine below which neurons count as parallel: looser in float32, where such pairs are mostly one neuron twice.
PARALLEL = {torch.float32: 1e-4, torch.float64: 1e-14}


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    """f(x) = sum_j signs_j relu(x . weights_j), and for every empty block a gate at which a neuron may be revived.

    Attributes
    ----------
    weights : Tensor (p, d)
        Input weights at unit scale, a zero row for an empty block.
    signs : Tensor (p,)
        Output weights, +1 or -1.
    gates : Tensor (p, d)
        The gate of each empty block; rows of live ones are not read.
    """

    weights: Tensor
    signs: Tensor
    gates: Tensor

    @classmethod
    def empty(cls, problem: Problem, gates: Tensor, signs: Tensor) -> HiddenLayer:
        """Return empty blocks for `gates` (p, d), to be revived with `signs` (p,)."""
        return cls(problem.rows.new_zeros(gates.shape), signs, gates)

    @cached_property
    def live(self) -> Tensor:
        """Which blocks hold a neuron, (p,)."""
        return (self.weights != 0.0).any(1)

    @property
    def effective_gates(self) -> Tensor:
        """The gates of all blocks, (p, d): the weights of live ones, by which a gate follows its neuron."""
        return torch.where(self.live[:, None], self.weights, self.gates)

    @cached_property
    def nnz(self) -> int:
        """Number of nonzero weights."""
        return int(torch.count_nonzero(self.weights))

    @cached_property
    def n_live(self) -> int:
        """Number of live neurons."""
        return int(self.live.sum())

    def know(self, **counts: int) -> None:
        """Take `nnz` or `n_live` as somebody has read it together with other numbers: the host waits for each read."""
        self.__dict__.update(counts)

    def select(self, chosen: Tensor) -> HiddenLayer:
        """Return the blocks at `chosen`, a mask or indices."""
        return HiddenLayer(self.weights[chosen], self.signs[chosen], self.gates[chosen])

    def compact(self, width: int) -> HiddenLayer:
        """Return the live neurons, of more than `width` those with the longest weights."""
        alive = self.select(self.live)
        if len(alive.signs) <= width:
            return alive
        return alive.select(alive.weights.norm(dim=1).topk(width).indices.sort().values)

    def concatenate(self, other: HiddenLayer) -> HiddenLayer:
        """Return the blocks of both."""
        pairs = ((self.weights, other.weights), (self.signs, other.signs), (self.gates, other.gates))
        return HiddenLayer(*(torch.cat(pair) for pair in pairs))

    def to(self, dtype: torch.dtype) -> HiddenLayer:
        """Return this layer in another precision."""
        return HiddenLayer(self.weights.to(dtype), self.signs.to(dtype), self.gates.to(dtype))


def without_linear_neurons(problem: Problem, hidden: HiddenLayer) -> HiddenLayer:
    """Return the neurons of which something is left beside a linear function of the rows, more than rounding."""
    linear = problem.linear(hidden.weights)
    left = problem.project(torch.relu(linear).T).square().sum(1)
    return hidden.select(left > NEGLIGIBLE[linear.dtype] ** 2 * linear.square().sum(0))


def merge_parallel(hidden: HiddenLayer) -> HiddenLayer:
    """Return the layer with neurons of one direction made one: they have one pattern, and share its budget for nothing.

    a relu(x . u) + b relu(x . c u) = sign(a + b c) relu(x . |a + b c| u) for signs a, b and c > 0.
    """
    # Empty blocks have no direction: their cosines are not numbers, and above nothing.
    unit = hidden.weights / hidden.weights.norm(dim=1, keepdim=True)
    parallel = torch.triu(unit @ unit.T, diagonal=1) > 1.0 - PARALLEL[unit.dtype]
    told = torch.cat([hidden.live, parallel.any()[None]]).cpu().numpy()
    hidden.know(n_live=int(told[:-1].sum()))
    if not told[-1]:
        return hidden
    weights, signs, gone = hidden.weights.clone(), hidden.signs.clone(), set[int]()
    for first, second in torch.nonzero(parallel).tolist():
        if gone & {first, second}:
            continue
        gone.add(second)
        weights[first] += signs[first] * signs[second] * weights[second]
        weights[second] = 0.0
        if weights[first] @ hidden.weights[first] < 0.0:
            weights[first], signs[first] = -weights[first], -signs[first]
    return HiddenLayer(weights, signs, hidden.gates)
