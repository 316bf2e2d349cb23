"""Regions: the sets of inputs that a question is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_floats, in_full
from convexnn.tables import counting
from verify.regions.constraint_dual import ConstraintDual, dual_over_ball, dual_over_box
from verify.regions.halfspaces import Halfspaces, halfspaces, no_halfspaces, weak_bound
from verify.regions.interior_points import deepest_point, drawn_inside, interior_point_near, on_grid
from verify.regions.intervals import EPS, TINY

# A depth, in widths of a region, below which constraints leave it no interior.
FLAT = 1e-9

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
    is_box : bool
        Whether the region is the whole box between `lower` and `upper`; other regions are a part of it.
    is_loose : bool
        Whether a MILP holds the region up to its tolerances alone, so that its point may lie outside.

    Examples
    --------
    >>> import verify
    >>> box = verify.Box([0.0, 0.0], [1.0, 2.0])
    >>> print(box)
    box over 2 inputs, widths 1 to 2
    >>> box.center.tolist(), box.where([[1.0, 1.0]], [1.5]).is_box  # the part where x_0 + x_1 <= 1.5
    ([0.5, 1.0], False)
    """

    lower: Floats
    upper: Floats
    center: Floats
    is_box: ClassVar[bool] = True
    is_loose: ClassVar[bool] = False

    def __init__(self, lower: ArrayLike, upper: ArrayLike) -> None:
        low = as_floats(lower, "lower", 1, "a vector (d,)").copy()
        high = as_floats(upper, "upper", 1, f"a vector of shape {low.shape}").copy()
        if low.shape != high.shape or not low.size:
            raise ValueError(f"upper has shape {high.shape}; expected {low.shape}, as lower, and at least one entry")
        if (low > high).any():
            index = int(np.argmax(low > high))
            raise ValueError(
                f"lower is {in_full(low[index])} and upper {in_full(high[index])} at index {index}; "
                "expected lower <= upper"
            )
        self._set(low, high, np.clip(low / 2 + high / 2, low, high))

    def _set(self, lower: Floats, upper: Floats, center: Floats) -> None:
        reach = float(max(np.abs(lower).max(), np.abs(upper).max()))
        if reach > 1e100:
            raise ValueError(f"the region reaches to {reach:.3g}; expected at most 1e100 in every entry")
        for name, value in (("lower", lower), ("upper", upper), ("center", center)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<{self}>"

    @property
    def size(self) -> int:
        """d, the number of inputs."""
        return len(self.lower)

    @property
    def reach(self) -> Floats:
        """The largest size of each input over the region, (d,)."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

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

    def vertex_multipliers(self, rows: Floats) -> Floats:
        """Return such multipliers, over a box those of linear programs, which are sharper and take longer."""
        return self.multipliers(rows)

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
        return f"box over {counting(self.size, 'input')}, widths {width.min():.3g} to {width.max():.3g}"


class Constrained(Box):
    """A region where linear constraints hold; see :meth:`Box.where`.

    Points are drawn to its `anchor` (d,), well inside: at least `depth`, in widths of the region, from every rim.
    """

    is_box = False
    is_loose = True
    anchor: Floats
    depth: float
    _base: Box
    _dual: ConstraintDual
    _hollow: bool

    def __init__(self, region: Box, cut: Halfspaces) -> None:
        base, cut = region.base, region.constraints.joined(cut)
        self._set(base.lower, base.upper, base.center)
        if base.is_box:
            dual = dual_over_box(cut, base.lower, base.upper, base.center)
        else:
            dual = dual_over_ball(cut, getattr(base, "radius", 0.0), base.center, base.project)
        for name, value in {"_base": base, "_dual": dual, "_hollow": False}.items():
            object.__setattr__(self, name, value)
        inside = self._inside_of_ball() if hasattr(base, "radius") else self._inside_of_box()
        for name, value in zip(("center", "anchor", "depth", "_hollow"), inside, strict=True):
            object.__setattr__(self, name, value)

    def _inside_of_ball(self) -> tuple[Floats, Floats, float, bool]:
        """Return the center, the anchor and its depth, and whether the center is off by rounding, which it is not."""
        center, cut = self.base.center, self.constraints
        if not cut.satisfied_by(center[None])[0]:
            excess = cut.excess(center)
            row = int(np.argmax(excess))
            raise ValueError(
                f"x, the center of the ball, violates constraint {row} by {excess[row]:.3g}; expected an input allowed"
            )
        if not self.base.is_box:
            return center, *interior_point_near(self._dual.reduced, center[None]), False
        found = deepest_point(self.lower, self.upper, cut, self._dual.live)
        return center, found.x if found.depth > 0.0 else center, max(found.depth, 0.0), False

    def _inside_of_box(self) -> tuple[Floats, Floats, float, bool]:
        """Return the center, the anchor and its depth, and whether the center is off by rounding."""
        found = deepest_point(self.lower, self.upper, self.constraints, self._dual.live)
        for x in (self.base.center, found.x, *self._rounded(found.x[None])):
            if self.constraints.satisfied_by(x[None])[0]:
                return x, found.x if found.depth > 0.0 else x, max(found.depth, 0.0), False
        # No input at all: the function 0 has a negative maximum.
        if self._weak_bound(np.zeros((1, self.size)), found.multipliers[None])[0] < 0.0:
            raise EmptyError("no input of the box meets all constraints; expected some that are met together")
        return found.x, found.x, 0.0, True

    @property
    def base(self) -> Box:
        """The region without its linear constraints."""
        return self._base

    @property
    def constraints(self) -> Halfspaces:
        """The linear constraints, m of them."""
        return self._dual.cut

    @property
    def norms(self) -> Floats:
        """The lengths (m,) of the rows of the constraints over the widths of the region; 1 where they are 0."""
        return self._dual.norms

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
        result, tried = self.base.support(rows), [] if multipliers is None else [multipliers]
        with np.errstate(all="ignore"):
            if self.base.is_box and len(rows) <= FEW and rows.size <= FEW_ENTRIES:
                tried.append(self._dual.linprog_multipliers(rows, self.lower, self.upper))
            elif multipliers is None:
                tried += self._dual.multipliers(rows)
        for found in tried:
            result = np.minimum(result, self._weak_bound(rows, found))
        return result

    def _weak_bound(self, rows: Floats, multipliers: Floats) -> Floats:
        return weak_bound(self.constraints, rows, multipliers, self.base.support, self.reach)

    def multipliers(self, rows: Floats) -> Floats:
        """Return multipliers (r, m) >= 0 of the constraints that nearly give the least bound of max rows . x."""
        with np.errstate(all="ignore"):
            return np.nan_to_num(self._dual.multipliers(rows)[-1])

    def vertex_multipliers(self, rows: Floats) -> Floats:
        """Return such multipliers, over a box those of linear programs, which are sharper and take longer."""
        if not self.base.is_box:
            return self.multipliers(rows)
        with np.errstate(all="ignore"):
            return np.nan_to_num(self._dual.linprog_multipliers(rows, self.lower, self.upper))

    def contains(self, x: Floats) -> bool:
        """Whether `x` (d,) lies in the region, in exact arithmetic."""
        return self.base.contains(x) and bool(self.constraints.satisfied_by(x[None])[0])

    def project(self, x: Floats) -> Floats:
        """Return points of the region near `x`, shape (d,) or (n, d), just inside where that is its rim.

        Of a region without interior it may be the center; of a hollow one the points are off by rounding.
        """
        points = self.base.project(np.atleast_2d(x))
        out = ~self.constraints.satisfied_by(points)
        if out.any():
            points[out] = self._drawn_inside(self._nearest(points[out]))
        return points.reshape(np.shape(x))

    def peaks(self, rows: Floats) -> Floats:
        """Return points (r, d) of the region where `rows` (r, d) . x is nearly largest."""
        with np.errstate(all="ignore"):
            points = self._dual.peaks(rows, self.base.peaks(rows))
        return self.project(np.where(np.isfinite(points), points, self.center))

    def step(self, points: Floats, slopes: Floats, length: float) -> Floats:
        """Return `points` (n, d) moved along `slopes` (n, d) and back to the nearest points, `length` of 0 to 1/2.

        The first steps go widths beyond the region, so that the nearest point is one where the slope leads to.
        """
        targets, columns = self.base.step(points, slopes, length), self._dual.columns
        targets[:, columns] = points[:, columns] + self._dual.shifts(slopes, WIDTHS * length)
        return self._drawn_inside(self._nearest(targets))

    def drawn(self, x: Floats) -> list[Floats]:
        """Return points on the way from `x` (d,) to the anchor, the nearest first."""
        return [x + share * (self.anchor - x) for share in DRAWN]

    def _nearest(self, points: Floats) -> Floats:
        """Return the nearest points within the constraints and just off their rims, up to the accuracy of the steps."""
        return self._dual.nearest(points, min(FLAT, 0.25 * self.depth))

    def _drawn_inside(self, points: Floats) -> Floats:
        """Return points of the region: drawn to the anchor as far as each needs, at worst the center."""
        first = [points, self._rounded(points)] if self.is_flat else []
        return drawn_inside(points, first, self.constraints, self.anchor, self.center, self.base.project)

    def _rounded(self, points: Floats) -> Floats:
        return self.base.project(on_grid(points, float(self.reach.max())))

    def __str__(self) -> str:
        count = len(self.constraints)
        held = "1 linear constraint holds" if count == 1 else f"{count} linear constraints hold"
        return f"{self.base}, where {held}" + ("; without interior" if self.is_flat else "")
