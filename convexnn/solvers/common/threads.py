"""Work that does not hear Ctrl-C, in a thread of its own."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from threading import Lock, Thread
from typing import TypeVar

# Seconds that the end of the process waits at most for work that nobody waited for.
FAREWELL = 10.0

Result = TypeVar("Result")


def waited_for(work: Callable[[], Result]) -> Result:
    """Return what some work comes to, or raise what it raises; after Ctrl-C it is not waited for any longer."""
    results: list[Result] = []
    errors: list[BaseException] = []
    running = Lock()
    running.acquire()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            running.release()

    ended = False
    try:
        Thread(target=run, daemon=True).start()
        while not ended:
            ended = running.acquire(timeout=0.1)
    finally:
        if not ended:
            # Where Python ends below a thread in foreign code, the process aborts.
            atexit.register(running.acquire, timeout=FAREWELL)
    if errors:
        raise errors[0]
    return results[0]
