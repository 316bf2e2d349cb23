"""Run what a table lacks, through joblib, and write each run down as it ends."""

from __future__ import annotations

import ctypes
import gc
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

from convexnn.checks import require
from convexnn.studies.harness.study import Run, Study
from convexnn.studies.harness.table import Table

# Packages whose versions a row states.
PACKAGES = ("convexnn", "numpy", "scipy", "torch")


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes
    ----------
    run : dict or None
        The run that has just ended; None before the first one.
    done, total : int
        Runs that ended in this sweep, and those that it has to do.
    seconds : float
        Since it began.
    left : float
        Seconds still to come if the rest goes on at the same rate; infinite before the first run.
    """

    run: Run | None
    done: int
    total: int
    seconds: float
    left: float


def sweep(study: Study, runs: Sequence[Run], table: Table, *, jobs: int | None = None) -> Iterator[Progress]:
    """Do the runs that the table lacks; yield after each one, when it is in the table.

    Parameters
    ----------
    study : Study
        What is run.
    runs : sequence of dict
        All runs that are wanted.
    table : Table
        What is there, and where the rest goes.
    jobs : int, optional
        Processes; default what `joblib.parallel_config` says around this call, or one, this process. Dask, Ray and
        other backends are chosen there too.

    Raises
    ------
    OSError
        A worker process was killed.
    """
    wanted = table.missing(runs)
    began, done = perf_counter(), 0.0
    total = sum(map(study.cost, wanted))
    for count, (run, rows) in enumerate(_answers(study.answer, wanted, jobs), start=1):
        table.append(run, rows)
        done += study.cost(run)
        seconds = perf_counter() - began
        yield Progress(run, count, len(wanted), seconds, seconds * max(total - done, 0.0) / max(done, 1e-12))


def _answers(
    answer: Callable[[Run], Any], runs: Sequence[Run], jobs: int | None
) -> Iterator[tuple[Run, list[dict[str, Any]]]]:
    """Yield every run with its rows as it ends; from backends that cannot, such as Ray's, in rounds of one a worker."""
    joblib = require("joblib", "joblib", "a sweep")
    work = [joblib.delayed(measured)(answer, run) for run in runs]
    backend, _ = require("joblib.parallel", "joblib", "a sweep").get_active_backend()
    try:
        if backend.supports_return_generator:
            yield from joblib.Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")(work)
            return
        rounds = (joblib.Parallel(n_jobs=jobs)(part) for part in _rounds(work, joblib.effective_n_jobs(jobs)))
        yield from chain.from_iterable(rounds)
    except BrokenProcessPool:
        lost = "a worker process was killed, perhaps for want of memory"
        raise OSError(f"{lost}; runs that ended are kept: go on with fewer jobs") from None


def _rounds(work: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (work[start : start + size] for start in range(0, len(work), size))


def measured(answer: Callable[[Run], Any], run: Run) -> tuple[Run, list[dict[str, Any]]]:
    """Return a run and its rows, each with seconds, peak memory and versions; one thread for all libraries."""
    with one_thread(), whole():
        base, began = reset_peak(), perf_counter()
        found = answer(run)
        figures = {"seconds": perf_counter() - began, "peak_mb": max(0.0, peak() - base), "versions": versions()}
    rows = found if isinstance(found, list) else [found]
    return run, [{**figures, **row} for row in rows]


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch, BLAS and OpenMP to one thread each."""
    torch = require("torch", "torch", "a study")
    control = require("threadpoolctl", "threadpoolctl", "a study")
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with control.threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(kept)


@contextmanager
def whole() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end where a solver took one for itself: it returned its best, not its answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = list[int]()

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.default_int_handler(number, frame)

    kept = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)
    if seen:
        raise KeyboardInterrupt


def reset_peak() -> float:
    """Begin a new peak of resident memory; return what is resident now, in MB (10^6 bytes)."""
    gc.collect()
    # What the allocator keeps for itself would hide the growth: glibc gives it back when told so.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    except OSError:
        return peak()


def peak() -> float:
    """Return the peak of resident memory in MB: since :func:`reset_peak` on Linux, elsewhere of the whole process."""
    try:
        return _status("VmHWM")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if sys.platform == "darwin" else 1024 * most / 1e6


def _status(field: str) -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(field))
    return 1024 * int(line.split()[1]) / 1e6


@cache
def versions() -> str:
    """Return the versions that a result depends on, as one cell of text."""
    return " ".join([f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)])


def _version(name: str) -> str:
    if name == "convexnn":
        import convexnn

        return convexnn.__version__
    return version(name)
