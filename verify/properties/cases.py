"""From formulas to cases: and / or multiplied out step by step, what contradicts itself left out on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp

from convexnn.checks import Floats
from verify.properties.case import Case, Condition
from verify.properties.formulas import Atom, Formula
from verify.properties.input_box import InputBox
from verify.properties.s_expressions import VnnlibError

# Beyond these a property is refused, for and / or multiply out: alternatives, constraints in all of them, and entries
# of all boxes and constraints.
MOST_CASES, MOST_CONSTRAINTS, MOST_ENTRIES = 100_000, 1_000_000, 20_000_000

# Whether a constraint that reads outputs is met by no input of a box, whose ends (d,) are given.
RulesOut = Callable[[Floats, Floats, Atom], bool]

# What a constraint is about: its coefficients of outputs and inputs. A conjunction has one constraint for each slope,
# by the slope's number.
Slope = tuple[tuple[tuple[int, float], ...], tuple[tuple[int, float], ...]]
Conjunction = dict[int, Atom]
Key = frozenset[tuple[int, float, bool]]

T = TypeVar("T")


class Cases(NamedTuple):
    """Cases, and whether they are all: the time was over before the others were multiplied out where not."""

    found: tuple[Case, ...]
    whole: bool


class TooManyError(VnnlibError):
    """The alternatives of a property are more than can be asked about one by one."""


@dataclass
class _Part:
    """A box and the conjunctions of which one suffices there, by what tells them apart."""

    box: InputBox
    ways: dict[Key, Conjunction] = field(default_factory=dict)


def cases_of(
    sizes: tuple[int, int],
    asserted: Sequence[Formula],
    rules_out: RulesOut | None = None,
    most: int = MOST_CASES,
    stop: Callable[[], bool] = lambda: False,
) -> Cases:
    """Return the cases of formulas that hold together, alternatives over the same box of inputs put together.

    Parameters
    ----------
    sizes : tuple of int
        The numbers of inputs and outputs.
    asserted : sequence of formulas
        As a file states them.
    rules_out : callable, optional
        Says of a constraint that no input of a box meets it: branches with it are left out before they multiply.
    most : int
        Alternatives at most.
    stop : callable, optional
        Once it says so, only the first of all that is left is looked at, of alternatives and of boxes.

    Raises
    ------
    TooManyError
        There are more, and neither contradictions nor `rules_out` left out enough.
    """
    part = _Part(InputBox(sizes[0]), {frozenset(): {}})
    expansion = _Expansion(sizes, rules_out, most, stop)
    parts = expansion.meet([part], asserted)
    found = [part.box.case(_conditions(part.ways.values(), sizes)) for part in expansion.in_time(parts)]
    return Cases(tuple(case for case in found if case is not None), expansion.whole)


class _Expansion:
    """The multiplying out of formulas, with its limits; `whole` where no alternative was left out for want of time."""

    def __init__(self, sizes: tuple[int, int], rules_out: RulesOut | None, most: int, stop: Callable[[], bool]) -> None:
        self.sizes, self.rules_out, self.most, self.stop = sizes, rules_out, most, stop
        self.numbers: dict[Slope, int] = {}
        self.whole = True

    def in_time(self, every: Sequence[T]) -> Iterator[T]:
        """Yield the first, and the others as long as there is time."""
        for number, one in enumerate(every):
            if number and self.stop():
                self.whole = False
                return
            yield one

    def meet(self, parts: list[_Part], formulas: Iterable[Formula]) -> list[_Part]:
        """Return the parts where all formulas hold.

        Single constraints come first, then what bounds inputs: boxes are there before conditions on outputs multiply.
        """
        atoms, rest = [], list[Formula]()
        for formula in formulas:
            if isinstance(formula, Atom):
                atoms.append(formula)
            elif formula.every:
                atoms += [part for part in formula.parts if isinstance(part, Atom)]
                rest += [part for part in formula.parts if not isinstance(part, Atom)]
            else:
                rest.append(formula)
        parts = self._meet_atoms(parts, atoms)
        for formula in sorted(rest, key=lambda one: not _bounds_inputs(one)):
            parts = self._meet_either(parts, formula) if parts else []
        return parts

    def _meet_either(self, parts: list[_Part], formula: Formula) -> list[_Part]:
        """Return the parts where one of the alternatives holds, parts of the same box put together."""
        assert not isinstance(formula, Atom)
        if formula.every:
            return self.meet(parts, formula.parts)
        united: dict[bytes, _Part] = {}
        moves_boxes = _bounds_inputs(formula)
        count = constraints = 0
        for alternative in self.in_time(formula.parts):
            for part in self.meet(parts, [alternative]):
                # A box that is the same object needs no look at its entries.
                key = part.box.key if moves_boxes else str(id(part.box)).encode()
                kept = united.setdefault(key, _Part(part.box))
                new = {key: way for key, way in part.ways.items() if key not in kept.ways}
                kept.ways |= new
                count, constraints = count + len(new), constraints + sum(map(len, new))
            self._limit(len(united), count, constraints)
        return list(united.values())

    def _meet_atoms(self, parts: list[_Part], atoms: list[Atom]) -> list[_Part]:
        """Return what is left of the parts where single constraints hold."""
        inputs = [atom for atom in atoms if not atom.outputs]
        others = [atom for atom in atoms if atom.outputs]
        numbered = [(self._number(_slope(atom)), self._number(_turned(_slope(atom))), atom) for atom in others]
        found = []
        for part in self.in_time(parts):
            box = part.box.within(inputs) if inputs else part.box
            if box.empty:
                continue
            if self.rules_out is not None and any(self.rules_out(box.lower, box.upper, atom) for atom in others):
                continue
            kept = dict(_tightened(part.ways, numbered)) if others else part.ways
            if kept:
                found.append(_Part(box, kept))
        return found

    def _number(self, slope: Slope) -> int:
        """Return the number of a slope."""
        return self.numbers.setdefault(slope, len(self.numbers))

    def _limit(self, boxes: int, ways: int, constraints: int) -> None:
        """Raise TooManyError where the alternatives are too many, or too large."""
        if ways > self.most:
            raise TooManyError(1, f"the file has more than {self.most} alternatives; expected fewer")
        entries = boxes * self.sizes[0] + constraints * self.sizes[1]
        if entries > MOST_ENTRIES or constraints > MOST_CONSTRAINTS:
            raise TooManyError(
                1,
                f"the file has {boxes} boxes of {self.sizes[0]} inputs and {constraints} constraints on "
                f"{self.sizes[1]} outputs; expected at most {MOST_CONSTRAINTS} and {MOST_ENTRIES} numbers in all",
            )


def _bounds_inputs(formula: Formula) -> bool:
    """Whether a formula has a constraint on inputs alone."""
    if isinstance(formula, Atom):
        return not formula.outputs
    return any(map(_bounds_inputs, formula.parts))


def _slope(atom: Atom) -> Slope:
    return tuple(sorted(atom.outputs.items())), tuple(sorted(atom.inputs.items()))


def _turned(slope: Slope) -> Slope:
    outputs, inputs = (tuple((i, -value) for i, value in part) for part in slope)
    return outputs, inputs


def _tightened(
    ways: dict[Key, Conjunction], atoms: Sequence[tuple[int, int, Atom]]
) -> Iterator[tuple[Key, Conjunction]]:
    """Yield conjunctions with more constraints, of each slope the tightest, without those that contradict themselves.

    Constraints come with the numbers of their slope and of the opposite one.
    """
    for key, way in ways.items():
        more: Conjunction = {}
        for slope, turned, atom in atoms:
            known = more.get(slope) or way.get(slope)
            if known is None or (atom.bound, not atom.strict) < (known.bound, not known.strict):
                more[slope] = known = atom
            other = more.get(turned) or way.get(turned)
            # s <= bound and -s <= the other's bound: s lies between two ends.
            if other is not None and (-other.bound, other.strict or known.strict) > (known.bound, False):
                break
        else:
            new = way | more
            kept = [(slope, atom.bound, atom.strict) for slope, atom in more.items()]
            old = [(slope, way[slope].bound, way[slope].strict) for slope in more if slope in way]
            yield key.difference(old).union(kept), new


def _conditions(ways: Iterable[Conjunction], sizes: tuple[int, int]) -> tuple[Condition, ...]:
    return tuple(_condition(list(way.values()), sizes) for way in ways)


def _condition(atoms: list[Atom], sizes: tuple[int, int]) -> Condition:
    rows, levels = np.zeros((len(atoms), sizes[1])), np.zeros(len(atoms))
    for index, atom in enumerate(atoms):
        for output, factor in atom.outputs.items():
            rows[index, output] = -factor
        levels[index] = -atom.bound
    strict = tuple(atom.strict for atom in atoms)
    return Condition(rows + 0.0, levels + 0.0, strict, _read_inputs(atoms, sizes[0]))


def _read_inputs(atoms: list[Atom], n_inputs: int) -> sp.csr_matrix | None:
    """Return the coefficients (c, d) of inputs; None where there are none."""
    entries = [(row, i, -value) for row, atom in enumerate(atoms) for i, value in atom.inputs.items()]
    if not entries:
        return None
    rows, columns, values = zip(*entries, strict=True)
    return sp.csr_matrix((values, (rows, columns)), shape=(len(atoms), n_inputs))
