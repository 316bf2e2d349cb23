"""Batches: many instances of one command, a JSON line for each, resumed where an earlier run ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from convexnn.checks import as_file

Figures = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One instance: the `key` that tells it from all others, in JSON's types, and what the work is called with."""

    key: Figures
    arguments: tuple[Any, ...]


def run_batch(jobs: Sequence[Job], work: Callable[..., Figures], log: Path | None, n_jobs: int = 1) -> list[Figures]:
    """Run all jobs that `log` does not hold yet and return the lines of all, in the order of `jobs`.

    Each line is {"key": key, **figures}; it goes to `log` (or to standard output without one) as soon as it is there,
    so that a run that was killed goes on where it ended. A progress bar is on standard error.
    """
    known = {} if log is None else read_log(log)
    waiting = [job for job in jobs if _name(job.key) not in known]
    with _lines(log) as write, _progress(len(jobs), len(jobs) - len(waiting)) as advance:
        for job, figures in _results(waiting, work, n_jobs):
            if "INTERRUPTED" in (figures.get("verdict"), figures.get("status")):
                # It is no answer: the log does not hold it, and the next run asks again.
                raise KeyboardInterrupt
            line = {"key": job.key, **figures}
            known[_name(job.key)] = line
            write(json.dumps(line))
            advance()
    return [known[_name(job.key)] for job in jobs]


def read_log(log: Path) -> dict[str, Figures]:
    """Return the lines of a log by the name of their job; a last line that a kill has torn is taken out of the file."""
    if not log.exists():
        return {}
    found: dict[str, Figures] = {}
    whole = 0
    data = log.read_bytes()
    for number, raw in enumerate(data.splitlines(keepends=True), start=1):
        try:
            line = json.loads(raw)
            if not isinstance(line, dict) or not isinstance(line.get("key"), dict):
                raise ValueError("no key")
        except ValueError:
            if whole + len(raw) < len(data):
                raise ValueError(f"{log}, line {number}: it is no line of a batch; expected another log") from None
            break
        if not raw.endswith(b"\n"):
            break
        whole += len(raw)
        found[_name(line["key"])] = line
    if whole < len(data):
        with open(log, "rb+") as file:
            file.truncate(whole)
    return found


def fingerprint(path: Path) -> str:
    """Return what tells a file from another of its name: the first digits of its SHA-256."""
    return sha256(as_file(path, "network").read_bytes()).hexdigest()[:16]


def _name(key: Figures) -> str:
    return json.dumps(key, sort_keys=True)


def _results(jobs: list[Job], work: Callable[..., Figures], n_jobs: int) -> Iterator[tuple[Job, Figures]]:
    if n_jobs == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, work(*job.arguments)
        return
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    for index, figures in pool(delayed(_numbered)(index, work, job.arguments) for index, job in enumerate(jobs)):
        yield jobs[index], figures


def _numbered(index: int, work: Callable[..., Figures], arguments: tuple[Any, ...]) -> tuple[int, Figures]:
    return index, work(*arguments)


@contextmanager
def _lines(log: Path | None) -> Iterator[Callable[[str], None]]:
    if log is None:
        yield lambda text: _put(sys.stdout, text)
        return
    with open(log, "a", encoding="utf-8") as file:
        yield lambda text: _put(file, text)


def _put(file: IO[str], text: str) -> None:
    file.write(text + "\n")
    file.flush()


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, completed=done)
        yield lambda: progress.advance(task)
