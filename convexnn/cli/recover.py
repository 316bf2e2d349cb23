"""The command `recover`: a table in, a sparse ReLU network whose gates were not known out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from convexnn.checks import require
from convexnn.cli.common import options as shared
from convexnn.cli.common.cluster import workers
from convexnn.cli.common.exit_codes import FIT_CODES
from convexnn.cli.common.printing import print_json, print_plain
from convexnn.cli.common.ranks import all_ranks, is_other_rank
from convexnn.cli.files.data_file import DataFile
from convexnn.cli.files.disk_table import disk_table
from convexnn.cli.files.writable import writable
from convexnn.cli.fit import read_table
from convexnn.datasets.on_disk import BLOCK
from convexnn.mapping.map_back import network_of
from convexnn.network import SparseReLUNetwork
from convexnn.program.accuracy import Accuracy
from convexnn.solution import Solution
from convexnn.tiles import row_tiles


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
            recovered = _recovered(read_table(data, target, drop, "regress", reading), options)
        else:
            if reading != {"missing": "fail", "separator": None, "comment": None, "decimal": ".", "text": []}:
                raise ValueError(
                    "--on-disk reads numbers of a Parquet file; expected no --missing, --separator, --comment, "
                    "--decimal or --text"
                )
            recovered = _recovered_on_disk(data, target, drop or [], on_disk, options)
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


@dataclass(frozen=True, eq=False)
class Recovered:
    """What was found, in words too, and how well it meets the rows: all of them, of all ranks."""

    found: Solution
    network: SparseReLUNetwork
    accuracy: Accuracy
    target: str
    features: tuple[str, ...]
    words: str

    def record(self) -> dict[str, Any]:
        """Return the figures for `--json`."""
        hidden, outgoing = (weight.toarray() for weight, _ in self.network.layers)
        return {
            "status": self.found.status.name,
            "target": self.target,
            "features": list(self.features),
            "relative_error": self.accuracy.relative_error,
            "r2": self.accuracy.r2,
            "decibels": self.accuracy.decibels,
            "nonzeros": self.found.nnz,
            "neurons": self.network.n_neurons,
            "weights": hidden.tolist(),
            "biases": self.network.layers[0][1].tolist(),
            "signs": outgoing[0].tolist(),
            "candidates": self.found.iterations,
            "seconds": self.found.seconds,
        }


def _recovered(table: DataFile, options: dict[str, Any]) -> Recovered:
    import convexnn as cx

    if table.y.dtype.kind != "f":
        raise ValueError(f"target {table.target!r} holds text; expected a column of numbers")
    found = cx.recover(table.X, table.y, **options)
    network = found.to_network()
    accuracy = Accuracy.of_loss(found.objective, table.y)
    return Recovered(found, network, accuracy, table.target, table.features, "\n".join((str(found), str(network))))


def _recovered_on_disk(
    data: Path, target: str | None, drop: list[str], folder: Path, options: dict[str, Any]
) -> Recovered:
    """Return what is found in rows that are not held: of several ranks each has some of them."""
    import convexnn as cx
    from convexnn.recovery.layer.ranks import Ranks

    with all_ranks() as group:
        ranks = Ranks(group)
        with disk_table(data, target, drop, folder, (ranks.place, len(ranks.counts(1)))) as table:
            found = cx.recover(table.X, table.y, **options, group=group)
            gates = found.program.patterns.generators[found.live]
            network = network_of(gates, np.sign((gates * found.blocks).sum(axis=1)), bool(options["bias"]))
            missed = 0.0
            for part in row_tiles(len(table.X), len(table.features), BLOCK):
                missed += float(np.square(table.y[part] - network.predict(table.X[part])).sum())
            sums = ranks.summed(np.array([missed, table.y.sum(), np.square(table.y).sum(), len(table.y)]))
    left, total, size, count = (float(each) for each in sums)
    accuracy = Accuracy(left / size, 1.0 - left / (size - total * total / count))
    words = f"recover: {accuracy} on {int(count):,} rows, {found.nnz} nonzeros; {found.iterations} iterations, "
    words += f"{found.seconds:.2f} s. {found.status.value}\n{network}"
    return Recovered(found, network, accuracy, table.target, table.features, words)
