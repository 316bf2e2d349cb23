"""S-expressions: the parentheses and words that SMT-LIB texts are made of, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# What stands between parentheses, as SMT-LIB 2.6 has it: a comment ends with its line, whatever is in it.
TOKEN = re.compile(
    r"""(?P<break>\r\n|\r|\n)
    | [ \t]+
    | ;[^\r\n]*
    | (?P<token>[()] | "(?:[^"]|"")*" | \|[^|\\]*\| | [!#-'*-:<-{}~]+)
    """,
    re.VERBOSE,
)

# Parentheses inside each other, beyond what any tool writes; deeper ones would end Python's own stack.
DEEPEST = 200

# Characters of a word that an error repeats.
SHOWN = 40


class VnnlibError(ValueError):
    """What is wrong with a property, in which line, and of which file where that is known."""

    def __init__(self, line: int, message: str, path: str = "") -> None:
        super().__init__(f"{path}, line {line}: {message}" if path else f"line {line}: {message}")
        self.line, self.message = line, message


@dataclass(frozen=True, slots=True)
class Word:
    """A token and its line."""

    text: str
    line: int

    @property
    def shown(self) -> str:
        """The token as an error repeats it, cut where it is long."""
        return shown(self.text)

    @property
    def symbol(self) -> str:
        """The name that the token is: |X_0| is X_0."""
        return self.text[1:-1] if self.text.startswith("|") else self.text


@dataclass(frozen=True, slots=True)
class Group:
    """An expression in parentheses; the line is that of its opening."""

    parts: tuple[Word | Group, ...]
    line: int

    @property
    def head(self) -> str:
        """The word that an expression begins with, or nothing."""
        first = self.parts[0] if self.parts else None
        return first.text if isinstance(first, Word) else ""


Expression = Word | Group


def shown(text: str) -> str:
    """Return a text as an error repeats it: in quotes, cut where it is long."""
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}... ({len(text):,} characters)"


def groups(text: str) -> Iterator[Group]:
    """Yield the expressions of a text, one by one.

    Raises
    ------
    VnnlibError
        A character that SMT-LIB has not outside of comments, a word outside of parentheses, parentheses that are not
        closed, or that stand in each other more than 200 deep.
    """
    stack: list[tuple[int, list[Expression]]] = []
    line = 1
    for line, token in _tokens(text):
        if token == "(":
            if len(stack) == DEEPEST:
                raise VnnlibError(line, f"parentheses stand in each other more than {DEEPEST} deep; expected fewer")
            stack.append((line, []))
        elif not stack:
            raise VnnlibError(line, f"{shown(token)} stands outside of parentheses")
        elif token != ")":
            stack[-1][1].append(Word(token, line))
        else:
            opened, parts = stack.pop()
            group = Group(tuple(parts), opened)
            if not stack:
                yield group
            else:
                stack[-1][1].append(group)
    if stack:
        raise VnnlibError(stack[-1][0], f"a parenthesis is not closed by line {line_count(text)}, the last")


def line_count(text: str) -> int:
    """Return the number of the last line that is not empty."""
    return len(re.split(r"\r\n|\r|\n", text.rstrip("\r\n")))


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Yield the tokens with their lines."""
    line, place = 1, 0
    for match in TOKEN.finditer(text):
        if match.start() != place:
            break
        place = match.end()
        token = match["token"]
        if token is not None:
            yield line, token
            line += token.count("\n") if token[0] in '"|' else 0
        elif match["break"]:
            line += 1
    if place < len(text):
        what = "a quote that is not closed" if text[place] in '"|' else f"the character {text[place]!r}"
        raise VnnlibError(line, f"{what} stands outside of comments; expected what SMT-LIB is written in")
