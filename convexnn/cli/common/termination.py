"""SIGTERM, the signal of schedulers and of ``kill``, ends a command as Ctrl-C does: with the best that it has."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Take SIGTERM for SIGINT while this lasts; outside the main thread, where no handler can be set, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # In the background of a shell SIGINT is ignored; SIGTERM is meant nevertheless.
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else signal.default_int_handler)(number, frame)
