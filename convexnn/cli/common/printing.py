"""How commands print: text as it is, figures as JSON, counts of verdicts, the names of scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from convexnn.records import plain


def print_plain(text: str, console: Console | None = None, style: str | None = None) -> None:
    """Print text as it is, on standard output where no console is given: no colours, no markup, no wrapped lines."""
    (console or Console()).print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def print_remark(text: str, console: Console | None = None) -> None:
    """Print a remark beside the result, dim, on standard error where no console is given."""
    print_plain(text, console or Console(stderr=True), style="dim")


def print_json(record: dict[str, Any]) -> None:
    """Print figures as JSON on standard output."""
    Console().print_json(json.dumps(plain(record), allow_nan=False))


def print_result(result: object, record: dict[str, Any], as_json: bool) -> None:
    """Print one result, as its text or as its record."""
    if as_json:
        print_json(record)
    else:
        print_plain(str(result))


def score_name(estimator: Any) -> str:
    """Return what the score of an estimator is called."""
    return "accuracy" if hasattr(estimator, "classes_") else "R2"


def print_counts(verdicts: Sequence[str], noun: str, spell: Callable[[str], str] = str) -> None:
    """Print on standard error how many verdicts there are of each kind."""
    words = ", ".join(f"{count} {spell(name)}" for name, count in Counter(verdicts).most_common())
    Console(stderr=True).print(f"{len(verdicts)} {noun}: {words}", highlight=False)
