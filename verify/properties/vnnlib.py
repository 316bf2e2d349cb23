"""VNN-LIB 1.0: a small reader of property files; every error names its line.

It takes ``declare-const X_i Real`` and ``Y_j Real``, and ``assert`` of ``and`` / ``or`` of ``<=``, ``<``, ``>=``,
``>`` and ``=`` between linear terms (numbers, variables, ``+``, ``-``, ``*`` with a number). Other commands of
SMT-LIB that ask nothing (``set-logic``, ``check-sat``, ...) are passed over.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from convexnn.checks import as_file
from verify.properties.s_expressions import SHOWN, Expression, Group, VnnlibError, Word, groups, shown

VARIABLE = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
SILENT = ("set-logic", "set-info", "set-option", "check-sat", "get-model")

RELATIONS = ("<=", "<", ">=", ">", "=")


@dataclass(frozen=True)
class Atom:
    """One constraint: sum of coefficients times variables <= bound, or < where `strict`."""

    inputs: dict[int, float]
    outputs: dict[int, float]
    bound: float
    strict: bool
    line: int


@dataclass(frozen=True)
class Junction:
    """An ``and`` or an ``or`` of formulas."""

    every: bool
    parts: tuple[Formula, ...]


Formula = Atom | Junction


@dataclass(frozen=True)
class Document:
    """What a file says: how many inputs and outputs there are, and the formulas that must hold together."""

    n_inputs: int
    n_outputs: int
    asserted: tuple[Formula, ...]


def read_document(path: str | os.PathLike[str]) -> Document:
    """Read a VNN-LIB 1.0 file.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is broken or says what is not supported; the message has the path and the line.
    """
    file = as_file(path, "property")
    try:
        return parse(Path(file).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not a text file") from None
    except VnnlibError as error:
        raise ValueError(f"{file}, {error}") from None


def parse(text: str) -> Document:
    """Return what a VNN-LIB text says."""
    names: dict[str, set[int]] = {"X": set(), "Y": set()}
    asserted: list[Formula] = []
    ended = False
    for command in groups(text):
        if ended:
            raise VnnlibError(command.line, "a command stands after (exit), where nothing is asked any more")
        if command.head == "exit":
            ended = True
        elif command.head == "declare-const":
            _declare(command, names)
        elif command.head == "assert":
            _expect(command, 2, "(assert formula)")
            asserted.append(_formula(command.parts[1], names))
        elif command.head not in SILENT:
            expected = "declare-const or assert"
            raise VnnlibError(command.line, f"the command {shown(command.head)} is not supported; expected {expected}")
    counts = [_count(letter, numbers) for letter, numbers in names.items()]
    return Document(counts[0], counts[1], tuple(asserted))


def _count(letter: str, numbers: set[int]) -> int:
    """Return how many variables of a kind are declared; they must be numbered from 0 without a gap."""
    missing = next((number for number in range(len(numbers)) if number not in numbers), None)
    if missing is not None or not numbers:
        raise VnnlibError(1, f"{letter}_{missing or 0} is not declared; expected {letter}_0 and so on without a gap")
    return len(numbers)


def _expect(group: Group, size: int, form: str) -> None:
    if len(group.parts) != size:
        raise VnnlibError(group.line, f"{group.head!r} has {len(group.parts) - 1} arguments; expected {form}")


def _declare(command: Group, names: dict[str, set[int]]) -> None:
    _expect(command, 3, "(declare-const X_0 Real)")
    name, kind = (part.text if isinstance(part, Word) else "(...)" for part in command.parts[1:])
    match = VARIABLE.fullmatch(name)
    if match is None or kind != "Real":
        raise VnnlibError(
            command.line, f"{name[:SHOWN]} of type {kind[:SHOWN]} is declared; expected X_0, Y_0 and so on of type Real"
        )
    letter, number = match[1], int(match[2])
    if number in names[letter]:
        raise VnnlibError(command.line, f"{name} is declared twice")
    names[letter].add(number)


def _formula(expression: Expression, names: dict[str, set[int]]) -> Formula:
    if isinstance(expression, Word):
        raise VnnlibError(
            expression.line, f"{expression.shown} is no formula; expected (and ...), (or ...) or (<= ...)"
        )
    if expression.head in ("and", "or"):
        parts = tuple(_formula(part, names) for part in expression.parts[1:])
        if not parts:
            raise VnnlibError(expression.line, f"{expression.head!r} is empty; expected at least one formula")
        return Junction(expression.head == "and", parts)
    if expression.head not in RELATIONS:
        known = ", ".join(("and", "or", *RELATIONS))
        raise VnnlibError(expression.line, f"{shown(expression.head)} is not supported; expected one of: {known}")
    return _relation(expression, names)


def _relation(expression: Group, names: dict[str, set[int]]) -> Formula:
    _expect(expression, 3, f"({expression.head} term term)")
    left, right = (_term(part, names) for part in expression.parts[1:])
    strict = expression.head in ("<", ">")
    if expression.head == "=":
        return Junction(True, (_atom(left, right, False, expression), _atom(right, left, False, expression)))
    if expression.head.startswith(">"):
        left, right = right, left
    return _atom(left, right, strict, expression)


# A linear term: coefficients by variable, the constant under "".
Term = dict[str, float]


def _atom(left: Term, right: Term, strict: bool, expression: Group) -> Atom:
    total = _sum([left, _times(right, -1.0)])
    bound = -total.pop("", 0.0) + 0.0
    if not all(map(isfinite, [bound, *total.values()])):
        raise VnnlibError(expression.line, "a number overflows; expected finite coefficients")
    sides: dict[str, dict[int, float]] = {"X": {}, "Y": {}}
    for name, factor in total.items():
        if factor:
            sides[name[0]][int(name[2:])] = factor
    if not sides["X"] and not sides["Y"]:
        raise VnnlibError(expression.line, "a constraint has no variable; expected at least one")
    return Atom(sides["X"], sides["Y"], bound, strict, expression.line)


def _term(expression: Expression, names: dict[str, set[int]]) -> Term:
    if isinstance(expression, Word):
        return _leaf(expression, names)
    terms = [_term(part, names) for part in expression.parts[1:]]
    if expression.head == "+" and terms:
        return _sum(terms)
    if expression.head == "-" and terms:
        return (
            _times(terms[0], -1.0) if len(terms) == 1 else _sum([terms[0], *(_times(term, -1.0) for term in terms[1:])])
        )
    if expression.head == "*" and len(terms) == 2:
        for number, other in (terms, terms[::-1]):
            if set(number) <= {""}:
                return _times(other, number.get("", 0.0))
        raise VnnlibError(expression.line, "a product of variables is not linear; expected a number beside one")
    raise VnnlibError(expression.line, f"{shown(expression.head)} is no linear term; expected +, - or * with arguments")


def _leaf(word: Word, names: dict[str, set[int]]) -> Term:
    match = VARIABLE.fullmatch(word.text)
    if match is not None:
        if int(match[2]) not in names[match[1]]:
            raise VnnlibError(word.line, f"{word.text[:SHOWN]} is not declared")
        return {word.text: 1.0}
    value = float(word.text) if NUMBER.fullmatch(word.text) else nan
    if not isfinite(value):
        raise VnnlibError(word.line, f"{word.shown} is neither a variable nor a finite number")
    return {"": value}


def _times(term: Term, factor: float) -> Term:
    return {name: factor * value for name, value in term.items()}


def _sum(terms: list[Term]) -> Term:
    total: Term = {}
    for term in terms:
        for name, value in term.items():
            total[name] = total.get(name, 0.0) + value
    return total
