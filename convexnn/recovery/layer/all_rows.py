"""All rows of the data, read in blocks and never held at unit scale: of this process, and of other ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats, Ints
from convexnn.recovery.layer.problem import Problem
from convexnn.recovery.layer.ranks import Ranks
from convexnn.tiles import row_tiles

# Numbers of a block and of what is made of it: 32 MiB.
BLOCK = 1 << 22


@dataclass(frozen=True, eq=False)
class AllRows:
    """Rows (n, d) and a target (n,), as they are given, and what brings them to root mean square 1.

    Attributes
    ----------
    rows : numpy.ndarray (n, d)
        Of this rank; a memory map stays one.
    target : numpy.ndarray (n,)
        Of this rank.
    n_rows : int
        Over all ranks.
    device : torch.device
        Of blocks.
    ranks : Ranks
        Those that hold rows.
    stop : callable
        Asked before each block, or of several ranks before each pass: what is cut short is None.
    scale : numpy.ndarray (d,)
        The root mean square of each column, over all ranks.
    height : float
        That of the target.
    """

    rows: Floats
    target: Floats
    n_rows: int
    device: torch.device
    ranks: Ranks
    stop: Callable[[], bool]
    scale: Floats = field(default_factory=lambda: np.ones(1))
    height: float = 1.0

    def evaluate(self, weights: Tensor, signs: Tensor) -> RowsEvaluation | None:
        """Return the loss of a network at unit scale, None where time is up."""
        total, live = weights.new_zeros(1), self._read(weights)
        for block in self._blocks(live, len(weights)):
            if block is None:
                return None
            rows, target = block
            total += (target - torch.relu(rows @ weights[:, live].T) @ signs).square().sum()
        return RowsEvaluation(self, weights, signs, float(self.ranks.total(total)) / self.n_rows)

    def equations(self, weights: Tensor, signs: Tensor, support: tuple[Tensor, ...]) -> tuple[Tensor, Tensor] | None:
        """Return J J^T and J r as :func:`convexnn.recovery.layer.problem.normal_equations`, None where time is up."""
        gates, live = support[0], self._read(weights)
        features = torch.searchsorted(live, support[1])
        gram, slope = weights.new_zeros((len(gates), len(gates))), weights.new_zeros(len(gates))
        for block in self._blocks(live, len(weights) + 2 * len(gates)):
            if block is None:
                return None
            rows, target = block
            linear = rows @ weights[:, live].T
            slopes = rows.T[features] * ((linear > 0.0).to(rows.dtype) * signs).T[gates]
            gram += slopes @ slopes.T
            slope += slopes @ (target - torch.relu(linear) @ signs)
        return self.ranks.total(gram), self.ranks.total(slope)

    def sample(self, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return some rows (size, d), of all ranks in their order, and their targets, as they are given."""
        if self.ranks.group is None:
            index = slice(None) if size == self.n_rows else _chosen(rng, self.n_rows, size)
            return self.rows[index], self.target[index]
        index = self.ranks.shared(lambda: _chosen(rng, self.n_rows, size))
        first = sum(self.ranks.counts(len(self.rows))[: self.ranks.place])
        here = np.flatnonzero((index >= first) & (index < first + len(self.rows)))
        values = np.zeros((size, self.rows.shape[1] + 1))
        values[here, :-1], values[here, -1] = self.rows[index[here] - first], self.target[index[here] - first]
        values = self.ranks.summed(values)
        return np.ascontiguousarray(values[:, :-1]), values[:, -1].copy()

    def scaled(self, rows: Floats, target: Floats) -> Problem:
        """Return the problem of some rows, at unit scale; rows that are a copy already are scaled where they are."""
        out = None if np.may_share_memory(rows, self.rows) else rows
        inputs = torch.as_tensor(np.divide(rows, self.scale, out=out), device=self.device)
        return Problem(inputs, torch.as_tensor(target / self.height, device=self.device))

    def _read(self, weights: Tensor) -> Tensor:
        """Return the features that a network reads."""
        return torch.nonzero((weights != 0.0).any(0))[:, 0]

    def _blocks(self, live: Tensor, n_columns: int) -> Iterator[tuple[Tensor, Tensor] | None]:
        """Yield some features of the rows, and the target, in blocks; None, as the last, where time is up."""
        alone, features = self.ranks.group is None, live.cpu().numpy()
        if not alone and self.ranks.agreed(self.stop):
            yield None
            return
        for part in row_tiles(len(self.rows), len(features) + n_columns, BLOCK):
            if alone and self.stop():
                yield None
                return
            rows = self.rows[part].take(features, axis=1) / self.scale[features]
            target = self.target[part] / self.height
            yield torch.as_tensor(rows, device=self.device), torch.as_tensor(target, device=self.device)


def _chosen(rng: np.random.Generator, n_rows: int, size: int) -> Ints:
    """Return so many of the rows, in their order."""
    return np.sort(rng.choice(n_rows, size=size, replace=False)) if size < n_rows else np.arange(n_rows)


@dataclass(frozen=True, eq=False)
class RowsEvaluation:
    """What a network makes of all rows: its loss, the mean square of what it leaves."""

    rows: AllRows
    weights: Tensor
    signs: Tensor
    loss: float

    def equations(self, support: tuple[Tensor, ...]) -> tuple[Tensor, Tensor] | None:
        """Return J J^T (s, s) and J r (s,) for the weights of a support, None where time is up."""
        return self.rows.equations(self.weights, self.signs, support)
