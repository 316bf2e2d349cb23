"""Commands under `torchrun`: several processes are called alike, the first runs the command, the others work for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any

import typer

from convexnn.rank_workers import on_first_rank

# How long a rank waits for another one: a start may take hours. One that dies is noticed at once.
LONGEST = timedelta(days=7)

# What `torchrun` sets for each process.
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_other_rank() -> bool:
    """Whether this process is a rank of `torchrun` but not the first: it prints and writes nothing."""
    return _is_one_of_several() and os.environ["RANK"] != "0"


@contextmanager
def all_ranks() -> Iterator[Any]:
    """Give the group of all processes that `torchrun` has started, or None without it.

    What ranks tell each other is small beside what they compute, and goes by gloo, on cards too.
    """
    if not _is_one_of_several():
        yield None
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=LONGEST)
    try:
        yield dist.group.WORLD
    finally:
        dist.destroy_process_group()


def never(**arguments: Any) -> bool:
    """Return that the rows of a command are not shared out."""
    return False


def on_all_ranks(command: Callable[..., None], is_shared_out: Callable[..., bool]) -> Callable[..., None]:
    """Return a command that the first rank of `torchrun` runs, while the others work for it.

    Where `is_shared_out` says so of its arguments, all of them run it, each on rows of its own.
    """

    @wraps(command)
    def run(**arguments: Any) -> None:
        if not _is_one_of_several() or is_shared_out(**arguments):
            return command(**arguments)
        with all_ranks() as group:
            code = on_first_rank(group, lambda: _exit_code(command, arguments))
        if code:
            raise typer.Exit(code)
        return None

    return run


def _exit_code(command: Callable[..., None], arguments: dict[str, Any]) -> int:
    try:
        command(**arguments)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _is_one_of_several() -> bool:
    return all(os.environ.get(name) for name in NEEDED) and os.environ["WORLD_SIZE"] != "1"
