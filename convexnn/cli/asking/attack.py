"""The command `attack`: adversarial inputs near points, one or many."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convexnn.cli.asking.attack_report import AttackReport
from convexnn.cli.asking.questions import (
    Regions,
    kept_labels,
    label_of,
    load_network,
    refuse_batch_of_one,
    refuse_witness_of_many,
    replay_model,
    save_array,
    what_is_left,
)
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import ATTACK_CODES, worst_code
from convexnn.cli.common.printing import print_counts, print_result
from convexnn.cli.common.regions import RegionOptions
from convexnn.cli.files.batch import fingerprint, run_batch
from convexnn.cli.files.json_records import answer_record
from convexnn.cli.files.points import parse_numbers
from convexnn.cli.files.writable import refuse_twice, writable_if_given

if TYPE_CHECKING:
    import verify


def attack(
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
    label: shared.KeptLabel = None,
    labels: shared.KeptLabels = None,
    target: shared.Target = None,
    time_limit: shared.RowTimeLimit = 60.0,
    backend: shared.Backend = "auto",
    seed: shared.AscentSeed = 0,
    surrogates: shared.Surrogates = None,
    witness: shared.WitnessFile = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with answers and pictures to this HTML file.")
    ] = None,
    image_shape: Annotated[
        tuple[int, int] | None, typer.Option(help="Inputs are images of HEIGHT WIDTH in the report.")
    ] = None,
    log: shared.RowLog = None,
    jobs: shared.RowJobs = 1,
    dask: shared.Dask = None,
    as_json: shared.JsonInsteadOfText = False,
) -> None:
    """Find an adversarial input of NETWORK near a point, or prove that there is none.

    Example: convexnn attack net.onnx points.csv --radius 0.1 --clip 0 1 --rows all --log log.jsonl --report page.html

    Exit code 0: proven robust; 1: attack found, or the point itself is misclassified; 3: unknown; 2: bad input, or
    a worker process was killed. With --rows every row has its own JSON line, and the exit code is 3 if any is unknown,
    else 1 if any is attacked.
    """
    options: dict[str, Any] = {"target": target, "time_limit": time_limit, "backend": backend, "seed": seed}
    options |= {} if surrogates is None else {"surrogates": parse_numbers(surrogates, "surrogates")}
    kept = kept_labels(points, label, labels)
    regions = Regions(network, points, RegionOptions(radius, norm, radii, box, clip, constraints))
    read = [*regions.inputs, labels]
    refuse_twice(report=report, witness=witness, log=log)
    page = AttackReport(writable_if_given(report, read), image_shape, _asked(network, points, options))

    def options_of(count: int) -> list[dict[str, Any]]:
        return [{"label": one, **options} for one in kept(count)]

    if rows is not None:
        refuse_witness_of_many(witness, "many rows")
        work = regions.jobs(rows, options_of)
        file = writable_if_given(log, read)
        page.check(work[0].arguments[2])
        with workers(jobs, dask) as n_jobs:
            lines = run_batch(work, attack_one, file, n_jobs, ("verdict", ATTACK_CODES))
        page.write([line["key"]["row"] for line in lines], [job.arguments[2] for job in work], lines)
        verdicts = [line["verdict"] for line in lines]
        print_counts(verdicts, "rows")
        raise typer.Exit(worst_code(verdicts, ATTACK_CODES))
    refuse_batch_of_one(log, dask, "row", "them with --rows")
    file = writable_if_given(witness, read)
    import verify  # noqa: F401 (before the clock starts)

    began = perf_counter()
    region = regions.one(row)
    page.check(region)
    asked = {"label": label_of(points, row, kept), **options, "n_jobs": jobs}
    answer = _find(network, fingerprint(network), region, asked, began)
    record = answer_record(answer)
    print_result(answer, record, as_json)
    save_array(file, answer.witness)
    page.write([None if points is None else row], [region], [record])
    raise typer.Exit(ATTACK_CODES[answer.status.name])


def _asked(network: Path, points: Path | None, options: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what was asked, for a page."""
    named = {"network": network, "points": points, "seconds at most": options["time_limit"], **options}
    return tuple((name, str(value)) for name, value in named.items() if value is not None and name != "time_limit")


def attack_one(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> dict[str, Any]:
    """Return the record of one attack: the work of a batch."""
    return answer_record(_find(network, digest, region, options))


def _find(
    network: Path, digest: str, region: verify.Box, options: dict[str, Any], began: float | None = None
) -> verify.Answer:
    import verify

    began = perf_counter() if began is None else began
    net = load_network(network, digest)
    return verify.find_adversarial(net, region, model=replay_model(network), **what_is_left(options, began))
