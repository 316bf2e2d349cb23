"""Dyadics: float64 numbers as whole numbers times a power of two, whose sums and products are exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Bools, Floats

Whole = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Dyadics:
    """The numbers units * 2^exponent: `units` are Python integers, of any size, in an array of any shape."""

    units: Whole
    exponent: int

    @classmethod
    def of(cls, values: Any) -> Dyadics:
        """Return finite float64 numbers as they are."""
        array = np.asarray(values, dtype=np.float64)
        mantissas, exponents = np.frexp(array)
        units, exponents = np.asarray(mantissas * 2.0**53, dtype=np.int64), np.asarray(exponents, dtype=np.int64) - 53
        # Without zeros at the end few-bit numbers stay short.
        ends = np.frexp(np.where(units == 0, 1, units & -units).astype(np.float64))[1].astype(np.int64) - 1
        units, exponents = units >> ends, exponents + ends
        least = int(exponents[units != 0].min(initial=0 if not units.any() else np.iinfo(np.int64).max))
        shifts = np.where(units == 0, 0, exponents - least)
        return cls(_shifted(np.asarray(units).astype(object), np.asarray(shifts).astype(object)), least)

    def __getitem__(self, index: Any) -> Dyadics:
        return Dyadics(np.asarray(self.units[index], dtype=object), self.exponent)

    def __neg__(self) -> Dyadics:
        return Dyadics(-self.units, self.exponent)

    def __add__(self, other: Dyadics) -> Dyadics:
        first, second, exponent = _aligned(self, other)
        return Dyadics(np.asarray(first + second, dtype=object), exponent)

    def __sub__(self, other: Dyadics) -> Dyadics:
        return self + -other

    def __mul__(self, other: Dyadics) -> Dyadics:
        return Dyadics(np.asarray(self.units * other.units, dtype=object), self.exponent + other.exponent)

    def __matmul__(self, other: Dyadics) -> Dyadics:
        return Dyadics(np.asarray(np.dot(self.units, other.units), dtype=object), self.exponent + other.exponent)

    def sum(self) -> Dyadics:
        """Return the sums over the last axis."""
        return Dyadics(np.asarray(self.units.sum(axis=-1), dtype=object), self.exponent)

    def clipped(self) -> Dyadics:
        """Return max(value, 0)."""
        return Dyadics(np.asarray(np.maximum(self.units, 0), dtype=object), self.exponent)

    def activated(self, linear: Bools | None) -> Dyadics:
        """Return what units make of these values: linear ones pass them on, the others are ReLUs."""
        return self.clipped() if linear is None else self.chosen(linear, self.clipped())

    def larger(self, other: Dyadics) -> Dyadics:
        """Return the larger of each two numbers."""
        first, second, exponent = _aligned(self, other)
        return Dyadics(np.asarray(np.maximum(first, second), dtype=object), exponent)

    def smaller(self, other: Dyadics) -> Dyadics:
        """Return the smaller of each two numbers."""
        return -(-self).larger(-other)

    def chosen(self, where: NDArray[np.bool_], other: Dyadics) -> Dyadics:
        """Return these numbers where it says so, and the others elsewhere."""
        first, second, exponent = _aligned(self, other)
        return Dyadics(np.where(where, first, second), exponent)

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Which numbers are above 0."""
        return np.asarray(self.units > 0, dtype=bool)

    @property
    def bits(self) -> int:
        """The bits of the largest unit."""
        return max((int(unit).bit_length() for unit in self.units.ravel()), default=0)

    def fractions(self) -> list[Fraction]:
        """Return the numbers of a vector as fractions."""
        scale = Fraction(2) ** self.exponent
        return [int(unit) * scale for unit in self.units.ravel()]


def stacked(parts: Sequence[Dyadics]) -> Dyadics:
    """Return numbers one after another, along the first axis."""
    exponent = min(part.exponent for part in parts)
    units = [_shifted(part.units, part.exponent - exponent) for part in parts]
    return Dyadics(np.concatenate(units), exponent)


def nearest_float(value: Fraction) -> float:
    """Return the nearest float64 number of the same sign: what is not 0 stays so, and nothing is infinite."""
    try:
        nearest = float(value)
    except OverflowError:
        nearest = float("inf") if value > 0 else float("-inf")
    if value and not nearest:
        nearest = 5e-324 if value > 0 else -5e-324
    return float(np.clip(nearest, -np.finfo(np.float64).max, np.finfo(np.float64).max))


def float_above(value: Fraction) -> float:
    """Return the least float64 number at or above a value, infinite beyond the largest."""
    try:
        nearest = float(value)
    except OverflowError:
        return float("inf") if value > 0 else -float(np.finfo(np.float64).max)
    return nearest if Fraction(nearest) >= value else float(np.nextafter(nearest, np.inf))


def float_array(values: Sequence[Fraction]) -> Floats:
    """Return the nearest float64 numbers of the same signs."""
    return np.array([nearest_float(value) for value in values], dtype=np.float64)


def _aligned(first: Dyadics, second: Dyadics) -> tuple[Whole, Whole, int]:
    """Return the units of both at the smaller exponent."""
    exponent = min(first.exponent, second.exponent)
    return (
        _shifted(first.units, first.exponent - exponent),
        _shifted(second.units, second.exponent - exponent),
        exponent,
    )


def _shifted(units: Whole, shifts: Any) -> Whole:
    return np.asarray(np.left_shift(units, shifts), dtype=object) if np.any(shifts) else units
