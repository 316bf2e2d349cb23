"""Worker processes: one that was killed is a single line, whoever started it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager


@contextmanager
def killed_workers_named() -> Iterator[None]:
    """Raise OSError, in one line that says what to do, where a worker process of the block was killed."""
    try:
        yield
    except BrokenProcessPool:
        lost = "a worker process was killed, perhaps for want of memory"
        raise OSError(f"{lost}; runs that ended are kept: go on with fewer jobs") from None
