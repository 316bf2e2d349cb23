"""Run what a table lacks, through joblib, and write each run down as it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import FrameType
from typing import Any

from convexnn.studies.harness.resources import one_thread, peak_above, reset_peak, versions
from convexnn.studies.harness.study import Run, Study
from convexnn.studies.harness.table import RunTable
from convexnn.workers import spread


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
        A run killed its worker process, or the cluster has gone.
    """
    wanted = table.missing(runs)
    began, done = perf_counter(), 0.0
    total = sum(map(study.cost, wanted))
    answers = spread(measured, [(study.answer, run) for run in wanted], jobs)
    for count, (_, (run, rows)) in enumerate(answers, start=1):
        table.append(run, rows)
        done += study.cost(run)
        seconds = perf_counter() - began
        yield Progress(run, count, len(wanted), seconds, seconds * max(total - done, 0.0) / max(done, 1e-12))


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
