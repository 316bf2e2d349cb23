"""What the command `recover` finds, in a table that is held or in one on the disk, in words and figures."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convexnn.cli.common.ranks import all_ranks
from convexnn.cli.files.data_file import DataFile
from convexnn.cli.files.disk_table import DiskTable, disk_table
from convexnn.datasets.on_disk import BLOCK
from convexnn.formulas import is_short
from convexnn.mapping.map_back import network_of
from convexnn.network import SparseReLUNetwork
from convexnn.program.accuracy import Accuracy
from convexnn.solution import Solution
from convexnn.tiles import row_tiles


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


def in_table(table: DataFile, options: dict[str, Any]) -> Recovered:
    """Return what is found in a table that is held."""
    import convexnn as cx

    if table.y.dtype.kind != "f":
        raise ValueError(f"target {table.target!r} holds text; expected a column of numbers")
    found = cx.recover(table.X, table.y, **options)
    network, accuracy = found.to_network(), Accuracy.of_loss(found.objective, table.y)
    words = f"{found}\n{_network_words(network, table.features)}"
    return Recovered(found, network, accuracy, table.target, table.features, words)


def in_disk_table(data: Path, target: str | None, drop: list[str], folder: Path, options: dict[str, Any]) -> Recovered:
    """Return what is found in rows that are not held: of several ranks each has some of them."""
    import convexnn as cx
    from convexnn.recovery.layer.ranks import Ranks

    with all_ranks() as group, ExitStack() as stack:
        ranks = Ranks(group)
        part = ranks.place, len(ranks.counts(1))
        table = ranks.together(lambda: stack.enter_context(disk_table(data, target, drop, folder, part)))
        found = cx.recover(table.X, table.y, **options, group=group)
        gates = found.program.patterns.generators[found.live]
        network = network_of(gates, np.sign((gates * found.blocks).sum(axis=1)), bool(options["bias"]))
        sums = ranks.summed(_sums(network, table))
    missed, total, size, count = (float(each) for each in sums)
    accuracy = Accuracy(missed / size, 1.0 - missed / (size - total * total / count))
    words = (
        f"recover: {accuracy} on {int(count):,} rows, {found.nnz} nonzeros; {found.iterations} iterations, "
        f"{found.seconds:.2f} s. {found.status.value}\n{_network_words(network, table.features)}"
    )
    return Recovered(found, network, accuracy, table.target, table.features, words)


def _sums(network: SparseReLUNetwork, table: DiskTable) -> np.ndarray[Any, Any]:
    """Return the squares that the network misses, the sum of the target and of its squares, and the rows, (4,)."""
    y, missed = table.y, 0.0
    for part in row_tiles(len(table.X), len(table.features), BLOCK):
        missed += float(np.square(y[part] - network.predict(table.X[part])).sum())
    return np.array([missed, y.sum(), np.square(y).sum(), len(y)])


def _network_words(network: SparseReLUNetwork, features: tuple[str, ...]) -> str:
    """Return the sizes, and below them the formulas of a small network in the names of the columns."""
    lines = network.formula(features).split("\n") if is_short(network.layers) else []
    return "\n".join([f"{network}", *(f"  {line}" for line in lines)])
