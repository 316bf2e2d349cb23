"""The command line: the one place that knows both convexnn and verify."""

from __future__ import annotations


def main() -> None:
    """Run the command ``convexnn``."""
    from convexnn.cli.app import app

    app()
