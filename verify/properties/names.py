"""Names: the variables that a file declares, one by one as X_0 and Y_0, or as tensors of a network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import reduce
from math import prod

from verify.properties.s_expressions import SHOWN, Expression, Group, VnnlibError, Word, shown
from verify.properties.terms import Variable

VARIABLE = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")
ELEMENT = re.compile(r"([A-Za-z][A-Za-z0-9_]*)\[([0-9,]*)\]")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
SHAPE = re.compile(r"\[([0-9]{1,9}(,[0-9]{1,9})*)?\]")

# What each statement of a network declares, and the entries that all tensors may have.
LETTERS, MOST_ENTRIES = {"declare-input": "X", "declare-output": "Y"}, 10_000_000

# Types of elements that are numbers with fractions.
TYPES = ("real", "float64", "double", "float32", "float", "float16", "bfloat16")


@dataclass(frozen=True)
class DeclaredNetwork:
    """A network of a file: its name, how many inputs and outputs it has, and the name of the one that it equals.

    `titles` has what several input tensors are called in the model, in quotes behind their shapes; nothing where the
    file does not say.
    """

    name: str
    n_inputs: int
    n_outputs: int
    equals: str = ""
    titles: tuple[str, ...] = ()


@dataclass
class Names:
    """The variables of a file: `find` says which one a word is.

    `single` has those declared one by one, `tensors` those of networks: the letter, the first index and the shape;
    `equals` has the networks that are said to be another one, by name, and `titles` the names that tensors have in the
    model.
    """

    single: dict[str, set[int]] = field(default_factory=lambda: {"X": set(), "Y": set()})
    tensors: dict[str, tuple[str, int, tuple[int, ...]]] = field(default_factory=dict)
    networks: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    equals: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=lambda: {"X": 0, "Y": 0})

    def find(self, word: Word) -> Variable | None:
        """Return the variable that a word names; None where it is none, VnnlibError where it is not declared."""
        match = VARIABLE.fullmatch(word.text)
        if match is not None and word.text not in self.tensors:
            if int(match[2]) not in self.single[match[1]]:
                raise VnnlibError(word.line, f"{_brief(word.text)} is not declared")
            return match[1], int(match[2])
        element = ELEMENT.fullmatch(word.text)
        if element is None and word.text not in self.tensors:
            return None
        name, index = (word.text, "") if element is None else (element[1], element[2])
        return self._entry(name, index, word)

    def _entry(self, name: str, index: str, word: Word) -> Variable:
        """Return the variable of an entry of a tensor."""
        if name not in self.tensors:
            raise VnnlibError(word.line, f"{_brief(name)} is not declared")
        letter, first, shape = self.tensors[name]
        places = [int(part.lstrip("0")[:10] or "0") for part in index.split(",") if part]
        inside = len(places) == len(shape) and all(i < size for i, size in zip(places, shape, strict=True))
        if not inside or index.count(",") != max(len(places) - 1, 0):
            kind = "no index" if not shape else f"{len(shape)} of them, each below its size"
            raise VnnlibError(word.line, f"{word.shown} has indices for the shape {list(shape)}; expected {kind}")
        flat = 0
        for i, size in zip(places, shape, strict=True):
            flat = flat * size + i
        return letter, first + flat

    def declare(self, command: Group) -> None:
        """Take ``(declare-const X_0 Real)`` or ``(declare-fun X_0 () Real)``."""
        parts = command.parts
        if command.head == "declare-fun" and len(parts) == 4 and _is_empty(parts[2]):
            parts = (parts[0], parts[1], parts[3])
        elif command.head == "declare-fun":
            raise VnnlibError(command.line, "'declare-fun' is of another form; expected (declare-fun X_0 () Real)")
        if len(parts) != 3:
            count = len(parts) - 1
            raise VnnlibError(command.line, f"'declare-const' has {count} arguments; expected (declare-const X_0 Real)")
        name, kind = (part.symbol if isinstance(part, Word) else "(...)" for part in parts[1:])
        match = VARIABLE.fullmatch(name)
        if match is None or kind != "Real":
            raise VnnlibError(
                command.line,
                f"{_brief(name)} of type {_brief(kind)} is declared; expected X_0, Y_0 and so on of type Real",
            )
        letter, number = match[1], int(match[2])
        if number in self.single[letter]:
            raise VnnlibError(command.line, f"{name} is declared twice")
        self.single[letter].add(number)

    def declare_network(self, command: Group) -> None:
        """Take ``(declare-network N (declare-input X float32 [1,5]) (declare-output Y float32 [1,2]))``."""
        form = "(declare-network N (declare-input X float32 [1,5]) (declare-output Y float32 [1,2]))"
        name = command.parts[1].text if len(command.parts) > 1 and isinstance(command.parts[1], Word) else ""
        if not NAME.fullmatch(name) or name in self.networks:
            what = "twice" if name in self.networks else f"as {shown(name)}"
            raise VnnlibError(command.line, f"a network is declared {what}; expected {form}")
        found: dict[str, list[str]] = {"X": [], "Y": []}
        for part in command.parts[2:]:
            head = part.head if isinstance(part, Group) else ""
            if isinstance(part, Group) and head in LETTERS:
                found[LETTERS[head]].append(self._declare_tensor(part, LETTERS[head]))
            elif head == "declare-hidden":
                raise VnnlibError(part.line, "a hidden tensor is declared; expected inputs and outputs alone")
            elif isinstance(part, Group) and head == "equal-to":
                self.equals[name] = self._known_network(part)
            elif head != "isomorphic-to":
                what = shown(head or "(...)") if isinstance(part, Group) else part.shown
                raise VnnlibError(part.line, f"{what} stands in a network; expected {form}")
        self.networks[name] = found
        self._check_equal(name, command)

    def _known_network(self, group: Group) -> str:
        """Return the network that another one is said to equal."""
        name = group.parts[1].text if len(group.parts) == 2 and isinstance(group.parts[1], Word) else ""
        if name not in self.networks:
            raise VnnlibError(group.line, f"a network is equal to {shown(name)}; expected one declared before it")
        return self.equals.get(name, name)

    def _check_equal(self, name: str, command: Group) -> None:
        if name in self.equals and self._counts(name) != self._counts(self.equals[name]):
            raise VnnlibError(
                command.line, f"{_brief(name)} is equal to {self.equals[name]}; expected as many inputs and outputs"
            )

    def _counts(self, network: str) -> tuple[int, int]:
        """Return how many entries the inputs and the outputs of a network have."""
        found = self.networks[network]
        inputs, outputs = (sum(prod(self.tensors[name][2]) for name in found[letter]) for letter in "XY")
        return inputs, outputs

    def declared(self) -> tuple[DeclaredNetwork, ...]:
        """Return the networks, in the order of the file."""
        return tuple(
            DeclaredNetwork(name, *self._counts(name), self.equals.get(name, ""), self._titles(name))
            for name in self.networks
        )

    def _titles(self, network: str) -> tuple[str, ...]:
        """Return the names of several inputs in the model; nothing where none is stated, or none can be mistaken."""
        found = tuple(self.titles.get(name, "") for name in self.networks[network]["X"])
        return found if len(found) > 1 and any(found) else ()

    def _declare_tensor(self, group: Group, letter: str) -> str:
        """Take the declaration of an input or an output of a network; return its name."""
        words = [part.text for part in group.parts[1:] if isinstance(part, Word)]
        shape = reduce(_put_together, (word for word in words[2:] if not word.startswith('"')), "")
        if len(words) != len(group.parts) - 1 or len(words) < 3 or not SHAPE.fullmatch(shape):
            raise VnnlibError(group.line, f"{group.head!r} is of another form; expected ({group.head} X float32 [1,5])")
        name, kind = words[:2]
        if not NAME.fullmatch(name) or name in self.tensors:
            reason = "is declared twice" if name in self.tensors else "is no name of a tensor"
            raise VnnlibError(group.line, f"{_brief(name)} {reason}; expected a name of its own")
        if kind.lower() not in TYPES:
            raise VnnlibError(group.line, f"{name} has the type {_brief(kind)}; expected one of: {', '.join(TYPES)}")
        sizes = tuple(int(size) for size in shape.strip("[]").split(",") if size)
        first, count = self.sizes[letter], prod(sizes)
        if not count or first + count > MOST_ENTRIES:
            raise VnnlibError(
                group.line, f"{name} has {count:,} entries; expected 1 to {MOST_ENTRIES:,} of all tensors"
            )
        self.tensors[name] = letter, first, sizes
        self.titles[name] = next((word[1:-1].replace('""', '"') for word in words[3:] if word.startswith('"')), "")
        self.sizes[letter] += count
        return name

    def count(self, letter: str) -> int:
        """Return how many variables of a kind there are; single ones must be numbered from 0 without a gap."""
        if self.networks:
            return self.sizes[letter]
        numbers = self.single[letter]
        missing = next((number for number in range(len(numbers)) if number not in numbers), None)
        if missing is not None or not numbers:
            raise VnnlibError(
                1, f"{letter}_{missing or 0} is not declared; expected {letter}_0 and so on without a gap"
            )
        return len(numbers)


def with_indices(expression: Expression) -> Expression:
    """Return an expression where an index that blanks have torn, as in ``X [0, 3]``, is one word with its name."""
    if isinstance(expression, Word):
        return expression
    parts: list[Expression] = []
    for part in map(with_indices, expression.parts):
        last = parts[-1] if parts else None
        if isinstance(part, Word) and isinstance(last, Word) and _goes_on(last.text, part.text):
            parts[-1] = Word(_put_together(last.text, part.text), last.line)
        else:
            parts.append(part)
    return Group(tuple(parts), expression.line)


def _put_together(text: str, more: str) -> str:
    """Return two parts of an index or shape that blanks have torn; numbers with a blank between stay two."""
    return f"{text},{more}" if text[-1:].isdigit() and more[:1].isdigit() else text + more


def _goes_on(text: str, more: str) -> bool:
    """Whether a word belongs to the index that the word before it has, or begins it."""
    opened = "[" in text and "]" not in text
    return opened or (more.startswith("[") and NAME.fullmatch(text) is not None)


def refusal_of(names: Names) -> str:
    """Return which network of a file lacks an input, or has not one output; nothing where all are as they should be."""
    for network, found in names.networks.items():
        if not found["X"]:
            return f"the network {network} without an input"
        if len(found["Y"]) != 1:
            listed = f", {' and '.join(found['Y'])}" if found["Y"] else ""
            return f"{len(found['Y'])} outputs of the network {network}{listed}"
    return ""


def _brief(text: str) -> str:
    """Return a name as an error says it, cut where it is long; quoted where it is no plain name."""
    return text[:SHOWN] if text.isascii() and text.isprintable() and " " not in text else shown(text)


def _is_empty(expression: Expression) -> bool:
    return isinstance(expression, Group) and not expression.parts
