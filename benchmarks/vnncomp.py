"""Decide public instances of VNN-COMP, licence-free, and hold the answers against the known ones.

    CONVEXNN_DATA=folder python benchmarks/vnncomp.py [--families acasxu ...] [--share 15] [--seconds 60] [--list]

The folder holds vnncomp/ with instances.csv (family, onnx, vnnlib, limit, answer: sat, unsat, or disputed) and the
files of each family, plain or gzipped. Of every family `--share` instances are asked, spread over the list. A witness
is evaluated once more with onnxruntime, where that is installed, and held against the property. `--rival` is the
command line of another verifier, asked the same in turn; its seconds include the start of its process, ours do not.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import argparse
import csv
import gzip
import os
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

import verify
from convexnn.checks import Floats

WORDS = {"HOLDS": "unsat", "VIOLATED": "sat"}

# The words of other tools.
RIVAL_WORDS = {"unsat": "unsat", "holds": "unsat", "safe": "unsat", "sat": "sat", "violated": "sat", "unsafe": "sat"}

# By how much outputs in float32 may miss a constraint, of its size.
ROUNDING = 1e-4


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


def ours(net: Path, text: Path, seconds: float, backend: str) -> tuple[str, str, bool]:
    """Return verify's answer, its reason, and whether a witness, if any, is confirmed."""
    question = verify.read_property(text)
    check = verify.check_vnnlib(net, question, time_limit=seconds, backend=backend)
    sound = check.witness is None or confirmed(net, question, check.witness)
    return WORDS.get(check.status.name, "open"), check.reason, sound


def rival(command: str, net: Path, text: Path, seconds: float, result: Path) -> str:
    """Return the answer of another tool, which writes it as the first word of a file."""
    values = {"onnx": net, "vnnlib": text, "seconds": seconds, "result": result}
    result.unlink(missing_ok=True)
    words = [word.format_map(values) for word in shlex.split(command)]
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=2.0 * seconds + 30.0)
    answer = result.read_text(encoding="utf-8").split()[:1] if result.exists() else []
    return RIVAL_WORDS.get(answer[0].lower(), "open") if answer else "open"


@dataclass
class Tally:
    """What one tool has said about the instances of one family."""

    tool: str
    counts: Counter[str] = field(default_factory=Counter)
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def add(self, word: str, answer: str, sound: bool, cpu: float, wall: float) -> bool:
        """Count one answer; return whether it is wrong."""
        wrong = not sound or (word != "open" and answer in WORDS.values() and word != answer)
        self.counts.update([word, *(["wrong"] if wrong else [])])
        self.cpu.append(cpu)
        self.wall.append(wall)
        return wrong

    def __str__(self) -> str:
        counts = self.counts
        return (
            f"{self.tool:10} {counts['sat'] + counts['unsat']:3} of {len(self.cpu):3} decided ({counts['sat']} sat, "
            f"{counts['unsat']} unsat), {counts['wrong']} wrong; CPU seconds: median {median(self.cpu):.2f}, "
            f"most {max(self.cpu):.1f}, sum {sum(self.cpu):.1f}; wall {sum(self.wall):.0f}"
        )


def spent() -> float:
    """Return the seconds of a processor that this process and its ended children have taken."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def decide(row: dict[str, str], folder: Path, spare: Path, given: argparse.Namespace, tallies: list[Tally]) -> None:
    """Ask one instance of verify and of the rival, if there is one."""
    net, text = (unpacked(folder, row[key], spare) for key in ("onnx", "vnnlib"))
    seconds = min(given.seconds, float(row["limit"]))
    for tally in tallies:
        cpu, began = spent(), perf_counter()
        if tally.tool == "verify":
            word, reason, sound = ours(net, text, seconds, given.backend)
        else:
            word, reason, sound = rival(given.rival, net, text, seconds, spare / "result"), "", True
        cpu = spent() - cpu
        wrong = tally.add(word, row["answer"], sound, cpu, perf_counter() - began)
        if given.list or word == "open" or wrong:
            name = f"{row['onnx']} {row['vnnlib']} ({row['answer']})"
            print(f"{name}: {tally.tool} {word}{' WRONG' * wrong}, {cpu:.2f} s of CPU; {reason}", flush=True)


def main() -> None:
    """Read the command line, decide, and print the sums of every family."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--families", nargs="*", default=None)
    parser.add_argument("--share", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--rival", help="a command with {onnx}, {vnnlib}, {seconds}, and {result}, the file it writes")
    parser.add_argument("--list", action="store_true", help="print a line an instance")
    given = parser.parse_args()
    root = common.data_folder("vnncomp")
    with (root / "instances.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for family in given.families or list(dict.fromkeys(row["family"] for row in rows)):
        tallies = [Tally(tool) for tool in (["verify", "rival"] if given.rival else ["verify"])]
        with TemporaryDirectory() as spare:
            for row in spread([row for row in rows if row["family"] == family], given.share):
                decide(row, root / family, Path(spare), given, tallies)
        for tally in tallies:
            print(f"{family:20} {tally}", flush=True)


if __name__ == "__main__":
    main()
