"""Bounds over many boxes at once: the hidden layers of every box are bounded anew, by intervals and CROWN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from convexnn.network import Layer
from verify.branching.backward import Places, step_back
from verify.branching.box_layers import Flags, Lines, Signs, box_layers, lines_around, product
from verify.branching.envelopes import Envelopes, play
from verify.branching.lower_slopes import LowerSlopes
from verify.regions.intervals import EPS, TINY, Interval

# Numbers in the arrays that a pass goes through at a time: what stays in a processor's cache.
TILE = 1 << 16

# Numbers in the largest arrays of a pass, and the boxes of it: fewer waste time on calls, more gain nothing.
LARGEST, MOST_BOXES = 1 << 22, 512

# Steps on the lower lines.
STEPS = 4

# Numbers in the weights of the first layer beyond which its envelopes are left out.
ENVELOPED = 1 << 17

# Boxes that a pass is to hold if it also looks back from hidden neurons to the inputs.
FEWEST_BOXES = 32


@dataclass(frozen=True, eq=False)
class BoxBounds:
    """What is proven of t functions in r boxes.

    Attributes
    ----------
    upper : ndarray (r, t)
        Bounds over each box, rounded outward; infinite where none was asked for.
    slopes, offsets : ndarray (r, t, d), ndarray (r, t)
        Linear functions of the inputs that bound them from above in the box, the offsets rounded up.
    phases : ndarray (r, u) of int8
        1 for neurons that are active all over a box, or pass on what they get; -1 for inactive ones; 0 for others.
    shares : ndarray (r, t, d)
        How much of the gap between the linear function and the function each input accounts for, by estimate.
    """

    upper: Floats
    slopes: Floats
    offsets: Floats
    phases: Signs
    shares: Floats


class BoxNetwork:
    """Functions rows @ outputs + offsets of a network, bounded in boxes that are parts of one region.

    Parameters
    ----------
    layers : sequence of (csr_matrix, ndarray)
        L layers.
    known : sequence of Interval
        Finite bounds of all pre-activations over the region.
    lower, upper : ndarray (d,)
        A box around the region.
    rows, offsets : ndarray (t, k), ndarray (t,)
        The functions.
    linear : sequence of (ndarray of bool or None), optional
        For each hidden layer the neurons that pass on what they get; default none.

    Notes
    -----
    Every box is bounded as if it were asked about alone: layer by layer, each neuron that may switch in the box by a
    linear function of the inputs (CROWN: Zhang et al. 2018), through lines that fit the box. All neurons of all boxes
    that may switch are rows of one matrix product. Whatever rounds is paid for as in :mod:`verify.bounds.crown`, by
    magnitudes over the whole region.

    The gap of a bound is what its lines miss their neurons by at most. What each neuron costs goes to the inputs by
    their parts of the width of its own linear bound: halve an input, and so much of the gap is halved.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        known: Sequence[Interval],
        lower: Floats,
        upper: Floats,
        rows: Floats,
        offsets: Floats,
        linear: Sequence[Flags | None] | None = None,
    ) -> None:
        self.lower, self.upper = lower, upper
        self.inputs = np.maximum(np.abs(lower), np.abs(upper))
        masks = [None] * (len(layers) - 1) if linear is None else linear
        self.hidden, kept, sizes = box_layers(layers[:-1], known, self.inputs, masks)
        self.sizes = [len(layer) for layer in self.hidden]
        self.ends = np.cumsum([0, *self.sizes])
        weight, bias = layers[-1][0][:, kept], layers[-1][1]
        with np.errstate(all="ignore"):
            self.top, self.plain = np.asarray(rows @ weight), rows @ bias + offsets
            # Both are rounded sums: that is paid for at the largest values of the last layer.
            reach, terms = abs(weight) @ sizes + np.abs(bias), weight.shape[0] + 16
            paid = terms * EPS * (np.abs(rows) @ reach + np.abs(offsets))
            lost = terms * TINY * (2.0 + np.abs(rows).sum(axis=1)) * (2.0 + float(sizes.sum()))
            self.base = np.nextafter(self.plain + paid + lost, np.inf)
            self.base_sizes = np.abs(rows) @ reach + np.abs(offsets)

    @property
    def batch(self) -> int:
        """How many boxes a pass takes at a time."""
        return int(np.clip(LARGEST // max(1, *self._per_box), 1, MOST_BOXES))

    @property
    def _per_box(self) -> tuple[int, int]:
        """Numbers in the largest arrays of a pass, a box."""
        size, count = len(self.lower), len(self.base)
        deep = sum(self.sizes[1:]) * (size if self.looks_back else 1)
        fronts = size + self.sizes[0] if self.plays else 0
        return count * (size + fronts), deep + max(self.sizes, default=0)

    @property
    def plays(self) -> bool:
        """Whether envelopes of the first layer say more than lines, and are of moderate size."""
        size = len(self.lower)
        return bool(self.hidden) and size > 1 and self.sizes[0] * size <= ENVELOPED

    @property
    def looks_back(self) -> bool:
        """Whether neurons beyond the first layer are traced back to the inputs."""
        return sum(self.sizes[1:]) * len(self.lower) * FEWEST_BOXES <= LARGEST

    def root_phases(self) -> Signs:
        """Return the phases (u,) of all neurons over the whole region."""
        active = [layer.linear | (layer.known.lower >= 0.0) for layer in self.hidden]
        return np.concatenate([*active, np.zeros(0, dtype=bool)]).astype(np.int8)

    def values(self, points: Floats) -> Floats:
        """Return the functions (n, t) at points (n, d), rounded as it comes."""
        with np.errstate(all="ignore"):
            for layer in self.hidden:
                points = layer.forward(points)
            return points @ self.top.T + self.plain

    def enter(self, lower: Floats, upper: Floats, phases: Signs) -> BoxPass:
        """Bound the hidden layers in boxes (r, d); `phases` (r, u) are those of boxes around them."""
        found = BoxPass(self, lower, upper, phases)
        for depth in range(len(self.hidden)):
            found.take_layer(depth)
        return found


class BoxPass:
    """One pass over r boxes, from the first layer to the last, and then to functions of the outputs."""

    def __init__(self, network: BoxNetwork, lower: Floats, upper: Floats, phases: Signs) -> None:
        self.network, self.lower, self.upper, self.phases = network, lower, upper, phases.copy()
        self.low, self.high = lower, upper
        self.lines: list[Lines] = []
        self.parts: list[Floats | None] = []
        # Of functions (r, t): what they are of the first layer's values, and what inputs account for beyond it.
        self.fronts, self.beyond, self.sides = *np.zeros((2, 0, 0, 0)), np.zeros((0, 0))

    def take_layer(self, depth: int) -> None:
        """Bound the neurons of a layer and draw lines around them."""
        network, layer = self.network, self.network.hidden[depth]
        phases = self.phases[:, network.ends[depth] : network.ends[depth + 1]]
        low, high = layer.intervals(self.low, self.high)
        owner, neuron = np.nonzero((phases == 0) & (low < 0.0) & (high > 0.0))
        self.parts.append(self._sharpen(depth, owner, neuron, low, high) if depth else None)
        phases[(phases == 0) & (low >= 0.0)] = 1
        phases[(phases == 0) & (high <= 0.0)] = -1
        self.low, self.high = layer.after(low, high, phases)
        self.lines.append(lines_around(low, high, phases))

    def _sharpen(self, depth: int, owner: Places, neuron: Places, low: Floats, high: Floats) -> Floats | None:
        """Bound some neurons by CROWN, in place; return the inputs' parts (r, n, d) of the widths of their bounds."""
        layer = self.network.hidden[depth]
        parts = np.zeros((*low.shape, self.lower.shape[1])) if self.network.looks_back else None
        step = max(1, TILE // (2 * layer.width))
        for start in range(0, len(owner), step):
            own, which = owner[start : start + step], neuron[start : start + step]
            bias, both = layer.bias[which], np.concatenate([own, own])
            slope, offset = self._back(layer.both_ways(which), np.concatenate([bias, -bias]), both, depth)
            found = self._peak(slope, offset, both)
            high[own, which] = np.fmin(high[own, which], found[: len(own)])
            low[own, which] = np.fmax(low[own, which], -found[len(own) :])
            if parts is not None:
                parts[own, which] = self._parts(slope[: len(own)], own)
        return parts

    def _parts(self, slope: Floats, owner: Places) -> Floats:
        """Return the inputs' parts (p, d) of the widths of linear functions over boxes."""
        with np.errstate(all="ignore"):
            wide = np.abs(slope) * (self.upper - self.lower)[owner]
            return np.nan_to_num(wide / np.maximum(wide.sum(axis=1, keepdims=True), TINY), posinf=0.0)

    def _back(
        self,
        slope: Any,
        offset: Floats,
        owner: Places,
        depth: int,
        shares: Floats | None = None,
        last: int = 0,
    ) -> tuple[Floats, Floats]:
        """Return functions of values after `depth` layers as functions, at least as large, of those after `last`.

        To `shares` (p, d) it adds what each input accounts for of the gap.
        """
        for index in reversed(range(last, depth)):
            layer, lines = self.network.hidden[index], self.lines[index]
            slope, offset, gaps = step_back(layer, lines, slope, offset, owner, shares is not None)
            if shares is not None and gaps is not None:
                shares += self._accounted(index, gaps, owner)
        return np.asarray(slope.toarray() if sp.issparse(slope) else slope), offset

    def _accounted(self, index: int, gaps: Floats, owner: Places) -> Floats:
        """Return what each input accounts for (p, d) of the gaps (p, n) of a layer."""
        if index == 0:
            layer, widths = self.network.hidden[0], self.upper - self.lower
            total = product(widths, abs(layer.weight), True)[owner]
            return product(gaps / np.maximum(total, TINY), abs(layer.weight)) * widths[owner]
        parts = self.parts[index]
        return np.zeros(1) if parts is None else np.einsum("pn,pnd->pd", gaps, parts[owner])

    def _peak(self, slope: Floats, offset: Floats, owner: Places) -> Floats:
        return peaks(slope, offset, self.lower[owner], self.upper[owner], self.network.inputs)

    def functions(self, asked: Flags) -> BoxBounds:
        """Bound functions of the outputs."""
        network, size = self.network, self.lower.shape[1]
        owner, which = np.nonzero(asked)
        upper, offsets = np.full(asked.shape, np.inf), np.full(asked.shape, np.inf)
        slopes, shares = np.zeros((*asked.shape, size)), np.zeros((*asked.shape, size))
        last = int(network.plays)
        if last:
            self.fronts, self.sides = np.zeros((*asked.shape, network.sizes[0])), np.zeros(asked.shape)
            self.beyond = np.zeros_like(shares)
        step = max(1, TILE // max([size, *network.sizes]))
        for start in range(0, len(owner), step):
            own, index = owner[start : start + step], which[start : start + step]
            part = np.zeros((len(own), size))
            slope, offset = self._back(network.top[index], network.base[index], own, len(network.hidden), part, last)
            if last:
                self.fronts[own, index], self.sides[own, index], self.beyond[own, index] = slope, offset, part
                slope, offset = self._back(slope, offset, own, last, part)
            upper[own, index] = self._peak(slope, offset, own)
            slopes[own, index], offsets[own, index], shares[own, index] = slope, offset, part
        return BoxBounds(upper, slopes, offsets, self.phases, np.nan_to_num(shares))

    def improve(self, found: BoxBounds, asked: Flags, level: float) -> None:
        """Lower bounds of functions `asked` (r, t) towards a level by better lower lines, in place."""
        owner, which = np.nonzero(asked & (found.upper > level))
        step = max(1, TILE // max([self.lower.shape[1], *self.network.sizes]))
        for start in range(0, len(owner) if self.network.hidden else 0, step):
            self._improve(found, owner[start : start + step], which[start : start + step], level)

    def play(self, found: BoxBounds, asked: Flags, level: float) -> None:
        """Lower bounds of functions `asked` (r, t) towards a level by envelopes of the first layer, in place."""
        owner, which = np.nonzero(asked & (found.upper > level))
        size = self.lower.shape[1] * sum(self.network.sizes[:1])
        step = max(1, TILE // max(1, size))
        for start in range(0, len(owner) if self.network.plays else 0, step):
            self._play(found, owner[start : start + step], which[start : start + step], level)

    def _play(self, found: BoxBounds, owner: Places, which: Places, level: float) -> None:
        network = self.network

        def game(rows: Flags) -> Envelopes:
            own, at = owner[rows], (owner[rows], which[rows])
            phases = self.phases[own, : network.ends[1]]
            fronts = phases, self.fronts[at], self.sides[at]
            return Envelopes(network.hidden[0], self.lower[own], self.upper[own], *fronts, network.inputs)

        state, shares = play(game, len(owner), self.lower.shape[1], level)
        found.shares[owner, which] = self.beyond[owner, which] + shares
        bound = self._peak(state.slopes, state.offsets, owner)
        better = bound < found.upper[owner, which]
        at = owner[better], which[better]
        found.upper[at], found.slopes[at], found.offsets[at] = (
            bound[better],
            state.slopes[better],
            state.offsets[better],
        )

    def _improve(self, found: BoxBounds, owner: Places, which: Places, level: float) -> None:
        network = self.network
        lines = LowerSlopes(network.hidden, self.lines, network.top[which], network.base[which], owner)
        for number in range(STEPS + 1):
            slope, offset = lines.back()
            upper = self._peak(slope, offset, owner)
            better = upper < found.upper[owner, which]
            at = owner[better], which[better]
            found.upper[at], found.slopes[at], found.offsets[at] = upper[better], slope[better], offset[better]
            if network.plays:
                self.fronts[at], self.sides[at] = lines.front[better], lines.side[better]
            left = found.upper[owner, which] > level
            if number == STEPS or not left.any():
                return
            lines.move(np.where(slope > 0.0, self.upper[owner], self.lower[owner]))
            if not left.all():
                lines.keep(left)
                owner, which = owner[left], which[left]


def peaks(slope: Floats, offset: Floats, lower: Floats, upper: Floats, inputs: Floats) -> Floats:
    """Return upper bounds (p,) of slope . x + offset over boxes (p, d) within |x| <= `inputs` (d,), rounded outward."""
    size = len(inputs)
    with np.errstate(all="ignore"):
        top = np.einsum("ij,ij->i", np.maximum(slope, 0.0), upper)
        top += np.einsum("ij,ij->i", np.minimum(slope, 0.0), lower)
        error = (size + 12) * EPS * (np.abs(slope) @ inputs + np.abs(offset)) + 4.0 * (size + 1) * TINY
        total = np.nextafter(top + offset + error, np.inf)
    return np.where(np.isfinite(total), total, np.inf)
