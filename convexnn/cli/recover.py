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
from convexnn.cli.files.data_file import DataFile
from convexnn.cli.files.writable import writable
from convexnn.cli.fit import read_table
from convexnn.network import SparseReLUNetwork
from convexnn.solution import Solution


def recover(
    data: Annotated[Path, typer.Argument(help="Rows of numbers as text, with or without a header.")],
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
    jobs: shared.Jobs = 1,
    dask: shared.Dask = None,
    save: Annotated[Path | None, typer.Option(help="Write the network to this .npz file.")] = None,
    onnx: Annotated[Path | None, typer.Option(help="Write the network to this .onnx file.")] = None,
    as_json: shared.JsonInsteadOfText = False,
) -> None:
    """Find a network f(x) = sum of +-relu(x . w) that explains a column of numbers, on the features as they are.

    Example: convexnn recover data.csv --target y --budget 30 --save net.npz

    Exit code 0: the search came to its own end; 4: cut short by the time limit or by Ctrl-C, the best network by then
    is shown and written; 2: bad input; 130: interrupted before there was a network.
    """
    import convexnn as cx

    written = [writable(path, [data]) for path in (save, onnx) if path is not None]
    if checkpoint is not None:
        writable(checkpoint, [data])
    if onnx is not None:
        require("onnx", "onnx", "--onnx")
    reading = {"missing": missing, "separator": separator, "comment": comment, "decimal": decimal, "text": text or []}
    table = read_table(data, target, drop, "regress", reading)
    if table.y.dtype.kind != "f":
        raise ValueError(f"target {table.target!r} holds text; expected a column of numbers")
    with workers(jobs, dask) as n_jobs:
        found = cx.recover(
            table.X,
            table.y,
            budget,
            width,
            bias=bias,
            signs=signs,
            seed=seed,
            n_restarts=restarts,
            patience=patience,
            significant=significant,
            time_limit=time_limit,
            device=device,
            n_jobs=n_jobs,
            checkpoint=checkpoint,
        )
    network = found.to_network()
    if save is not None:
        network.save(save)
    if onnx is not None:
        network.to_onnx(onnx)
    if as_json:
        print_json(_record(found, network, table))
    else:
        print_plain("\n".join((str(found), str(network))))
        if written:
            print_plain("written: " + ", ".join(map(str, written)))
    raise typer.Exit(FIT_CODES.get(found.status.name, 0))


def _record(found: Solution, network: SparseReLUNetwork, table: DataFile) -> dict[str, Any]:
    hidden, outgoing = (weight.toarray() for weight, _ in network.layers)
    return {
        "status": found.status.name,
        "target": table.target,
        "features": list(table.features),
        "relative_error": found.relative_error,
        "r2": found.r2,
        "decibels": found.decibels,
        "nonzeros": found.nnz,
        "neurons": network.n_neurons,
        "weights": hidden.tolist(),
        "biases": network.layers[0][1].tolist(),
        "signs": outgoing[0].tolist(),
        "candidates": found.iterations,
        "seconds": found.seconds,
    }
