"""Independent work, spread over processes or a cluster by joblib: one mechanism for all that takes `n_jobs`."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from typing import Any, overload

import numpy as np

from convexnn.checks import as_count, require
from convexnn.rank_workers import active_pool

# What Dask raises, by name, for a run whose workers were killed again and again, and where a cluster has gone.
GONE = ("KilledWorker", "CommClosedError", "FutureCancelledError", "CancelledError")

# Short calls a worker in a round, where results come in rounds: beginning one takes Ray seconds.
SHORT = 64


def as_jobs(n_jobs: int | None) -> int | None:
    """Return `n_jobs` where it is None, -1 (a process for each core) or a whole number of at least 1."""
    return n_jobs if n_jobs is None or (n_jobs == -1 and n_jobs is not True) else as_count(n_jobs, "n_jobs")


def is_spread(n_jobs: int | None) -> bool:
    """Whether work goes to other workers: not with `n_jobs` 1, nor with None where joblib is told nothing else.

    With None it goes to the ranks of :func:`convexnn.rank_workers.on_first_rank` where there are any.
    """
    if n_jobs is None and active_pool() is not None:
        return True
    if n_jobs is not None or "joblib" not in sys.modules:
        return n_jobs not in (None, 1)
    backend, told = sys.modules["joblib"].parallel.get_active_backend()
    return told not in (None, 1) or hasattr(backend, "client") or "ray" in type(backend).__module__


def count_workers(n_jobs: int | None) -> int:
    """Return how many workers :func:`spread` has for `n_jobs`; 1 inside of work, and on ranks of torch.distributed."""
    if not is_spread(n_jobs) or (n_jobs is None and active_pool() is not None):
        return 1
    return int(require("joblib", "joblib", "work on several workers").effective_n_jobs(n_jobs))


def spread(
    work: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    n_jobs: int | None = None,
    *,
    ordered: bool = False,
    batch_size: int | str = 1,
    patience: float | None = None,
) -> Generator[tuple[int, Any]]:
    """Yield ``index, work(*arguments[index])`` of every index as it is there, or in their order.

    With `n_jobs` None, ``joblib.parallel_config`` around the call says how many workers there are and of which kind:
    processes, threads, a cluster of Dask or Ray; without it, or with 1, the work is done here, one after another. Ranks
    of torch.distributed that wait for work come before joblib. Work inside of work is not spread again. Whoever stops
    listening, as after Ctrl-C, cancels what has not begun.

    A process that is killed takes the runs in flight with it. They are begun anew, in new processes, as long as others
    end in between; Dask does so by itself.

    Parameters
    ----------
    work : callable
        A function that pickle knows, of arguments and a result that it knows too.
    arguments : sequence of tuple
        Of each call.
    n_jobs : int, optional
        As :func:`as_jobs` takes it.
    ordered : bool, default False
        Whether results come in the order of `arguments`.
    batch_size : int or "auto", default 1
        Calls that a worker takes at a time; "auto" for calls that take less than a millisecond.
    patience : float, optional
        Seconds to wait for a result, where joblib's workers can be left: those that are late are ended.

    Raises
    ------
    OSError
        A worker was killed twice with nothing done in between, or the cluster, or a rank, has gone; TimeoutError, which
        is one, where there is no result in time.

    Examples
    --------
    >>> from convexnn.workers import spread
    >>> list(spread(pow, [(2, 3), (3, 2)]))
    [(0, 8), (1, 9)]
    """
    if not is_spread(n_jobs):
        yield from ((index, work(*taken)) for index, taken in enumerate(arguments))
        return
    if n_jobs is None and (pool := active_pool()) is not None:
        with closing(pool.spread(work, arguments, ordered)) as found:
            yield from found
        return
    waiting, done_before = dict(enumerate(arguments)), -1
    while waiting:
        try:
            with _cluster_errors_named():
                for index, result in _asked(work, waiting, n_jobs, ordered, batch_size, patience):
                    del waiting[index]
                    yield index, result
        except BrokenProcessPool:
            done = len(arguments) - len(waiting)
            if done == done_before:
                lost = "a worker process was killed, perhaps for want of memory"
                raise OSError(f"{lost}; runs that ended are kept: go on with fewer jobs") from None
            done_before = done
        except multiprocessing.TimeoutError:
            raise TimeoutError(f"no worker was done in {patience} s") from None


def _asked(
    work: Callable[..., Any],
    waiting: dict[int, tuple[Any, ...]],
    n_jobs: int | None,
    ordered: bool,
    batch_size: int | str,
    patience: float | None,
) -> Iterator[tuple[int, Any]]:
    """Yield results with their index; from backends that cannot give one by one, such as Ray's, in rounds."""
    joblib = require("joblib", "joblib", "work on several workers")
    calls = [joblib.delayed(_done)(work, index, taken) for index, taken in waiting.items()]
    backend = joblib.parallel.get_active_backend()[0]
    if not backend.supports_return_generator:
        size = max(1, joblib.effective_n_jobs(n_jobs)) * (SHORT if batch_size == "auto" else 1)
        for first in range(0, len(calls), size):
            yield from joblib.Parallel(n_jobs=n_jobs)(calls[first : first + size])
        return
    kind = "generator" if ordered else "generator_unordered"
    limit = patience if backend.supports_timeout else None
    pool = joblib.Parallel(n_jobs=n_jobs, batch_size=batch_size, return_as=kind, timeout=limit)
    with _mended(backend), _closed_quietly(pool(calls)) as found:
        for answered in found:  # noqa: UP028 (it would close it before)
            yield answered


def _done(work: Callable[..., Any], index: int, taken: tuple[Any, ...]) -> tuple[int, Any]:
    """Return the index and what the work comes to, without workers of its own.

    Arguments come as one tuple: single arrays Dask would lay on one worker, and lose them with it.
    """
    joblib = require("joblib", "joblib", "work on several workers")
    with joblib.parallel_config(backend="sequential"):
        return index, work(*taken)


@contextmanager
def _mended(backend: Any) -> Iterator[None]:
    """Mend joblib's backend of Dask for the block; leave others as they are.

    Runs that Dask gives up never come back from it, so that one waits for ever. And with one core left in the cluster
    it does the work here, where a run that kills its process would kill this one.
    """
    if not hasattr(backend, "client") or not hasattr(backend, "submit"):
        yield
        return
    submit, count = backend.submit, backend.effective_n_jobs

    def told(call: Any, callback: Callable[[Any], None]) -> Any:
        future = submit(call, callback)
        future.add_done_callback(lambda ended: callback(ended.exception()) if ended.exception() else None)
        return future

    backend.submit, backend.effective_n_jobs = told, lambda n_jobs: max(2, count(n_jobs))
    try:
        yield
    finally:
        del backend.submit, backend.effective_n_jobs


@contextmanager
def _cluster_errors_named() -> Iterator[None]:
    """Raise OSError, in one line that says what to do, where a cluster has lost the work of the block."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ not in GONE:
            raise
        raise OSError(
            f"the cluster lost a run ({type(error).__name__}): its workers were killed, perhaps for want of memory, or "
            "it has gone; runs that ended are kept: go on with more memory a worker"
        ) from None


@contextmanager
def _closed_quietly(results: Any) -> Iterator[Any]:
    """Give a generator of joblib's results and close it: after Ctrl-C without its warning of work that is cancelled."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            results.close()


class Streams(Sequence[np.random.Generator]):
    """A generator of random numbers for each of several runs: `rng` itself, then others that it spawns.

    They are those of ``rng.spawn``, each made when it is asked for: of a thousand starts few may be needed.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn.workers import Streams
    >>> rng = np.random.default_rng(0)
    >>> first, second = Streams(rng, 2)
    >>> first is rng, first.random() == second.random()
    (True, False)
    """

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        origin: Any = rng.bit_generator.seed_seq
        self._seeds = origin.spawn(count - 1) if count > 1 else []
        self._made = {0: rng}

    def __len__(self) -> int:
        return 1 + len(self._seeds)

    @overload
    def __getitem__(self, index: int) -> np.random.Generator: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.random.Generator]: ...
    def __getitem__(self, index: int | slice) -> np.random.Generator | list[np.random.Generator]:
        place = range(len(self))[index]
        if isinstance(place, range):
            return [self[each] for each in place]
        if place not in self._made:
            self._made[place] = np.random.Generator(type(self._made[0].bit_generator)(self._seeds[place - 1]))
        return self._made[place]
