"""Cases: a part of the inputs, and the conditions of which one suffices there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.regions.box import Box
from verify.regions.halfspaces import Halfspaces

# How far points at an end that does not belong to a box are drawn into it, in its widths: a float64 step first.
SHARES = (0.0, 1e-7, 1e-5, 1e-3)


@dataclass(frozen=True, eq=False)
class Condition:
    """Linear constraints that hold together: rows @ outputs + inputs @ x >= levels, > where `strict`.

    `rows` has shape (c, k), `levels` and the booleans `strict` (c,); `inputs` is (c, d), or None where no constraint
    reads inputs beside outputs. No constraint at all is always met.
    """

    rows: Floats
    levels: Floats
    strict: tuple[bool, ...]
    inputs: sp.csr_matrix | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A box lower <= x <= upper of inputs, (d,) each, and the conditions of which one suffices.

    `open_lower` and `open_upper` (d,) say which ends do not belong to it; ends may be infinite. Linear constraints
    `cut` may hold beside; `open_cut` (m,) says of which the rim does not belong to it.
    """

    lower: Floats
    upper: Floats
    open_lower: NDArray[np.bool_]
    open_upper: NDArray[np.bool_]
    conditions: tuple[Condition, ...]
    cut: Halfspaces
    open_cut: NDArray[np.bool_]

    def region(self) -> Box:
        """Return the inputs with all ends and rims; EmptyError where there are none."""
        return Box(self.lower, self.upper).where(self.cut.rows, self.cut.upper)

    def contains(self, x: Floats) -> bool:
        """Whether `x` (d,) lies in the box as written, where its constraints hold, to the last bit."""
        below = np.where(self.open_lower, x > self.lower, x >= self.lower)
        above = np.where(self.open_upper, x < self.upper, x <= self.upper)
        return bool(below.all() and above.all()) and self.cut.strictly_satisfied_by(x, self.open_cut)

    def drawn_in(self, x: Floats) -> Iterator[Floats]:
        """Yield points near `x` (d,) that are ever farther from the ends that do not belong to the box."""
        width = self.upper - self.lower
        for share in SHARES if self.open_lower.any() or self.open_upper.any() else ():
            low = np.maximum(np.nextafter(self.lower, np.inf), self.lower + share * width)
            high = np.minimum(np.nextafter(self.upper, -np.inf), self.upper - share * width)
            yield np.clip(x, np.where(self.open_lower, low, -np.inf), np.where(self.open_upper, high, np.inf))

    @property
    def free(self) -> NDArray[np.bool_]:
        """The inputs (d,) that have an infinite end."""
        return ~(np.isfinite(self.lower) & np.isfinite(self.upper))

    @property
    def outputs(self) -> NDArray[np.int64]:
        """The outputs that some condition asks about."""
        asked = [(condition.rows != 0.0).any(axis=0) for condition in self.conditions]
        return np.flatnonzero(np.any(asked, axis=0)) if asked else np.zeros(0, dtype=np.int64)

    @property
    def mentioned(self) -> NDArray[np.bool_]:
        """The inputs (d,) that some constraint reads beside others, or beside outputs."""
        result = np.zeros(len(self.lower), dtype=bool)
        result[self.cut.mentioned] = True
        for condition in self.conditions:
            if condition.inputs is not None:
                result[condition.inputs.indices] = True
        return result

    def settled(self) -> Case:
        """Return the same with each input that has an infinite end at one value, where no constraint reads it."""
        value = np.clip(0.0, self.lower, self.upper)
        value = np.where(self.open_lower & (value == self.lower), value + np.maximum(1.0, np.abs(value)), value)
        value = np.where(self.open_upper & (value == self.upper), value - np.maximum(1.0, np.abs(value)), value)
        free = self.free
        return replace(
            self,
            lower=np.where(free, value, self.lower),
            upper=np.where(free, value, self.upper),
            open_lower=self.open_lower & ~free,
            open_upper=self.open_upper & ~free,
        )
