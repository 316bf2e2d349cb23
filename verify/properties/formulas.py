"""Formulas: linear constraints on inputs and outputs, joined by and / or."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from verify.properties.s_expressions import VnnlibError

# Constraints of one formula, each counted as often as it is read: names given by `let` can double it line by line.
LARGEST = 2_000_000


@dataclass(frozen=True)
class Atom:
    """One constraint: sum of coefficients times variables <= bound, or < where `strict`."""

    inputs: dict[int, float]
    outputs: dict[int, float]
    bound: float
    strict: bool
    line: int

    def negated(self) -> Atom:
        """Return the constraint that holds where this one does not."""
        inputs, outputs = ({i: -value for i, value in part.items()} for part in (self.inputs, self.outputs))
        return Atom(inputs, outputs, -self.bound + 0.0, not self.strict, self.line)


@dataclass(frozen=True)
class Junction:
    """An ``and`` (`every`) or an ``or`` of formulas, with `size` constraints in all; without parts, true or false."""

    every: bool
    parts: tuple[Formula, ...]
    size: int = 0


Formula = Atom | Junction

TRUE, FALSE = Junction(True, ()), Junction(False, ())


def size_of(formula: Formula) -> int:
    """Return how many constraints a formula has."""
    return 1 if isinstance(formula, Atom) else formula.size


def joined(every: bool, parts: Iterable[Formula], line: int) -> Formula:
    """Return the ``and`` or the ``or`` of formulas: those of the same kind put together, true and false left out."""
    kept: list[Formula] = []
    for part in parts:
        if part == Junction(not every, ()):
            return part
        kept += part.parts if isinstance(part, Junction) and part.every is every else [part]
    size = sum(map(size_of, kept))
    if size > LARGEST:
        raise VnnlibError(line, f"a formula has {size:,} constraints; expected at most {LARGEST:,}")
    return kept[0] if len(kept) == 1 else Junction(every, tuple(kept), size)


def negated(formula: Formula) -> Formula:
    """Return what holds where a formula does not, with ``not`` pushed inwards."""
    if isinstance(formula, Atom):
        return formula.negated()
    return Junction(not formula.every, tuple(map(negated, formula.parts)), formula.size)
