"""Envelopes: first-layer neurons over boxes, bounded from above by less than one line each.

Over a box h = relu(p), p = w . x + b, is at most s . x + c for every s between 0 and w, entry by entry, and c large
enough. The line through both ends of p is the one with s = r w, r a number; the least over all s, at a point x, is the
concave envelope of the neuron there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from convexnn.checks import Floats
from verify.branching.box_layers import BoxLayer, Flags, Signs, product
from verify.regions.intervals import EPS, TINY

# Moves of the game after which decided functions are left, and from which on those too that envelopes cannot decide.
STAGES, FEW_MOVES = (3, 8, 24), 8

# What keeps quotients finite.
LEAST = np.float32(1e-30)

# The least that an input counts where one is chosen, beside its distance from its nearer end.
ENDS = 0.02


@dataclass(eq=False)
class State:
    """What has been played about p functions.

    Attributes
    ----------
    place : ndarray (p, d)
        The mean of the points so far, as shares of the widths of the boxes.
    slope, offset : ndarray (p, d), ndarray (p,)
        The mean of the answers to them.
    best, slopes, offsets : ndarray (p,), ndarray (p, d), ndarray (p,)
        The least bounds so far, and the linear functions of the inputs that they come from, the offsets rounded up.
    hopeless : ndarray (p,) of bool
        Whether the envelopes have a point above the level.
    moves : int
        How many moves were made.
    """

    place: Floats
    slope: Floats
    offset: Floats
    best: Floats
    slopes: Floats
    offsets: Floats
    hopeless: Flags
    moves: int = 0

    @classmethod
    def begin(cls, count: int, size: int) -> State:
        """Return the state before the first move."""
        none, high = np.zeros((count, size)), np.full(count, np.inf)
        place = np.full((count, size), 0.5)
        return cls(place, none, np.zeros(count), high, none.copy(), high.copy(), np.zeros(count, dtype=bool))

    def take(self, rows: Flags) -> State:
        """Return the state of some functions."""
        return State(**{name: getattr(self, name)[rows] for name in _FIELDS}, moves=self.moves)

    def put(self, rows: Flags, own: State) -> None:
        """Take over the state of some functions."""
        for name in _FIELDS:
            getattr(self, name)[rows] = getattr(own, name)


_FIELDS = ("place", "slope", "offset", "best", "slopes", "offsets", "hopeless")


def play(make: Callable[[Flags], Envelopes], count: int, size: int, level: float) -> tuple[State, Floats]:
    """Play for functions until their bounds are at most `level`, cannot be, or moves are used up.

    Parameters
    ----------
    make : callable
        Returns the game of some functions, of flags (p,).
    count, size, level
        The numbers p of functions and d of inputs, and the level.

    Returns
    -------
    State
    shares : ndarray (p, d)
        How much each input accounts for of the gap between the envelopes and the neurons.
    """
    with np.errstate(all="ignore"):
        return _play(make, State.begin(count, size), level)


def _play(make: Callable[[Flags], Envelopes], state: State, level: float) -> tuple[State, Floats]:
    left, shares = np.ones(len(state.best), dtype=bool), np.zeros_like(state.slope)
    for moves in STAGES:
        part, game = state.take(left), make(left)
        while part.moves < moves:
            game.move(level, part)
        state.put(left, part)
        done = (part.best <= level) | (part.hopeless & (moves >= FEW_MOVES)) | (moves == STAGES[-1])
        places = np.flatnonzero(left)[done]
        if len(places):
            shares[places] = game.shares(part.place)[done]
        left[places], state.moves = False, moves
        if not left.any():
            break
    return state, shares


class Envelopes:
    """Linear functions of the first hidden values in boxes, bounded from above by linear functions of the inputs.

    Parameters
    ----------
    layer : BoxLayer
        The first hidden layer: n neurons of d inputs.
    lower, upper : ndarray (p, d)
        The box of each function.
    phases : ndarray (p, n)
        1 for neurons that are active all over the box or pass on what they get, -1 for inactive ones, 0 for others.
    slope, offset : ndarray (p, n), ndarray (p,)
        The functions slope . h + offset.
    inputs : ndarray (d,)
        The largest sizes of the inputs over the region.

    Notes
    -----
    The least bound is the value of a game: one side picks x in the box; the other picks an s for each neuron that
    counts positively, and one of the lower lines 0 and p for each that counts negatively. Each answers the mean of what
    the other has played so far (Brown 1951; Robinson 1951: the means converge to the value). The mean of the answers to
    x is a linear function that bounds the neurons' at any time.

    The best s at x fills up what p is at most, from the inputs on that are furthest from where p is largest: w_i for
    these, 0 for the others, and between for one (Tjandraatmadja et al. 2020, where it cuts off points of a linear
    program).
    """

    def __init__(
        self,
        layer: BoxLayer,
        lower: Floats,
        upper: Floats,
        phases: Signs,
        slope: Floats,
        offset: Floats,
        inputs: Floats,
    ) -> None:
        self.layer, self.lower, self.upper, self.slope, self.offset = layer, lower, upper, slope, offset
        self.width, self.phases, self.inputs = upper - lower, phases, inputs
        self.dense = layer.weight if isinstance(layer.weight, np.ndarray) else layer.weight.toarray()
        with np.errstate(all="ignore"):
            self._prepare()

    def _prepare(self) -> None:
        free, slope = self.phases == 0, self.slope
        self.active, self.below = self.phases > 0, free & (slope < 0.0)
        self.owner, self.neuron = np.nonzero(free & (slope > 0.0))
        self.starts = np.flatnonzero(np.diff(self.owner, prepend=-1))
        self.count, self.weight = slope[self.owner, self.neuron], self.dense[self.neuron]
        # The ends of the box where p is least and most.
        rising, low, high = self.weight > 0.0, self.lower[self.owner], self.upper[self.owner]
        self.near, self.far = np.where(rising, low, high), np.where(rising, high, low)
        # Over the whole box: what is known of p over the region alone is no bound of its parts.
        self.most = np.einsum("ij,ij->i", self.weight, self.far) + self.layer.bias[self.neuron]
        self.moves = np.abs(self.weight * (high - low)).astype(np.float32)
        self.turned, self.sides = (~rising).astype(np.float32), np.where(rising, 1.0, -1.0).astype(np.float32)
        # All that is rounded is a sum of so many terms at most, each no larger than what the layer reaches.
        terms, sizes = 8.0 * (sum(self.dense.shape) + 8 * STAGES[-1]), np.abs(slope)
        lost = (
            terms * TINY * (2.0 + sizes.sum(axis=1)) * (2.0 + float(self.inputs.sum()) + float(self.layer.reach.sum()))
        )
        self.paid = terms * EPS * (sizes @ (4.0 * self.layer.reach) + np.abs(self.offset)) + lost

    def move(self, level: float, state: State) -> None:
        """Make one move of both sides; `state` (p functions) is changed in place."""
        own, lift = self._answers(state.place)
        # What the envelopes are at a point shows how low their bound can be.
        state.hopeless = (own * (self.lower + state.place * self.width)).sum(axis=1) + lift > level
        share = 2.0 / (state.moves + 2.0)
        state.slope += share * (own - state.slope)
        state.offset += share * (lift - state.offset)
        rising = state.slope > 0.0
        bound = state.offset + (state.slope * np.where(rising, self.upper, self.lower)).sum(axis=1)
        better = bound + self.paid < state.best
        state.best[better] = bound[better] + self.paid[better]
        state.slopes[better] = state.slope[better]
        state.offsets[better] = np.nextafter(state.offset + self.paid, np.inf)[better]
        state.place += 2.0 / (state.moves + 3.0) * (rising - state.place)
        state.moves += 1

    def _answers(self, place: Floats) -> tuple[Floats, Floats]:
        """Return sums of best answers (p, d), (p,) to points whose shares of the widths are `place` (p, d)."""
        before = self._before(place)
        along = self.slope * (self.active | (self.below & (before > 0.0)))
        slope, offset = product(along, self.layer.weight), self.offset + along @ self.layer.bias
        if len(self.owner):
            own, lift = self._pieces(place)
            at = self.owner[self.starts]
            slope[at] += np.add.reduceat(self.count[:, None] * own, self.starts, axis=0)
            offset[at] += np.add.reduceat(self.count * lift, self.starts)
        return slope, offset

    def _before(self, place: Floats) -> Floats:
        return product(self.lower + place * self.width, self.layer.weight, True) + self.layer.bias

    def _pieces(self, place: Floats) -> tuple[Floats, Floats]:
        """Return s (q, d) and c (q,) of the neurons that count positively."""
        count, size = self.weight.shape
        height = self.turned + self.sides * place.astype(np.float32)[self.owner]
        # Any shares between 0 and 1 give a bound: that these are found in float32 costs no soundness.
        order = np.argsort(height, axis=1) + size * np.arange(count)[:, None]
        moves = self.moves.ravel()[order]
        left = self.most.astype(np.float32)[:, None] + moves - np.cumsum(moves, axis=1)
        filled = np.empty(count * size)
        filled[order] = np.clip(left / (moves + LEAST), 0.0, 1.0)
        # A product with a number between 0 and 1 is between 0 and w, however it is rounded.
        slope = filled.reshape(count, size) * self.weight
        least, most = np.einsum("ij,ij->i", slope, self.near), np.einsum("ij,ij->i", slope, self.far)
        # h is 0 or p: s . x less the least it is, and p, which is s . x and what the rest of p is at most.
        return slope, np.maximum(-least, self.most - most)

    def shares(self, place: Floats) -> Floats:
        """Return what each input accounts for of the gaps at a point: by what it moves p, unless it is at an end."""
        shares = np.zeros_like(self.lower)
        if not len(self.owner):
            return shares
        own, lift = self._pieces(place)
        x, height = (self.lower + place * self.width)[self.owner], self._before(place)[self.owner, self.neuron]
        gap = self.count * np.maximum((own * x).sum(axis=1) + lift - np.maximum(height, 0.0), 0.0)
        parts = self.moves * (np.minimum(place, 1.0 - place) + ENDS)[self.owner]
        parts *= (gap / np.maximum(parts.sum(axis=1), TINY))[:, None]
        shares[self.owner[self.starts]] = np.add.reduceat(parts, self.starts, axis=0)
        return np.nan_to_num(shares)
