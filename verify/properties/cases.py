"""From formulas to cases: and / or multiplied out, alternatives over the same box of inputs put together."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from math import prod

import numpy as np

from verify.properties.property import Case, Condition, Property
from verify.properties.s_expressions import VnnlibError
from verify.properties.vnnlib import Atom, Document, Formula
from verify.regions.halfspaces import LARGEST, Halfspaces, halfspaces

# Alternatives beyond which a file is refused, for and / or multiply out, and entries of all their boxes and conditions.
MOST_CASES, MOST_ENTRIES = 100_000, 20_000_000


def property_of(document: Document) -> Property:
    """Return the property of a document: and / or multiplied out, alternatives of the same box together."""
    every = [_alternatives(formula) for formula in document.asserted]
    choices = [alternatives for alternatives in every if len(alternatives) > 1]
    always = [atom for alternatives in every if len(alternatives) == 1 for atom in alternatives[0]]
    base, common = _InputBox(document.n_inputs).within(always), [atom for atom in always if atom.outputs]
    count = _counted([len(choice) for choice in choices])
    size = document.n_inputs + document.n_outputs * (1 + len(common))
    if count * size > MOST_ENTRIES:
        raise VnnlibError(
            1, f"the file has {count} alternatives of {size} numbers each; expected {MOST_ENTRIES} in all"
        )
    found: dict[bytes, tuple[_InputBox, list[Condition]]] = {}
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
    _counted([len(part) for part in parts])
    return [tuple(atom for way in pick for atom in way) for pick in product(*parts)]


def _counted(sizes: list[int]) -> int:
    """Return how many alternatives choices of these sizes have together; too many are refused."""
    if prod(sizes) > MOST_CASES:
        raise VnnlibError(1, f"the file has more than {MOST_CASES} alternatives; expected fewer")
    return prod(sizes)


def _condition(atoms: list[Atom], n_outputs: int) -> Condition:
    rows, levels = np.zeros((len(atoms), n_outputs)), np.zeros(len(atoms))
    for index, atom in enumerate(atoms):
        for output, factor in atom.outputs.items():
            rows[index, output] = -factor
        levels[index] = -atom.bound
    return Condition(rows + 0.0, levels + 0.0, tuple(atom.strict for atom in atoms))


class _InputBox:
    """A box in the making: infinite until the atoms bound it."""

    def __init__(self, size: int) -> None:
        self.lower, self.upper = np.full(size, -np.inf), np.full(size, np.inf)
        self.open_lower, self.open_upper = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        self.cuts: tuple[Atom, ...] = ()

    def within(self, atoms: Iterable[Atom]) -> _InputBox:
        """Return the part of the box that meets the atoms on inputs."""
        bounds = [atom for atom in atoms if atom.inputs]
        if not bounds:
            return self
        box = _InputBox(len(self.lower))
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
