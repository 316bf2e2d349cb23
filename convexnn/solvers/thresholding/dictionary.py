"""The columns of A as hard thresholding sees them: of unit norm, chosen by size, under the limits of a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convexnn.checks import Floats, Ints
from convexnn.linear.combination import Combination
from convexnn.linear.operator import PatternOperator
from convexnn.linear.selection import Candidates, Chosen, Pick, Unseen, capped, largest, read_largest
from convexnn.patterns.activation_patterns import gate_tiles
from convexnn.program.convex_program import ConvexProgram
from convexnn.program.losses import Loss
from convexnn.program.memory import Memory, memory_estimate
from convexnn.program.neurons import to_numpy
from convexnn.solvers.thresholding.whitening import Whitening, whitened
from convexnn.tiles import STREAM_ENTRIES, is_multiplied_out

# Power iterations for the norm of A, at most; the rise of their estimate, from below, at which they end, and the factor
# by which it is raised then.
POWER_ITERATIONS = 200
SETTLED = 1e-4
CAUTION = 1.05


# Unit columns (n, s), or their sums without them.
Columns = Tensor | Combination


@dataclass(frozen=True)
class Dictionary:
    """The columns of A scaled to unit norm, so that selection does not depend on the units of a feature.

    A flat index (j d + i) k + c stands for the column of gate j and feature i in output c. `targets` (n, k) are numbers
    over `scale`, their norm, or labels, with scale 1. `budget` is the most entries, `cap` the most of one gate and
    output, None for any. `memory` is what a run on plain rows holds. With a `whitening`, norms and correlations are
    those of its metric.
    """

    operator: PatternOperator
    loss: Loss
    targets: Tensor
    scale: float
    budget: int
    cap: int | None
    memory: Memory
    whitening: Whitening | None = None

    @property
    def n_outputs(self) -> int:
        """k."""
        return self.targets.shape[1]

    @cached_property
    def known_targets(self) -> Floats:
        """The targets on the host, in float64, for fits."""
        return to_numpy(self.targets)

    @cached_property
    def inverse_norms(self) -> Tensor:
        """1 / column norm, flat (m d k,); 0 where a column is not owned or zero on the data."""
        norms = self.operator.column_norms() if self.whitening is None else self.whitening.norms.clone()
        inverse = norms.masked_fill_(norms == 0.0, torch.inf).reciprocal_().flatten()
        return inverse if self.n_outputs == 1 else inverse.repeat_interleave(self.n_outputs)

    @property
    def norms(self) -> Tensor:
        """Column norms, flat (m d k,); 0 where a column is not owned or zero on the data."""
        return torch.where(self.inverse_norms > 0.0, 1.0 / self.inverse_norms, 0.0)

    @cached_property
    def squared_operator_norm(self) -> float:
        """||A||^2 over unit columns in the metric of the correlations, by power iterations, a little above it."""
        vector, estimate = self.targets / np.sqrt(max(float(self.squared_length(self.targets)), 1e-300)), 0.0
        for _ in range(POWER_ITERATIONS):
            weights = (self.correlations(vector) * self.inverse_norms).reshape(*self.operator.in_shape, self.n_outputs)
            moved = self.operator.forward_per_output(weights.permute(2, 0, 1))
            length = float(self.squared_length(moved)) ** 0.5
            if length <= (1.0 + SETTLED) * estimate:
                break
            vector, estimate = moved / length, length
        return CAUTION * estimate if estimate > 0.0 else 1.0

    def whitened(self, ridge: float) -> Dictionary:
        """Return this dictionary in the metric of its whitened rows."""
        return replace(self, whitening=whitened(self.operator, ridge))

    def largest(self, values: Tensor, count: int) -> Tensor:
        """Return the flat indices of the `count` largest magnitudes that the cap allows, ascending.

        Of equal ones the first. Columns that are 0 are never among them: where they would be, fewer come back.
        """
        return largest(self._allowed(values), count)

    def read_largest(self, values: Tensor, count: int) -> Chosen:
        """Return what :meth:`largest` does, on the host too."""
        return read_largest(self._allowed(values), count)

    def _allowed(self, values: Tensor) -> Tensor:
        """Return the magnitudes, flat, -1 where the column is 0 or the cap allows others alone."""
        return self._capped(self._sizes(values, self.inverse_norms)).flatten()

    def gradient(self, residual: Tensor, support: Tensor, count: int) -> Candidates:
        """Return the correlations with `residual` where a step from `support` that keeps `count` entries can choose.

        That is everywhere; of a gradient that is not to be held, or under a cap, at the support and at the `count`
        largest entries elsewhere that the cap allows. An entry of the support can use up the cap for a larger one
        elsewhere only if it is larger still, and so is chosen itself: no place is ever left for entries beyond those.
        """
        if self.cap is None and len(self.inverse_norms) <= self._stream:
            values, existing = self.correlations(residual), self._existing
            whole = len(existing) == len(values)
            return Candidates(existing, values if whole else values[existing], whole)
        unseen, measured = Unseen(), self._measured(residual)
        found = self._streamed(measured, support, count, unseen.largest)
        return found if unseen.are_right() else self._streamed(measured, support, count, largest)

    def _streamed(self, measured: Tensor, support: Tensor, count: int, pick: Pick) -> Candidates:
        """Return the correlations at a support and the `count` largest elsewhere, a tile of gates at a time.

        Where the cap or a tile may leave fewer than those, they are picked with a look.
        """
        entries = int(np.prod(self._block))
        best, own = Candidates(support[:0], measured[:0, 0]), measured.new_empty(len(support))
        for gates in gate_tiles(entries, self.operator.in_shape[0], self._stream, multiple=8):
            first, last = gates.start * entries, gates.stop * entries
            inverse = self.inverse_norms[first:last]
            values = self.operator.adjoint_per_output(measured, gates).permute(1, 2, 0).flatten() * inverse
            sizes = self._sizes(values, inverse)
            here, place = (support >= first) & (support < last), (support - first).clamp(0, last - first - 1)
            own = torch.where(here, values[place], own)
            sizes.view(-1).scatter_reduce_(0, place, torch.where(here, -1.0, torch.inf).to(sizes.dtype), "amin")
            few = self.cap is not None or self._existing_in(gates) <= count + len(support)
            places = (largest if few else pick)(self._capped(sizes).flatten(), count)
            best = best.merged(places + first, values[places], count, pick)
        return best.with_entries(support, own)

    def chosen(self, moved: Candidates, count: int) -> Candidates:
        """Return the `count` largest entries that the cap allows, the weights after a step."""
        return moved.take(largest(self.sizes(moved), count))

    def sizes(self, moved: Candidates) -> Tensor:
        """Return the magnitudes of the weights after a step, -1 where the cap allows others alone."""
        if self.cap is None:
            return moved.sizes()
        k = self.n_outputs
        return moved.sizes(moved.indices // int(np.prod(self._block)) * k + moved.indices % k, self.cap)

    @cached_property
    def _existing(self) -> Tensor:
        """Flat indices of the columns that are not 0."""
        return torch.nonzero(self.inverse_norms).flatten()

    @cached_property
    def _existing_before(self) -> Ints:
        """How many columns that are not 0 come before each gate, (m + 1,), on the host."""
        counts = (self.inverse_norms.view(self.operator.in_shape[0], -1) > 0.0).sum(1).cpu().numpy()
        return np.concatenate([[0], counts.cumsum()])

    def _existing_in(self, gates: slice) -> int:
        """Return how many columns of some gates are not 0."""
        return int(self._existing_before[gates.stop] - self._existing_before[gates.start])

    @property
    def _stream(self) -> int:
        """Entries of a gradient that are held at one time."""
        return min(STREAM_ENTRIES, self.operator.tile_entries)

    @property
    def _block(self) -> tuple[int, int]:
        """(d, k), the shape of the weights of one gate."""
        return self.operator.in_shape[1], self.n_outputs

    def _sizes(self, values: Tensor, inverse: Tensor) -> Tensor:
        """Return |values| as (g, d, k), -1 where the column is 0; both are flat."""
        return torch.where(inverse > 0.0, values.abs(), -1.0).unflatten(0, (-1, *self._block))

    def _capped(self, sizes: Tensor) -> Tensor:
        """Return sizes (g, d, k), -1 where the cap allows others alone."""
        return sizes if self.cap is None else capped(sizes, self.cap)

    def columns(self, support: Tensor) -> Tensor:
        """Return the unit columns at `support`, shape (n, s)."""
        return self.operator.columns(support // self.n_outputs).mul_(self.inverse_norms[support])

    def holds(self, support: Ints) -> bool:
        """Whether columns are held: not where products over whole gates are less work than they."""
        k, n_features = self.n_outputs, self._block[0]
        pairs = len(np.unique(support // (n_features * k) * k + support % k))
        return not is_multiplied_out(pairs * n_features, self.budget)

    def products(self, support: Tensor, held: bool) -> Columns:
        """Return the unit columns at `support`, or what goes without them."""
        return self.columns(support) if held else self.operator.combination(support, self.n_outputs)

    def predict(self, columns: Columns, support: Tensor, weights: Tensor) -> Tensor:
        """Return the prediction (n, k) of weights (s,) on unit columns."""
        if isinstance(columns, Combination):
            return columns.weighted(weights * self.inverse_norms[support])
        if self.n_outputs == 1:
            return (columns @ weights)[:, None]
        spread = columns.new_zeros((len(support), self.n_outputs))
        spread[torch.arange(len(support), device=support.device), support % self.n_outputs] = weights
        return columns @ spread

    def residual(self, prediction: Tensor) -> Tensor:
        """Return -n dL/dp (n, k): target less prediction for the squared loss."""
        return -len(self.targets) * self.loss.gradient(prediction, self.targets)

    def correlations(self, residual: Tensor) -> Tensor:
        """Return A^T r over unit columns, flat (m d k,); A^T (A A^T + shift I)^-1 r with a whitening."""
        products = self.operator.adjoint_per_output(self._measured(residual))
        return products.permute(1, 2, 0).flatten() * self.inverse_norms

    def squared_length(self, change: Tensor) -> Tensor:
        """Return the squared length of a change (n, k) of the prediction, in the metric of the correlations.

        A number of the device, in float64 like all that steps are decided by.
        """
        return (change * self._measured(change)).sum().double()

    def _measured(self, residual: Tensor) -> Tensor:
        """Return (A A^T + shift I)^-1 r with a whitening, else r."""
        return residual if self.whitening is None else self.whitening.solve(residual)

    def objective(self, prediction: Tensor) -> float:
        """Return the loss in the units of the program, whitened or not."""
        return self.objective_of(float(self.loss.total(prediction, self.targets)))

    def objective_of(self, total: float) -> float:
        """Return the loss in the units of the program, of the sum of that of the rows."""
        return self.scale**2 * (total / len(self.targets))


def open_dictionary(
    program: ConvexProgram,
    *,
    device: str,
    dtype: str,
    memory_limit: int,
    rows: NDArray[np.int64] | None = None,
) -> Dictionary:
    """Return the dictionary of a program with a budget, on all rows or some of them.

    A ValueError where `memory_limit` bytes are too few for a run. The other options are those of the operator, whose
    masks have what the rest of the run leaves of the memory.
    """
    assert program.budget is not None
    memory = memory_estimate(program, dtype=dtype, memory_limit=memory_limit, device=device)
    X, targets = (program.X, program.targets) if rows is None else (program.X[rows], program.targets[rows])
    operator = PatternOperator(
        X,
        program.patterns,
        device=device,
        dtype=dtype,
        memory_limit=memory.masks,
        units=root_mean_squares(program.rows),
        entries=memory.entries,
    )
    norm = float(np.linalg.norm(targets))
    scale = norm if program.classes is None and norm > 0.0 else 1.0
    return Dictionary(
        operator,
        program.loss,
        operator.tensor(targets / scale),
        scale,
        program.budget,
        program.budget_per_neuron,
        memory,
    )


def root_mean_squares(X: Floats) -> Floats:
    """Return the root mean square of each feature, 1 where it is zero: in these units no feature outweighs others."""
    peaks = np.maximum(X.max(axis=0), -X.min(axis=0))
    units = np.ones(X.shape[1])
    for feature in np.flatnonzero(peaks):
        # A column at a time: a copy of the data is a good part of what a run may hold.
        units[feature] = peaks[feature] * np.sqrt(np.square(X[:, feature] / peaks[feature]).mean())
    return units
