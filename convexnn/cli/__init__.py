"""The command line, which knows both convexnn and verify: one command a file, put together in `app.py`.

In come arguments; out come tables or JSON, and an exit code. The commands that ask `verify` are in `asking/`. What
several commands share is in `common/`, what they read and write in `files/` (the fields of `--json`:
`json_records.py`), the demonstration in `demonstration/`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convexnn.checks import mixed_files, require


def main(arguments: list[str] | None = None) -> int:
    """Run the command ``convexnn`` and return its exit code."""
    # Threads that wait instead of spinning: beside another busy process the demonstration's hard thresholding took
    # 8.5 seconds with spinning threads and 0.2 with waiting ones.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if (mixed := mixed_files(Path(__file__).parents[2] / "verify")) is not None:
        print(f"error: {mixed}", file=sys.stderr)
        return 2
    try:
        # Both are of the extra `cli`; one line says so where they are missing.
        require("typer", "typer", "the command convexnn")
        require("rich", "rich", "the command convexnn")
        from convexnn.cli.app import run
        from convexnn.cli.common.termination import termination_as_interrupt
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    with python_stdout_alone(), termination_as_interrupt():
        return run(arguments)


@contextmanager
def python_stdout_alone() -> Iterator[None]:
    """Send what libraries print past Python to standard error: HiGHS 1.12 leaves a stray line now and then."""
    try:
        kept, out = os.dup(1), sys.stdout
    except OSError:
        yield
        return
    out.flush()
    os.dup2(2, 1)
    if sys.__stdout__ is not None and out is sys.__stdout__:
        sys.stdout = open(os.dup(kept), "w", encoding=sys.__stdout__.encoding, buffering=1)  # noqa: SIM115
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = out
        os.dup2(kept, 1)
        os.close(kept)
