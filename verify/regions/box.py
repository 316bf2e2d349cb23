"""Regions: the sets of inputs that a question is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from convexnn.checks import Floats, as_floats
from verify.regions.halfspaces import Halfspaces, halfspaces, no_halfspaces, weak_bound
from verify.regions.interior_points import deepest, on_grid, prices, sunk
from verify.regions.intervals import EPS, TINY
from verify.regions.multipliers import BALL_ENTRIES, Dual, dual_of, lengths

# A depth, in widths of a region, below which constraints leave it no interior.
FLAT = 1e-9

# Further shares of the way to a point well inside, until exact arithmetic takes a point.
SHARES = (0.0, 1e-12, 1e-9, 1e-6)

# Functions, and entries of theirs, up to which bounds over boxes take linear programs.
FEW, FEW_ENTRIES = 32, 1 << 14

# The widths that a step of length 1 goes along a function of slope 1 in the mean of squares.
WIDTHS = 4.0

# The shares of the way to a point well inside at which inputs are rounded to the precision of a model.
DRAWN = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


class EmptyError(ValueError):
    """No input meets the constraints of a region; this is proven."""


@dataclass(frozen=True, eq=False, init=False)
class Box:
    """The box lower <= x <= upper.

    Parameters
    ----------
    lower, upper : array_like (d,)
        Finite bounds, lower <= upper in every entry.

    Attributes
    ----------
    center : ndarray (d,)
        The midpoint (for a ball the x it was made of).
    """

    lower: Floats
    upper: Floats
    center: Floats

    def __init__(self, lower: ArrayLike, upper: ArrayLike) -> None:
        low = as_floats(lower, "lower", 1, "a vector (d,)").copy()
        high = as_floats(upper, "upper", 1, f"a vector of shape {low.shape}").copy()
        if low.shape != high.shape or not low.size:
            raise ValueError(f"upper has shape {high.shape}; expected {low.shape}, as lower, and at least one entry")
        if (low > high).any():
            index = int(np.argmax(low > high))
            raise ValueError(
                f"lower is {low[index]:g} and upper {high[index]:g} at index {index}; expected lower <= upper"
            )
        self._set(low, high, np.clip(low / 2 + high / 2, low, high))

    def _set(self, lower: Floats, upper: Floats, center: Floats) -> None:
        reach = float(max(np.abs(lower).max(), np.abs(upper).max()))
        if reach > 1e100:
            raise ValueError(f"the region reaches to {reach:.3g}; expected at most 1e100 in every entry")
        for name, value in (("lower", lower), ("upper", upper), ("center", center)):
            object.__setattr__(self, name, value)

    @property
    def size(self) -> int:
        """d, the number of inputs."""
        return len(self.lower)

    @property
    def reach(self) -> Floats:
        """The largest size of each input over the region, (d,)."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    @property
    def is_box(self) -> bool:
        """Whether the region is the whole box between `lower` and `upper`; other regions are a part of it."""
        return True

    @property
    def base(self) -> Box:
        """The region without its linear constraints."""
        return self

    @property
    def constraints(self) -> Halfspaces:
        """The linear constraints beside the region's own form, m of them; see :meth:`where`."""
        return no_halfspaces(self.size)

    @property
    def norms(self) -> Floats:
        """The lengths (m,) of the rows of the constraints over the widths of the region."""
        return np.zeros(0)

    @property
    def is_loose(self) -> bool:
        """Whether a MILP holds the region up to its tolerances alone, so that its point may lie outside."""
        return False

    @property
    def is_hollow(self) -> bool:
        """Whether no point of float64 numbers is known in the region; its center is then off by rounding."""
        return False

    @property
    def doubt(self) -> str:
        """Why witnesses may not be found; nothing for most regions."""
        return ""

    def where(self, rows: ArrayLike | Any, upper: ArrayLike) -> Box:
        """Return the part of the region where rows x <= upper.

        Parameters
        ----------
        rows : array_like or scipy.sparse (m, d)
            One linear function of the inputs a constraint, entries of size at most 1e100. An equality is two of them.
        upper : array_like (m,)
            The largest values allowed.

        Returns
        -------
        Box
            A region that every question takes; more constraints are added by another ``where``.

        Raises
        ------
        TypeError, ValueError
            Shapes do not match; entries are not finite; no input of a box is left, which is proven; or the center of a
            ball, the input attacked, is cut off.

        Notes
        -----
        A method, since constraints are added to whatever region is at hand, and more may follow. The center of a box
        moves to a point well inside where it is cut off. Bounds rest on weak duality: over the region
        c . x <= max (c - rows' l) . x + l . upper for any multipliers l >= 0, evaluated outward.

        Where they leave no interior, as equalities do, points of float64 numbers that meet them exactly are rare:
        witnesses may not be found, and what is not proven is unknown.

        Examples
        --------
        >>> region = Box([0, 0], [1, 1]).where([[1, 1]], [1])  # a triangle
        >>> print(region)
        box over 2 inputs, widths 1 to 1, where 1 linear constraint holds
        """
        cut = halfspaces(rows, upper, self.size)
        return Constrained(self, cut) if len(cut) else self

    def support(self, rows: Floats, multipliers: Floats | None = None) -> Floats:
        """Return upper bounds (r,) of max rows . x over the region, `rows` (r, d); exact but for outward rounding.

        Of a region with m constraints they are the best that is found, or those at given `multipliers` (r, m).
        """
        total = np.maximum(rows, 0.0) @ self.upper + np.minimum(rows, 0.0) @ self.lower
        error = (self.size + 8) * EPS * (np.abs(rows) @ self.reach) + 4.0 * self.size * TINY
        return np.nextafter(total + error, np.inf)

    def multipliers(self, rows: Floats) -> Floats:
        """Return multipliers (r, m) >= 0 of the constraints that nearly give the least bound of max rows . x."""
        return np.zeros((len(rows), 0))

    def contains(self, x: Floats) -> bool:
        """Whether `x` (d,) lies in the region, exactly, to the last bit."""
        return bool((x >= self.lower).all() and (x <= self.upper).all())

    def project(self, x: Floats) -> Floats:
        """Return the nearest points of the region to `x`, shape (d,) or (n, d)."""
        return np.clip(x, self.lower, self.upper)

    def peaks(self, rows: Floats) -> Floats:
        """Return points (r, d) of the region where `rows` (r, d) . x is largest; just inside a ball."""
        return np.where(rows > 0.0, self.upper, self.lower)

    def drawn(self, x: Floats) -> list[Floats]:
        """Return points on the way from `x` (d,) into the region, the nearest first; none without constraints."""
        return []

    def step(self, points: Floats, slopes: Floats, length: float) -> Floats:
        """Return `points` (n, d) moved up along the signs of `slopes` (n, d), `length` times the widths."""
        return self.project(points + length * (self.upper - self.lower) * np.sign(slopes))

    def __str__(self) -> str:
        width = self.upper - self.lower
        return f"box over {self.size} inputs, widths {width.min():.3g} to {width.max():.3g}"


class Constrained(Box):
    """A region where linear constraints hold; see :meth:`Box.where`.

    Points are drawn to its `anchor` (d,), well inside: at least `depth`, in widths of the region, from every rim.
    """

    anchor: Floats
    depth: float
    _base: Box
    _cut: Halfspaces
    _norms: Floats
    _live: NDArray[np.bool_]
    _columns: NDArray[np.int64]
    _dual: Dual
    _hollow: bool

    def __init__(self, region: Box, cut: Halfspaces) -> None:
        base, cut = region.base, region.constraints.joined(cut)
        self._set(base.lower, base.upper, base.center)
        width = base.upper - base.lower if base.is_box else np.full(base.size, getattr(base, "radius", 0.0))
        norms = lengths(cut, width)
        live = norms > TINY
        columns = cut.mentioned if base.is_box else np.arange(base.size)
        dual = _dual(base, Halfspaces(sp.csr_matrix(cut.rows[live][:, columns]), cut.upper[live]), columns, width)
        parts = {"_base": base, "_cut": cut, "_norms": np.where(live, norms, 1.0), "_hollow": False}
        for name, value in {**parts, "_live": live, "_columns": columns, "_dual": dual}.items():
            object.__setattr__(self, name, value)
        for name, value in zip(("center", "anchor", "depth", "_hollow"), self._inside(), strict=True):
            object.__setattr__(self, name, value)

    def _inside(self) -> tuple[Floats, Floats, float, bool]:
        """Return the center, the anchor and its depth, and whether the center is off by rounding."""
        return self._inside_of_ball() if hasattr(self.base, "radius") else self._inside_of_box()

    def _inside_of_ball(self) -> tuple[Floats, Floats, float, bool]:
        center = self.base.center
        if not self._cut.hold(center[None])[0]:
            excess = self._cut.excess(center)
            row = int(np.argmax(excess))
            raise ValueError(
                f"x, the center of the ball, violates constraint {row} by {excess[row]:.3g}; expected an input allowed"
            )
        if not self.base.is_box:
            return center, *sunk(self._dual, center[None]), False
        found = deepest(self.lower, self.upper, self._cut, self._live)
        return center, found.x if found.depth > 0.0 else center, max(found.depth, 0.0), False

    def _inside_of_box(self) -> tuple[Floats, Floats, float, bool]:
        found = deepest(self.lower, self.upper, self._cut, self._live)
        for x in (self.base.center, found.x, *self._rounded(found.x[None])):
            if self._cut.hold(x[None])[0]:
                return x, found.x if found.depth > 0.0 else x, max(found.depth, 0.0), False
        # No input at all: the function 0 has a negative maximum.
        if self._priced(np.zeros((1, self.size)), found.multipliers[None])[0] < 0.0:
            raise EmptyError("no input of the box meets all constraints; expected some that are met together")
        return found.x, found.x, 0.0, True

    @property
    def is_box(self) -> bool:
        """Whether the region is the whole box between `lower` and `upper`; False."""
        return False

    @property
    def base(self) -> Box:
        """The region without its linear constraints."""
        return self._base

    @property
    def constraints(self) -> Halfspaces:
        """The linear constraints, m of them."""
        return self._cut

    @property
    def norms(self) -> Floats:
        """The lengths (m,) of the rows of the constraints over the widths of the region; 1 where they are 0."""
        return self._norms

    @property
    def is_loose(self) -> bool:
        """Whether a MILP holds the region up to its tolerances alone; True."""
        return True

    @property
    def is_hollow(self) -> bool:
        """Whether no point of float64 numbers is known in the region; its center is then off by rounding."""
        return self._hollow

    @property
    def doubt(self) -> str:
        """Why witnesses may not be found; nothing where the region has an interior."""
        return "The constraints leave no interior, so witnesses may not be found." if self.is_flat else ""

    @property
    def is_flat(self) -> bool:
        """Whether no point well inside was found."""
        return self.depth <= FLAT

    def support(self, rows: Floats, multipliers: Floats | None = None) -> Floats:
        """Return upper bounds (r,) of max rows . x over the region, `rows` (r, d), by weak duality, rounded outward.

        They are the best at the multipliers that accelerated ascent on the dual finds, or those at given `multipliers`
        (r, m); never above those without constraints. Few rows over a box get the multipliers of linear programs.
        """
        result, some = self.base.support(rows), rows[:, self._columns]
        tried = [] if multipliers is None else [multipliers]
        with np.errstate(all="ignore"):
            if self.base.is_box and len(rows) <= FEW and rows.size <= FEW_ENTRIES:
                ends = self.lower[self._columns], self.upper[self._columns]
                tried.append(self._filled(prices(*ends, self._dual.cut, some)))
            elif multipliers is None:
                tried += [self._filled(held) for held in self._dual.best(some)[0]]
        for held in tried:
            result = np.minimum(result, self._priced(rows, held))
        return result

    def _priced(self, rows: Floats, held: Floats) -> Floats:
        return weak_bound(self._cut, rows, held, self.base.support, self.reach)

    def multipliers(self, rows: Floats) -> Floats:
        """Return multipliers (r, m) >= 0 of the constraints that nearly give the least bound of max rows . x."""
        with np.errstate(all="ignore"):
            return np.nan_to_num(self._filled(self._dual.best(rows[:, self._columns])[0][-1]))

    def _filled(self, held: Floats) -> Floats:
        """Return multipliers (r, m) of all constraints from those (r, k) of the ones that are not constant."""
        result = np.zeros((len(held), len(self._cut)))
        result[:, self._live] = held
        return result

    def contains(self, x: Floats) -> bool:
        """Whether `x` (d,) lies in the region, in exact arithmetic."""
        return self.base.contains(x) and bool(self._cut.hold(x[None])[0])

    def project(self, x: Floats) -> Floats:
        """Return points of the region near `x`, shape (d,) or (n, d), just inside where that is its rim.

        Of a region without interior it may be the center; of a hollow one the points are off by rounding.
        """
        points = self.base.project(np.atleast_2d(x))
        out = ~self._cut.hold(points)
        if out.any():
            points[out] = self._settled(self._pulled(points[out]))
        return points.reshape(np.shape(x))

    def peaks(self, rows: Floats) -> Floats:
        """Return points (r, d) of the region where `rows` (r, d) . x is nearly largest."""
        points = self.base.peaks(rows)
        with np.errstate(all="ignore"):
            points[:, self._columns] = self._dual.best(rows[:, self._columns])[1]
        return self.project(np.where(np.isfinite(points), points, self.center))

    def step(self, points: Floats, slopes: Floats, length: float) -> Floats:
        """Return `points` (n, d) moved along `slopes` (n, d) and back to the nearest points, `length` of 0 to 1/2.

        The first steps go widths beyond the region, so that the nearest point is one where the slope leads to.
        """
        targets, columns = self.base.step(points, slopes, length), self._columns
        along = self._dual.along(slopes[:, columns])[0]
        targets[:, columns] = points[:, columns] + WIDTHS * length * self._dual.units * along
        return self._settled(self._pulled(targets))

    def drawn(self, x: Floats) -> list[Floats]:
        """Return points on the way from `x` (d,) to the anchor, the nearest first."""
        return [x + share * (self.anchor - x) for share in DRAWN]

    def _pulled(self, points: Floats) -> Floats:
        """Return the nearest points within the constraints and just off their rims, up to the accuracy of the steps."""
        points, margin = points.copy(), min(FLAT, 0.25 * self.depth)
        points[:, self._columns] = self._dual.nearest(points[:, self._columns], margin)[1]
        return points

    def _settled(self, points: Floats) -> Floats:
        """Return points of the region: drawn to the anchor as far as each needs, at worst the center."""
        over = np.maximum(self._cut.at(points) - self._cut.upper, 0.0)
        room = np.maximum(-self._cut.excess(self.anchor), 0.0)
        with np.errstate(all="ignore"):
            share = np.where(over > 0.0, over / (over + room), 0.0).max(axis=1, keepdims=True)
        result, left = np.tile(self.center, (len(points), 1)), np.arange(len(points))
        tries = [points, self._rounded(points)] if self.is_flat else []
        tries += [points + np.minimum(share + more, 1.0) * (self.anchor - points) for more in SHARES]
        for tried in tries:
            placed = self.base.project(tried[left])
            inside = self._cut.hold(placed)
            result[left[inside]], left = placed[inside], left[~inside]
            if not len(left):
                break
        return result

    def _rounded(self, points: Floats) -> Floats:
        return self.base.project(on_grid(points, float(self.reach.max())))

    def __str__(self) -> str:
        held = "1 linear constraint holds" if len(self._cut) == 1 else f"{len(self._cut)} linear constraints hold"
        return f"{self.base}, where {held}" + ("; without interior" if self.is_flat else "")


def _dual(base: Box, cut: Halfspaces, columns: NDArray[np.int64], width: Floats) -> Dual:
    """Return the dual over the `columns` (c,) that matter; over a ball they are all."""
    if not base.is_box:
        return dual_of(cut, width, base.center, base.project, BALL_ENTRIES)
    inside = partial(np.clip, a_min=base.lower[columns], a_max=base.upper[columns])
    return dual_of(cut, width[columns], base.center[columns], inside)
