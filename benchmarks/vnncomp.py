"""Decide public instances of VNN-COMP, licence-free, and hold the answers against the known ones.

    CONVEXNN_DATA=folder python benchmarks/vnncomp.py [--families acasxu ...] [--share 15] [--seconds 60] [--list]

The folder holds vnncomp/ with instances.csv (family, onnx, vnnlib, limit, answer: sat, unsat, or disputed) and the
files of each family, plain or gzipped. Of every family `--share` instances are asked, spread over the list. A witness
is evaluated once more with onnxruntime, where that is installed, and held against the property.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import csv
import gzip
import os
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np

import verify
from convexnn.checks import Floats

WORDS = {"HOLDS": "unsat", "VIOLATED": "sat"}

# By how much outputs in float32 may miss a constraint, of its size.
ROUNDING = 1e-4


def instances_folder() -> Path:
    """Return the folder that holds instances.csv."""
    folder = os.environ.get("CONVEXNN_DATA")
    if folder is None:
        raise SystemExit("CONVEXNN_DATA is not set; expected the folder that holds vnncomp")
    return Path(folder) / "vnncomp"


def unpacked(source: Path, name: str, target: Path) -> Path:
    """Return a file of a family, unpacked into `target` where it is gzipped."""
    plain = source / name
    if plain.exists():
        return plain
    file = target / name
    if not file.exists():
        file.write_bytes(gzip.decompress((source / f"{name}.gz").read_bytes()))
    return file


def spread(rows: list[dict[str, str]], count: int) -> Iterator[dict[str, str]]:
    """Return `count` rows, spread over the list."""
    for index in np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)):
        yield rows[index]


def confirmed(file: Path, question: verify.Property, witness: Floats) -> bool:
    """Whether onnxruntime's outputs at a witness meet a condition of the property, up to rounding."""
    if find_spec("onnxruntime") is None:
        return True
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    [tensor] = session.get_inputs()
    sizes = [size if isinstance(size, int) else 1 for size in tensor.shape]
    outputs = np.asarray(session.run(None, {tensor.name: witness.astype(np.float32).reshape(sizes)})[0], float).ravel()
    for case in question.cases:
        if case.contains(witness):
            for condition in case.conditions:
                missed = condition.levels - condition.rows @ outputs
                size = np.abs(condition.rows) @ np.abs(outputs) + np.abs(condition.levels)
                if (missed <= ROUNDING * size).all():
                    return True
    return False


def main() -> None:
    """Read the command line, decide, and print the sums of every family."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--families", nargs="*", default=None)
    parser.add_argument("--share", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--list", action="store_true", help="print a line an instance")
    given = parser.parse_args()
    root = instances_folder()
    with (root / "instances.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for family in given.families or list(dict.fromkeys(row["family"] for row in rows)):
        counts, cpu, wall = Counter[str](), list[float](), list[float]()
        with TemporaryDirectory() as folder:
            for row in spread([row for row in rows if row["family"] == family], given.share):
                net, text = (unpacked(root / family, row[key], Path(folder)) for key in ("onnx", "vnnlib"))
                spent, began = process_time(), perf_counter()
                question = verify.read_property(text)
                limit = min(given.seconds, float(row["limit"]))
                check = verify.check_vnnlib(net, question, time_limit=limit, backend=given.backend)
                cpu.append(process_time() - spent)
                wall.append(perf_counter() - began)
                word = WORDS.get(check.status.name, "open")
                wrong = word != "open" and row["answer"] in WORDS.values() and word != row["answer"]
                wrong |= check.witness is not None and not confirmed(net, question, check.witness)
                counts.update([word, *(["wrong"] if wrong else [])])
                if given.list or word == "open" or wrong:
                    name = f"{row['onnx']} {row['vnnlib']} ({row['answer']})"
                    print(f"{name}: {word}{' WRONG' * wrong}, {cpu[-1]:.2f} s of CPU; {check.reason}", flush=True)
        decided = counts["sat"] + counts["unsat"]
        print(
            f"{family:20} {decided:3} of {len(cpu):3} decided ({counts['sat']} sat, {counts['unsat']} unsat), "
            f"{counts['wrong']} wrong; CPU seconds: median {median(cpu):.2f}, most {max(cpu):.1f}, sum {sum(cpu):.1f}; "
            f"wall {sum(wall):.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
