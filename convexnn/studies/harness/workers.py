"""Worker processes: one that was killed is a single line, whoever started it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any


@contextmanager
def killed_workers_named() -> Iterator[None]:
    """Raise OSError, in one line that says what to do, where a worker process of the block was killed."""
    try:
        yield
    except BrokenProcessPool:
        lost = "a worker process was killed, perhaps for want of memory"
        raise OSError(f"{lost}; runs that ended are kept: go on with fewer jobs") from None


@contextmanager
def cancelled_quietly(results: Any) -> Iterator[Any]:
    """Give a generator of joblib's results and close it: after Ctrl-C without its warning of work that is cancelled."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            results.close()
