"""Balls of three norms, cut by a box: what linear functions reach over them, and the nearest points in them."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction
from math import fsum

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_floats, as_nonnegative, in_full
from convexnn.tables import counting
from verify.regions.box import Box
from verify.regions.intervals import EPS, TINY


class LinfBall(Box):
    """The ball |x' - x|_inf <= radius, intersected with a clip box.

    The region is the box between the float64 numbers x - radius and x + radius, each rounded to nearest.

    Parameters
    ----------
    x : array_like (d,)
        The center, inside the clip box.
    radius : float
        At least 0, in units of x.
    clip : (float or array_like, float or array_like), optional
        Lower and upper end of the valid inputs, such as ``(0, 1)`` for pixels.

    Examples
    --------
    >>> import verify
    >>> ball = verify.LinfBall([0.5, 0.95], 0.125, clip=(0, 1))
    >>> ball.lower.tolist(), ball.upper.tolist()
    ([0.375, 0.825], [0.625, 1.0])
    """

    radius: float

    def __init__(self, x: ArrayLike, radius: float, clip: tuple[ArrayLike, ArrayLike] | None = None) -> None:
        center, reach = _as_center(x), as_nonnegative(radius, "radius")
        with np.errstate(over="ignore"):
            ends = center - reach, center + reach
        self._set(*_clipped(*ends, center, clip), center)
        object.__setattr__(self, "radius", reach)

    def __str__(self) -> str:
        return f"L-inf ball of radius {self.radius:g} over {counting(self.size, 'input')}"


class NormBall(Box):
    """The ball |x' - x| <= radius of some norm, intersected with a clip box; `lower` and `upper` enclose it.

    `below` and `above` (d,) say how far each input can move down and up, rounded up.
    """

    NORM: str
    is_box = False
    radius: float
    below: Floats
    above: Floats

    def __init__(self, x: ArrayLike, radius: float, clip: tuple[ArrayLike, ArrayLike] | None = None) -> None:
        center, reach = _as_center(x), as_nonnegative(radius, "radius")
        with np.errstate(all="ignore"):
            ends = -sum_above(-center, reach), sum_above(center, reach)
        lower, upper = _clipped(*ends, center, clip)
        self._set(lower, upper, center)
        room = {"below": sum_above(center, -lower), "above": sum_above(upper, -center)}
        for name, value in {"radius": reach, **room}.items():
            object.__setattr__(self, name, value)

    def support(self, rows: Floats, multipliers: Floats | None = None) -> Floats:
        """Return upper bounds (r,) of max rows . x over the region, `rows` (r, d); exact but for outward rounding.

        Notes
        -----
        rows . x = rows . center + |rows| . moves, and any multiplier of the constraint on the moves gives an upper
        bound of the second part by duality: it is evaluated outward at the one that sorting finds to be the best.
        """
        sizes = np.abs(rows)
        with np.errstate(all="ignore"):
            base, top = rows @ self.center, self._dual(sizes, self._rooms(rows))
            error = (self.size + 8) * EPS * (sizes @ np.abs(self.center)) + 4.0 * self.size * TINY
            total = np.nextafter(base + top + error + 4.0 * EPS * (np.abs(base) + np.abs(top)), np.inf)
            box = super().support(rows)
        return np.where(np.isfinite(total), np.minimum(total, box), box)

    def contains(self, x: Floats) -> bool:
        """Whether `x` (d,) lies in the region, in exact arithmetic."""
        return super().contains(x) and self._holds(x)

    def project(self, x: Floats) -> Floats:
        """Return the nearest points of the region to `x`, shape (d,) or (n, d); just inside where that is its rim."""
        moves = np.atleast_2d(x) - self.center
        points = np.clip(np.atleast_2d(x), self.lower, self.upper)
        far = self._norm(points - self.center) > self._inner
        if far.any():
            # Points may be infinite, as float32 numbers can be.
            with np.errstate(all="ignore"):
                sizes, rooms = np.abs(moves[far]), self._rooms(moves[far])
                points[far] = self._placed(moves[far], self._nearest(sizes, rooms))
        return points.reshape(np.shape(x))

    def peaks(self, rows: Floats) -> Floats:
        """Return points (r, d) of the region where `rows` (r, d) . x is largest; just inside the ball."""
        return self._placed(rows, self._steepest(np.abs(rows), self._rooms(rows)))

    def step(self, points: Floats, slopes: Floats, length: float) -> Floats:
        """Return `points` (n, d) moved towards the points where `slopes` (n, d) . x is largest, `length` of 0 to 1/2.

        The step is twice `length` of the way (Frank and Wolfe 1956), so that the first one goes all of it.
        """
        return self.project(points + 2.0 * length * (self.peaks(slopes) - points))

    def _rooms(self, directions: Floats) -> Floats:
        return np.where(directions > 0.0, self.above, self.below)

    def _placed(self, directions: Floats, moves: Floats) -> Floats:
        """Return the points at `moves` >= 0 along the signs of `directions`, drawn just inside the ball."""
        moves = np.where(directions == 0.0, 0.0, moves)
        with np.errstate(all="ignore"):
            share = np.minimum(1.0, max(self._inner, 0.0) / self._norm(moves))
        moves = moves * np.where(np.isfinite(share), share, 1.0)[:, None]
        return np.asarray(np.clip(self.center + np.sign(directions) * moves, self.lower, self.upper))

    @property
    def _inner(self) -> float:
        """A radius smaller than the ball's by more than the rounding of a point and of its norm."""
        return self.radius * (1.0 - 1e-12 - 4.0 * self.size * EPS) - 4.0 * EPS * float(self._norm(self.reach[None])[0])

    @abstractmethod
    def _holds(self, x: Floats) -> bool:
        """Whether `x` lies in the ball, in exact arithmetic."""

    @abstractmethod
    def _norm(self, moves: Floats) -> Floats:
        """Return the norms (n,) of `moves` (n, d)."""

    @abstractmethod
    def _dual(self, sizes: Floats, rooms: Floats) -> Floats:
        """Return upper bounds (r,) of max sizes . moves over 0 <= moves <= rooms in the ball, rounded outward."""

    @abstractmethod
    def _steepest(self, sizes: Floats, rooms: Floats) -> Floats:
        """Return moves (n, d) where sizes . moves is largest."""

    @abstractmethod
    def _nearest(self, sizes: Floats, rooms: Floats) -> Floats:
        """Return the moves (n, d) in the ball with 0 <= moves <= rooms nearest to `sizes`."""

    def __str__(self) -> str:
        return f"{self.NORM} ball of radius {self.radius:g} over {counting(self.size, 'input')}"


class L1Ball(NormBall):
    """The ball sum_i |x'_i - x_i| <= radius, intersected with a clip box.

    Parameters
    ----------
    x : array_like (d,)
        The center, inside the clip box.
    radius : float
        At least 0, in units of x.
    clip : (float or array_like, float or array_like), optional
        Lower and upper end of the valid inputs, such as ``(0, 1)`` for pixels.

    Notes
    -----
    A linear function over it is a fractional knapsack: the inputs with the largest weights move first, each as far as
    the clip box lets it, until the radius is spent. The MILP holds the ball exactly.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[1.0, 2.0]], None), ([[1.0]], None)])
    >>> highest = verify.maximize(network, verify.L1Ball([1.0, 1.0], 0.5))
    >>> round(highest.value, 6), highest.witness.round(6).tolist()
    (4.0, [1.0, 1.5])
    """

    NORM = "L1"

    def _holds(self, x: Floats) -> bool:
        # The sum of floats that fsum rounds once has the sign of the exact sum.
        signs = np.where(x >= self.center, 1.0, -1.0)
        return fsum([*(signs * x), *(-signs * self.center), -self.radius]) <= 0.0

    def _norm(self, moves: Floats) -> Floats:
        return np.asarray(np.abs(moves).sum(axis=1))

    def _dual(self, sizes: Floats, rooms: Floats) -> Floats:
        """Bound by p radius + sum (sizes - p)+ rooms; best is the size where the largest ones fill the ball."""
        order = np.argsort(-sizes, axis=1)
        filled = np.cumsum(np.take_along_axis(rooms, order, axis=1), axis=1)
        last = np.argmax(filled >= self.radius, axis=1)
        price = np.take_along_axis(np.take_along_axis(sizes, order, axis=1), last[:, None], axis=1)
        price = np.where(filled[:, -1:] >= self.radius, price, 0.0)
        total = price[:, 0] * self.radius + (np.maximum(sizes - price, 0.0) * rooms).sum(axis=1)
        lost = TINY * (2.0 * self.size + rooms.sum(axis=1) + self.radius)
        return np.asarray(total + (self.size + 16) * EPS * total + lost)

    def _steepest(self, sizes: Floats, rooms: Floats) -> Floats:
        order = np.argsort(-sizes, axis=1)
        rooms = np.take_along_axis(rooms, order, axis=1)
        before = np.cumsum(rooms, axis=1) - rooms
        moves = np.empty_like(rooms)
        np.put_along_axis(moves, order, np.clip(self.radius - before, 0.0, rooms), axis=1)
        return moves

    def _nearest(self, sizes: Floats, rooms: Floats) -> Floats:
        """Return clip(sizes - p, 0, rooms) with the p at which they sum to the radius.

        The sum is piecewise linear in p: as p falls, a size begins to count at itself and ends at itself less its room.
        """
        breaks = np.concatenate([sizes, sizes - rooms], axis=1)
        order = np.argsort(-breaks, axis=1)
        breaks = np.take_along_axis(breaks, order, axis=1)
        slopes = np.cumsum(np.where(order < self.size, 1.0, -1.0), axis=1)
        sums = np.cumsum(slopes[:, :-1] * (breaks[:, :-1] - breaks[:, 1:]), axis=1)
        full = sums >= self.radius
        last = np.where(full.any(axis=1), np.argmax(full, axis=1), sums.shape[1] - 1)[:, None]
        over = np.take_along_axis(sums, last, axis=1) - self.radius
        with np.errstate(all="ignore"):
            price = np.take_along_axis(breaks, last + 1, axis=1) + over / np.take_along_axis(slopes, last, axis=1)
        return np.asarray(np.clip(sizes - np.maximum(price, 0.0), 0.0, rooms))


class L2Ball(NormBall):
    """The ball sum_i (x'_i - x_i)^2 <= radius^2, intersected with a clip box.

    Parameters
    ----------
    x : array_like (d,)
        The center, inside the clip box.
    radius : float
        At least 0, in units of x.
    clip : (float or array_like, float or array_like), optional
        Lower and upper end of the valid inputs, such as ``(0, 1)`` for pixels.

    Notes
    -----
    A linear function over it is largest at moves min(|w| / q, room), with the multiplier q that spends the radius.

    Examples
    --------
    >>> import convexnn as cx
    >>> import verify
    >>> network = cx.SparseReLUNetwork([([[3.0, 4.0]], None), ([[1.0]], None)])
    >>> highest = verify.maximize(network, verify.L2Ball([1.0, 1.0], 0.5))
    >>> round(highest.value, 6), highest.witness.round(6).tolist()
    (9.5, [1.3, 1.4])
    """

    NORM = "L2"
    is_loose = True

    def _holds(self, x: Floats) -> bool:
        moved = np.flatnonzero(x != self.center)
        moves = [Fraction(a) - Fraction(b) for a, b in zip(x[moved], self.center[moved], strict=True)]
        return sum((move * move for move in moves), Fraction(0)) <= Fraction(self.radius) ** 2

    def _norm(self, moves: Floats) -> Floats:
        return np.asarray(np.linalg.norm(moves, axis=1))

    def _dual(self, sizes: Floats, rooms: Floats) -> Floats:
        """Bound by q radius^2 / 2 + sum max over the rooms of (sizes moves - q moves^2 / 2), sizes scaled to 1."""
        scale = np.ldexp(1.0, np.frexp(sizes.max(axis=1, keepdims=True))[1])
        sizes = sizes / scale
        price = self._price(sizes, rooms)
        # A move that is off by rounding misses the maximum by the square of that: far less than the error below.
        moves = np.minimum(sizes / price, rooms)
        ball = 0.5 * (price[:, 0] * self.radius) * self.radius
        total = ball + (moves * (sizes - 0.5 * price * moves)).sum(axis=1)
        error = (self.size + 16) * EPS * (ball + 2.0 * (sizes * moves).sum(axis=1))
        lost = TINY * (8.0 * self.size + rooms.sum(axis=1) + self.radius)
        return np.asarray(scale[:, 0] * (total + error + lost) + TINY)

    def _price(self, sizes: Floats, rooms: Floats) -> Floats:
        """Return q (n, 1) with sum min(sizes / q, rooms)^2 = radius^2; NaN where the rooms lie inside the ball.

        Moves fill their rooms in the order of sizes / rooms; how many do so, prefix sums of the squares tell.
        """
        ratio = np.where(rooms > 0.0, sizes / rooms, np.inf)
        order = np.argsort(-ratio, axis=1)
        ratio, rooms, sizes = (np.take_along_axis(array, order, axis=1) for array in (ratio, rooms, sizes))
        full = np.cumsum(rooms**2, axis=1)
        rest = np.cumsum((sizes**2)[:, ::-1], axis=1)[:, ::-1]
        after = np.concatenate([rest[:, 1:], np.zeros((len(rest), 1))], axis=1)
        tight = full + after / ratio**2 >= self.radius * self.radius
        first = np.argmax(tight, axis=1)[:, None]
        left = self.radius * self.radius - np.take_along_axis(full - rooms**2, first, axis=1)
        price = np.sqrt(np.take_along_axis(rest, first, axis=1) / left)
        return np.where(tight.any(axis=1)[:, None], price, np.nan)

    def _steepest(self, sizes: Floats, rooms: Floats) -> Floats:
        with np.errstate(all="ignore"):
            price = self._price(sizes, rooms)
            moves = np.minimum(sizes / price, rooms)
        return np.where(np.isfinite(moves), moves, rooms)

    def _nearest(self, sizes: Floats, rooms: Floats) -> Floats:
        with np.errstate(all="ignore"):
            moves = np.minimum(sizes / np.fmax(self._price(sizes, rooms), 1.0), rooms)
        return np.where(np.isfinite(moves), moves, 0.0)


def _as_center(x: ArrayLike) -> Floats:
    center = as_floats(x, "x", 1, "a vector (d,)").copy()
    if not center.size:
        raise ValueError("x is empty; expected a vector (d,)")
    return center


def _clipped(
    lower: Floats, upper: Floats, center: Floats, clip: tuple[ArrayLike, ArrayLike] | None
) -> tuple[Floats, Floats]:
    """Return the ends of a box, those of a clip box where they are nearer to the center."""
    if clip is None:
        return lower, upper
    low, high = _clip_ends(clip, center)
    return np.maximum(lower, low), np.minimum(upper, high)


def _clip_ends(clip: tuple[ArrayLike, ArrayLike], center: Floats) -> tuple[Floats, Floats]:
    """Return the ends of a clip box, each of the shape of `center`, which must lie between them."""
    if not isinstance(clip, tuple | list) or len(clip) != 2:
        raise ValueError(f"clip is {clip!r}; expected a pair (lower, upper), such as (0, 1)")
    try:
        low, high = (np.broadcast_to(np.asarray(end, dtype=np.float64), center.shape) for end in clip)
    except (TypeError, ValueError):
        raise ValueError(f"clip is {clip!r}; expected a pair of numbers or of vectors like x") from None
    crossed = ~(low <= high)
    if crossed.any():
        index = int(np.argmax(crossed))
        ends = f"[{in_full(low[index])}, {in_full(high[index])}]"
        raise ValueError(f"clip is {ends} at index {index}; expected a lower end of at most the upper one")
    outside = ~((low <= center) & (center <= high))
    if outside.any():
        index = int(np.argmax(outside))
        raise ValueError(
            f"x is {in_full(center[index])} at index {index}, outside clip [{in_full(low[index])}, "
            f"{in_full(high[index])}]; expected a center inside clip"
        )
    return low, high


def sum_above(left: Floats, right: Floats | float) -> Floats:
    """Return the least floats at or above left + right, in exact arithmetic (the error term is Knuth's)."""
    total = np.asarray(left + right)
    back = total - left
    error = (left - (total - back)) + (right - back)
    return np.where(error > 0.0, np.nextafter(total, np.inf), total)
