"""The relaxation: bounds of subproblems as differentiable functions of their slopes and multipliers, in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.bounds.crown import RelaxedLayer, Split, crown_upper, relax_affine, relax_layers
from verify.bounds.layer_bounds import of_units
from verify.branching.projected_adam import ProjectedAdam
from verify.branching.subproblems import Subproblems
from verify.regions.box import Box
from verify.regions.intervals import EPS, Interval

# Bounds are searched in float32; what they are is then computed anew in float64.
DTYPE = torch.float32

# Weights of neurons that can be active beyond which a network is not bounded so: they are held as dense arrays.
LARGEST = 1 << 25

# The first step in the slopes of lower lines, and in the weights of functions, which are between 0 and 1.
LOW_RATE = 0.25

# What of a subproblem the gradient steps improve.
IMPROVED = ("alpha", "beta", "multipliers", "weights")


def can_branch(network: SparseReLUNetwork, known: Sequence[Interval]) -> bool:
    """Whether a network can be split: hidden layers of moderate size, finite bounds, neurons that can switch."""
    hidden = of_units(network, known[:-1])
    live = [network.n_inputs, *(int(layer.live.sum()) for layer in hidden)]
    switch = any(len(layer.switching) for layer in hidden)
    finite = all(layer.finite for layer in hidden)
    return switch and finite and sum(a * b for a, b in pairwise(live)) <= LARGEST


@dataclass(frozen=True, eq=False)
class TorchLayer:
    """A hidden layer of n neurons that can be active, u of which can switch: p = W h' + b and their lines.

    `weight` (n, k), `bias` (n,), the indices `unstable` (u,) of those that switch, and the lines of these, (u,) each.
    The neurons pass max(p, `floor`) on, minus infinity at linear units.
    """

    weight: Tensor
    bias: Tensor
    floor: Tensor | float
    unstable: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor
    lower_slope: Tensor


@dataclass(frozen=True, eq=False)
class LinearBounds:
    """Bounds as linear functions, and what they met on their way back to the inputs.

    Attributes
    ----------
    value : Tensor (r,)
        The bounds.
    peaks : Tensor (r, d)
        Inputs where the linear bound is largest over the region; where linear constraints hold, they have a price in
        it instead, and are not held.
    slopes : list of Tensor (r, n)
        For each hidden layer the slopes of the bound in its values.
    """

    value: Tensor
    peaks: Tensor
    slopes: list[Tensor]


class Relaxation:
    """Linear functions rows @ outputs + offsets of a network over a region, bounded by lines around every ReLU.

    Parameters
    ----------
    network, region : SparseReLUNetwork, Box
        As in :func:`verify.bound`; at least one hidden layer.
    rows, offsets : ndarray (t, k), ndarray (t,)
        The functions.
    known : sequence of Interval
        Finite pre-activation bounds of the layers.
    members : ndarray (g, t) of bool, optional
        The functions of each of g conjunctions, which are bounded in place of single functions.

    Notes
    -----
    Where c_i >= 0 together, every mean sum w_i c_i is, w >= 0 of sum 1: its bound is one of the least c_i. The weights
    of each subproblem are improved with its slopes and multipliers; the best ones are those of a game between them and
    the inputs (minimax), so that a mean can be below 0 everywhere where no c_i is.
    """

    def __init__(
        self,
        network: SparseReLUNetwork,
        region: Box,
        rows: Floats,
        offsets: Floats,
        known: Sequence[Interval],
        members: NDArray[np.bool_] | None = None,
    ) -> None:
        self.region, self.rows, self.offsets = region, rows, offsets
        known = of_units(network, known[: len(network.layers) - 1])
        self.hidden = relax_layers(network.layers[:-1], known, region)
        self.last = relax_affine(network.layers[-1], self.hidden[-1].heights if self.hidden else region.reach)
        live = [bounds.take(layer.live) for layer, bounds in zip(self.hidden, known, strict=True)]
        self.unstable = [bounds.switching for bounds in live]
        self.sizes = [len(neurons) for neurons in self.unstable]
        kept = [np.ones(network.n_inputs, dtype=bool), *(layer.live for layer in self.hidden)]
        self.torch_layers = [_torch_layer(*parts) for parts in zip(self.hidden, kept, live, strict=False)]
        weight, bias = network.layers[-1]
        self.top = _tensor(np.asarray(rows @ weight)[:, kept[-1]])
        self.base = _tensor(rows @ bias + offsets)
        self.members = None if members is None else torch.as_tensor(members)
        cut = region.constraints
        self.cut = _tensor(np.asarray(cut.rows.toarray()) / region.norms[:, None])
        self.sides = _tensor(cut.upper / region.norms)

    def roots(self) -> Subproblems:
        """Return one subproblem for each function, or each conjunction, the whole region."""
        count, total = len(self.offsets if self.members is None else self.members), sum(self.sizes)
        alpha = torch.cat([layer.lower_slope for layer in self.torch_layers]).repeat(count, 1)
        free = torch.zeros((count, total), dtype=DTYPE)
        upper = torch.full((count,), float("inf"), dtype=torch.float64)
        multipliers = torch.zeros((count, len(self.sides)), dtype=DTYPE)
        weights = torch.zeros((count, 0), dtype=DTYPE) if self.members is None else self.members.to(DTYPE)
        batch = Subproblems(upper, torch.arange(count), free, alpha, free.clone(), multipliers, weights)
        if not len(self.sides):
            return batch
        with torch.no_grad():
            slope, _ = self._back(batch)[:2]
        found = self.region.multipliers(slope.double().numpy()) * self.region.norms
        return replace(batch, multipliers=_tensor(found))

    def linear_bounds(self, batch: Subproblems) -> LinearBounds:
        """Return the bounds of subproblems, differentiable in `alpha`, `beta`, `multipliers` and `weights`."""
        slope, offset, slopes = self._back(batch)
        if len(self.sides):
            slope, offset = slope - batch.multipliers @ self.cut, offset + batch.multipliers @ self.sides
        peaks = self._peaks(slope.detach())
        # The best point of a linear function may be taken as fixed: so may it for the slope of its value.
        return LinearBounds(offset + (slope * peaks).sum(dim=1), peaks, slopes[::-1])

    def _back(self, batch: Subproblems) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the bounds as functions of the inputs, slopes (r, d) and offsets (r,), and all slopes met."""
        slope, offset = self._tops(batch)
        fields = [field.split(self.sizes, dim=1)[::-1] for field in (batch.phase, batch.alpha, batch.beta)]
        slopes = []
        for layer, phase, alpha, beta in zip(self.torch_layers[::-1], *fields, strict=True):
            slopes.append(slope)
            own, free = slope[:, layer.unstable], phase == 0.0
            lines = torch.where(free, torch.where(own > 0.0, layer.upper_slope, alpha), (phase > 0.0).to(DTYPE))
            offset = offset + (own.clamp(min=0.0) * free) @ layer.upper_intercept
            along = slope.index_copy(1, layer.unstable, own * lines + beta * phase)
            offset, slope = offset + along @ layer.bias, along @ layer.weight
        return slope, offset, slopes

    def _tops(self, batch: Subproblems) -> tuple[Tensor, Tensor]:
        """Return what is bounded as functions of the last hidden values, slopes (r, n) and offsets (r,)."""
        if self.members is None:
            return self.top[batch.target], self.base[batch.target]
        shares = shares_of(batch.weights, self.members[batch.target])
        return shares @ self.top, shares @ self.base

    def _peaks(self, slopes: Tensor) -> Tensor:
        return _tensor(self.region.base.peaks(slopes.double().numpy()))

    def with_peaks_inside(self, bounds: LinearBounds) -> LinearBounds:
        """Return the bounds with their peaks moved to the region, where linear constraints cut them off."""
        if not len(self.sides):
            return bounds
        return replace(bounds, peaks=_tensor(self.region.project(bounds.peaks.double().numpy())))

    def gaps(self, batch: Subproblems, bounds: LinearBounds) -> tuple[Tensor, Tensor]:
        """Return the functions (r,) at the peaks, and by how much the lines of each neuron (r, u) miss them there.

        Of a conjunction it is the least function. The gaps of neurons that are split already are -1, of the others at
        least 0 or NaN; these and the rest add up to the bound minus what is bounded.
        """
        values, gaps = bounds.peaks, []
        fields = [field.split(self.sizes, dim=1) for field in (batch.phase, batch.alpha)]
        for layer, slope, phase, alpha in zip(self.torch_layers, bounds.slopes, *fields, strict=True):
            before = values @ layer.weight.T + layer.bias
            values = before.clamp(min=layer.floor)
            own, rise, height = slope[:, layer.unstable], before[:, layer.unstable], values[:, layer.unstable]
            above = torch.where(own > 0.0, layer.upper_slope * rise + layer.upper_intercept, alpha * rise)
            # Rounding may say that lines cut their neuron: no reason to prefer one that is split.
            gaps.append(torch.where(phase == 0.0, (own * (above - height)).clamp(min=0.0), -1.0))
        return self._least(batch, values), torch.cat(gaps, dim=1)

    def _least(self, batch: Subproblems, values: Tensor) -> Tensor:
        """Return the functions (r,) at last hidden values (r, n), of a conjunction the least one."""
        if self.members is None:
            return (self.top[batch.target] * values).sum(dim=1) + self.base[batch.target]
        every = values @ self.top.T + self.base
        return every.masked_fill(~self.members[batch.target], float("inf")).amin(dim=1)

    def proven(self, batch: Subproblems) -> Tensor:
        """Return upper bounds (r,) of the subproblems in float64, rounded outward."""
        fields = [
            np.split(field.double().numpy(), np.cumsum(self.sizes)[:-1], axis=1)
            for field in (batch.phase, batch.alpha, batch.beta)
        ]
        splits: list[Split | None] = [Split(at, *own) for at, *own in zip(self.unstable, *fields, strict=True)]
        held = batch.multipliers.double().numpy() / self.region.norms if len(self.sides) else None
        if self.members is None:
            target, layers = batch.target.numpy(), [*self.hidden, self.last]
            own = self.rows[target], self.offsets[target]
            return torch.as_tensor(crown_upper(*own, layers, self.region, [*splits, None], held))
        shares = shares_of(batch.weights.double().clamp(0.0, 1.0), self.members[batch.target]).numpy()
        layers = [*self.hidden, self.last, self._functions]
        upper = crown_upper(shares, np.zeros(len(shares)), layers, self.region, [*splits, None, None], held)
        # The shares add up to 1 but for the rounding of their sum and of each.
        lost = 4.0 * EPS * (shares.shape[1] + 4.0) * np.abs(upper)
        return torch.as_tensor(np.nextafter(upper + lost, np.inf))

    @cached_property
    def _functions(self) -> RelaxedLayer:
        """The functions as a layer, so that the rounding of their means is that of any layer."""
        return relax_affine((sp.csr_matrix(self.rows), self.offsets), self.last.heights)

    def improved(self, batch: Subproblems, steps: int, rate: float, stop: Callable[[], bool]) -> Subproblems:
        """Return the subproblems with the best slopes and multipliers met on `steps`, those of multipliers from `rate`.

        `stop` is asked before each step; where it is true, the subproblems are bounded by what was met before.
        """
        now, best = batch, torch.full((len(batch),), float("inf"), dtype=DTYPE)
        kept = {name: getattr(batch, name).clone() for name in IMPROVED}
        ends = {"alpha": (LOW_RATE, 1.0), "weights": (LOW_RATE, 1.0)}
        descents = {name: ProjectedAdam(*ends.get(name, (rate, float("inf"))), steps) for name in IMPROVED}
        for step in range(steps + 1):
            if stop():
                break
            value, slopes = self._slopes(now, step < steps)
            better = value < best
            best = torch.minimum(best, value)
            for name, field in kept.items():
                field[better] = getattr(now, name)[better]
            moved = {name: descents[name].moved(getattr(now, name), slope, step) for name, slope in slopes.items()}
            now = replace(now, **moved)
        found = replace(batch, **kept)
        return replace(found, upper=torch.minimum(batch.upper, self.proven(found)))

    def _slopes(self, batch: Subproblems, wanted: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the bounds, and, where they are wanted, their derivatives in what is `IMPROVED`, if there is any."""
        fields = {name: getattr(batch, name).detach().requires_grad_(wanted) for name in IMPROVED}
        value = self.linear_bounds(replace(batch, **fields)).value
        used = {name: field for name, field in fields.items() if wanted and field.numel()}
        slopes = torch.autograd.grad(value.sum(), list(used.values())) if used else ()
        return value.detach(), dict(zip(used, slopes, strict=True))


def shares_of(weights: Tensor, members: Tensor) -> Tensor:
    """Return how much each function counts in a mean (r, t), of weights >= 0 and those that are in it: sums of 1."""
    own = weights * members
    return own / own.sum(dim=1, keepdim=True)


def _torch_layer(layer: RelaxedLayer, inputs: NDArray[np.bool_], known: Interval) -> TorchLayer:
    weight = layer.weight if isinstance(layer.weight, np.ndarray) else layer.weight.toarray()
    unstable = known.switching
    own = (layer.upper_slope[unstable], layer.upper_intercept[unstable], layer.lower_slope[unstable])
    floor = known.floor if isinstance(known.floor, float) else _tensor(known.floor)
    fields = (_tensor(weight[:, inputs]), _tensor(layer.bias), floor, torch.as_tensor(unstable))
    return TorchLayer(*fields, *map(_tensor, own))


def _tensor(array: Floats) -> Tensor:
    return torch.as_tensor(array, dtype=DTYPE)
