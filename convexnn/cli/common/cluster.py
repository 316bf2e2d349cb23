"""Where the work of a command is done: in so many processes, or by the cluster that `--dask` names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convexnn.checks import require
from convexnn.rank_workers import active_pool

# Seconds that a cluster has to answer.
PATIENCE = 10


@contextmanager
def workers(jobs: int, dask: str | None) -> Iterator[int | None]:
    """Give the `n_jobs` for the work of a block; with an address, None, and joblib is told of that cluster.

    Under `torchrun` it is None too, unless jobs are asked for: the ranks do the work.

    Raises
    ------
    ValueError
        Both are given.
    OSError
        The cluster does not answer.
    """
    if dask is None:
        yield None if jobs == 1 and active_pool() is not None else jobs
        return
    if jobs != 1:
        raise ValueError("both --jobs and --dask are given; expected at most one")
    distributed = require("distributed", "distributed", "--dask")
    joblib = require("joblib", "joblib", "--dask")
    try:
        client = distributed.Client(dask, timeout=PATIENCE)
    except (OSError, ValueError):
        expected = "expected the address of a Dask scheduler, such as tcp://localhost:8786"
        raise OSError(f"dask is {dask!r}, which does not answer within {PATIENCE} s; {expected}") from None
    with client, joblib.parallel_config("dask", client=client):
        yield None
