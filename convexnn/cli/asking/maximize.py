"""The command `maximize`: the largest or smallest value of an output near points, one or many."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from convexnn.cli.asking.questions import (
    Regions,
    load_network,
    refuse_batch_of_one,
    refuse_witness_of_many,
    replay_model,
    save_array,
    what_is_left,
)
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import MAXIMIZE_CODES, worst_code
from convexnn.cli.common.printing import print_result
from convexnn.cli.common.regions import RegionOptions
from convexnn.cli.files.batch import fingerprint, run_batch
from convexnn.cli.files.json_records import optimum_record
from convexnn.cli.files.points import parse_numbers
from convexnn.cli.files.writable import writable_if_given

if TYPE_CHECKING:
    import verify


def maximize(
    network: shared.NetworkFile,
    points: shared.PointsFile = None,
    radius: shared.Radius = None,
    norm: shared.Norm = "linf",
    radii: shared.Radii = None,
    box: shared.BoxFile = None,
    clip: shared.Clip = None,
    constraints: shared.Constraints = None,
    output: Annotated[int | None, typer.Option(help="Index of the output; needed for several.")] = None,
    weights: Annotated[str | None, typer.Option(help="Or a weight for each output, with commas between.")] = None,
    minimum: Annotated[bool, typer.Option("--minimum", help="The smallest value, not the largest.")] = False,
    row: shared.SingleRow = 0,
    rows: shared.ManyRows = None,
    time_limit: shared.RowTimeLimit = 60.0,
    backend: shared.Backend = "auto",
    seed: shared.AscentSeed = 0,
    surrogates: shared.Surrogates = None,
    witness: shared.WitnessFile = None,
    log: shared.RowLog = None,
    jobs: shared.RowJobs = 1,
    dask: shared.Dask = None,
    as_json: shared.JsonInsteadOfText = False,
) -> None:
    """Find the largest value of an output of NETWORK near a point, with a proven bound.

    Example: convexnn maximize net.onnx points.csv --radius 0.1 --norm l2 --output 3

    Exit code 0: the optimum; 3: the time limit was reached, or unknown; 2: bad input, or a worker process was killed.
    With --rows every row has its own JSON line.
    """
    options: dict[str, Any] = {"objective": _objective(output, weights), "minimum": minimum, "time_limit": time_limit}
    options |= {"backend": backend, "seed": seed}
    options |= {} if surrogates is None else {"surrogates": parse_numbers(surrogates, "surrogates")}
    regions = Regions(network, points, RegionOptions(radius, norm, radii, box, clip, constraints))
    if rows is not None:
        refuse_witness_of_many(witness, "many rows")
        work = regions.jobs(rows, lambda count: [options] * count)
        file = writable_if_given(log, regions.inputs)
        with workers(jobs, dask) as n_jobs:
            lines = run_batch(work, maximize_one, file, n_jobs, ("status", MAXIMIZE_CODES))
        statuses = [line["status"] for line in lines]
        Console(stderr=True).print(f"{len(lines)} rows: {statuses.count('OPTIMAL')} OPTIMAL", highlight=False)
        raise typer.Exit(worst_code(statuses, MAXIMIZE_CODES))
    refuse_batch_of_one(log, dask, "row", "them with --rows")
    file = writable_if_given(witness, regions.inputs)
    import verify  # noqa: F401 (before the clock starts)

    began = perf_counter()
    optimum = _solve(network, fingerprint(network), regions.one(row), {**options, "n_jobs": jobs}, began)
    print_result(optimum, optimum_record(optimum), as_json)
    save_array(file, optimum.witness)
    raise typer.Exit(MAXIMIZE_CODES[optimum.status.name])


def maximize_one(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> dict[str, Any]:
    """Return the record of one optimum: the work of a batch."""
    return optimum_record(_solve(network, digest, region, options))


def _solve(
    network: Path, digest: str, region: verify.Box, options: dict[str, Any], began: float | None = None
) -> verify.Optimum:
    import verify

    began = perf_counter() if began is None else began
    net = load_network(network, digest)
    asked = what_is_left(options, began)
    solve = verify.minimize if asked.pop("minimum") else verify.maximize
    return solve(net, region, asked.pop("objective"), model=replay_model(network), **asked)


def _objective(output: int | None, weights: str | None) -> int | list[float] | None:
    if output is not None and weights is not None:
        raise ValueError("both output and weights are given; expected one of them")
    return output if weights is None else parse_numbers(weights, "weights")
