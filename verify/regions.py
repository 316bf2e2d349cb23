"""Regions: the sets of inputs that a question is asked about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from convexnn.checks import Floats, as_floats, as_nonnegative
from verify.intervals import EPS, TINY


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

    def support(self, rows: Floats) -> Floats:
        """Return upper bounds (r,) of max rows . x over the region, `rows` (r, d); exact but for outward rounding."""
        total = np.maximum(rows, 0.0) @ self.upper + np.minimum(rows, 0.0) @ self.lower
        error = (self.size + 8) * EPS * (np.abs(rows) @ self.reach) + 4.0 * self.size * TINY
        return np.nextafter(total + error, np.inf)

    def contains(self, x: Floats) -> bool:
        """Whether `x` (d,) lies in the region, exactly, to the last bit."""
        return bool((x >= self.lower).all() and (x <= self.upper).all())

    def project(self, x: Floats) -> Floats:
        """Return the nearest points of the region to `x`, shape (d,) or (n, d)."""
        return np.clip(x, self.lower, self.upper)

    def step(self, points: Floats, slopes: Floats, length: float) -> Floats:
        """Return `points` (n, d) moved up along the signs of `slopes` (n, d), `length` times the widths."""
        return self.project(points + length * (self.upper - self.lower) * np.sign(slopes))

    def __str__(self) -> str:
        width = self.upper - self.lower
        return f"box over {self.size} inputs, widths {width.min():.3g} to {width.max():.3g}"


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
    """

    radius: float

    def __init__(self, x: ArrayLike, radius: float, clip: tuple[ArrayLike, ArrayLike] | None = None) -> None:
        center = as_floats(x, "x", 1, "a vector (d,)").copy()
        if not center.size:
            raise ValueError("x is empty; expected a vector (d,)")
        reach = as_nonnegative(radius, "radius")
        with np.errstate(over="ignore"):
            lower, upper = center - reach, center + reach
        if clip is not None:
            low, high = clip_ends(clip, center)
            lower, upper = np.maximum(lower, low), np.minimum(upper, high)
        self._set(lower, upper, center)
        object.__setattr__(self, "radius", reach)

    def __str__(self) -> str:
        return f"L-inf ball of radius {self.radius:g} over {self.size} inputs"


def clip_ends(clip: tuple[ArrayLike, ArrayLike], center: Floats) -> tuple[Floats, Floats]:
    """Return the ends of a clip box, each of the shape of `center`, which must lie between them."""
    if not isinstance(clip, tuple | list) or len(clip) != 2:
        raise ValueError(f"clip is {clip!r}; expected a pair (lower, upper), such as (0, 1)")
    try:
        low, high = (np.broadcast_to(np.asarray(end, dtype=np.float64), center.shape) for end in clip)
    except (TypeError, ValueError):
        raise ValueError(f"clip is {clip!r}; expected a pair of numbers or of vectors like x") from None
    outside = ~((low <= center) & (center <= high))
    if outside.any():
        index = int(np.argmax(outside))
        raise ValueError(
            f"x is {center[index]:g} at index {index}, outside clip [{low[index]:g}, {high[index]:g}]; "
            "expected a center inside clip"
        )
    return low, high
