"""Isolated runs: each instance in a process of its own, so that a crash, a kill or a hang is one row."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from time import perf_counter
from typing import Any

from convexnn.cli.files.instances import RESULTS, Instance, Outcome

# Seconds beyond its limit after which a process is ended: it may take as long to start, to import and to write.
GRACE, SHARE = 20.0, 0.1


@dataclass
class _Children:
    """The processes that run, ended together where the work is given up."""

    running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)
    ended: bool = False

    def start(self, command: Sequence[str], errors: Any) -> subprocess.Popen[bytes] | None:
        """Start a process; None where the work is given up."""
        with self.lock:
            if self.ended:
                return None
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
            self.running.add(child)
            return child

    def end_all(self) -> None:
        """End all processes, and let no more begin."""
        with self.lock:
            self.ended = True
            for child in self.running:
                child.kill()


def run_isolated(
    instances: Sequence[Instance], jobs: int, options: dict[str, Any]
) -> Iterator[tuple[Instance, Outcome, str]]:
    """Yield each instance with its outcome and its witness as text, `jobs` at a time, as they end.

    An instance that is interrupted has no outcome and ends the work: KeyboardInterrupt.
    """
    children = _Children()
    with ThreadPoolExecutor(jobs) as pool:
        tasks = {pool.submit(_run, children, instance, options): instance for instance in instances}
        try:
            for task in as_completed(tasks):
                outcome, text = task.result()
                if not outcome.result:
                    raise KeyboardInterrupt
                yield tasks[task], outcome, text
        finally:
            children.end_all()
            pool.shutdown(cancel_futures=True)


def _run(children: _Children, instance: Instance, options: dict[str, Any]) -> tuple[Outcome, str]:
    """Run an instance in a process; return its outcome and its witness as text."""
    began = perf_counter()
    with TemporaryDirectory() as folder:
        file, errors = Path(folder) / "result.txt", Path(folder) / "errors.txt"
        with open(errors, "wb") as stream:
            child = children.start(_command(instance, file, options), stream)
            if child is None:
                return Outcome("", 0.0), ""
            try:
                code = child.wait(instance.limit * (1.0 + SHARE) + GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                return Outcome("timeout", perf_counter() - began, note="It did not end by itself and was ended."), ""
            finally:
                with children.lock:
                    children.running.discard(child)
        return _outcome(code, file, errors, perf_counter() - began)


def _command(instance: Instance, file: Path, options: dict[str, Any]) -> list[str]:
    words = ["-", instance.network_word, str(instance.property_file), str(file), repr(instance.limit)]
    stated = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "convexnn", "vnncomp", *stated, "--", *words]


def _outcome(code: int, file: Path, errors: Path, seconds: float) -> tuple[Outcome, str]:
    """Return what a process left: its result, or an error that says how it ended."""
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("error: ") if lines else ""
    if code in (130, -signal.SIGINT):
        return Outcome("", seconds), ""
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
        return Outcome("error", seconds, note=f"The process was killed by {name}, perhaps for want of memory."), ""
    head, _, text = file.read_text(encoding="utf-8").partition("\n") if file.exists() else ("", "", "")
    if head not in RESULTS:
        return Outcome("error", seconds, note=last or f"The process ended with code {code} and no result."), ""
    return Outcome(head, seconds, note=last), text
