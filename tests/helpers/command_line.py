"""The command line as a shell would call it."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from convexnn.cli import main


@dataclass(frozen=True)
class Result:
    """What one call of the command line gave."""

    exit_code: int
    stdout: str
    stderr: str


def call(*arguments: object) -> Result:
    """Call the command line as a shell would."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def complained(result: Result, words: str) -> bool:
    """Whether a call ended as bad input with one line on standard error that holds `words`."""
    one_line = result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.exit_code == 2 and one_line and words in result.stderr
