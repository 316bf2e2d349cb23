"""The command `attack`: adversarial inputs near points, one or many."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console

from convexnn.cli.files.batch import Job, fingerprint, run_batch
from convexnn.cli.files.points import ball, numbers, read_labels, read_point, read_points, rows_of
from convexnn.cli.files.writable import writable

if TYPE_CHECKING:
    import verify

# Exit codes by verdict; 2 is bad input, 70 a defect of the program, 130 an interruption.
VERDICT_CODES = {"ROBUST": 0, "COUNTEREXAMPLE": 1, "MISCLASSIFIED": 1, "UNKNOWN": 3}

# Arguments that commands on points share.
NETWORK = Annotated[Path, typer.Argument(help="The network: .npz written by convexnn, or .onnx.")]
POINTS = Annotated[Path, typer.Argument(help="The input: .npy, or text with commas or blanks; one row a point.")]
RADIUS = Annotated[float, typer.Option(help="L-inf radius, in units of the inputs.")]
ROW = Annotated[int, typer.Option(min=0, help="Which row of the points.")]
ROWS = Annotated[str | None, typer.Option(help="Many rows, a JSON line for each: all, 0:100, or 0,3,5.")]
CLIP = Annotated[tuple[float, float] | None, typer.Option(help="Valid inputs: LOWER UPPER.")]
TIME_LIMIT = Annotated[float, typer.Option(help="Seconds, for each row.")]
BACKEND = Annotated[
    str,
    typer.Option(
        help="What decides where bounds do not: auto, branching, gurobi, highspy, highs, gscip, scip or scipy."
    ),
]
SEED = Annotated[int, typer.Option(min=0, help="Seed of the gradient ascent.")]
SURROGATES = Annotated[
    str | None, typer.Option(help="Search through pruned copies too: their sparsities, such as 0.8,0.9.")
]
WITNESS = Annotated[Path | None, typer.Option(help="Write the witness of a single row to this .npy file.")]
LOG = Annotated[
    Path | None, typer.Option(help="Append the lines of many rows to this file, and leave out rows that it holds.")
]
JOBS = Annotated[int, typer.Option(min=1, help="Processes that work on many rows.")]
JSON = Annotated[bool, typer.Option("--json", help="Print figures as JSON instead of text.")]


def attack(
    network: NETWORK,
    points: POINTS,
    radius: RADIUS,
    row: ROW = 0,
    rows: ROWS = None,
    clip: CLIP = None,
    label: Annotated[int | None, typer.Option(help="Class to keep; default the network's own.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Classes to keep: a file with one for each point.")] = None,
    target: Annotated[int | None, typer.Option(help="The only class that may win; default any.")] = None,
    time_limit: TIME_LIMIT = 60.0,
    backend: BACKEND = "auto",
    seed: SEED = 0,
    surrogates: SURROGATES = None,
    witness: WITNESS = None,
    log: LOG = None,
    jobs: JOBS = 1,
    as_json: JSON = False,
) -> None:
    """Find an adversarial input of NETWORK near a point, or prove that there is none.

    Exit code 0: proven robust; 1: attack found, or the point itself is misclassified; 3: unknown; 2: bad input.
    With --rows every row has its own JSON line, and the exit code is 3 if any is unknown, else 1 if any is attacked.
    """
    options: dict[str, Any] = {"target": target, "time_limit": time_limit, "backend": backend, "seed": seed}
    options |= {} if surrogates is None else {"surrogates": numbers(surrogates, "surrogates")}
    if label is not None and labels is not None:
        raise ValueError("both label and labels are given; expected one of them")
    if rows is not None:
        refuse_single(witness)
        table = read_points(points)
        keep = [label] * len(table) if labels is None else read_labels(labels, len(table))
        files = files_of(network, points)
        wanted = rows_of(rows, len(table))
        regions = [ball(table[index], radius, clip, index) for index in wanted]
        asked = [{"label": keep[index], **options} for index in wanted]
        work = [point_job(files, *job, (radius, clip)) for job in zip(wanted, regions, asked, strict=True)]
        lines = run_batch(work, attack_one, tried(log, network, points, labels), jobs)
        raise typer.Exit(_told([line["verdict"] for line in lines]))
    refuse_batch(log, jobs)
    file = None if witness is None else writable(witness.parent, witness.name, [network, points, labels])
    kept = label if labels is None else read_labels(labels, len(read_points(points)))[row]
    answer = _attack(
        network, fingerprint(network), ball(read_point(points, row), radius, clip), {"label": kept, **options}
    )
    show(answer, answer_line(answer), as_json)
    save_witness(file, answer.witness)
    raise typer.Exit(VERDICT_CODES[answer.status.name])


def attack_one(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one attack: the work of a batch."""
    return answer_line(_attack(network, digest, region, options))


def _attack(network: Path, digest: str, region: verify.Box, options: dict[str, Any]) -> verify.Answer:
    import verify

    return verify.find_adversarial(read(network, digest), region, model=original(network), **options)


def answer_line(answer: verify.Answer) -> dict[str, Any]:
    """Return an answer for machines."""
    from convexnn.cli.demonstration.sheets import answer_figures

    return answer_figures(answer)


@lru_cache(maxsize=1)
def read(network: Path, digest: str) -> Any:
    """Return the network of a file whose fingerprint is `digest`, read once by each process."""
    import verify

    return verify.read_network(network)


def original(network: Path) -> Path | None:
    """Return the file that replays witnesses, where it is the original of a network."""
    return network if network.suffix == ".onnx" else None


def files_of(network: Path, points: Path) -> dict[str, str]:
    """Return what tells a network and a file of points from all others."""
    files = {"network": str(network), "network_sha256": fingerprint(network)}
    return {**files, "points": str(points), "points_sha256": fingerprint(points)}


def point_job(
    files: dict[str, str],
    row: int,
    region: verify.Box,
    options: dict[str, Any],
    size: tuple[float, tuple[float, float] | None],
) -> Job:
    """Return the job of one row, `size` the radius and the clip; its key says all that its answer depends on."""
    radius, clip = size
    key = {**files, "row": row, "radius": radius, "clip": None if clip is None else list(clip), **options}
    return Job(key, (Path(files["network"]), files["network_sha256"], region, options))


def tried(log: Path | None, *inputs: Path | None) -> Path | None:
    """Return the log, tried now, where one is asked for."""
    return None if log is None else writable(log.parent, log.name, inputs)


def refuse_single(witness: Path | None) -> None:
    """Raise ValueError where an option of a single row stands beside many."""
    if witness is not None:
        raise ValueError("witness is given with many rows; expected none (their lines hold the witnesses)")


def refuse_batch(log: Path | None, jobs: int) -> None:
    """Raise ValueError where an option of many rows stands beside a single one."""
    if log is not None or jobs != 1:
        raise ValueError("log or jobs is given for a single row; expected them with --rows")


def show(answer: object, figures: dict[str, Any], as_json: bool) -> None:
    """Print one answer."""
    console = Console()
    if as_json:
        console.print_json(json.dumps(figures))
    else:
        console.print(str(answer), highlight=False, markup=False, soft_wrap=True)


def save_witness(file: Path | None, witness: Any) -> None:
    """Write a witness to a file, where there are both."""
    if file is not None and witness is not None:
        with open(file, "wb") as stream:
            np.save(stream, witness)


def _told(verdicts: list[str]) -> int:
    """Say on standard error how many verdicts there are of each kind; return the exit code."""
    counts = Counter(verdicts)
    words = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    Console(stderr=True).print(f"{len(verdicts)} rows: {words}", highlight=False)
    codes = {VERDICT_CODES[name] for name in counts}
    return 3 if 3 in codes else max(codes)
