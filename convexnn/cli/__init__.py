"""The command line: the one place that knows both convexnn and verify."""

from __future__ import annotations

import os


def main(arguments: list[str] | None = None) -> int:
    """Run the command ``convexnn`` and return its exit code."""
    # Threads that wait instead of spinning: beside another busy process the demonstration's hard thresholding took
    # 8.5 seconds with spinning threads and 0.2 with waiting ones.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from convexnn.cli.app import run

    return run(arguments)
