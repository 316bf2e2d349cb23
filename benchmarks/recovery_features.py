"""Is a planted network recovered whatever its features are: counts, offsets, groups, heavy tails?

    python benchmarks/recovery_features.py [--kinds uniform binary] [--cells "20, 50"] [--seeds 3] [--first 0]
        [--seconds 60] [--csv recovery-features.csv]

n = 5000 rows of d = 100 features of one kind, y = sum_j relu(x . w_j), s weights N(0, 1) at random places of m neurons
(in units of the feature where it has units). `recover` is told s and m, not the signs, and has so many seconds of CPU;
it starts anew until they are over or the network is exact. The kinds:

* ``gaussian``: N(0, 1), for comparison. ``student``: Student's t of 3 degrees of freedom. ``AR``: Gaussian,
  neighbouring features correlate by 0.8. ``units``: Gaussian, feature i in units of 10^U(-3, 3).
* ``uniform``: U(0, 1). ``binary``: 0 or 1, evenly. ``counts``: Poisson of mean 1. ``lognormal``: exp(N(0, 1)).
  ``offset``: N(3, 1). ``onehot``: 20 groups of 5, of which one is 1. ``mixed``: features of the kinds gaussian,
  uniform, binary, counts and lognormal, by turns.
* ``biases``: Gaussian features, neurons with biases N(0, 1), which count in s.

Exact: a fit above 100 dB on the rows. On them the function is what can be known: neurons that are active on all rows
hold one linear function, whichever of them holds a weight, and a neuron that is active on none holds nothing. Fresh:
runs above 60 dB on 5,000 fresh rows. Seconds: of CPU, the median.
"""

from __future__ import annotations

import common

# isort: split
import csv
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

import convexnn as cx
from convexnn.checks import Floats

N, D = 5000, 100
CELLS = {"20, 50": (20, 50), "20, 100": (20, 100)}

# Groups of one-hot columns, and the mean of all offsets.
GROUP, OFFSET = 5, 3.0


@dataclass(frozen=True)
class Record:
    """One run: the fit in dB on the rows and on fresh ones, weights used, seconds of CPU."""

    kind: str
    cell: str
    seed: int
    decibels: float
    fresh: float
    nnz: int
    seconds: float
    status: str


def _one_hot(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    levels = rng.integers(GROUP, size=(shape[0], shape[1] // GROUP))
    return np.eye(GROUP)[levels].reshape(shape)


def _correlated(rng: np.random.Generator, shape: tuple[int, int], correlation: float = 0.8) -> Floats:
    X = rng.standard_normal(shape)
    for feature in range(1, shape[1]):
        X[:, feature] = correlation * X[:, feature - 1] + np.sqrt(1.0 - correlation**2) * X[:, feature]
    return X


def _mixed(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    kinds = ("gaussian", "uniform", "binary", "counts", "lognormal")
    X = np.empty(shape)
    for first, kind in enumerate(kinds):
        part = X[:, first :: len(kinds)]
        part[:] = KINDS[kind](rng, part.shape)
    return X


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "student": lambda rng, shape: rng.standard_t(3, shape),
    "AR": _correlated,
    "units": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.random(shape),
    "binary": lambda rng, shape: rng.integers(2, size=shape).astype(float),
    "counts": lambda rng, shape: rng.poisson(1.0, shape).astype(float),
    "lognormal": lambda rng, shape: rng.lognormal(size=shape),
    "offset": lambda rng, shape: OFFSET + rng.standard_normal(shape),
    "onehot": _one_hot,
    "mixed": _mixed,
    "biases": lambda rng, shape: rng.standard_normal(shape),
}


def plant(kind: str, m: int, s: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Return rows, fresh rows and weights (m, d), for ``biases`` (m, d + 1)."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), m, s])
    X, fresh = (KINDS[kind](rng, (N, D)) for _ in range(2))
    weights = np.zeros((m, D + (kind == "biases")))
    places = rng.choice(m * D, s - (m if kind == "biases" else 0), replace=False)
    weights[places // D, places % D] = rng.standard_normal(len(places))
    if kind == "biases":
        weights[:, D] = rng.standard_normal(m)
    if kind == "units":
        units = 10.0 ** rng.uniform(-3.0, 3.0, D)
        X, fresh, weights = X * units, fresh * units, weights / units
    return X, fresh, weights


def output(X: Floats, weights: Floats) -> Floats:
    """Return sum_j relu(x . w_j), (n,); a column more than features holds biases."""
    linear = X @ weights[:, :D].T + (weights[:, D] if weights.shape[1] > D else 0.0)
    result: Floats = np.maximum(linear, 0.0).sum(axis=1)
    return result


def decibels(found: Floats, truth: Floats) -> float:
    """Return the peak signal to noise ratio, at most 400 dB."""
    error = np.sqrt(np.mean((found - truth) ** 2))
    return float(20.0 * np.log10(np.abs(truth).max() / max(error, 1e-20 * np.abs(truth).max())))


def run(kind: str, cell: str, seed: int, seconds: float) -> Record:
    """Plant, recover, compare."""
    m, s = CELLS[cell]
    X, fresh, weights = plant(kind, m, s, seed)
    y, began = output(X, weights), process_time()

    def stop(progress: cx.RecoveryProgress) -> None:
        # The clock of a machine that does other work says little: what is counted is the run's own seconds.
        if process_time() - began > seconds:
            raise KeyboardInterrupt

    found = cx.recover(X, y, s, m, bias=kind == "biases", seed=seed, n_restarts=1000, callback=stop)
    spent, network = process_time() - began, found.to_network()
    fit = decibels(network.predict(X), y)
    beyond = decibels(network.predict(fresh), output(fresh, weights))
    nnz = int(np.count_nonzero(network.layers[0][0].toarray()) + np.count_nonzero(network.layers[0][1]))
    return Record(kind, cell, seed, round(fit, 1), round(beyond, 1), nnz, round(spent, 2), found.status.name)


def read_records(path: Path) -> list[Record]:
    """Return the runs of a CSV file, none where there is no file."""
    if not path.exists():
        return []
    kinds = {"decibels": float, "fresh": float, "seconds": float, "nnz": int, "seed": int}
    with open(path, newline="", encoding="utf-8") as file:
        return [
            Record(**{key: kinds.get(key, str)(value) for key, value in row.items()}) for row in csv.DictReader(file)
        ]


def append_record(path: Path, record: Record) -> None:
    """Append one run to a CSV file, with a header where it is new."""
    fresh = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Record)])
        if fresh:
            writer.writeheader()
        writer.writerow(asdict(record))


def table(records: Sequence[Record]) -> str:
    """Return a table in Markdown: exact runs, runs good on fresh rows, the least fit, median seconds."""
    lines = ["| features | " + " | ".join(CELLS) + " |", "|---" * (len(CELLS) + 1) + "|"]
    for kind in KINDS:
        cells = [_cell([r for r in records if (r.kind, r.cell) == (kind, cell)]) for cell in CELLS]
        if any(cells):
            lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(runs: Sequence[Record]) -> str:
    if not runs:
        return ""
    exact, fresh = sum(run.decibels > 100.0 for run in runs), sum(run.fresh > 60.0 for run in runs)
    least, seconds = min(run.decibels for run in runs), median(run.seconds for run in runs)
    return f"{exact}/{len(runs)} exact, fresh {fresh}/{len(runs)}, least {least:.0f} dB, {seconds:.1f} s"


def study(given: Namespace) -> None:
    """Run what the CSV file does not have yet; print the table."""
    done = {(r.kind, r.cell, r.seed) for r in read_records(given.csv)}
    for seed in range(given.first, given.first + given.seeds):
        for kind in given.kinds:
            for cell in given.cells:
                if (kind, cell, seed) not in done:
                    record = run(kind, cell, seed, given.seconds)
                    append_record(given.csv, record)
                    print(record, flush=True)
    print(table(read_records(given.csv)))


def main() -> None:
    """Read the command line and run."""
    parser = common.option_parser(__doc__)
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--cells", nargs="*", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=60.0, help="the time limit of a run")
    parser.add_argument("--csv", type=Path, default=Path("recovery-features.csv"))
    study(parser.parse_args())


if __name__ == "__main__":
    main()
