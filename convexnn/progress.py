"""Progress of a run as one line that is written over: in terminals and notebooks, nothing in pipes and files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from time import perf_counter
from typing import Any

from convexnn.checks import as_count, as_nonnegative

# Seconds before anything is shown, and between two lines.
PATIENCE, EVERY = 2.0, 0.2


class ProgressLine:
    """What is called with each state of a run, and shows the newest; made by :func:`show_progress`."""

    def __init__(self, total: int | None, write: Callable[[str], None] | None, patience: float) -> None:
        self._total, self._write, self._patience = total, write, patience
        self._count, self._began, self._last = 0, perf_counter(), float("-inf")

    def __call__(self, *told: Any) -> None:
        """Take what a callback is given: a state with an objective, or a number and an answer, or anything."""
        self._count += 1
        now = perf_counter()
        done = self._total is not None and self._count >= self._total
        if self._write is None or now - self._began < self._patience or (now - self._last < EVERY and not done):
            return
        self._last = now
        self._write(self._words(told[-1] if told else None, now - self._began))

    def _words(self, state: Any, seconds: float) -> str:
        count = f"{self._count}" if self._total is None else f"{self._count} of {self._total}"
        best = getattr(state, "best", None)
        value = "" if best is None else f": best objective {best:.6g}"
        left = ""
        if self._total is not None and self._count < self._total:
            left = f", about {seconds / self._count * (self._total - self._count):.0f} s left"
        return f"{count}{value}, {seconds:.0f} s{left}"


def show_progress(total: int | None = None, patience: float = PATIENCE) -> ProgressLine:
    """Return a callback that shows how a run goes, on one line.

    Parameters
    ----------
    total : int, optional
        How many calls there will be, where that is known: rows of :func:`verify.evaluate`, for instance.
    patience : float, default 2
        Seconds before anything is shown.

    Returns
    -------
    callable
        For ``callback=`` of :func:`recover`, :func:`fit_network`, :func:`solve`, :func:`global_optimum` and
        :func:`crosscheck`, and ``on_answer=`` of :func:`verify.evaluate`. In a notebook it changes a line of the
        output, in a terminal it writes to standard error; where that is a pipe or a file it shows nothing.

    Raises
    ------
    TypeError, ValueError
        `total` is no count, or `patience` no number of seconds.

    Examples
    --------
    >>> import numpy as np
    >>> import convexnn as cx
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> found = cx.recover(X, np.maximum(X[:, 0] - X[:, 1], 0), budget=2, callback=cx.show_progress())
    >>> found.status.name
    'EXACT'
    """
    asked = None if total is None else as_count(total, "total")
    return ProgressLine(asked, _writer(), as_nonnegative(patience, "patience"))


def _writer() -> Callable[[str], None] | None:
    """Return what shows a line: a notebook's display, a terminal, or nothing."""
    notebook = _notebook()
    if notebook is not None:
        return notebook
    return _to_terminal if sys.stderr is not None and sys.stderr.isatty() else None


def _to_terminal(words: str) -> None:
    # Back to the first column, and what stands behind it is cleared; the next output begins over it.
    sys.stderr.write(f"\r\x1b[K{words}\r")
    sys.stderr.flush()


def _notebook() -> Callable[[str], None] | None:
    """Return what changes a line of a notebook's output, None outside of notebooks."""
    shell = sys.modules.get("IPython")
    kernel = None if shell is None else shell.get_ipython()
    if kernel is None or type(kernel).__name__ == "TerminalInteractiveShell":
        return None
    return _NotebookLine()


class _NotebookLine:
    """A line of a notebook's output, made when there is something to show."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, words: str) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        shown = HTML(f"<code>{escape(words)}</code>")
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)
