"""The command `min-radius`: the smallest radius with an adversarial input around points, one or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convexnn.cli.asking.questions import (
    Regions,
    kept_labels,
    label_of,
    load_network,
    refuse_batch_of_one,
    refuse_witness_of_many,
    replay_model,
    save_array,
)
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import RADIUS_CODES, worst_code
from convexnn.cli.common.printing import print_counts, print_result
from convexnn.cli.common.regions import RegionOptions
from convexnn.cli.files.batch import fingerprint, run_batch
from convexnn.cli.files.json_records import radius_record
from convexnn.cli.files.writable import writable_if_given

if TYPE_CHECKING:
    import verify


def min_radius(
    network: shared.NetworkFile,
    points: Annotated[Path, typer.Argument(help="The input: .npy, or text with commas or blanks; one row a point.")],
    radius: Annotated[float, typer.Option(help="The largest radius to look at, in units of the inputs.")],
    norm: shared.Norm = "linf",
    clip: shared.Clip = None,
    constraints: shared.Constraints = None,
    row: shared.SingleRow = 0,
    rows: shared.ManyRows = None,
    label: shared.KeptLabel = None,
    labels: shared.KeptLabels = None,
    target: shared.Target = None,
    tolerance: Annotated[float, typer.Option(help="How far apart the bounds may end, as a share of the upper.")] = 1e-3,
    time_limit: shared.RowTimeLimit = 60.0,
    backend: shared.Backend = "auto",
    seed: shared.AscentSeed = 0,
    witness: shared.WitnessFile = None,
    log: shared.RowLog = None,
    jobs: shared.RowJobs = 1,
    dask: shared.Dask = None,
    as_json: shared.JsonInsteadOfText = False,
) -> None:
    """Find the smallest radius at which an input around a point is misclassified, between proven bounds.

    Example: convexnn min-radius net.onnx points.csv --radius 0.5 --clip 0 1

    Exit code 0: found, or proven robust up to the largest radius; 1: the point itself is misclassified; 3: the time
    limit was reached, or unknown; 2: bad input, or a worker process was killed. With --rows every row has its own JSON
    line.
    """
    options: dict[str, Any] = {"target": target, "tolerance": tolerance, "time_limit": time_limit}
    options |= {"backend": backend, "seed": seed}
    kept = kept_labels(points, label, labels)
    regions = Regions(network, points, RegionOptions(radius, norm, clip=clip, constraints=constraints))
    read = [*regions.inputs, labels]

    def options_of(count: int) -> list[dict[str, Any]]:
        return [{"label": one, **options} for one in kept(count)]

    if rows is not None:
        refuse_witness_of_many(witness, "many rows")
        work = regions.jobs(rows, options_of)
        file = writable_if_given(log, read)
        with workers(jobs, dask) as n_jobs:
            lines = run_batch(work, radius_of_one, file, n_jobs, ("status", RADIUS_CODES))
        statuses = [line["status"] for line in lines]
        print_counts(statuses, "rows")
        raise typer.Exit(worst_code(statuses, RADIUS_CODES))
    refuse_batch_of_one(log, dask, "row", "them with --rows")
    file = writable_if_given(witness, read)
    region = regions.one(row)
    asked = {"label": label_of(points, row, kept), **options, "n_jobs": jobs}
    found = _find(network, fingerprint(network), region, asked)
    print_result(found, radius_record(found), as_json)
    save_array(file, found.witness)
    raise typer.Exit(RADIUS_CODES[found.status.name])


def radius_of_one(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> dict[str, Any]:
    """Return the record of one radius: the work of a batch."""
    return radius_record(_find(network, digest, region, options))


def _find(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> verify.Radius:
    import verify

    return verify.min_radius(load_network(network, digest), region, model=replay_model(network), **options)
