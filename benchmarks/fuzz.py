"""Read broken files of every format: each must be read or refused in one line, soon, and without much memory.

    python benchmarks/fuzz.py [--minutes 1] [--files 1000] [--formats onnx csv] [--seed 0] [--keep FOLDER]

Small valid files are changed at random and read by a child process with limits of memory and time. Bad is whatever a
command would not tell in its one line: another error, a warning, too much time or memory. The exit code is 1 if any
file was bad.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import json
import multiprocessing
import os
import resource
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from math import inf
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

import convexnn as cx
import verify
from convexnn.cli.files.batch import Job, read_log, run_batch
from convexnn.cli.files.data_file import read_data, read_rows
from convexnn.cli.files.points import read_points
from convexnn.cli.predict import read_model
from convexnn.cli.tables.columns import CategoryColumn, FlagColumn, NumberColumn
from convexnn.cli.tables.encoding import Encoding

# Seconds of a processor and bytes that a file of a few kilobytes may take, and files that one child reads.
PATIENCE, MEMORY, BATCH = 10.0, 1 << 30, 200

# Times as many seconds pass on the wall before a child hangs: the machine may be busy with other things.
BUSY = 12.0

# What is put into text; other formats get random bytes.
WORDS = [b"(" * 2000, b"[" * 2000, b'"', b"#", b";", b",", b"\n", b"\x00", b"\x0c", b"\xe2\x80\xa8", b"\xff", b"nan"]
WORDS += [
    b"1e999",
    b"-1",
    b"9" * 300,
    b"9" * 200_000,
    b"(assert (<= X_0 Y_0))",
    b"(and)",
    b"null",
    b"{}",
    b"PK\x03\x04",
]

PROPERTY = """(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (>= X_0 0.0)) (assert (<= X_0 1.0)) (assert (>= X_1 -1.5)) (assert (<= X_1 1e-2)) ; a box
(assert (or (and (<= Y_0 Y_1) (>= Y_1 0.5)) (and (<= (+ Y_0 Y_1) 0.25))))
"""

TABLE = """a,b,c,d,y
1,"2,000",red,yes,"u"
3,4.5,blue,no,v
# note
5,$6,"a, b",yes,u
7,?,red,no,v
"""


def network() -> cx.SparseReLUNetwork:
    """Return a network of two inputs, three neurons, two outputs."""
    return cx.SparseReLUNetwork([(np.arange(6.0).reshape(3, 2) - 2.0, np.ones(3)), (np.eye(3)[:2], None)])


def make_model(path: Path) -> None:
    """Write a classifier."""
    rows = np.random.default_rng(0).standard_normal((40, 4))
    model = cx.SparseReLUClassifier(budget=6, epochs=2).fit(rows, np.where(rows[:, 0] > 0, "yes", "no"))
    columns = (NumberColumn("a", 0.5, "%"), FlagColumn("b", 1.0), CategoryColumn("c", ("u", "v"), "u"))
    model.columns_ = Encoding(columns, "median").to_record()
    model.save(path)


def read_table_both_ways(path: Path) -> None:
    """Read a table to fit to, and the rows of the same file as a model that was fitted to it takes them."""
    table = read_data(path, missing="median", comment="#")
    record = json.loads(json.dumps(table.encoding.to_record()))
    rows = read_rows(path, Encoding.from_record(record, table.X.shape[1]), table.target, comment="#", truth_as="text")
    if not np.array_equal(rows.X[rows.known], table.X):
        raise AssertionError("rows are other ones than those that were fitted to")


def make_log(path: Path) -> None:
    """Write a log of three lines."""
    run_batch([Job({"row": row, "radius": 0.5}, (row,)) for row in range(3)], lambda row: {"verdict": "ROBUST"}, path)


# By the ending of their names: what writes a valid file, and what reads it.
FORMATS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "onnx": (lambda path: network().to_onnx(path), verify.read_network),
    "vnnlib": (lambda path: path.write_text(PROPERTY), verify.read_property),
    "csv": (lambda path: path.write_text(TABLE), read_table_both_ways),
    "npy": (lambda path: np.save(path, np.arange(6.0).reshape(2, 3)), read_points),
    "txt": (lambda path: path.write_text("0.5 1 -2e3\n1 2 3 # note\n"), read_points),
    "npz": (lambda path: network().save(path), verify.read_network),
    "model": (make_model, read_model),
    "log": (make_log, read_log),
}


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to four changes; of an archive, mostly within a member: its sum is right then."""
    if content.startswith(b"PK") and rng.random() < 0.8:
        return archive_mutated(content, rng)
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        change(data, rng)
    return bytes(data)


def archive_mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return an archive with changes within one member."""
    with zipfile.ZipFile(BytesIO(content)) as held:
        members = {name: held.read(name) for name in held.namelist()}
    chosen = list(members)[int(rng.integers(len(members)))]
    written = BytesIO()
    with zipfile.ZipFile(written, "w") as made:
        for name, data in members.items():
            made.writestr(name, mutated(data, rng) if name == chosen else data)
    return written.getvalue()


def change(data: bytearray, rng: np.random.Generator) -> None:
    """Change a file in one place: another byte, a flipped bit, a cut, a repeated piece, a word."""
    begin, end = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    kind = int(rng.integers(6))
    if kind == 0 and begin < len(data):
        data[begin] = int(rng.integers(256))
    elif kind == 1 and begin < len(data):
        data[begin] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del data[begin : min(end, begin + 40)]
    elif kind == 3:
        data[begin:begin] = data[begin:end] * int(rng.integers(1, 4))
    elif kind == 4:
        data[begin : begin + int(rng.integers(0, 4))] = WORDS[int(rng.integers(len(WORDS)))]
    elif kind == 5:
        del data[end:]


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """Return "read", "refused", or what was bad."""
    try:
        read(path)
    except (ValueError, OSError) as error:
        return "refused" if not isinstance(error, UnicodeDecodeError) else f"UnicodeDecodeError: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return "read"


def work(connection: Connection, ending: str, valid: bytes, seeds: range, folder: str) -> None:
    """Read a file of each seed, in a process of its own, and send what came of it."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    warnings.simplefilter("error")
    path = Path(folder) / f"fuzz.{ending}"
    for seed in seeds:
        path.write_bytes(mutated(valid, np.random.default_rng(seed)))
        connection.send(outcome(FORMATS[ending][1], path))


def cpu_seconds(process: int) -> float:
    """Return how long a process has had a processor; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answers(connection: Connection, process: int) -> bool:
    """Wait for the outcome of one file; False where it takes too long."""
    began, until = cpu_seconds(process), perf_counter() + BUSY * PATIENCE
    while not connection.poll(1.0):
        if cpu_seconds(process) - began > PATIENCE or perf_counter() > until:
            return False
    return True


def tried(ending: str, valid: bytes, seeds: range, folder: str, until: float) -> list[str]:
    """Return the outcomes of some seeds from the first on; a child that hangs or dies ends them."""
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(target=work, args=(theirs, ending, valid, seeds, folder))
    child.start()
    theirs.close()
    found: list[str] = []
    try:
        while len(found) < len(seeds) and perf_counter() < until:
            if not answers(ours, int(child.pid or 0)):
                found.append(f"more than {PATIENCE:g} s of a processor")
                break
            found.append(ours.recv())
    except EOFError:
        found.append("the process died")
    finally:
        child.kill()
        child.join()
    return found


def fuzz(endings: list[str], seconds: float, files: float, seed: int, keep: Path | None) -> dict[str, Counter[str]]:
    """Return how many files of each format were read, refused and bad; print the first bad ones."""
    counts = {ending: Counter[str]() for ending in endings}
    with TemporaryDirectory() as folder:
        for number, ending in enumerate(endings):
            valid = valid_file(ending, Path(folder))
            until = perf_counter() + seconds / len(endings)
            first = seed + number * 10**9
            while perf_counter() < until and counts[ending].total() < files:
                size = int(min(BATCH, files - counts[ending].total()))
                found = tried(ending, valid, range(first, first + size), folder, until)
                for place, said in enumerate(found):
                    note(counts[ending], said, ending, mutated(valid, np.random.default_rng(first + place)), keep)
                first += len(found)
    return counts


def valid_file(ending: str, folder: Path) -> bytes:
    """Return the content of a valid file, which must be read."""
    path = folder / f"valid.{ending}"
    make, read = FORMATS[ending]
    make(path)
    read(path)
    return path.read_bytes()


def note(counts: Counter[str], said: str, ending: str, content: bytes, keep: Path | None) -> None:
    """Count an outcome; print and keep what is bad."""
    if said in ("read", "refused"):
        counts[said] += 1
        return
    counts["bad"] += 1
    if counts["bad"] <= 5:
        print(f"{ending}: {said}", flush=True)
    if keep is not None:
        (keep / f"{counts['bad']}.{ending}").write_bytes(content)


def main(given: list[str] | None = None) -> int:
    """Print for each format how many files were read, refused and bad."""
    parser: Any = common.option_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--files", type=float, default=inf, help="at most so many of each format")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="an existing folder for files that were bad")
    asked = parser.parse_args(given)
    counts = fuzz(asked.formats, 60.0 * asked.minutes, asked.files, asked.seed, asked.keep)
    for ending, count in counts.items():
        print(f"{ending:7} {count['read']:6} read {count['refused']:6} refused {count['bad']:4} bad")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{sum(part.ru_utime + part.ru_stime for part in used) / 60.0:.1f} minutes of a processor")
    return int(any(count["bad"] for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
