"""What the commands that ask about a network share: networks, regions, batches, witnesses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from convexnn.cli.common.regions import RegionOptions
from convexnn.cli.files.batch import Job, fingerprint
from convexnn.cli.files.points import parse_rows, read_labels, read_point, read_points
from convexnn.files import replacing

if TYPE_CHECKING:
    import verify
    from convexnn.checks import Floats


@lru_cache(maxsize=1)
def load_network(path: Path, digest: str) -> Any:
    """Return the network of a file whose fingerprint is `digest`, read once by each process."""
    import verify

    return verify.read_network(path)


def networks_for(asked: Any, paths: Sequence[Path], read: Callable[[Path], Any]) -> list[Any]:
    """Return the networks of a property, read; their paths where it names the inputs of models, which a path tells."""
    named = len(paths) > 1 and any(declared.titles for declared in asked.networks)
    return list(paths) if named else [read(path) for path in paths]


def what_is_left(options: dict[str, Any], began: float) -> dict[str, Any]:
    """Return options with the part of the time limit that is left: reading counts, from `began` of perf_counter on."""
    limit, spent = options["time_limit"], perf_counter() - began
    # A limit below 0 stays one, to be refused as it was given.
    return {**options, "time_limit": limit - spent if limit > spent else min(limit, 0.0)}


def replay_model(network: Path) -> Path | None:
    """Return the file that replays witnesses, where it is the original of a network."""
    return network if network.name.endswith((".onnx", ".onnx.gz")) else None


def file_key(name: str, path: Path) -> dict[str, str]:
    """Return what tells a file from all others: its path and its fingerprint, under its name."""
    return {name: str(path), f"{name}_sha256": fingerprint(path)}


def job_of(network_key: dict[str, str], key: dict[str, Any], asked: object, options: dict[str, Any]) -> Job:
    """Return the job of one question about a network; its key says all that its answer depends on."""
    arguments = (Path(network_key["network"]), network_key["network_sha256"], asked, options)
    return Job({**network_key, **key, **options}, arguments)


@dataclass(frozen=True)
class Regions:
    """The regions about which a network is asked: around the points of a file, or one box."""

    network: Path
    points: Path | None
    options: RegionOptions

    def __post_init__(self) -> None:
        self.options.check(self.points)

    @property
    def inputs(self) -> list[Path]:
        """The files that are read."""
        return [self.network, *([] if self.points is None else [self.points]), *self.options.files]

    def one(self, row: int) -> verify.Box:
        """Return the region of one row, or the box."""
        if self.points is None:
            if row:
                raise ValueError(f"row is {row}, and a box has no rows; expected none")
            return self.options.whole()
        return self.options.around(read_point(self.points, row))

    def jobs(self, rows: str, options_of: Callable[[int], Sequence[dict[str, Any]]]) -> list[Job]:
        """Return a job for each of the rows; `options_of` returns the options of every point of so many."""
        if self.points is None:
            raise ValueError("rows is given with box, which has none; expected it with POINTS")
        points = read_points(self.points)
        options = options_of(len(points))
        network_key, points_key = file_key("network", self.network), file_key("points", self.points)
        chosen = parse_rows(rows, len(points))
        regions = [self.options.around(points[row], row) for row in chosen]
        common = self.options.key()
        return [
            job_of(network_key, {**points_key, "row": row, **common}, region, options[row])
            for row, region in zip(chosen, regions, strict=True)
        ]


def kept_labels(points: Path | None, label: int | None, labels: Path | None) -> Callable[[int], list[int | None]]:
    """Return a function that gives so many points their classes to keep; None is the network's own."""
    if label is not None and labels is not None:
        raise ValueError("both label and labels are given; expected one of them")
    if labels is not None and points is None:
        raise ValueError("labels is given with box, which has one class; expected label")
    return lambda count: [label] * count if labels is None else list(read_labels(labels, count))


def label_of(points: Path | None, row: int, kept: Callable[[int], list[int | None]]) -> int | None:
    """Return the class to keep of one row."""
    return kept(1)[0] if points is None else kept(len(read_points(points)))[row]


def refuse_witness_of_many(witness: Path | None, what: str) -> None:
    """Raise ValueError where the file of a single witness stands beside many questions."""
    if witness is not None:
        raise ValueError(f"witness is given with {what}; expected none (their lines hold the witnesses)")


def refuse_batch_of_one(log: Path | None, dask: str | None, what: str, expected: str) -> None:
    """Raise ValueError where an option of a batch stands beside a single question."""
    if log is not None or dask is not None:
        raise ValueError(f"log or dask is given for a single {what}; expected {expected}")


def save_array(file: Path | None, array: Floats | None) -> None:
    """Write an array to an .npy file of any name, where there are both."""
    if file is not None and array is not None:
        with replacing(file) as stream:
            np.save(stream, array)
