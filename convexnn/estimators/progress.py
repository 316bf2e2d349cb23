"""Progress of a fit as messages of the logger "convexnn"."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from convexnn.checks import as_count
from convexnn.solvers.common.descent import Progress

# Messages for the passes of one fit.
LINES = 10

Report = Callable[[str], None]


def as_verbosity(value: Any) -> int:
    """Return how much is told: 0 nothing, 1 some passes, 2 all of them."""
    return int(value) if isinstance(value, bool) else as_count(value, "verbose", at_least=0)


@contextmanager
def reporting(verbosity: int) -> Iterator[Report]:
    """Yield what takes messages: the logger "convexnn" at level INFO, or nothing.

    Where nobody has set up logging, messages go to standard error for as long as the fit takes.
    """
    if not verbosity:
        yield lambda message: None
        return
    logger = logging.getLogger("convexnn")
    handler = None if logger.hasHandlers() else logging.StreamHandler()
    level = logger.level
    if handler is not None:
        logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield logger.info
    finally:
        logger.setLevel(level)
        if handler is not None:
            logger.removeHandler(handler)


def each_pass(report: Report, verbosity: int, epochs: int) -> Callable[[Progress], None] | None:
    """Return what is told after each pass, None where nothing is."""
    if not verbosity:
        return None
    every = 1 if verbosity > 1 else max(1, epochs // LINES)

    def tell(progress: Progress) -> None:
        if progress.iteration % every == 0:
            report(f"pass {progress.iteration}: loss {progress.objective:.6g}, {progress.seconds:.1f} s")

    return tell
