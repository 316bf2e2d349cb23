"""Properties: what violates a VNN-LIB file, as formulas and as parts of boxes of inputs with conditions on outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from convexnn.checks import Floats
from convexnn.tables import counting
from verify.properties.at_point import held_at, in_all_alternatives
from verify.properties.case import Case
from verify.properties.cases import MOST_CASES, Cases, RulesOut, TooManyError, cases_of
from verify.properties.formulas import Formula, size_of
from verify.properties.names import DeclaredNetwork

# Alternatives beyond which bounds of a network are asked which of them can be met, before all are multiplied out.
MANY = 1000


@dataclass(frozen=True, eq=False, repr=False)
class Property:
    """A property of a network: it holds unless some input of a case meets one of its conditions.

    Attributes
    ----------
    n_inputs, n_outputs : int
        As declared.
    asserted : tuple
        The formulas of linear constraints that an input and its outputs must all meet to violate it.
    refusal : str
        What a file declares that no question takes, such as a network with two outputs; else nothing.
    path : str
        The file, or nothing.
    tensors : tuple
        The names and shapes of inputs that VNN-LIB 2.0 declares, in order.
    networks : tuple
        The networks that VNN-LIB 2.0 declares, in order: their inputs lie one after the other, and so do their outputs.
    labels : tuple of str
        What the inputs are called, where they are not those of `tensors`, X_0 and so on.

    Examples
    --------
    >>> import verify
    >>> text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 2))"
    >>> question = verify.parse_property(text + "(assert (or (<= Y_0 0) (>= Y_0 3)))")
    >>> question.n_inputs, question.n_outputs, len(question.cases)
    (1, 1, 1)
    """

    n_inputs: int
    n_outputs: int
    asserted: tuple[Formula, ...]
    refusal: str = ""
    path: str = ""
    tensors: tuple[tuple[str, tuple[int, ...]], ...] = ()
    networks: tuple[DeclaredNetwork, ...] = ()
    labels: tuple[str, ...] = ()

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The boxes that are not empty, with their conditions: and / or multiplied out.

        Raises
        ------
        ValueError
            There are more than 100,000 alternatives, without those that contradict themselves.
        """
        return self._cases(None, MOST_CASES).found

    def cases_where(self, rules_out: RulesOut | None, stop: Callable[[], bool]) -> Cases:
        """Return the cases that are multiplied out before `stop` says that the time is over.

        Where there are many, those are left out that `rules_out` says no input meets.
        """
        if "cases" in self.__dict__:
            return Cases(self.cases, whole=True)
        try:
            return self._cases(None, MANY, stop)
        except TooManyError:
            return self._cases(rules_out, MOST_CASES, stop)

    def holding_at(self, x: Floats, y: Floats) -> Property | None:
        """Return one alternative of the property that holds at inputs `x` (d,) and outputs `y` (k,), up to rounding.

        None where none does.
        """
        with np.errstate(all="ignore"):
            found = held_at(self.asserted, x, y)
        return None if found is None else replace(self, asserted=tuple(found))

    def without_alternatives(self) -> Property:
        """Return what all alternatives have in common."""
        return replace(self, asserted=tuple(in_all_alternatives(self.asserted)))

    def input_name(self, index: int) -> str:
        """Return what the file calls an input."""
        if self.labels:
            return self.labels[index]
        for name, shape in self.tensors:
            if index < prod(shape):
                places = np.unravel_index(index, shape) if shape else ()
                return f"{name}[{','.join(map(str, places))}]"
            index -= prod(shape)
        return f"X_{index}"

    def _cases(self, rules_out: RulesOut | None, most: int, stop: Callable[[], bool] = lambda: False) -> Cases:
        try:
            return cases_of((self.n_inputs, self.n_outputs), self.asserted, rules_out, most, stop)
        except TooManyError as error:
            raise TooManyError(error.line, error.message, self.path) from None

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        shape = f"property of {counting(self.n_inputs, 'input')}, {counting(self.n_outputs, 'output')}"
        try:
            cases = self._cases(None, MANY).found
        except TooManyError:
            return f"{shape}: formulas of {counting(sum(map(size_of, self.asserted)), 'constraint')}"
        conditions = sum(len(case.conditions) for case in cases)
        return f"{shape}: {counting(len(cases), 'box')}, {counting(conditions, 'condition')}"
