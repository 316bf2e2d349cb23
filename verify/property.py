"""Properties: parts of boxes of inputs, each with the conditions on the outputs that violate a VNN-LIB file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from convexnn.checks import Floats
from verify.halfspaces import LARGEST, Halfspaces, halfspaces
from verify.regions import Box
from verify.vnnlib import Atom, Document, Formula, VnnlibError, parse, read_document

# Boxes and conditions beyond which a file is refused: and / or multiply out.
MOST_CASES = 100_000


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
        return bool(above.all() and below.all()) and self.cut.holds(x, self.open_cut)


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


def read_property(path: str | os.PathLike[str]) -> Property:
    """Read a VNN-LIB 1.0 file: boxes and linear constraints on X, and / or of linear constraints on Y, disjunctions.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is broken, or says what is not supported; the message has the path and the line.
    """
    document = read_document(path)
    try:
        return property_of(document)
    except VnnlibError as error:
        raise ValueError(f"{os.fspath(path)}, {error}") from None


def parse_property(text: str) -> Property:
    """Return the property that a VNN-LIB 1.0 text states; errors name the line."""
    return property_of(parse(text))


def property_of(document: Document) -> Property:
    """Return the property of a document: and / or multiplied out, alternatives of the same box together."""
    base = _Box(document.n_inputs)
    choices: list[list[tuple[Atom, ...]]] = []
    common: list[Atom] = []
    for formula in document.asserted:
        alternatives = _alternatives(formula)
        if len(alternatives) > 1:
            choices.append(alternatives)
            continue
        common += [atom for atom in alternatives[0] if atom.outputs]
        base = base.within(alternatives[0])
    if np.prod([float(len(choice)) for choice in choices]) > MOST_CASES:
        raise VnnlibError(1, f"the file has more than {MOST_CASES} alternatives; expected fewer")
    found: dict[bytes, tuple[_Box, list[Condition]]] = {}
    for pick in product(*choices):
        atoms = [atom for part in pick for atom in part]
        box = base.within(atoms)
        condition = _condition([*common, *(atom for atom in atoms if atom.outputs)], document.n_outputs)
        found.setdefault(box.key, (box, []))[1].append(condition)
    cases = [box.case(tuple(conditions)) for box, conditions in found.values() if not box.empty]
    return Property(document.n_inputs, document.n_outputs, tuple(cases))


def _alternatives(formula: Formula) -> list[tuple[Atom, ...]]:
    """Return the ways to meet a formula, each a set of atoms that hold together."""
    if isinstance(formula, Atom):
        return [(formula,)]
    parts = [_alternatives(part) for part in formula.parts]
    if not formula.every:
        return [way for part in parts for way in part]
    if np.prod([float(len(part)) for part in parts]) > MOST_CASES:
        raise VnnlibError(1, f"the file has more than {MOST_CASES} alternatives; expected fewer")
    return [tuple(atom for way in pick for atom in way) for pick in product(*parts)]


def _condition(atoms: list[Atom], n_outputs: int) -> Condition:
    rows, levels = np.zeros((len(atoms), n_outputs)), np.zeros(len(atoms))
    for index, atom in enumerate(atoms):
        for output, factor in atom.outputs.items():
            rows[index, output] = -factor
        levels[index] = -atom.bound
    return Condition(rows + 0.0, levels + 0.0, tuple(atom.strict for atom in atoms))


class _Box:
    """A box in the making: infinite until the atoms bound it."""

    def __init__(self, size: int) -> None:
        self.lower, self.upper = np.full(size, -np.inf), np.full(size, np.inf)
        self.open_lower, self.open_upper = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        self.cuts: tuple[Atom, ...] = ()

    def within(self, atoms: Iterable[Atom]) -> _Box:
        """Return the part of the box that meets the atoms on inputs."""
        bounds = [atom for atom in atoms if atom.inputs]
        if not bounds:
            return self
        box = _Box(len(self.lower))
        for name in ("lower", "upper", "open_lower", "open_upper"):
            setattr(box, name, getattr(self, name).copy())
        box.cuts = self.cuts
        for atom in bounds:
            box._cut(atom)
        return box

    def _cut(self, atom: Atom) -> None:
        if atom.outputs:
            raise VnnlibError(atom.line, "a constraint has inputs and outputs; expected one of the two")
        if len(atom.inputs) > 1:
            peak = max(map(abs, [atom.bound, *atom.inputs.values()]))
            if peak > LARGEST:
                message = f"a constraint on inputs has a number of size {peak:g}; expected at most {LARGEST:g}"
                raise VnnlibError(atom.line, message)
            self.cuts += (atom,)
            return
        ((index, factor),) = atom.inputs.items()
        if abs(factor) != 1.0:
            raise VnnlibError(atom.line, f"X_{index} has the factor {factor:g}; expected a bound on X_{index} itself")
        end = atom.bound / factor + 0.0
        if factor > 0.0 and (end, not atom.strict) < (self.upper[index], not self.open_upper[index]):
            self.upper[index], self.open_upper[index] = end, atom.strict
        if factor < 0.0 and (-end, not atom.strict) < (-self.lower[index], not self.open_lower[index]):
            self.lower[index], self.open_lower[index] = end, atom.strict

    @property
    def empty(self) -> bool:
        one_sided = self.open_lower | self.open_upper
        return bool(((self.lower > self.upper) | ((self.lower == self.upper) & one_sided)).any())

    @property
    def key(self) -> bytes:
        ends = b"".join(part.tobytes() for part in (self.lower, self.upper, self.open_lower, self.open_upper))
        return ends + repr([(sorted(cut.inputs.items()), cut.bound, cut.strict) for cut in self.cuts]).encode()

    def case(self, conditions: tuple[Condition, ...]) -> Case:
        unbounded = ~(np.isfinite(self.lower) & np.isfinite(self.upper))
        if unbounded.any():
            index = int(np.argmax(unbounded))
            raise VnnlibError(1, f"X_{index} has no finite bounds; expected a lower and an upper one")
        ends = self.lower, self.upper, self.open_lower, self.open_upper
        return Case(*ends, conditions, self._halfspaces(), np.array([cut.strict for cut in self.cuts], dtype=bool))

    def _halfspaces(self) -> Halfspaces:
        rows = np.zeros((len(self.cuts), len(self.lower)))
        for row, cut in zip(rows, self.cuts, strict=True):
            row[list(cut.inputs)] = list(cut.inputs.values())
        return halfspaces(rows, np.array([cut.bound for cut in self.cuts]), len(self.lower))
