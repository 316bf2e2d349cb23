"""Formulas at a point: an alternative that holds there is found without multiplying the others out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convexnn.checks import Floats
from verify.properties.formulas import FALSE, Atom, Formula


def held_at(formulas: Sequence[Formula], x: Floats, y: Floats) -> list[Atom] | None:
    """Return constraints that imply the formulas and hold at inputs `x` (d,) and outputs `y` (k,), up to rounding.

    None where the formulas do not hold there.
    """
    found: list[Atom] = []
    for formula in formulas:
        part = _held(formula, x, y)
        if part is None:
            return None
        found += part
    return found


def _held(formula: Formula, x: Floats, y: Floats) -> list[Atom] | None:
    if isinstance(formula, Atom):
        total = sum(factor * x[index] for index, factor in formula.inputs.items())
        total += sum(factor * y[index] for index, factor in formula.outputs.items())
        return [formula] if (total < formula.bound if formula.strict else total <= formula.bound) else None
    if formula.every:
        return held_at(formula.parts, x, y)
    return next((found for part in formula.parts if (found := _held(part, x, y)) is not None), None)


def in_all_alternatives(formulas: Sequence[Formula]) -> Iterator[Formula]:
    """Yield the constraints that hold in every alternative of formulas; FALSE where there is none."""
    for formula in formulas:
        if isinstance(formula, Atom) or formula == FALSE:
            yield formula
        elif formula.every:
            yield from in_all_alternatives(formula.parts)
