"""The table of public names: what each is, and the tests that use it; made from docstrings and tests as they are."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from functools import cache
from typing import Any

from tests.helpers.places import ROOT

ENTRIES = re.compile(r"^\.\. currentmodule:: ([\w.]+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
WORD = re.compile(r"[A-Za-z_]\w*")


def listed() -> list[tuple[str, str]]:
    """Return every entry of the pages of the reference: a module, and the name below it."""
    found = []
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for module, body in ENTRIES.findall(page.read_text(encoding="utf-8")):
            found += [(module, name) for name in re.findall(r"^   ([\w.]+)$", body, re.MULTILINE)]
    return found


def named(module: str, name: str) -> Any:
    """Return what an entry names."""
    *rooms, last = name.split(".")
    return getattr(importlib.import_module(".".join([module, *rooms])), last)


@cache
def _words() -> dict[str, Counter[str]]:
    """Return how often each word stands in each file of tests."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return {str(path.relative_to(ROOT)): Counter(WORD.findall(path.read_text(encoding="utf-8"))) for path in files}


def files_that_use(name: str) -> list[str]:
    """Return the files of tests that use a name, those that use it most first."""
    word = name.rpartition(".")[2]
    used = {path: words[word] for path, words in _words().items() if words[word]}
    return sorted(used, key=lambda path: (-used[path], path))


def has_example(value: Any) -> bool:
    """Whether a docstring has a section of examples."""
    return ">>> " in (inspect.getdoc(value) or "").partition("\nExamples\n--------\n")[2]


def name_table() -> str:
    """Return the table in Markdown."""
    lines = ["| name | what it is | example | tests |", "|---|---|---|---|"]
    for module, name in listed():
        value, tests = named(module, name), files_that_use(name)
        first = (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        example = "runs" if has_example(value) else "none"
        more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
        lines.append(f"| `{module}.{name}` | {first} | {example} | `{tests[0]}`{more} |")
    return "\n".join(lines)
