"""Instances of VNN-COMP: a list of networks, properties and limits, and the table of results beside it."""

from __future__ import annotations

import ast
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
    """A network and a property as listed, the limit in seconds, and their files.

    Of several networks, listed as [('f', 'first.onnx'), ('g', 'second.onnx')], `names` has the names by which the
    property knows them; it is empty where there is one without a name.
    """

    onnx: str
    vnnlib: str
    limit: float
    network_files: tuple[Path, ...]
    property_file: Path
    names: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return (*self.network_files, self.property_file)

    @property
    def network_word(self) -> str:
        """The networks as a list has them, with the paths of their files."""
        if not self.names:
            return str(self.network_files[0])
        return repr([(name, str(path)) for name, path in zip(self.names, self.network_files, strict=True)])

    @property
    def stem(self) -> str:
        """The names of the files without their endings, joined."""
        return "_".join(Path(path.name.removesuffix(".gz")).stem for path in self.files)

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
    try:
        return instance_of(onnx, vnnlib, stated if limit is None else limit, path.parent)
    except ValueError as error:
        raise ValueError(f"{path}, row {number}: {error}") from None


def instance_of(onnx: str, vnnlib: str, limit: float, folder: Path) -> Instance:
    """Return an instance whose files are in a folder, packed or not.

    Raises
    ------
    ValueError
        Several networks that are not listed as pairs of names and files.
    OSError
        A file cannot be read.
    """
    names, files = _named_files(onnx)
    networks = tuple(find(folder / file, "network") for file in files)
    return Instance(onnx, vnnlib, limit, networks, find(folder / vnnlib, "property"), names)


def _named_files(onnx: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names and the files of the networks of an instance; a single file has no name."""
    if not onnx.startswith("["):
        return (), (onnx,)
    try:
        pairs = ast.literal_eval(onnx)
        names, files = zip(*((str(name), str(file)) for name, file in pairs), strict=True)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise ValueError(
            f"the networks are {onnx[:80]!r}; expected a file, or a list such as [('f', 'a.onnx'), ('g', 'b.onnx')]"
        ) from None
    return names, files


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
