"""Properties: parts of boxes of inputs, each with the conditions on the outputs that violate a VNN-LIB file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.regions.box import Box
from verify.regions.halfspaces import Halfspaces


@dataclass(frozen=True, eq=False)
class Condition:
    """Linear constraints that hold together: rows @ outputs >= levels, > where `strict`.

    `rows` has shape (c, k), `levels` and the booleans `strict` (c,); no constraint at all is always met.
    """

    rows: Floats
    levels: Floats
    strict: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """A box lower <= x <= upper of inputs, (d,) each, and the conditions of which one suffices.

    `open_lower` and `open_upper` (d,) say which ends do not belong to it. Linear constraints `cut` may hold beside;
    `open_cut` (m,) says of which the rim does not belong to it.
    """

    lower: Floats
    upper: Floats
    open_lower: Floats
    open_upper: Floats
    conditions: tuple[Condition, ...]
    cut: Halfspaces
    open_cut: NDArray[np.bool_]

    def region(self) -> Box:
        """Return the inputs with all ends and rims; EmptyError where there are none."""
        return Box(self.lower, self.upper).where(self.cut.rows, self.cut.upper)

    def contains(self, x: Floats) -> bool:
        """Whether `x` (d,) lies in the box as written, where its constraints hold, to the last bit."""
        above = np.where(self.open_lower, x > self.lower, x >= self.lower)
        below = np.where(self.open_upper, x < self.upper, x <= self.upper)
        return bool(above.all() and below.all()) and self.cut.strictly_satisfied_by(x, self.open_cut)


@dataclass(frozen=True, eq=False, repr=False)
class Property:
    """A property of a network: it holds unless some input of a case meets one of its conditions.

    Attributes
    ----------
    n_inputs, n_outputs : int
        As declared.
    cases : tuple of Case
        The boxes that are not empty.
    """

    n_inputs: int
    n_outputs: int
    cases: tuple[Case, ...]

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        conditions = sum(len(case.conditions) for case in self.cases)
        shape = f"{self.n_inputs} inputs, {self.n_outputs} outputs"
        return f"property of {shape}: {len(self.cases)} boxes, {conditions} conditions"
