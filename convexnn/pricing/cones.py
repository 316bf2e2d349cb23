"""A partition of space into simplicial cones: orthants, halved edge by edge, with what bounds a function on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from convexnn.checks import Bools, Floats, Ints
from convexnn.pricing.functions import PricedFunction
from convexnn.pricing.support import Maxima, dots, gram, maxima_l1, maxima_l2, products

# An edge is halved if it is at least this share of the longest one, in squared length: cones stay well shaped.
LONG = 0.7

# What an edge counts at whose ends the maximum is not; at the ends where it is: 1 more.
FLOOR = 0.3


@dataclass(frozen=True, eq=False)
class Cones:
    """Cones, the last axis of every array.

    Attributes
    ----------
    generators : ndarray (d, d, B)
        V: row k of a cone is its k-th generator, of length 1 in the ball's norm; all of a cone lie in one orthant.
    heights : ndarray (d, B)
        f+ at the generators: its largest values on the cone, by convexity, are combinations of them.
    cuts : ndarray (d, B)
        g with g . u <= f-(u) for all u: a mean of subgradients.
    bounds : ndarray (B,)
        An upper bound of f on the cone within the ball, that of the cone it came from.
    depths : ndarray (B,) of int
        Halvings since the orthant.
    """

    generators: Floats
    heights: Floats
    cuts: Floats
    bounds: Floats
    depths: Ints

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, which: Ints | Bools | slice) -> Cones:
        return Cones(
            self.generators[..., which],
            self.heights[..., which],
            self.cuts[..., which],
            self.bounds[which],
            self.depths[which],
        )


def joined(parts: Sequence[Cones]) -> Cones:
    """Return all cones of the parts."""
    names = ("generators", "heights", "cuts", "bounds", "depths")
    return Cones(*(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names))


@dataclass(frozen=True)
class Ball:
    """The ball that the function is bounded on: ``l2`` or ``l1``."""

    name: str

    def lengths(self, points: Floats) -> Floats:
        """Return the norms of the points (d, B), (B,)."""
        result: Floats = np.sqrt(dots(points, points)) if self.name == "l2" else np.abs(points).sum(axis=0)
        return result

    def maxima(self, cones: Cones, cuts: Floats, grams: Floats, enough: float) -> Maxima:
        """Return the bounds of f on the cones that the cuts give, before rounding."""
        c = cones.heights - products(cones.generators, cuts)
        return maxima_l1(cones.generators, c) if self.name == "l1" else maxima_l2(cones.generators, c, grams, enough)


def orthants(function: PricedFunction, bound: float) -> Cones:
    """Return the 2^d orthants, with a bound of f on each."""
    d = function.rows.shape[1]
    signs = np.array(list(product((1.0, -1.0), repeat=d))).T
    count = signs.shape[1]
    generators = np.zeros((d, d, count))
    generators[np.arange(d), np.arange(d)] = signs
    heights = np.stack([dots(function.slopes(row)[0], row) for row in generators])
    cuts = function.slopes(signs)[1]
    return Cones(generators, heights, cuts, np.full(count, bound), np.zeros(count, dtype=np.int64))


def halved(cones: Cones, grams: Floats, shares: Floats, ball: Ball, heights: Callable[[Floats], Floats]) -> Cones:
    """Return the two halves of each cone, cut at the middle of one of its long edges, best where the maximum lies."""
    d, count = shares.shape
    first, second = np.triu_indices(d, 1)
    lengths, weights = 1.0 - grams[first, second], FLOOR + shares
    merits = np.where(lengths >= LONG * lengths.max(axis=0), lengths * weights[first] * weights[second], 0.0)
    edge = merits.argmax(axis=0)
    i, j, lane = first[edge], second[edge], np.arange(count)
    middle = cones.generators[i, :, lane].T + cones.generators[j, :, lane].T
    middle /= ball.lengths(middle)
    height = heights(middle)
    both = joined([cones, cones])
    for end, half in ((i, lane), (j, lane + count)):
        both.generators[end, :, half] = middle.T
        both.heights[end, half] = height
    both.depths[:] += 1
    return both


def unit_grams(cones: Cones, ball: Ball) -> Floats:
    """Return the cosines between the generators of each cone, (d, d, B)."""
    grams = gram(cones.generators)
    if ball.name == "l2":
        return grams
    norms = np.sqrt(np.einsum("kkb->kb", grams))
    result: Floats = grams / (norms[:, None] * norms[None])
    return result
