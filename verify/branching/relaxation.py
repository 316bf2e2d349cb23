"""The relaxation: bounds of parts as differentiable functions of their slopes and multipliers, in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convexnn.checks import Floats
from convexnn.network import SparseReLUNetwork
from verify.bounds.crown import Relaxed, Split, crown_upper, relax_all, straight
from verify.branching.descent import Descent
from verify.branching.subproblems import Parts
from verify.regions.box import Box
from verify.regions.intervals import Interval

# Bounds are searched in float32; what they are is then computed anew in float64.
KIND = torch.float32

# Weights of neurons that can be active beyond which a network is not bounded so: they are held as dense arrays.
LARGEST = 1 << 25

# The first step in the slopes of lower lines, which are between 0 and 1.
LOW_RATE = 0.25


def suits(network: SparseReLUNetwork, known: Sequence[Interval]) -> bool:
    """Whether a network can be bounded by parts: hidden layers of moderate size, finite bounds, neurons that switch."""
    hidden = known[:-1]
    live = [network.n_inputs, *(int((layer.upper > 0.0).sum()) for layer in hidden)]
    switch = any(len(layer.switching) for layer in hidden)
    finite = all(layer.finite for layer in hidden)
    return switch and finite and sum(a * b for a, b in pairwise(live)) <= LARGEST


@dataclass(frozen=True, eq=False)
class Lines:
    """A hidden layer of n neurons that can be active, u of which can switch: p = W h' + b and their lines.

    `weight` (n, k), `bias` (n,), the indices `at` (u,) of those that switch, their `high`, `lift` and `low` (u,).
    """

    weight: Tensor
    bias: Tensor
    at: Tensor
    high: Tensor
    lift: Tensor
    low: Tensor


@dataclass(frozen=True, eq=False)
class Course:
    """What a bound met on its way back to the inputs.

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
    """

    def __init__(
        self, network: SparseReLUNetwork, region: Box, rows: Floats, offsets: Floats, known: Sequence[Interval]
    ) -> None:
        self.region, self.rows, self.offsets = region, rows, offsets
        self.hidden = relax_all(network.layers[:-1], known, region)
        self.last = straight(network.layers[-1], self.hidden[-1].heights if self.hidden else region.reach)
        self.at = [
            np.flatnonzero(bounds.lower[layer.live] < 0.0) for layer, bounds in zip(self.hidden, known, strict=False)
        ]
        self.sizes = [len(neurons) for neurons in self.at]
        kept = [np.ones(network.n_inputs, dtype=bool), *(layer.live for layer in self.hidden)]
        self.lines = [
            _lines(layer, inputs, neurons) for layer, inputs, neurons in zip(self.hidden, kept, self.at, strict=False)
        ]
        weight, bias = network.layers[-1]
        self.top = _tensor(np.asarray(rows @ weight)[:, kept[-1]])
        self.base = _tensor(rows @ bias + offsets)
        cut = region.constraints
        self.cut = _tensor(np.asarray(cut.rows.toarray()) / region.norms[:, None])
        self.sides = _tensor(cut.upper / region.norms)

    def start(self) -> Parts:
        """Return one part for each function, the whole region."""
        count, total = len(self.offsets), sum(self.sizes)
        low = torch.cat([layer.low for layer in self.lines]).repeat(count, 1)
        free = torch.zeros((count, total), dtype=KIND)
        upper = torch.full((count,), float("inf"), dtype=torch.float64)
        hold = torch.zeros((count, len(self.sides)), dtype=KIND)
        parts = Parts(upper, torch.arange(count), free, low, free.clone(), hold)
        if not len(self.sides):
            return parts
        with torch.no_grad():
            slope, _ = self._back(parts)[:2]
        found = self.region.multipliers(slope.double().numpy()) * self.region.norms
        return replace(parts, hold=_tensor(found))

    def course(self, parts: Parts) -> Course:
        """Return the bounds of parts, differentiable in `low`, `push` and `hold`."""
        slope, offset, slopes = self._back(parts)
        if len(self.sides):
            slope, offset = slope - parts.hold @ self.cut, offset + parts.hold @ self.sides
        peaks = self._peaks(slope.detach())
        # The best point of a linear function may be taken as fixed: so may it for the slope of its value.
        return Course(offset + (slope * peaks).sum(dim=1), peaks, slopes[::-1])

    def _back(self, parts: Parts) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the bounds of parts as functions of the inputs, slopes (r, d) and offsets (r,), and all slopes met."""
        slope, offset = self.top[parts.target], self.base[parts.target]
        fields = [field.split(self.sizes, dim=1) for field in (parts.side, parts.low, parts.push)]
        slopes = []
        for layer, side, low, push in zip(self.lines[::-1], *(part[::-1] for part in fields), strict=True):
            slopes.append(slope)
            own, free = slope[:, layer.at], side == 0.0
            lines = torch.where(free, torch.where(own > 0.0, layer.high, low), (side > 0.0).to(KIND))
            offset = offset + (own.clamp(min=0.0) * free) @ layer.lift
            along = slope.index_copy(1, layer.at, own * lines + push * side)
            offset, slope = offset + along @ layer.bias, along @ layer.weight
        return slope, offset, slopes

    def _peaks(self, slopes: Tensor) -> Tensor:
        return _tensor(self.region.base.peaks(slopes.double().numpy()))

    def inside(self, course: Course) -> Course:
        """Return the course with its peaks moved to the region, where linear constraints cut them off."""
        if not len(self.sides):
            return course
        return replace(course, peaks=_tensor(self.region.project(course.peaks.double().numpy())))

    def misses(self, parts: Parts, course: Course) -> tuple[Tensor, Tensor]:
        """Return the functions (r,) at the peaks, and by how much the lines of each neuron (r, u) miss them there.

        The misses of neurons that are split already are -1, of the others at least 0 or NaN; these and the rest add up
        to the bound minus the function.
        """
        values, misses = course.peaks, []
        fields = [field.split(self.sizes, dim=1) for field in (parts.side, parts.low)]
        for layer, slope, side, low in zip(self.lines, course.slopes, *fields, strict=True):
            before = values @ layer.weight.T + layer.bias
            values = before.clamp(min=0.0)
            own, rise, height = slope[:, layer.at], before[:, layer.at], values[:, layer.at]
            above = torch.where(own > 0.0, layer.high * rise + layer.lift, low * rise)
            # Rounding may say that lines cut their neuron: no reason to prefer one that is split.
            misses.append(torch.where(side == 0.0, (own * (above - height)).clamp(min=0.0), -1.0))
        return (self.top[parts.target] * values).sum(dim=1) + self.base[parts.target], torch.cat(misses, dim=1)

    def proven(self, parts: Parts) -> Tensor:
        """Return upper bounds (r,) of the parts in float64, rounded outward."""
        target = parts.target.numpy()
        rows, offsets = self.rows[target], self.offsets[target]
        fields = [
            np.split(field.double().numpy(), np.cumsum(self.sizes)[:-1], axis=1)
            for field in (parts.side, parts.low, parts.push)
        ]
        splits: list[Split | None] = [Split(at, *own) for at, *own in zip(self.at, *fields, strict=True)]
        held = parts.hold.double().numpy() / self.region.norms if len(self.sides) else None
        upper = crown_upper(rows, offsets, [*self.hidden, self.last], self.region, [*splits, None], held)
        return torch.as_tensor(upper)

    def improved(self, parts: Parts, steps: int, rate: float, stop: Callable[[], bool]) -> Parts:
        """Return the parts with the best slopes and multipliers met on `steps`, the first in multipliers of `rate`.

        `stop` is asked before each step; where it is true, the parts are bounded by what was met before.
        """
        now, best = parts, torch.full((len(parts),), float("inf"), dtype=KIND)
        kept = [field.clone() for field in (parts.low, parts.push, parts.hold)]
        descents = [Descent(LOW_RATE, 1.0, steps), *(Descent(rate, float("inf"), steps) for _ in range(2))]
        for step in range(steps + 1):
            if stop():
                break
            value, slopes = self._slopes(now, step < steps)
            better = value < best
            best = torch.minimum(best, value)
            for field, own in zip(kept, (now.low, now.push, now.hold), strict=True):
                field[better] = own[better]
            if step < steps:
                fields = zip(descents, (now.low, now.push, now.hold), slopes, strict=True)
                moved = [descent.moved(field, slope, step) for descent, field, slope in fields]
                now = replace(now, low=moved[0], push=moved[1], hold=moved[2])
        found = replace(parts, low=kept[0], push=kept[1], hold=kept[2])
        return replace(found, upper=torch.minimum(parts.upper, self.proven(found)))

    def _slopes(self, parts: Parts, wanted: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the bounds, and, where they are wanted, their derivatives in `low`, `push` and `hold`."""
        low, push, hold = (field.detach().requires_grad_(wanted) for field in (parts.low, parts.push, parts.hold))
        value = self.course(replace(parts, low=low, push=push, hold=hold)).value
        if not wanted:
            return value.detach(), ()
        fields = (low, push, hold) if len(self.sides) else (low, push)
        slopes = torch.autograd.grad(value.sum(), fields)
        return value.detach(), slopes if len(self.sides) else (*slopes, torch.zeros_like(hold))


def _lines(layer: Relaxed, inputs: NDArray[np.bool_], at: NDArray[np.int64]) -> Lines:
    weight = layer.weight if isinstance(layer.weight, np.ndarray) else layer.weight.toarray()
    own = (layer.high[at], layer.lift[at], layer.low[at])
    return Lines(_tensor(weight[:, inputs]), _tensor(layer.bias), torch.as_tensor(at), *map(_tensor, own))


def _tensor(array: Floats) -> Tensor:
    return torch.as_tensor(array, dtype=KIND)
