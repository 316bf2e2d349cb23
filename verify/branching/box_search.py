"""The search over boxes: those whose bounds rule no condition out are halved at the input that gains the most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from convexnn.checks import Floats
from verify.branching.backward import Places
from verify.branching.box_bounds import BoxBounds, BoxNetwork
from verify.branching.box_layers import Flags
from verify.branching.boxes import Boxes
from verify.branching.clipping import clip_to_linear, clip_to_region
from verify.clock import Clock
from verify.regions.balls import L1Ball, L2Ball
from verify.regions.box import Box

# Seconds that a step is to take, so that clocks and Ctrl-C are heard.
STEP = 0.2

# Numbers in open boxes (a gigabyte in all) beyond which the search ends.
LARGEST = 1 << 27

# Points drawn at first, how many of a step are shown at most, and the share of the time spent on climbing.
DRAWN, SHOWN, CLIMBING = 4096, 3, 0.2

# What the linear part of a bound counts beside its gap where an input is chosen.
LINEAR = 0.01

# In how many rounds a way to better bounds is tried once to see whether it pays, what earlier rounds count in that, and
# the most halvings that it is taken to spare.
AGAIN, FADING, MOST_SPARED = 8, 0.7, 20.0

# The share of the region's width below which an input is not halved.
NARROW = 1e-12

# The share of a box kept below which it is bounded anew where it is too narrow to be halved.
SHRUNK = 0.5

# What a bound may be off by rounding, of the magnitudes that make it up.
ROUNDING = 1e-12

# Conditions up to which boxes are drawn in to what may meet one.
FEW = 64


@dataclass(frozen=True, eq=False)
class Conditions:
    """c conditions on t functions: one is met where all functions that are its `members` (c, t) are at least 0.

    Where `strict` (c, t) they have to be above 0.
    """

    members: Flags
    strict: Flags

    def excluded(self, upper: Floats) -> Flags:
        """Return which conditions (r, c) bounds (r, t) of the functions rule out."""
        below = np.where(self.strict, upper[:, None] <= 0.0, upper[:, None] < 0.0)
        return np.asarray((self.members & below).any(axis=2))

    def met(self, values: Floats) -> Flags:
        """Return which conditions (r, c) values (r, t) of the functions meet."""
        above = np.where(self.strict, values[:, None] > 0.0, values[:, None] >= 0.0)
        return np.asarray((~self.members | above).all(axis=2))

    def least(self, values: Floats) -> tuple[Floats, Places]:
        """Return the least value (r, c) of each condition's functions, and which one (r, c) it is of."""
        own = np.where(self.members, values[:, None], np.inf)
        return own.min(axis=2), own.argmin(axis=2)


class Account:
    """Whether a way to better bounds pays: its seconds, beside those of the boxes that need not be halved for it.

    A way that brings all bounds down by k times as much as one halving does spares k halvings of each box: it leaves a
    tree that is 2^k times smaller.
    """

    def __init__(self) -> None:
        self.tried, self.fallen, self.spent = 0.0, 0.0, 0.0
        self.rounds, self.pause = 0, AGAIN

    def improved(self, boxes: int, fallen: float, seconds: float) -> None:
        """Note boxes, by how much their bounds fell in all, and what that took; what was long ago counts less."""
        self.tried, self.fallen = FADING * self.tried + boxes, FADING * self.fallen + fallen
        self.spent = FADING * self.spent + seconds

    def pays(self, fall: float, pace: float) -> bool:
        """Whether it is worth its time, or that is to be seen again: after pauses that grow.

        `fall` is what a halving brings bounds down by, `pace` how many boxes are bounded in a second without it.
        """
        halvings = min(self.fallen / max(self.tried * fall, 1e-300), MOST_SPARED)
        if not self.tried or 2.0**halvings >= 1.0 + self.spent / self.tried * pace:
            self.rounds, self.pause = 0, AGAIN
            return True
        self.rounds += 1
        if self.rounds < self.pause:
            return False
        self.rounds, self.pause = 0, 2 * self.pause
        return True


Improvement = Callable[[BoxBounds, Flags, float], None]


class Visitor(Protocol):
    """What the search shows its points to; each returns whether the search may end."""

    def accept(self, point: Floats) -> bool:
        """Take a point (d,) that meets a condition up to rounding."""

    def climb(self, condition: int, lower: Floats, upper: Floats) -> bool:
        """Take a box, ends (d,), where a condition may be met."""


class BoxSearch:
    """Search for an input that meets one of some conditions, or the proof that there is none, by halving boxes.

    Parameters
    ----------
    network : BoxNetwork
        The functions.
    region : Box
        Where to search; the network's box is the one around it.
    conditions : Conditions
        What is searched for.
    visitor : Visitor
        Is shown points.
    rng : numpy.random.Generator
        Of the points drawn at first.
    level : float
        What the functions are to reach in place of 0.

    Attributes
    ----------
    open : Boxes
        The boxes that may hold such an input.
    stuck : Boxes
        Those that halving does not help: narrow ones, and those whose bound is reached, up to rounding.
    count : int
        How many were bounded.
    spread : float
        How many inputs accounted for the gap of the first box: (sum of shares)^2 / sum of their squares.

    Notes
    -----
    The box whose bound is largest comes first. It is drawn in to where the linear bounds leave a condition open and to
    the region, then halved at the input that accounts for most of the gap of its bound; of a condition of several
    functions at the one that is nearest to being ruled out.
    """

    def __init__(
        self,
        network: BoxNetwork,
        region: Box,
        conditions: Conditions,
        visitor: Visitor,
        rng: np.random.Generator,
        level: float = 0.0,
    ) -> None:
        self.network, self.region, self.conditions, self.visitor, self.rng = network, region, conditions, visitor, rng
        self.level = level
        count, lower, upper = len(conditions.members), region.lower[None], region.upper[None]
        everything = np.ones((1, count), dtype=bool)
        phases = network.root_phases()[None]
        self.open = Boxes(lower, upper, phases, everything, np.array([np.inf]), np.ones(1))
        self.stuck, self.count = self.open.take(slice(0)), 0
        self.narrow = NARROW * (region.upper - region.lower)
        self.lines, self.envelopes = Account(), Account()
        # Seconds, and by how much halving brought how many bounds down of late.
        self.improving, self.fall, self.halved = 0.0, 0.0, 0.0
        self.spent, self.climbed, self.spread, self.drawn = 0.0, 0.0, 1.0, False

    def run(self, stop: Callable[[], bool]) -> bool:
        """Go on until a point is taken, no box is open, or `stop` says so; return whether a point was taken."""
        while len(self.open) and not stop():
            clock = Clock(np.inf)
            with np.errstate(all="ignore"):
                found = (not self.drawn and self._draw()) or self._step()
            self.spent += clock.seconds
            if found:
                return True
            if self.full:
                break
        return False

    def raise_to(self, level: float) -> None:
        """Search for more than before, where all conditions are strict."""
        self.level = level
        self.open = self.open.take(self.open.worst > level)
        self.stuck = self.stuck.take(self.stuck.worst > level)

    def drop(self, condition: int) -> None:
        """Search for a condition no more."""
        self.open.open[:, condition] = False
        self.open = self.open.take(self.open.open.any(axis=1))

    @property
    def full(self) -> bool:
        """Whether the open boxes take all the memory that they may."""
        return self.open.numbers > LARGEST

    @property
    def pace(self) -> float:
        """Boxes bounded in a second."""
        return self.count / max(self.spent, 1e-9)

    @property
    def closed(self) -> float:
        """The share of the region, by volume, where no condition is met."""
        return 1.0 - float(self.open.volume.sum() + self.stuck.volume.sum())

    @property
    def ceilings(self) -> Floats:
        """Upper bounds (c,) of the least function of each condition where it is open; minus infinity without a box."""
        left = self.open.join(self.stuck)
        return np.where(left.open, left.worst[:, None], -np.inf).max(axis=0, initial=-np.inf)

    def _draw(self) -> bool:
        """Show points all over the region, and climb from the best."""
        self.drawn = True
        width = self.region.upper - self.region.lower
        count = max(1, min(DRAWN, LARGEST // (64 * max([1, *self.network.sizes, self.region.size]))))
        points = self.region.lower + self.rng.random((count, self.region.size)) * width
        return self._show(self.region.project(points), self.open.take(np.zeros(count, dtype=np.intp)))

    def _step(self) -> bool:
        """Bound the worst boxes, show their points, and halve what is left of them."""
        now, bounds = self._bound_worst()
        now, left, kept = self._narrowed(now, bounds)
        if not len(now):
            return False
        slopes, shares = self._of_hardest(now, bounds, left)
        if self.count == 1:
            self.spread = _spread(shares[0])
        points = np.concatenate([0.5 * (now.lower + now.upper), np.where(slopes > 0.0, now.upper, now.lower)])
        points = points if self.region.is_box else self.region.project(points)
        if self._show(points, now.join(now)):
            self.open = self.open.join(now)
            return True
        gains = shares + LINEAR * np.abs(slopes) * (now.upper - now.lower)
        self._halve(now, gains, self._tight(now, points), kept < SHRUNK)
        return False

    def _tight(self, now: Boxes, points: Floats) -> Flags:
        """Whether a bound (r,) is met up to rounding by a function alone, so that no halving brings it down."""
        alone = self.conditions.members.sum(axis=1) == 1
        values = self.conditions.least(self.network.values(points[len(now) :]))[0]
        size = self.network.base_sizes.max()
        met = now.open & alone & (values >= now.worst[:, None] - ROUNDING * size)
        return np.asarray(met.any(axis=1) | ~np.isfinite(now.worst))

    def _bound_worst(self) -> tuple[Boxes, BoxBounds]:
        count = int(np.clip(STEP * self.pace, 1, self.network.batch))
        if len(self.open) > count:
            order = np.argpartition(-self.open.worst, count)
            now, self.open = self.open.take(order[:count]), self.open.take(order[count:])
        else:
            now, self.open = self.open, self.open.take(slice(0))
        asked = np.asarray((now.open[:, :, None] & self.conditions.members).any(axis=1))
        box = self.network.enter(now.lower, now.upper, now.phases)
        bounds = box.functions(asked)
        self.count += len(now)
        fall, pace = self.fall / max(self.halved, 1.0), self.count / max(self.spent - self.improving, 1e-9)
        for account, improve in ((self.lines, box.improve), (self.envelopes, box.play)):
            if account.pays(fall, pace):
                self._improve(account, improve, now, bounds)
        self._note_fall(now, bounds)
        return now, bounds

    def _improve(self, account: Account, improve: Improvement, now: Boxes, bounds: BoxBounds) -> None:
        """Lower the bounds of the functions of open conditions in one way."""
        clock, open_ = Clock(np.inf), now.open & ~self.conditions.excluded(self._above(bounds.upper))
        asked = np.asarray((open_[:, :, None] & self.conditions.members).any(axis=1))
        before = self._heights(now, bounds)
        improve(bounds, asked, self.level)
        fallen = (before - self._heights(now, bounds))[open_.any(axis=1)]
        account.improved(len(fallen), float(fallen.sum()), clock.seconds)
        self.improving += clock.seconds

    def _heights(self, now: Boxes, bounds: BoxBounds) -> Floats:
        """Return by how much the bounds of boxes (r,) exceed the level."""
        worst = np.where(now.open, self.conditions.least(bounds.upper)[0], -np.inf).max(axis=1)
        return np.nan_to_num(np.maximum(np.fmin(worst, now.worst) - self.level, 0.0), posinf=0.0)

    def _note_fall(self, now: Boxes, bounds: BoxBounds) -> None:
        """Note by how much bounds are below those of the boxes that these are halves of; the first has none."""
        before, after = np.maximum(now.worst - self.level, 0.0), self._heights(now, bounds)
        left = np.isfinite(before) & (after > 0.0)
        self.fall = FADING * self.fall + float((before - after)[left].sum())
        self.halved = FADING * self.halved + int(left.sum())

    def _narrowed(self, now: Boxes, bounds: BoxBounds) -> tuple[Boxes, Places, Floats]:
        """Return what bounds and region leave of boxes, which boxes these are parts of, and the shares kept of them."""
        upper = self._met_with_ball(bounds)
        alive = now.open & ~self.conditions.excluded(self._above(upper))
        lower, higher = self._drawn_in(now, bounds, alive)
        if not self.region.is_box:
            lower, higher = clip_to_region(self.region, lower, higher)
        alive &= (lower <= higher).all(axis=1, keepdims=True)
        worst = np.where(alive, self.conditions.least(upper)[0], -np.inf).max(axis=1)
        left = np.flatnonzero(alive.any(axis=1))
        lower, higher = lower[left], higher[left]
        before = (now.upper - now.lower)[left]
        kept = np.divide(higher - lower, before, out=np.ones_like(before), where=before > 0.0).prod(axis=1)
        worst = np.fmin(worst[left], now.worst[left])
        return Boxes(lower, higher, bounds.phases[left], alive[left], worst, now.volume[left] * kept), left, kept

    def _above(self, upper: Floats) -> Floats:
        """Return by how much bounds exceed the level, rounded up."""
        return np.nextafter(upper - self.level, np.inf) if self.level else upper

    def _met_with_ball(self, bounds: BoxBounds) -> Floats:
        """Return the bounds, met with those of the same linear functions over a whole ball."""
        if not isinstance(self.region.base, L1Ball | L2Ball):
            return bounds.upper
        rows, asked = bounds.slopes.reshape(-1, self.region.size), np.isfinite(bounds.offsets).ravel()
        found = np.full(len(rows), np.inf)
        top, offset = self.region.base.support(rows[asked]), bounds.offsets.ravel()[asked]
        with np.errstate(all="ignore"):
            found[asked] = np.nextafter(top + offset, np.inf)
        return np.fmin(bounds.upper, np.where(np.isnan(found), np.inf, found).reshape(bounds.upper.shape))

    def _drawn_in(self, now: Boxes, bounds: BoxBounds, alive: Flags) -> tuple[Floats, Floats]:
        """Return the boxes around the parts of boxes where conditions stay open; `alive` (r, c) loses those without."""
        members = self.conditions.members
        if len(members) > FEW:
            return now.lower, now.upper
        # Of functions that were not asked for the excess is infinite, which draws nothing in.
        excess = np.maximum(self._above(bounds.upper), 0.0)
        low, high = clip_to_linear(now.lower[:, None], now.upper[:, None], bounds.slopes, excess)
        lower, upper = np.full_like(now.lower, np.inf), np.full_like(now.upper, -np.inf)
        for index, own in enumerate(members):
            below = low[:, own].max(axis=1, initial=-np.inf) if own.any() else now.lower
            above = high[:, own].min(axis=1, initial=np.inf) if own.any() else now.upper
            alive[:, index] &= (below <= above).all(axis=1)
            here = alive[:, index, None]
            lower = np.where(here, np.minimum(lower, below), lower)
            upper = np.where(here, np.maximum(upper, above), upper)
        return lower, upper

    def _of_hardest(self, now: Boxes, bounds: BoxBounds, left: Places) -> tuple[Floats, Floats]:
        """Return slopes and shares (r, d) of the function that stands for each box."""
        value, which = self.conditions.least(bounds.upper[left])
        hardest = np.where(now.open, value, -np.inf).argmax(axis=1)
        function = which[np.arange(len(left)), hardest]
        return bounds.slopes[left, function], bounds.shares[left, function]

    def _halve(self, now: Boxes, gains: Floats, tight: Flags, shrunk: Flags) -> None:
        """Put the halves of boxes back, each cut at the input that gains the most; `shrunk` ones may come as they are.

        Those are too narrow to be cut, but their bounds are those of what they were before.
        """
        middles = 0.5 * now.lower + 0.5 * now.upper
        able = (now.upper - now.lower > self.narrow) & (now.lower < middles) & (middles < now.upper)
        axes = np.where(able, gains, -1.0).argmax(axis=1)
        every = np.arange(len(now))
        narrow = ~able[every, axes]
        self.stuck = self.stuck.join(now.take(tight | (narrow & ~shrunk)))
        halves, cut = now.halved(axes, middles[every, axes]), ~(tight | narrow)
        again = now.take(narrow & shrunk & ~tight)
        self.open = self.open.join(again).join(halves.take(np.concatenate([cut, cut])))

    def _show(self, points: Floats, boxes: Boxes) -> bool:
        """Show the points, one in each of the boxes, that meet a condition; or climb where one is nearest to that."""
        values = self.network.values(points) - self.level
        hits = np.flatnonzero((self.conditions.met(values) & boxes.open).any(axis=1))
        if any(self.visitor.accept(points[index]) for index in hits[:SHOWN]):
            return True
        if self.climbed > CLIMBING * self.spent:
            return False
        clock = Clock(np.inf)
        value = np.where(boxes.open, self.conditions.least(values)[0], -np.inf)
        best, condition = np.unravel_index(np.nan_to_num(value, nan=-np.inf).argmax(), value.shape)
        found = self.visitor.climb(int(condition), boxes.lower[best], boxes.upper[best])
        self.climbed += clock.seconds
        return found


def _spread(shares: Floats) -> float:
    """Return among how many inputs shares (d,) are spread; all of them where that is not known."""
    spread = float(shares.sum() ** 2 / (shares**2).sum())
    return spread if np.isfinite(spread) else float(len(shares))
