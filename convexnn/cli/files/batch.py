"""Batches: many instances of one command, a JSON line for each, resumed where an earlier run ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from convexnn.checks import as_file
from convexnn.files import append, held
from convexnn.workers import spread

Figures = dict[str, Any]

# What each line begins with: what does not is no line of ours, and stays.
BEGIN = b'{"key": '


@dataclass(frozen=True)
class Job:
    """One instance: the `key` that tells it from all others, in JSON's types, and what the work is called with."""

    key: Figures
    arguments: tuple[Any, ...]


def run_batch(
    jobs: Sequence[Job],
    work: Callable[..., Figures],
    log: Path | None,
    n_jobs: int | None = 1,
    known: tuple[str, Collection[str]] | None = None,
) -> list[Figures]:
    """Run all jobs that `log` does not hold yet and return the lines of all, in the order of `jobs`.

    Each line is {"key": key, **figures}; it goes to `log` (or to standard output without one) as soon as it is there,
    so that a run that was killed goes on where it ended. A progress bar is on standard error. `known` names a figure
    that each line must have, and says what it may be.

    Raises
    ------
    ValueError
        The file is no log, or the line of a job in it lacks the figure.
    OSError
        The log cannot be written, another process works on it, or a worker process was killed.
    """
    with _lines(log) as (lines, write):
        waiting = [job for job in jobs if _name(job.key) not in lines]
        if known is not None:
            _check(log, [lines[name] for name in [_name(job.key) for job in jobs] if name in lines], *known)
        with _progress(len(jobs), len(jobs) - len(waiting)) as advance:
            for index, figures in spread(work, [job.arguments for job in waiting], n_jobs):
                if "INTERRUPTED" in (figures.get("verdict"), figures.get("status")):
                    # It is no answer: the log does not hold it, and the next run asks again.
                    raise KeyboardInterrupt
                line = {"key": waiting[index].key, **figures}
                lines[_name(waiting[index].key)] = line
                write(json.dumps(line) + "\n")
                advance()
    return [lines[_name(job.key)] for job in jobs]


def read_log(log: Path) -> dict[str, Figures]:
    """Return the lines of a log by the name of their job; a last line that a kill has torn is taken out of the file.

    Raises
    ------
    ValueError
        A line is none that :func:`run_batch` writes, nor the beginning of one; the file stays as it is.
    """
    if not log.is_file():
        return {}
    data = log.read_bytes()
    *lines, torn = data.split(b"\n")
    found = [_parsed(log, number, raw) for number, raw in enumerate(lines, start=1)]
    if torn and not torn.startswith(BEGIN):
        raise _foreign(log, len(lines) + 1)
    if torn:
        with open(log, "rb+") as file:
            file.truncate(len(data) - len(torn))
    return {_name(line["key"]): line for line in found}


def _parsed(log: Path, number: int, raw: bytes) -> Figures:
    """Return a whole line of a log."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("key"), dict):
        raise _foreign(log, number)
    return line


def _foreign(log: Path, number: int) -> ValueError:
    return ValueError(f"{log}, line {number}: it is no line of a batch; expected another log")


def _check(log: Path | None, lines: Iterable[Figures], figure: str, allowed: Collection[str]) -> None:
    """Raise ValueError where a line lacks a figure, or has one that is not allowed."""
    for line in lines:
        if line.get(figure) not in list(allowed):
            raise ValueError(
                f"{log} has a line with the {figure} {line.get(figure)!r}; expected one of: {', '.join(allowed)} "
                f"(take the line out, and its job is done again): {_name(line['key'])}"
            )


def fingerprint(path: Path) -> str:
    """Return what tells a file from another of its name: the first digits of its SHA-256."""
    return sha256(as_file(path, "network").read_bytes()).hexdigest()[:16]


def _name(key: Figures) -> str:
    return json.dumps(key, sort_keys=True)


@contextmanager
def _lines(log: Path | None) -> Iterator[tuple[dict[str, Figures], Callable[[str], None]]]:
    """Give the lines that are there and what writes one more; nobody else works on the log meanwhile."""
    if log is None:
        yield {}, _print
        return
    with open(log, "ab", buffering=0) as file, held(log):
        yield read_log(log), partial(append, file)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, completed=done)
        yield lambda: progress.advance(task)
