"""The command `maximize`: the largest or smallest value of an output near points, one or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console

from convexnn.cli.attack import (
    BACKEND,
    CLIP,
    JOBS,
    JSON,
    LOG,
    NETWORK,
    POINTS,
    RADIUS,
    ROW,
    ROWS,
    SEED,
    SURROGATES,
    TIME_LIMIT,
    WITNESS,
    files_of,
    original,
    point_job,
    read,
    refuse_batch,
    refuse_single,
    save_witness,
    show,
    tried,
)
from convexnn.cli.files.batch import fingerprint, run_batch
from convexnn.cli.files.points import ball, numbers, read_point, read_points, rows_of
from convexnn.cli.files.writable import writable

if TYPE_CHECKING:
    import verify

STATUS_CODES = {"OPTIMAL": 0, "LIMIT": 3, "UNKNOWN": 3}


def maximize(
    network: NETWORK,
    points: POINTS,
    radius: RADIUS,
    output: Annotated[int | None, typer.Option(help="Index of the output; needed for several.")] = None,
    weights: Annotated[str | None, typer.Option(help="Or a weight for each output, with commas between.")] = None,
    minimum: Annotated[bool, typer.Option("--minimum", help="The smallest value, not the largest.")] = False,
    row: ROW = 0,
    rows: ROWS = None,
    clip: CLIP = None,
    time_limit: TIME_LIMIT = 60.0,
    backend: BACKEND = "auto",
    seed: SEED = 0,
    surrogates: SURROGATES = None,
    witness: WITNESS = None,
    log: LOG = None,
    jobs: JOBS = 1,
    as_json: JSON = False,
) -> None:
    """Find the largest value of an output of NETWORK near a point, with a proven bound.

    Exit code 0: the optimum; 3: the time limit was reached, or unknown; 2: bad input. With --rows every row has its
    own JSON line.
    """
    objective = _objective(output, weights)
    options: dict[str, Any] = {"objective": objective, "minimum": minimum, "time_limit": time_limit}
    options |= {"backend": backend, "seed": seed}
    options |= {} if surrogates is None else {"surrogates": numbers(surrogates, "surrogates")}
    if rows is not None:
        refuse_single(witness)
        table = read_points(points)
        files = files_of(network, points)
        wanted = rows_of(rows, len(table))
        regions = [ball(table[index], radius, clip, index) for index in wanted]
        work = [point_job(files, *job, options, (radius, clip)) for job in zip(wanted, regions, strict=True)]
        lines = run_batch(work, maximize_one, tried(log, network, points), jobs)
        done = sum(line["status"] == "OPTIMAL" for line in lines)
        Console(stderr=True).print(f"{len(lines)} rows: {done} OPTIMAL", highlight=False)
        raise typer.Exit(0 if done == len(lines) else 3)
    refuse_batch(log, jobs)
    file = None if witness is None else writable(witness.parent, witness.name, [network, points])
    found = _maximize(network, fingerprint(network), ball(read_point(points, row), radius, clip), options)
    show(found, figures(found), as_json)
    save_witness(file, found.witness)
    raise typer.Exit(STATUS_CODES[found.status.name])


def maximize_one(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one optimum: the work of a batch."""
    return figures(_maximize(network, digest, region, options))


def _maximize(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> verify.Optimum:
    import verify

    asked = dict(options)
    solve = verify.minimize if asked.pop("minimum") else verify.maximize
    return solve(read(network, digest), region, asked.pop("objective"), model=original(network), **asked)


def figures(found: verify.Optimum) -> dict[str, Any]:
    """Return an optimum for machines; what is not finite is null."""
    return {
        "status": found.status.name,
        "sense": found.sense,
        "value": found.value if np.isfinite(found.value) else None,
        "bound": found.bound if np.isfinite(found.bound) else None,
        "tolerance": found.tolerance if np.isfinite(found.tolerance) else None,
        "leak": found.leak if np.isfinite(found.leak) else None,
        "proof": found.proof.value if found.proof else None,
        "reason": found.reason,
        "seconds": found.seconds,
        "backend": found.backend,
        "replayed": found.replayed,
        "witness": found.witness.tolist(),
    }


def _objective(output: int | None, weights: str | None) -> int | list[float] | None:
    if output is not None and weights is not None:
        raise ValueError("both output and weights are given; expected one of them")
    return output if weights is None else numbers(weights, "weights")
