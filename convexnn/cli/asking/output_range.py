"""The command `output-range`: what every output of a network reaches near points, one or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from convexnn.cli.asking.questions import Regions, load_network, refuse_batch_of_one
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import MAXIMIZE_CODES, worst_code
from convexnn.cli.common.printing import print_counts, print_result
from convexnn.cli.common.regions import RegionOptions
from convexnn.cli.files.batch import fingerprint, run_batch
from convexnn.cli.files.json_records import range_record
from convexnn.cli.files.writable import writable_if_given

if TYPE_CHECKING:
    import verify


def output_range(
    network: shared.NetworkFile,
    points: shared.PointsFile = None,
    radius: shared.Radius = None,
    norm: shared.Norm = "linf",
    radii: shared.Radii = None,
    box: shared.BoxFile = None,
    clip: shared.Clip = None,
    constraints: shared.Constraints = None,
    row: shared.SingleRow = 0,
    rows: shared.ManyRows = None,
    time_limit: shared.RowTimeLimit = 60.0,
    backend: shared.Backend = "auto",
    seed: shared.AscentSeed = 0,
    log: shared.RowLog = None,
    jobs: shared.RowJobs = 1,
    dask: shared.Dask = None,
    as_json: shared.JsonInsteadOfText = False,
) -> None:
    """Find the smallest and the largest value of every output of NETWORK near a point, with proven bounds.

    Example: convexnn output-range net.onnx --box box.csv --json

    Exit code 0: all are optima; 3: a time limit was reached, or unknown; 2: bad input, or a worker process was killed.
    With --rows every row has its own JSON line.
    """
    options: dict[str, Any] = {"time_limit": time_limit, "backend": backend, "seed": seed}
    regions = Regions(network, points, RegionOptions(radius, norm, radii, box, clip, constraints))
    if rows is not None:
        work = regions.jobs(rows, lambda count: [options] * count)
        file = writable_if_given(log, regions.inputs)
        with workers(jobs, dask) as n_jobs:
            lines = run_batch(work, range_of_one, file, n_jobs, ("status", MAXIMIZE_CODES))
        statuses = [line["status"] for line in lines]
        print_counts(statuses, "rows")
        raise typer.Exit(worst_code(statuses, MAXIMIZE_CODES))
    refuse_batch_of_one(log, dask, "row", "them with --rows")
    found = _find(network, fingerprint(network), regions.one(row), {**options, "n_jobs": jobs})
    record = range_record(found)
    print_result(found, record, as_json)
    raise typer.Exit(MAXIMIZE_CODES[record["status"]])


def range_of_one(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the ranges of one region: the work of a batch."""
    return range_record(_find(network, digest, region, options))


def _find(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> verify.OutputRange:
    import verify

    return verify.output_range(load_network(network, digest), region, **options)
