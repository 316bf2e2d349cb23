"""Boxes of inputs in the making: infinite until constraints bound them."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256

import numpy as np

from verify.properties.case import Case, Condition
from verify.properties.formulas import Atom
from verify.properties.polytope import bounds_within
from verify.regions.halfspaces import Halfspaces, halfspaces, no_halfspaces

# Names of the arrays that make up a box.
ENDS = ("lower", "upper", "open_lower", "open_upper")


class InputBox:
    """A box of inputs and what cuts it: constraints on several inputs."""

    def __init__(self, size: int) -> None:
        self.lower, self.upper = np.full(size, -np.inf), np.full(size, np.inf)
        self.open_lower, self.open_upper = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        self.cuts: tuple[Atom, ...] = ()

    def within(self, atoms: Iterable[Atom]) -> InputBox:
        """Return the part of the box that meets atoms on inputs alone."""
        box = copy(self)
        box.lower, box.upper = self.lower.copy(), self.upper.copy()
        box.open_lower, box.open_upper = self.open_lower.copy(), self.open_upper.copy()
        for atom in atoms:
            box._cut(atom)
        return box

    def _cut(self, atom: Atom) -> None:
        if len(atom.inputs) > 1:
            self.cuts += (atom,)
            return
        ((index, factor),) = atom.inputs.items()
        end, is_open = _quotient(atom.bound, factor), atom.strict
        if end is None:
            # No float64 number is the end: the next one outside is, and does not belong to the box.
            end, is_open = _beyond(Fraction(atom.bound) / Fraction(factor), factor > 0.0), True
        if factor > 0.0 and (end, not is_open) < (self.upper[index], not self.open_upper[index]):
            self.upper[index], self.open_upper[index] = end, is_open
        if factor < 0.0 and (-end, not is_open) < (-self.lower[index], not self.open_lower[index]):
            self.lower[index], self.open_lower[index] = end, is_open

    @property
    def empty(self) -> bool:
        one_sided = self.open_lower | self.open_upper
        return bool(((self.lower > self.upper) | ((self.lower == self.upper) & one_sided)).any())

    @property
    def key(self) -> bytes:
        """What tells the box from others, in few bytes."""
        ends = b"".join(getattr(self, name).tobytes() for name in ENDS)
        cuts = repr([(sorted(cut.inputs.items()), cut.bound, cut.strict) for cut in self.cuts])
        return sha256(ends + cuts.encode()).digest()

    def case(self, conditions: tuple[Condition, ...]) -> Case | None:
        """Return the case of the box; None where its constraints are seen to have no input in common."""
        cut = self._halfspaces()
        lower, upper = self.lower, self.upper
        if len(cut) and not (np.isfinite(lower) & np.isfinite(upper))[cut.mentioned].all():
            found = bounds_within(cut, lower, upper)
            if found is None:
                return None
            lower, upper = found
            if (lower > upper).any():
                return None
        ends = lower, upper, self.open_lower & (lower == self.lower), self.open_upper & (upper == self.upper)
        return Case(*ends, conditions, cut, np.array([cut.strict for cut in self.cuts], dtype=bool))

    def _halfspaces(self) -> Halfspaces:
        if not self.cuts:
            return _uncut(len(self.lower))
        rows = np.zeros((len(self.cuts), len(self.lower)))
        for row, cut in zip(rows, self.cuts, strict=True):
            row[list(cut.inputs)] = list(cut.inputs.values())
        return halfspaces(rows, np.array([cut.bound for cut in self.cuts]), len(self.lower))


@lru_cache(maxsize=8)
def _uncut(size: int) -> Halfspaces:
    """Return no constraint, one and the same for all boxes: making it takes longer than the box."""
    return no_halfspaces(size)


def _quotient(bound: float, factor: float) -> float | None:
    """Return bound / factor where that is a float64 number, else None."""
    if abs(factor) == 1.0:
        return bound / factor + 0.0
    exact = Fraction(bound) / Fraction(factor)
    try:
        end = float(exact)
    except OverflowError:
        return None
    return end + 0.0 if Fraction(end) == exact else None


def _beyond(exact: Fraction, above: bool) -> float:
    """Return the next float64 number above or below a number; infinite beyond the largest."""
    try:
        end = float(exact)
    except OverflowError:
        end = np.inf if exact > 0 else -np.inf
    outward = np.inf if above else -np.inf
    if np.isinf(end):
        return end if end == outward else -float(np.finfo(np.float64).max) * np.sign(outward)
    passed = Fraction(end) > exact if above else Fraction(end) < exact
    return end if passed else float(np.nextafter(end, outward))
