"""Linear terms: numbers as float64 has them, everything computed from them exact, rounded once where it must be."""

from __future__ import annotations

import re
from fractions import Fraction
from math import isfinite, lcm, nan

from verify.properties.formulas import FALSE, TRUE, Atom, Formula
from verify.properties.s_expressions import VnnlibError, Word
from verify.regions.halfspaces import LARGEST

# Each digit in one way only: what is no number of 200,000 digits is told at once.
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

# A variable: X for inputs or Y for outputs, and its index; CONSTANT is where a term has its constant.
Variable = tuple[str, int]
CONSTANT: Variable = ("", 0)

# A linear term: coefficients by variable.
Term = dict[Variable, Fraction]

# Binary digits that a number may take, and the largest denominator that a constraint is multiplied by.
MOST_BITS, MOST_DENOMINATOR = 10_000, 1 << 40


def number(word: Word) -> float:
    """Return the float64 number nearest to what a word says."""
    value = float(word.text) if NUMBER.fullmatch(word.text) else nan
    if not isfinite(value):
        raise VnnlibError(word.line, f"{word.shown} is neither a variable nor a finite number")
    return value


def times(term: Term, factor: Fraction, line: int) -> Term:
    """Return a term times a number."""
    return {name: _moderate(factor * value, line) for name, value in term.items()}


def total(terms: list[Term], line: int) -> Term:
    """Return the sum of terms."""
    result: Term = {}
    for term in terms:
        for name, value in term.items():
            result[name] = _moderate(result[name] + value, line) if name in result else value
    return result


def constant_of(term: Term) -> Fraction | None:
    """Return the number that a term is; None where it has variables."""
    return term.get(CONSTANT, Fraction(0)) if all(name == CONSTANT or not c for name, c in term.items()) else None


def atom(left: Term, right: Term, strict: bool, line: int) -> Formula:
    """Return left <= right, or left < right: a constraint, or whether it holds where it has no variable.

    Quotients such as 1/3 are multiplied out, so that the constraint is exact. What float64 cannot hold even then is
    rounded once.
    """
    terms = total([left, times(right, Fraction(-1), line)], line)
    bound = -terms.pop(CONSTANT, Fraction(0))
    terms = {name: value for name, value in terms.items() if value}
    if not terms:
        return TRUE if bound > 0 or (bound == 0 and not strict) else FALSE
    scale = _odd_denominator([bound, *terms.values()])
    sides: dict[str, dict[int, float]] = {"X": {}, "Y": {}}
    for (letter, index), value in terms.items():
        sides[letter][index] = _rounded(value * scale, line)
    found = Atom(sides["X"], sides["Y"], _rounded(bound * scale, line), strict, line)
    peak = max(map(abs, [found.bound, *found.inputs.values()]))
    if len(found.inputs) > 1 and peak > LARGEST:
        raise VnnlibError(line, f"a constraint on inputs has a number of size {peak:g}; expected at most {LARGEST:g}")
    return found


def bound_of_one(variable: Variable, sign: float, value: float, strict: bool, line: int) -> Atom:
    """Return sign * variable <= sign * value, the constraint that most lines of a file are."""
    letter, index = variable
    sides: dict[str, dict[int, float]] = {"X": {}, "Y": {}}
    sides[letter][index] = sign
    return Atom(sides["X"], sides["Y"], sign * value + 0.0, strict, line)


def _odd_denominator(values: list[Fraction]) -> int:
    """Return the least number whose product with all values has powers of two for denominators; 1 if it is too large.

    It divides the denominators, all of which are at most as large.
    """
    scale = 1
    for value in values:
        below = value.denominator
        scale = lcm(scale, below // (below & -below))
        if scale > MOST_DENOMINATOR:
            return 1
    return scale


def _moderate(value: Fraction, line: int) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MOST_BITS:
        raise VnnlibError(line, "a number overflows; expected finite coefficients")
    return value


def _rounded(value: Fraction, line: int) -> float:
    try:
        result = float(value)
    except OverflowError:
        raise VnnlibError(line, "a number overflows; expected finite coefficients") from None
    if value and not result:
        raise VnnlibError(line, "a coefficient is too small for float64; expected larger ones")
    return result
