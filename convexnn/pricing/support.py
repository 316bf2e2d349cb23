"""The support function of many small problems at once: max c . a over a >= 0 with V^T a in the unit ball.

Arrays run over the problems in their last axis, so that every step is one pass over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convexnn.checks import Bools, Floats, Ints

# Pivots per generator after which a problem keeps the multipliers that it has; most need two or three in all.
PIVOTS = 4

# A multiplier or slack below this share of the largest entry of c counts as zero.
SMALL = 1e-13

# More than a cosine of up to hundreds of terms can be off by.
ROUNDED = 1e-13

# A pivot below this is rounding: it is taken for 1, and the multipliers that come of it are as valid as any.
SINGULAR = 1e-12


@dataclass(frozen=True, eq=False)
class Maxima:
    """Upper bounds of max c . a, and where they are attained.

    Attributes
    ----------
    bounds : ndarray (B,)
        At least the maximum, up to the rounding that the caller allows for.
    points : ndarray (d, B)
        V^T a at the maximiser, not normalised.
    shares : ndarray (d, B)
        The maximiser's a, its largest entry 1; all zero where the maximum is 0.
    """

    bounds: Floats
    points: Floats
    shares: Floats

    def __getitem__(self, which: Ints | Bools) -> Maxima:
        return Maxima(self.bounds[which], self.points[:, which], self.shares[:, which])


def dots(left: Floats, right: Floats) -> Floats:
    """Return the sums over the first axis of left * right."""
    total: Floats = left[0] * right[0]
    for one, other in zip(left[1:], right[1:], strict=True):
        total += one * other
    return total


def products(generators: Floats, points: Floats) -> Floats:
    """Return V u for generators (d, d, B) and points (d, B), (d, B)."""
    return np.stack([dots(row, points) for row in generators])


def combined(generators: Floats, weights: Floats) -> Floats:
    """Return V^T a for generators (d, d, B) and weights (d, B), (d, B)."""
    return dots(generators, weights[:, None])


def gram(generators: Floats) -> Floats:
    """Return V V^T, (d, d, B)."""
    d, _, count = generators.shape
    result = np.empty((d, d, count))
    for i in range(d):
        for j in range(i + 1):
            result[i, j] = result[j, i] = dots(generators[i], generators[j])
    return result


def maxima_l1(generators: Floats, c: Floats) -> Maxima:
    """Return the maxima over the L1 ball for generators of L1 length 1 in one orthant: there a has the sum |u|_1 <= 1.

    The point is the middle of the generators with the larger half of c.
    """
    highest = c.max(axis=0)
    middle = 0.5 * (highest + c.min(axis=0))
    shares = (c >= middle).astype(np.float64)
    return Maxima(np.maximum(highest, 0.0), combined(generators, shares), shares)


def maxima_l2(generators: Floats, c: Floats, grams: Floats, enough: float = 0.0) -> Maxima:
    """Return the maxima over the L2 ball for unit generators (d, d, B) in one orthant, c (d, B), V V^T (d, d, B).

    A maximum that is seen at once to be at most `enough` is not computed further; its point is 0.

    Notes
    -----
    The dual is min ||l|| over V l >= c, and at the optimum l = V^T a: a non-negative least squares problem, solved by
    principal pivots of its linear complementarity problem from a = 0, for most maxima lie at few generators. Whatever
    a comes out, c . a' <= (V l) . a' + max(c - V l)_+ sum a' <= ||l|| + sqrt(d) max(c - V l)_+ holds for all a', since
    in an orthant sum a' <= ||u||_1 <= sqrt(d).
    """
    d, count = c.shape
    highest = np.maximum(c.max(axis=0), 0.0)
    # ||u||^2 >= (sum a)^2 times the least entry of V V^T, where that is above 0 and its rounding.
    narrow = grams.min(axis=(0, 1)) - ROUNDED
    bounds = highest / np.sqrt(np.maximum(narrow, 1e-300))
    shares = np.zeros((d, count))
    rest = np.flatnonzero(bounds > enough)
    shares[:, rest] = _multipliers(grams[:, :, rest], c[:, rest])
    points = combined(generators, shares)
    slack = np.maximum((c[:, rest] - products(generators[:, :, rest], points[:, rest])).max(axis=0), 0.0)
    found = np.sqrt(dots(points[:, rest], points[:, rest])) + np.sqrt(d) * slack
    bounds[rest] = np.minimum(bounds[rest], found)
    return Maxima(bounds, points, shares / np.maximum(shares.max(axis=0), 1e-300))


def _multipliers(grams: Floats, c: Floats) -> Floats:
    """Return a >= 0 with G a >= c and a . (G a - c) = 0, (d, B), by the most negative entry first."""
    d, count = c.shape
    result = np.zeros((d, count))
    table, basic, inside = grams.copy(), -c, np.zeros((d, count), dtype=bool)
    least = SMALL * np.abs(c).max(axis=0)
    where = np.arange(count)
    for step in range(PIVOTS * d):
        # Late in the day the first negative entry is taken: that rule ends, at the latest after 2^d pivots.
        lane = np.arange(len(where))
        k = basic.argmin(axis=0) if step < 2 * d else (basic < -least).argmax(axis=0)
        done = basic[k, lane] >= -least
        if done.any():
            result[:, where[done]] = np.where(inside[:, done], basic[:, done], 0.0)
            left = ~done
            where, least, k, lane = where[left], least[left], k[left], np.arange(int(left.sum()))
            table, basic, inside = table[:, :, left], basic[:, left], inside[:, left]
        if not len(where):
            return np.maximum(result, 0.0)
        _pivot(table, basic, k, lane)
        inside[k, lane] ^= True
    result[:, where] = np.where(inside, basic, 0.0)
    return np.maximum(result, 0.0)


def _pivot(table: Floats, basic: Floats, k: Ints, lane: Ints) -> None:
    """Exchange the k-th multiplier and its slack in basic + table x: Tucker's principal pivot, in place."""
    column, row = table[:, k, lane], table[k, :, lane].T
    pivot = column[k, lane]
    pivot = np.where(np.abs(pivot) > SINGULAR, pivot, 1.0)
    move = basic[k, lane] / pivot
    basic -= column * move
    basic[k, lane] = -move
    row = row / pivot
    for i in range(len(table)):
        table[i] -= column[i] * row
    table[k, :, lane] = -row.T
    table[:, k, lane] = column / pivot
    table[k, k, lane] = 1.0 / pivot
