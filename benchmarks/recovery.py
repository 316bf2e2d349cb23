"""Recover planted weights, over many seeds: a table, a heatmap, and a CSV file that a cut run goes on from.

    python benchmarks/recovery.py fixed [--seeds 20] [--first 0] [--cases 24 AR decoys] [--solvers auto niht-plain]
        [--csv recovery-fixed.csv] [--picture recovery-fixed.png]
    python benchmarks/recovery.py unknown --seeds 5 [--cases "20, 100" "signed 20, 100"]

`fixed`: the planted gates are in the dictionary (`recovery_fixed.py` says how each case is made). Exact: a fit above
100 dB and the planted weights found. Share: of the planted support. `unknown`: they are not (`recovery_unknown.py` says
what is planted, and what exact means with noise).
Another experiment is a file with CASES, SOLVERS and `run`, and a line in EXPERIMENTS.
"""

from __future__ import annotations

import os

# Two threads, where `common` would say one, which wait instead of spinning.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import common

# isort: split
import csv
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, median
from types import ModuleType

import recovery_fixed
import recovery_unknown

EXPERIMENTS: dict[str, ModuleType] = {"fixed": recovery_fixed, "unknown": recovery_unknown}


@dataclass(frozen=True)
class Record:
    """One run: the share of the planted support found, the fit in dB, and whether both are perfect."""

    case: str
    solver: str
    seed: int
    exact: bool
    share: float
    decibels: float
    seconds: float
    status: str


def read_records(path: Path) -> list[Record]:
    """Return the runs of a CSV file, none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [_record(row) for row in csv.DictReader(file)]


def _record(row: dict[str, str]) -> Record:
    numbers = {name: float(row[name]) for name in ("share", "decibels", "seconds")}
    return Record(row["case"], row["solver"], int(row["seed"]), row["exact"] == "True", **numbers, status=row["status"])


def append_record(path: Path, record: Record) -> None:
    """Append one run to a CSV file, with a header where it is new."""
    fresh = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Record)])
        if fresh:
            writer.writeheader()
        writer.writerow(asdict(record))


def table(records: Sequence[Record], cases: Iterable[str], solvers: Sequence[str]) -> str:
    """Return the table in Markdown: exact runs of all, mean share of the support, median seconds."""
    lines = ["| case | " + " | ".join(solvers) + " |", "|---" * (len(solvers) + 1) + "|"]
    for case in cases:
        cells = [_cell([r for r in records if (r.case, r.solver) == (case, solver)]) for solver in solvers]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(runs: list[Record]) -> str:
    if not runs:
        return ""
    exact, share = sum(run.exact for run in runs), fmean(run.share for run in runs)
    return f"{exact}/{len(runs)}, {100 * share:.1f} %, {median(run.seconds for run in runs):.2f} s"


def heatmap(records: Sequence[Record], cases: Sequence[str], solvers: Sequence[str], path: Path) -> None:
    """Draw the mean share of the support of every case and solver, with the count of exact runs written on it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(1.6 + 1.1 * len(solvers), 1.2 + 0.35 * len(cases)), layout="constrained")
    runs = [[[r for r in records if (r.case, r.solver) == (case, solver)] for solver in solvers] for case in cases]
    shares = [[fmean(r.share for r in cell) if cell else float("nan") for cell in row] for row in runs]
    image = axes.imshow(shares, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
    for i, row in enumerate(runs):
        for j, cell in enumerate(row):
            if cell:
                words = f"{sum(r.exact for r in cell)}/{len(cell)}"
                axes.text(j, i, words, ha="center", va="center", color="white" if shares[i][j] < 0.6 else "black")
    axes.set_xticks(range(len(solvers)), solvers, rotation=20)
    axes.set_yticks(range(len(cases)), cases)
    figure.colorbar(image, label="share of the planted support; figures: exact runs")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def recover(experiment: ModuleType, given: Namespace) -> None:
    """Run what the CSV file does not have yet; print the table, draw the heatmap."""
    cases = given.cases or list(experiment.CASES)
    solvers = given.solvers or list(experiment.SOLVERS)
    seeds = range(given.first, given.first + given.seeds)
    done = {(r.case, r.solver, r.seed) for r in read_records(given.csv)}
    for case in cases:
        for solver in solvers:
            for seed in seeds:
                if (case, solver, seed) not in done:
                    append_record(given.csv, Record(case, solver, seed, **experiment.run(case, solver, seed)))
            records = [r for r in read_records(given.csv) if r.seed in seeds]
            print(
                f"{case:24} {solver:16} {_cell([r for r in records if (r.case, r.solver) == (case, solver)])}",
                flush=True,
            )
    records = [r for r in read_records(given.csv) if r.seed in seeds]
    print(table(records, cases, solvers))
    heatmap(records, cases, solvers, given.picture)


def main() -> None:
    """Read the command line and run one experiment."""
    parser = common.option_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, experiment in EXPERIMENTS.items():
        command = commands.add_parser(name, help=(experiment.__doc__ or "").partition("\n")[0])
        command.add_argument("--seeds", type=int, default=20)
        command.add_argument("--first", type=int, default=0, help="the first seed")
        command.add_argument("--cases", nargs="*", choices=list(experiment.CASES))
        command.add_argument("--solvers", nargs="*", choices=list(experiment.SOLVERS))
        command.add_argument("--csv", type=Path, default=Path(f"recovery-{name}.csv"))
        command.add_argument("--picture", type=Path, default=Path(f"recovery-{name}.png"))
    given = parser.parse_args()
    recover(EXPERIMENTS[given.command], given)


if __name__ == "__main__":
    main()
