"""S-expressions: the parentheses and words that SMT-LIB texts are made of, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN = re.compile(r"[()]|[^\s()]+")


class VnnlibError(ValueError):
    """What is wrong with a property, and in which line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True)
class Word:
    """A token and its line."""

    text: str
    line: int


@dataclass(frozen=True)
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


def groups(text: str) -> Iterator[Group]:
    """Yield the expressions of a text, one by one."""
    stack: list[tuple[int, list[Expression]]] = []
    line = 1
    for line, content in enumerate(text.splitlines(), start=1):
        for token in TOKEN.findall(content.partition(";")[0]):
            if token == "(":
                stack.append((line, []))
            elif not stack:
                raise VnnlibError(line, f"{token!r} stands outside of parentheses")
            elif token != ")":
                stack[-1][1].append(Word(token, line))
            else:
                opened, parts = stack.pop()
                group = Group(tuple(parts), opened)
                if stack:
                    stack[-1][1].append(group)
                else:
                    yield group
    if stack:
        raise VnnlibError(stack[-1][0], f"a parenthesis is not closed by line {line}, the last")
