"""The command `evaluate`: certified accuracy over the rows of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convexnn.cli.asking.questions import Regions, load_network, replay_model
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import INTERRUPTED, UNDECIDED
from convexnn.cli.common.printing import print_result
from convexnn.cli.common.regions import RegionOptions
from convexnn.cli.files.batch import fingerprint
from convexnn.cli.files.json_records import evaluation_record
from convexnn.cli.files.points import parse_rows, read_labels, read_points


def evaluate(
    network: shared.NetworkFile,
    points: Annotated[Path, typer.Argument(help="The rows: .npy, or text with commas or blanks.")],
    labels: Annotated[Path, typer.Argument(help="Their true classes: a file with one for each row.")],
    radius: shared.Radius = None,
    norm: shared.Norm = "linf",
    radii: shared.Radii = None,
    clip: shared.Clip = None,
    constraints: shared.Constraints = None,
    rows: Annotated[str, typer.Option(help="Which rows: all, 0:100, or 0,3,5.")] = "all",
    time_limit: shared.RowTimeLimit = 60.0,
    backend: shared.Backend = "auto",
    seed: shared.AscentSeed = 0,
    jobs: shared.RowJobs = 1,
    dask: shared.Dask = None,
    as_json: shared.JsonInsteadOfText = False,
) -> None:
    """Say of which share of rows it is proven that NETWORK classifies them right in a whole region around each.

    Example: convexnn evaluate net.onnx points.csv labels.csv --radius 0.02 --clip 0 1 --jobs 2

    For a log that is resumed, and for witnesses, ask `convexnn attack --rows all --labels`. Exit code 0: every row is
    decided; 3: some are unknown; 2: bad input; 130: interrupted, what was known by then is shown.
    """
    regions = Regions(network, points, RegionOptions(radius, norm, radii, None, clip, constraints))
    X = read_points(points)
    chosen, y = parse_rows(rows, len(X)), read_labels(labels, len(X))
    import verify

    with workers(jobs, dask) as n_jobs:
        found = verify.evaluate(
            load_network(network, fingerprint(network)),
            X[chosen],
            [y[row] for row in chosen],
            regions.options.around,
            time_limit=time_limit,
            backend=backend,
            seed=seed,
            model=replay_model(network),
            n_jobs=n_jobs,
        )
    record = evaluation_record(found)
    print_result(found, record, as_json)
    verdicts = record["verdicts"]
    raise typer.Exit(INTERRUPTED if "INTERRUPTED" in verdicts else UNDECIDED if "UNKNOWN" in verdicts else 0)
