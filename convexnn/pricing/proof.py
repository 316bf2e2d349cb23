"""Branch and bound: is f at most a level on the ball? Proven on cone after cone, or beaten at a point."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from convexnn.checks import Floats
from convexnn.pricing.cones import Ball, Cones, halved, joined, orthants, unit_grams
from convexnn.pricing.functions import UNIT, PricedFunction
from convexnn.pricing.support import Maxima, dots

# Looks for a better cut of a cone: each takes a subgradient at the maximiser found into the cut, with these shares.
# Ever smaller ones settle on a mixture of several, which a kink where the maximum lies needs.
SHARES = (0.7, 0.3, 0.12)

# Numbers in the generators of a batch, and the most and fewest cones of one.
BATCH_ENTRIES, MOST, FEWEST = 1 << 18, 8192, 256

# Halvings of an orthant after which a cone is given up: edges are below 1e-9 long before.
DEEPEST = 400

# Points kept of a batch.
KEPT = 16

# Once a point above the level is found, the search goes on for as many cones again, and this many: there may be others.
AGAIN = 20_000


@dataclass(frozen=True)
class ProofLimits:
    """Most cones, and the moment of perf_counter at which a proof ends (None: no limit)."""

    max_cones: int
    ends: float | None = None

    def reason(self, cones: int) -> str | None:
        """Return which limit is reached, None for none."""
        if self.ends is not None and perf_counter() >= self.ends:
            return "time limit"
        return "limit of cones" if cones >= self.max_cones else None


@dataclass(frozen=True, eq=False)
class Proof:
    """What is known after a run: f <= `bound` on the ball, f = `values` at the `points` (p, d) of length 1.

    `value` is the largest f met; `reason` is ``proven`` (the bound is the level asked for, or less), ``beaten`` (a
    point is above it), or the limit that was reached.
    """

    bound: float
    value: float
    values: Floats
    points: Floats
    cones: int
    reason: str


def allowance(function: PricedFunction) -> float:
    """Return what rounding can take from a bound, over all cones, in the units of f.

    With u = 2^-53, F the size of f, and a . c <= bound for the computed c: the values of f+ at generators and the cut
    are sums of n products of d terms, (n + 2 d) u F each, a cut is a mean of such, and sum a <= d^1/2. A middle that
    rounds by 2.1 u leaves a sliver between two halves, which moves a point by 4.3 d^1/2 u at each halving. Together
    below 8 d^1/2 (n + 4 d + 4 halvings + 16) u F.
    """
    n, d = function.rows.shape
    return 8.0 * np.sqrt(d) * (n + 4 * d + 4 * DEEPEST + 16) * UNIT * function.size


def prove(function: PricedFunction, ball: Ball, level: float, keep_above: float, limits: ProofLimits) -> Proof:
    """Try to prove f <= `level` on the ball; points with f > `keep_above` are kept, best first."""
    below = level - allowance(function)
    d = function.rows.shape[1]
    size = int(np.clip(BATCH_ENTRIES // d**2, FEWEST, MOST))
    stack = [orthants(function, function.plain_bound())]
    found, count, reason, most = _Found(keep_above), 0, "proven", limits.max_cones
    while stack:
        batch = _popped(stack, size)
        count += len(batch)
        stack.append(_refined(function, ball, batch, below, found))
        stopped = limits.reason(count)
        if found.best > level and most == limits.max_cones:
            most = min(most, 2 * count + AGAIN)
        if found.best > level and (count >= most or not any(len(part) for part in stack)):
            reason = "beaten"
        elif max(part.depths.max(initial=0) for part in stack) >= DEEPEST:
            reason = "cones too thin"
        elif stopped is not None and any(len(part) for part in stack):
            reason = stopped
        if reason != "proven":
            break
        stack = [part for part in stack if len(part)]
    open_bounds = [float(part.bounds.max()) for part in stack if len(part)]
    bound = max([level, *(value + allowance(function) for value in open_bounds)])
    return Proof(bound, found.best, *found.best_first(d), count, reason)


def _popped(stack: list[Cones], size: int) -> Cones:
    """Take up to `size` cones from the end of the stack: depth first, so that few cones wait."""
    parts = [stack.pop()]
    while stack and sum(len(part) for part in parts) < size:
        parts.append(stack.pop())
    whole = joined(parts) if len(parts) > 1 else parts[0]
    if len(whole) > size:
        stack.append(whole[size:])
        whole = whole[:size]
    return whole


def _refined(function: PricedFunction, ball: Ball, cones: Cones, level: float, found: _Found) -> Cones:
    """Return the halves of the cones whose bound stays above the level."""
    grams = unit_grams(cones, ball)
    cuts = cones.cuts
    maxima = ball.maxima(cones, cuts, grams, level)
    for share in SHARES:
        # Not a number counts as above.
        live = np.flatnonzero(~(maxima.bounds <= level))
        cones, grams, cuts, maxima = cones[live], grams[..., live], cuts[:, live], maxima[live]
        if not len(live):
            break
        positive, negative = function.slopes(maxima.points)
        found.add(dots(positive - negative, maxima.points), maxima.points, ball)
        other = (1.0 - share) * cuts + share * negative
        cuts, maxima = _better(cuts, maxima, other, ball.maxima(cones, other, grams, level))
    live = np.flatnonzero(~(maxima.bounds <= level))
    bounds = np.fmin(cones.bounds, maxima.bounds)[live]
    kept = Cones(cones.generators[..., live], cones.heights[:, live], cuts[:, live], bounds, cones.depths[live])
    if not len(kept):
        return kept
    if len(kept.generators) == 1:
        # A ray cannot be halved: its bound is exact but for rounding.
        return Cones(kept.generators, kept.heights, kept.cuts, kept.bounds, np.full(len(kept), DEEPEST))
    return halved(kept, grams[..., live], maxima.shares[:, live], ball, lambda u: dots(function.slopes(u)[0], u))


def _better(cuts: Floats, maxima: Maxima, other: Floats, others: Maxima) -> tuple[Floats, Maxima]:
    """Return of each cone the cut with the lower bound, and its maximum."""
    lower = others.bounds < maxima.bounds
    return np.where(lower, other, cuts), Maxima(
        np.where(lower, others.bounds, maxima.bounds),
        np.where(lower, others.points, maxima.points),
        np.where(lower, others.shares, maxima.shares),
    )


class _Found:
    """The best points seen: f(u) at u of length 1."""

    def __init__(self, keep_above: float) -> None:
        self.keep_above, self.best = keep_above, 0.0
        self.values: list[Floats] = []
        self.points: list[Floats] = []

    def add(self, heights: Floats, points: Floats, ball: Ball) -> None:
        """Look at points (d, B) with their f, of any length."""
        lengths = ball.lengths(points)
        values = np.where(lengths > 0.0, heights / np.where(lengths > 0.0, lengths, 1.0), 0.0)
        self.best = max(self.best, float(np.nanmax(values, initial=0.0)))
        top = np.argsort(-values)[:KEPT]
        top = top[values[top] > self.keep_above]
        if len(top):
            self.values.append(values[top])
            self.points.append((points[:, top] / lengths[top]).T)

    def best_first(self, d: int) -> tuple[Floats, Floats]:
        """Return all values (p,) and points (p, d) that were kept."""
        if not self.values:
            return np.zeros(0), np.zeros((0, d))
        values, points = np.concatenate(self.values), np.concatenate(self.points)
        order = np.argsort(-values, kind="stable")
        return values[order], points[order]
