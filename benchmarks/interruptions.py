"""Kill and interrupt commands at random moments, and look at what they leave behind.

    python benchmarks/interruptions.py [--runs 50 --seed 0 --cases NAME ... --signals NAME ...]

`convexnn attack --log`, `convexnn reproduce` (a study of a moment) and `convexnn fit --save` are started as processes,
and each has SIGKILL or SIGINT at a random moment, so many times a signal in all. After that every line of a log or
table must be whole but for a last one that SIGKILL has torn, every line that was there before the signal must be there
still, the model must be the old one or a new one that can be read, and the command, called anew, must go on to the end
without doing a line again. The table has what was lost, the exit codes, and how long a process went on after SIGINT.
"""

from __future__ import annotations

import common  # first: it says how many threads the libraries have

# isort: split
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import numpy as np
from interruptions_study import RUNS

import convexnn as cx

# The command line as it is started, with a study of a moment.
COMMANDS = Path(__file__).with_name("interruptions_study.py")

SIGNALS = ("SIGKILL", "SIGINT")

# Rows of an attack.
ROWS = 60

# Seconds that a process may go on after a signal, and that a whole command may take.
PATIENCE = 120.0


@dataclass(frozen=True)
class Case:
    """A command: what it is called with, the file that it writes, how that begins, and whether it grows by lines."""

    name: str
    arguments: Callable[[Path], list[str]]
    output: str
    grows: bool
    whole: int
    codes: tuple[int, ...]

    def command(self, folder: Path) -> list[str]:
        """Return the command in a folder."""
        return [sys.executable, str(COMMANDS), *self.arguments(folder)]

    def lines(self, folder: Path) -> list[bytes]:
        """Return the whole lines of the output; none where it does not grow by lines."""
        path = folder / self.output
        return path.read_bytes().split(b"\n")[:-1] if self.grows and path.exists() else []


CASES = {
    case.name: case
    for case in (
        Case(
            "attack --log",
            lambda folder: [
                *("attack", str(folder / "net.npz"), str(folder / "points.npy"), "--radius", "0.02"),
                *("--rows", "all", "--log", str(folder / "log.jsonl")),
            ],
            "log.jsonl",
            True,
            ROWS,
            (0, 1, 3),
        ),
        Case(
            "reproduce",
            lambda folder: ["reproduce", "small", "--quick", "--seeds", "0", "--output", str(folder)],
            "small/runs.csv",
            True,
            RUNS + 1,
            (0,),
        ),
        Case(
            "fit --save",
            lambda folder: ["fit", str(folder / "table.csv"), "--budget", "20", "--save", str(folder / "model.npz")],
            "model.npz",
            False,
            0,
            (0, 4),
        ),
    )
}


@dataclass
class Tally:
    """What became of a command and a signal."""

    runs: int = 0
    over: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    lost: int = 0
    redone: int = 0
    stuck: int = 0
    left: int = 0
    kept: int = 0
    slowest: float = 0.0

    def __str__(self) -> str:
        codes = " ".join(f"{code} x {count}" for code, count in sorted(self.codes.items()))
        return (
            f"{self.runs:5} {self.over:6} {self.kept:6} {self.lost:5} {self.broken:7} {self.redone:7} {self.stuck:8} "
            f"{self.left:10} {self.slowest:9.1f}  {codes}"
        )


def prepare(folder: Path) -> None:
    """Write what the commands read, and an old model."""
    rng = np.random.default_rng(0)
    layers = [(rng.standard_normal(shape) / np.sqrt(shape[1]), None) for shape in ((40, 5), (40, 40), (3, 40))]
    cx.SparseReLUNetwork(layers).save(folder / "net.npz")
    np.save(folder / "points.npy", rng.standard_normal((ROWS, 5)))
    X = rng.standard_normal((200, 4))
    rows = np.column_stack([X, np.maximum(X[:, 0] - X[:, 1], 0.0)])
    np.savetxt(folder / "table.csv", rows, delimiter=",", header="a,b,c,d,y", comments="")
    cx.SparseReLURegressor(budget=4, epochs=2).fit(X, rows[:, -1]).save(folder / "model.npz")


def seconds_of(case: Case, folder: Path) -> float:
    """Return the seconds of a whole command."""
    began = time.perf_counter()
    result = subprocess.run(case.command(folder), capture_output=True, text=True, check=False)
    if result.returncode not in case.codes:
        raise SystemExit(f"{case.name} ended with {result.returncode}: {result.stderr}")
    return time.perf_counter() - began


def trial(case: Case, kind: signal.Signals, moment: float, inputs: Path, tally: Tally) -> None:
    """Start a command, signal it at a moment, and look at what is left; then let it go on."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        copytree(inputs, folder, dirs_exist_ok=True)
        given, old = set(folder.rglob("*")), (folder / "model.npz").read_bytes()
        process = subprocess.Popen(
            case.command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        # Every other process has the moment counted from its first line on.
        if case.grows and tally.runs % 2:
            while process.poll() is None and not case.lines(folder):
                time.sleep(0.005)
            moment *= 0.2
        time.sleep(moment)
        seen, began = case.lines(folder), time.perf_counter()
        tally.over += process.poll() is not None
        process.send_signal(kind)
        code = process.wait(PATIENCE)
        tally.runs, tally.slowest = tally.runs + 1, max(tally.slowest, time.perf_counter() - began)
        tally.codes[str(code)] += 1
        kept = case.lines(folder)
        tally.kept, tally.lost = tally.kept + len(kept), tally.lost + (kept[: len(seen)] != seen)
        ours = {Path(case.output).name, "small", "summary.md", "report.html"}
        names = {path.name for path in set(folder.rglob("*")) - given} - ours
        tally.left += bool([name for name in names if not name.endswith(".lock")])
        tally.broken += not is_whole(case, folder, old)
        go_on(case, folder, kept, tally)


def is_whole(case: Case, folder: Path, old: bytes) -> bool:
    """Whether a model is the old one or can be read; lines are looked at where the command goes on."""
    path = folder / "model.npz"
    if case.grows or path.read_bytes() == old:
        return True
    try:
        cx.SparseReLURegressor.load(path)
    except ValueError:
        return False
    return True


def go_on(case: Case, folder: Path, kept: list[bytes], tally: Tally) -> None:
    """Call a command that grows by lines anew: it ends, keeps the lines that were there, and does none again."""
    if not case.grows:
        return
    result = subprocess.run(case.command(folder), capture_output=True, text=True, timeout=PATIENCE, check=False)
    lines = case.lines(folder)
    tally.stuck += result.returncode not in case.codes or len(set(lines)) < case.whole
    tally.redone += lines[: len(kept)] != kept or len(lines) != case.whole


def main(runs: int, seed: int, chosen: list[str], signals: list[str]) -> None:
    """Print what became of every command and signal."""
    # In the background of a shell it is ignored, and what is ignored stays so in the processes that are started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    draw, kinds = random.Random(seed), [signal.Signals[name] for name in signals]
    tallies = {(case, kind): Tally() for case in chosen for kind in kinds}
    with TemporaryDirectory() as inputs, TemporaryDirectory() as first:
        prepare(Path(inputs))
        copytree(inputs, first, dirs_exist_ok=True)
        whole = {case: seconds_of(CASES[case], Path(first)) for case in chosen}
        for number in range(runs):
            case = chosen[number % len(chosen)]
            for kind in kinds:
                trial(CASES[case], kind, draw.uniform(0.0, 0.8 * whole[case]), Path(inputs), tallies[case, kind])
    titles = "runs  ended   kept  lost  broken  redone    stuck  left over   slowest  exit codes"
    print(f"{'command':14} {'signal':8} {titles}")
    for (case, kind), tally in tallies.items():
        print(f"{case:14} {kind.name:8}{tally}")


if __name__ == "__main__":
    parser = common.option_parser(__doc__)
    parser.add_argument("--runs", type=int, default=50, help="processes a signal, over all cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--signals", nargs="*", choices=SIGNALS, default=list(SIGNALS))
    options = parser.parse_args()
    main(options.runs, options.seed, options.cases, options.signals)
