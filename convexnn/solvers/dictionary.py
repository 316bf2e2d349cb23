"""The columns of A as hard thresholding sees them: of unit norm, chosen by size, under the limits of a budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from convexnn.losses import Loss
from convexnn.memory import Memory, memory_estimate
from convexnn.operator import PatternOperator
from convexnn.patterns import gate_tiles
from convexnn.program import ConvexProgram
from convexnn.selection import Candidates, capped, largest
from convexnn.tiles import STREAM_ENTRIES


@dataclass(frozen=True)
class Dictionary:
    """The columns of A scaled to unit norm, so that selection does not depend on the units of a feature.

    A flat index (j d + i) k + c stands for the column of gate j and feature i in output c. `targets` (n, k) are numbers
    over `scale`, their norm, or labels, with scale 1. `cap` is the most entries of one gate and output, None for any,
    `memory` what a run holds.
    """

    operator: PatternOperator
    loss: Loss
    targets: Tensor
    scale: float
    cap: int | None
    memory: Memory

    @property
    def n_outputs(self) -> int:
        """k."""
        return self.targets.shape[1]

    @cached_property
    def inverse(self) -> Tensor:
        """1 / column norm, (m, d), the same for all outputs; 0 where a column is not owned or zero on the data."""
        norms = self.operator.column_norms()
        return norms.masked_fill_(norms == 0.0, torch.inf).reciprocal_()

    def largest(self, values: Tensor, count: int) -> Tensor:
        """Return the flat indices of the `count` largest magnitudes that the cap allows, ascending.

        Of equal ones the first. Columns that are 0 are never among them: where they would be, fewer come back.
        """
        sizes = self._sizes(values.unflatten(0, (-1, *self._block)), self.inverse)
        return largest(self._capped(sizes).flatten(), count)

    def gradient(self, residual: Tensor, support: Tensor, count: int) -> Candidates:
        """Return A^T r over unit columns where a step from `support` that keeps at most `count` entries can choose.

        That is everywhere; of a gradient that is not to be held, or under a cap, at the support and at the `count`
        largest entries elsewhere that the cap allows. An entry of the support can use up the cap for a larger one
        elsewhere only if it is larger still, and so is chosen itself: no place is ever left for entries beyond those.
        """
        if self.cap is None and self.inverse.numel() * self.n_outputs <= self._stream:
            return Candidates(self._existing, self.correlations(residual)[self._existing])
        entries = int(np.prod(self._block))
        best, own = Candidates(support[:0], residual[:0, 0]), residual.new_empty(len(support))
        for gates in gate_tiles(entries, self.operator.in_shape[0], self._stream, multiple=8):
            block = self.operator.adjoint_pages(residual, gates).permute(1, 2, 0) * self.inverse[gates][:, :, None]
            values, sizes, first = block.flatten(), self._sizes(block, self.inverse[gates]), gates.start * entries
            here = (support >= first) & (support < gates.stop * entries)
            own[here] = values[support[here] - first]
            sizes.view(-1)[support[here] - first] = -1.0
            places = largest(self._capped(sizes).flatten(), count)
            best = best.merged(places + first, values[places], count)
        return best.with_entries(support, own)

    def chosen(self, moved: Candidates, count: int) -> Candidates:
        """Return the `count` largest entries that the cap allows, the weights after a step."""
        if self.cap is None:
            return moved.chosen(count)
        k = self.n_outputs
        return moved.chosen(count, moved.indices // int(np.prod(self._block)) * k + moved.indices % k, self.cap)

    @cached_property
    def _existing(self) -> Tensor:
        """Flat indices of the columns that are not 0."""
        return torch.nonzero(self.inverse.flatten().repeat_interleave(self.n_outputs)).flatten()

    @property
    def _stream(self) -> int:
        """Entries of a gradient that are held at one time."""
        return min(STREAM_ENTRIES, self.operator.tile_entries)

    @property
    def _block(self) -> tuple[int, int]:
        """(d, k), the shape of the weights of one gate."""
        return self.operator.in_shape[1], self.n_outputs

    def _sizes(self, block: Tensor, inverse: Tensor) -> Tensor:
        """Return |values| (g, d, k), contiguous, -1 where the column is 0."""
        return torch.where(inverse[:, :, None] > 0.0, block.abs(), -1.0).contiguous()

    def _capped(self, sizes: Tensor) -> Tensor:
        """Return sizes (g, d, k), -1 where the cap allows others alone."""
        return sizes if self.cap is None else capped(sizes, self.cap)

    def columns(self, support: Tensor) -> Tensor:
        """Return the unit columns at `support`, shape (n, s)."""
        places = support // self.n_outputs
        return self.operator.columns(places).mul_(self.inverse.flatten()[places])

    def predict(self, columns: Tensor, support: Tensor, weights: Tensor) -> Tensor:
        """Return the prediction (n, k) of weights (s,) on unit columns (n, s)."""
        if self.n_outputs == 1:
            return (columns @ weights)[:, None]
        spread = columns.new_zeros((len(support), self.n_outputs))
        spread[torch.arange(len(support), device=support.device), support % self.n_outputs] = weights
        return columns @ spread

    def residual(self, prediction: Tensor) -> Tensor:
        """Return -n dL/dp (n, k): target less prediction for the squared loss."""
        return -len(self.targets) * self.loss.gradient(prediction, self.targets)

    def correlations(self, residual: Tensor) -> Tensor:
        """Return A^T r over unit columns, flat (m d k,)."""
        return (self.operator.adjoint_pages(residual).permute(1, 2, 0) * self.inverse[:, :, None]).flatten()

    def objective(self, prediction: Tensor) -> float:
        """Return the loss in the units of the program."""
        return self.scale**2 * self.loss.value(prediction, self.targets)


def open_dictionary(program: ConvexProgram, *, device: str, dtype: str, memory_limit: int) -> Dictionary:
    """Return the dictionary of a program with a budget; a ValueError where `memory_limit` bytes are too few for a run.

    The other options are those of the operator, whose masks have what the rest of the run leaves of the memory.
    """
    memory = memory_estimate(program, dtype=dtype, memory_limit=memory_limit, device=device)
    operator = PatternOperator(
        program.X,
        program.patterns,
        device=device,
        dtype=dtype,
        memory_limit=memory.masks,
        units=_units(program.rows),
        entries=memory.entries,
    )
    scale = 1.0 if program.classes is not None else float(np.linalg.norm(program.targets))
    targets = operator.tensor(program.targets / scale)
    return Dictionary(operator, program.loss, targets, scale, program.budget_per_neuron, memory)


def _units(X: Floats) -> Floats:
    """Return the scale of each feature, a power of two: dividing by it is exact."""
    peaks = np.maximum(X.max(axis=0), -X.min(axis=0))
    return np.exp2(np.round(np.log2(np.where(peaks > 0.0, peaks, 1.0))))
