"""The command `recover`: a table in, a sparse ReLU network whose gates were not known out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from convexnn.checks import require
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import FIT_CODES
from convexnn.cli.common.printing import print_json, print_plain
from convexnn.cli.common.ranks import is_other_rank
from convexnn.cli.common.recovered import in_disk_table, in_table
from convexnn.cli.files.writable import writable
from convexnn.cli.fit import read_table


def recover(
    data: Annotated[Path, typer.Argument(help="A table of numbers: CSV, packed by gzip or not, or Parquet.")],
    budget: Annotated[
        int | None,
        typer.Option(help="Most nonzero input weights, and biases. (default: doubled until the data are explained)"),
    ] = None,
    target: shared.TargetColumn = None,
    drop: shared.DroppedColumns = None,
    missing: shared.Missing = "fail",
    separator: shared.Separator = None,
    comment: shared.Comment = None,
    decimal: shared.Decimal = ".",
    text: shared.TextColumns = None,
    width: Annotated[int | None, typer.Option(help="Most neurons. (default: the budget, at most 100)")] = None,
    bias: Annotated[bool, typer.Option("--bias", help="Neurons have biases, which count in the budget.")] = False,
    signs: Annotated[str, typer.Option(help="Output weights: both, positive or negative.")] = "both",
    restarts: Annotated[int, typer.Option(min=1, help="Starts from nothing.")] = 3,
    patience: Annotated[int, typer.Option(min=1, help="Candidates without a better one that end a start.")] = 40,
    significant: Annotated[
        bool, typer.Option("--significant", help="Drop the weights that noise explains; for noisy targets.")
    ] = False,
    time_limit: Annotated[float | None, typer.Option(help="Seconds. (default: none)")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the starts that ended in this file, and go on after those that it holds.")
    ] = None,
    on_disk: Annotated[
        Path | None,
        typer.Option(
            help="Of a Parquet file do not hold the rows: bring them to this folder, 8 bytes a number, until the end."
        ),
    ] = None,
    jobs: shared.Jobs = 1,
    dask: shared.Dask = None,
    save: Annotated[Path | None, typer.Option(help="Write the network to this .npz file.")] = None,
    onnx: Annotated[Path | None, typer.Option(help="Write the network to this .onnx file.")] = None,
    as_json: shared.JsonInsteadOfText = False,
) -> None:
    """Find a network f(x) = sum of +-relu(x . w) that explains a column of numbers, on the features as they are.

    Example: convexnn recover data.csv --target y --budget 30 --save net.npz

    Exit code 0: the search came to its own end; 4: cut short by the time limit, Ctrl-C or SIGTERM, the best network by
    then is shown and written; 2: bad input; 130: interrupted before there was a network.
    """
    written = [writable(path, [data]) for path in (save, onnx) if path is not None]
    if checkpoint is not None:
        writable(checkpoint, [data])
    if onnx is not None:
        require("onnx", "onnx", "--onnx")
    reading = {"missing": missing, "separator": separator, "comment": comment, "decimal": decimal, "text": text or []}
    options = {
        "budget": budget,
        "width": width,
        "bias": bias,
        "signs": signs,
        "seed": seed,
        "n_restarts": restarts,
        "patience": patience,
        "significant": significant,
        "time_limit": time_limit,
        "device": device,
        "checkpoint": checkpoint,
    }
    with workers(jobs, dask) as n_jobs:
        options["n_jobs"] = n_jobs
        if on_disk is None:
            recovered = in_table(read_table(data, target, drop, "regress", reading), options)
        else:
            if reading != {"missing": "fail", "separator": None, "comment": None, "decimal": ".", "text": []}:
                raise ValueError(
                    "--on-disk reads numbers of a Parquet file; expected no --missing, --separator, --comment, "
                    "--decimal or --text"
                )
            recovered = in_disk_table(data, target, drop or [], on_disk, options)
    if is_other_rank():
        return
    if save is not None:
        recovered.network.save(save)
    if onnx is not None:
        recovered.network.to_onnx(onnx)
    if as_json:
        print_json(recovered.record())
    else:
        print_plain(recovered.words)
        if written:
            print_plain("written: " + ", ".join(map(str, written)))
    raise typer.Exit(FIT_CODES.get(recovered.found.status.name, 0))


def is_shared_out(on_disk: Path | None, **others: Any) -> bool:
    """Whether each rank of `torchrun` reads rows of its own."""
    return on_disk is not None
