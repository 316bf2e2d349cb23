"""The line of progress: in terminals and notebooks, nothing in pipes."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest

import convexnn as cx
from convexnn.solvers.common.descent import Progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("convexnn.progress.EVERY", 0.0)
    show = cx.show_progress(patience=0.0)
    show(Progress(1, 3.0, 2.5, 0.1))
    show(Progress(2, 2.0, 2.0, 0.2))
    lines = [line for line in screen.getvalue().split("\r\x1b[K") if line]
    assert lines == ["1: best objective 2.5, 0 s\r", "2: best objective 2, 0 s\r"]


def test_of_a_known_total_the_last_is_shown_whenever_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    show = cx.show_progress(3, patience=0.0)
    for row in range(3):
        show(row, object())
    assert screen.getvalue().endswith("3 of 3, 0 s\r")
    assert "about" in screen.getvalue()


def test_short_runs_and_pipes_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, patience in ((Terminal(), 1e9), (io.StringIO(), 0.0)):
        monkeypatch.setattr(sys, "stderr", stream)
        cx.show_progress(patience=patience)(Progress(1, 3.0, 2.5, 0.1))
        assert stream.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    cx.show_progress(patience=0.0)(1)


def test_a_notebook_has_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, str]] = []

    class Handle:
        def update(self, html: str) -> None:
            shown.append(("update", html))

    def display(html: str, display_id: bool) -> Any:
        shown.append(("display", html))
        return Handle()

    shell, words = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell.get_ipython = lambda: types.SimpleNamespace()  # type: ignore[attr-defined]
    words.HTML, words.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", words)
    monkeypatch.setattr("convexnn.progress.EVERY", 0.0)
    show = cx.show_progress(patience=0.0)
    show(Progress(1, 3.0, 2.5, 0.1))
    show(Progress(2, 3.0, 2.5, 0.1))
    assert [kind for kind, _ in shown] == ["display", "update"]
    assert shown[0][1] == "<code>1: best objective 2.5, 0 s</code>"


@pytest.mark.parametrize(("given", "words"), [({"total": 0}, "total is 0"), ({"patience": -1}, "patience is -1")])
def test_bad_input_is_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        cx.show_progress(**given)
