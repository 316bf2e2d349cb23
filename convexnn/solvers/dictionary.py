"""The columns of A as hard thresholding sees them: of unit norm, chosen by size, under the limits of a budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from convexnn.checks import Floats
from convexnn.losses import Loss
from convexnn.operator import PatternOperator
from convexnn.program import ConvexProgram


@dataclass(frozen=True)
class Dictionary:
    """The columns of A scaled to unit norm, so that selection does not depend on the units of a feature.

    A flat index (j d + i) k + c stands for the column of gate j and feature i in output c. `targets` (n, k) are numbers
    over `scale`, their norm, or labels, with scale 1. `cap` is the most entries of one gate and output, None for any.
    """

    operator: PatternOperator
    loss: Loss
    targets: Tensor
    scale: float
    cap: int | None

    @property
    def n_outputs(self) -> int:
        """k."""
        return self.targets.shape[1]

    @cached_property
    def norms(self) -> Tensor:
        """Column norms, flat (m d k,); 0 where a column is not owned or zero on the data."""
        return self.operator.column_norms().flatten().repeat_interleave(self.n_outputs)

    @cached_property
    def inverse(self) -> Tensor:
        """1 / column norm, 0 where that is 0."""
        return torch.where(self.norms > 0.0, 1.0 / self.norms, 0.0)

    def largest(self, values: Tensor, count: int) -> Tensor:
        """Return the flat indices of the `count` largest magnitudes that the cap allows, ascending.

        Columns that are 0 are never among them: where they would be, fewer come back.
        """
        candidates = torch.where(self.norms > 0.0, values.abs(), -1.0)
        if self.cap is not None:
            candidates = self._capped(candidates, self.cap)
        chosen = torch.topk(candidates, count, sorted=False)
        return chosen.indices[chosen.values >= 0.0].sort().values

    def _capped(self, candidates: Tensor, cap: int) -> Tensor:
        """Return the candidates with all but the `cap` largest of each gate and output at -1."""
        blocks = candidates.reshape(*self.operator.in_shape, self.n_outputs)
        best = torch.topk(blocks, min(cap, blocks.shape[1]), dim=1)
        return torch.full_like(blocks, -1.0).scatter_(1, best.indices, best.values).flatten()

    def columns(self, support: Tensor) -> Tensor:
        """Return the unit columns at `support`, shape (n, s)."""
        return self.operator.columns(support // self.n_outputs) * self.inverse[support]

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
        return self.operator.adjoint_pages(residual).permute(1, 2, 0).flatten() * self.inverse

    def objective(self, prediction: Tensor) -> float:
        """Return the loss in the units of the program."""
        return self.scale**2 * self.loss.value(prediction, self.targets)


def open_dictionary(program: ConvexProgram, *, device: str, dtype: str, memory_limit: int) -> Dictionary:
    """Return the dictionary of a program with a budget; the options are those of the operator."""
    operator = PatternOperator(
        program.X, program.patterns, device=device, dtype=dtype, memory_limit=memory_limit, units=_units(program.rows)
    )
    scale = 1.0 if program.classes is not None else float(np.linalg.norm(program.targets))
    targets = operator.tensor(program.targets / scale)
    return Dictionary(operator, program.loss, targets, scale, program.budget_per_neuron)


def _units(X: Floats) -> Floats:
    """Return the scale of each feature, a power of two: dividing by it is exact."""
    peaks = np.abs(X).max(axis=0)
    return np.exp2(np.round(np.log2(np.where(peaks > 0.0, peaks, 1.0))))
