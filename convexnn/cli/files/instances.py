"""Instances of VNN-COMP: a list of networks, properties and limits, and the table of results beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path

from convexnn.checks import as_file
from convexnn.files import append, held

# Columns of the list, of which the first row may be names, and of the results; seconds are those of the process, its
# start included.
LISTED = ("onnx", "vnnlib", "limit")
COLUMNS = ("onnx", "vnnlib", "limit", "result", "seconds", "witness", "note")

RESULTS = ("sat", "unsat", "unknown", "timeout", "error")


@dataclass(frozen=True)
class Instance:
    """A network and a property as listed, with their files, and the limit in seconds."""

    onnx: str
    vnnlib: str
    limit: float
    files: tuple[Path, Path]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells the instance from all others."""
        return self.onnx, self.vnnlib, f"{self.limit:g}"


@dataclass(frozen=True)
class Outcome:
    """What came out: one of RESULTS, after how many seconds, where the witness is, and what is to be said."""

    result: str
    seconds: float
    witness: str = ""
    note: str = ""


def read_instances(path: Path, limit: float | None = None) -> list[Instance]:
    """Return the instances of a list, each once, their files beside it, packed or not; `limit` takes the place of all.

    Raises
    ------
    ValueError
        A row is not a network, a property and a limit.
    OSError
        The list, or one of the files, cannot be read.
    """
    text = as_file(path, "instances").read_text(encoding="utf-8-sig")
    rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text)), 1) if any(map(str.strip, row))]
    found = {}
    for number, row in rows:
        cells = tuple(cell.strip() for cell in row)
        if number == rows[0][0] and cells[:2] == LISTED[:2]:
            continue
        instance = _instance(path, number, cells, limit)
        found[instance.key] = instance
    if not found:
        raise ValueError(f"{path} lists no instance; expected rows of {', '.join(LISTED)}")
    return list(found.values())


def _instance(path: Path, number: int, cells: Sequence[str], limit: float | None) -> Instance:
    """Return the instance of a row."""
    if len(cells) != len(LISTED):
        raise ValueError(f"{path}, row {number}: it has {len(cells)} cells; expected {', '.join(LISTED)}")
    onnx, vnnlib, seconds = cells
    try:
        stated = float(seconds)
    except ValueError:
        stated = -1.0
    if not (isfinite(stated) and stated >= 0.0):
        raise ValueError(f"{path}, row {number}: the limit is {seconds!r}; expected seconds")
    files = find(path.parent / onnx, "network"), find(path.parent / vnnlib, "property")
    return Instance(onnx, vnnlib, stated if limit is None else limit, files)


def find(file: Path, name: str) -> Path:
    """Return a file, or the packed one in its place."""
    packed = file.with_name(file.name + ".gz")
    return packed if packed.is_file() and not file.exists() else as_file(file, name)


@contextmanager
def table(path: Path) -> Iterator[tuple[dict[tuple[str, str, str], Outcome], Callable[[Instance, Outcome], None]]]:
    """Give the outcomes that a table of results holds, and what writes one more; nobody else works on it meanwhile.

    Raises
    ------
    ValueError
        The file is no such table; it stays as it is.
    """
    with open(path, "ab", buffering=0) as file, held(path):
        known = _read(path)
        if not path.stat().st_size:
            append(file, _line(COLUMNS))
        yield known, partial(_write, file)


def _read(path: Path) -> dict[tuple[str, str, str], Outcome]:
    """Return the outcomes of a table; a last row that a kill has torn is taken out of the file."""
    data = path.read_bytes()
    head = _line(COLUMNS).encode()
    if data[: len(head)] != head[: len(data)]:
        raise ValueError(f"{path} is no table of results: its first row is not {','.join(COLUMNS)}; expected another")
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        with open(path, "rb+") as file:
            file.truncate(len(whole))
    rows = list(csv.reader(io.StringIO(whole.decode("utf-8"))))[1:]
    for number, row in enumerate(rows, 2):
        if len(row) != len(COLUMNS) or row[3] not in RESULTS:
            raise ValueError(f"{path}, row {number}: it is no result of an instance; take it out, or name another file")
    return {(row[0], row[1], row[2]): Outcome(row[3], float(row[4]), row[5], row[6]) for row in rows}


def _write(file: io.FileIO, instance: Instance, outcome: Outcome) -> None:
    note = " ".join(outcome.note.split())
    append(file, _line([*instance.key, outcome.result, f"{outcome.seconds:.3f}", outcome.witness, note]))


def _line(cells: Sequence[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()
