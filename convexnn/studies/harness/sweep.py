"""Run what a table lacks, through joblib, and write each run down as it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from time import perf_counter
from types import FrameType
from typing import Any

from convexnn.checks import require
from convexnn.studies.harness.resources import one_thread, peak_above, reset_peak, versions
from convexnn.studies.harness.study import Run, Study
from convexnn.studies.harness.table import RunTable
from convexnn.studies.harness.workers import cancelled_quietly, killed_workers_named


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


def sweep(study: Study, runs: Sequence[Run], table: RunTable, *, jobs: int | None = None) -> Iterator[Progress]:
    """Do the runs that the table lacks; yield after each one, when it is in the table.

    Parameters
    ----------
    study : Study
        What is run.
    runs : sequence of dict
        All runs that are wanted.
    table : RunTable
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
    with killed_workers_named():
        if backend.supports_return_generator:
            asked = joblib.Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")(work)
            with cancelled_quietly(asked) as found:
                for measured_run in found:  # noqa: UP028 (it would close it before)
                    yield measured_run
            return
        rounds = (joblib.Parallel(n_jobs=jobs)(part) for part in _rounds(work, joblib.effective_n_jobs(jobs)))
        yield from chain.from_iterable(rounds)


def _rounds(work: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (work[start : start + size] for start in range(0, len(work), size))


def measured(answer: Callable[[Run], Any], run: Run) -> tuple[Run, list[dict[str, Any]]]:
    """Return a run and its rows, each with seconds, peak memory and versions; one thread for all libraries."""
    with one_thread(), raise_swallowed_interrupt():
        base, began = reset_peak(), perf_counter()
        found = answer(run)
        figures = {"seconds": perf_counter() - began, "peak_mb": peak_above(base), "versions": versions()}
    rows = found if isinstance(found, list) else [found]
    return run, [{**figures, **row} for row in rows]


@contextmanager
def raise_swallowed_interrupt() -> Iterator[None]:
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
